"""The kernels of all laws against tensor operations and float64, and the functions that they are made of."""

import math

import numpy as np
import pytest
import torch
from references import LAWS, law_scale, law_weight, softened_squares

from spatialgraph.functional import all_to_all, edge_weight, pairwise_weight
from spatialgraph.functional.compressed_edges import CompressedEdges
from spatialgraph.functional.fused import compressed_law, dense_law
from spatialgraph.kernels import compressed as sparse_kernels
from spatialgraph.kernels import dense as dense_kernels
from spatialgraph.kernels import handover
from spatialgraph.laws import Cosine, CosineWave, MexicanHat, SineWave

numba = pytest.importorskip("numba")

from spatialgraph.kernels.loops import elementary  # noqa: E402

NUMBERS = torch.zeros(1, 1)
FUSED = {name: make for name, make in LAWS.items() if dense_law(make(), NUMBERS) is not None}
every_fused_law = pytest.mark.parametrize("make", FUSED.values(), ids=FUSED.keys())
PRECISION = {torch.float32: 2e-5, torch.float64: 1e-11}


def test_which_laws_have_kernels():
    assert {type(make()).__name__ for make in LAWS.values()} - {type(make()).__name__ for make in FUSED.values()} == {
        "PlainInverseDistance",
        "InversePower",
        "Exponential",
        "Rational",
    }
    assert all(compressed_law(make(), NUMBERS) is not None for make in FUSED.values())


# Elementary functions ----


def elementwise(function, x):
    # Sums in the loop may be reordered, as in the kernels; those in the function may not.
    @numba.njit(error_model="numpy", fastmath={"reassoc", "contract", "nsz", "arcp"})
    def loop(x, out):
        for i in range(x.size):
            out[i] = function(x[i])

    out = np.empty_like(x)
    loop(x, out)
    return out


@pytest.mark.parametrize(("dtype", "error"), [(np.float32, 3e-7), (np.float64, 5e-16)])
@pytest.mark.parametrize("name", ["sine", "cosine"])
def test_waves(name, dtype, error):
    function, right = getattr(elementary, name), {"sine": np.sin, "cosine": np.cos}[name]
    random = np.random.default_rng(0)
    near = (np.arange(200) * (math.pi / 2)).astype(dtype)  # where a wave is 0 or changes its sign
    phase = np.concatenate([near, *(random.uniform(0, top, 20_000).astype(dtype) for top in (1e-3, 1, 10, 1e4))])
    assert np.abs(elementwise(function, phase) - right(phase.astype(np.float64))).max() <= error
    far = np.concatenate([random.uniform(1e4, top, 1000).astype(dtype) for top in (1e6, 1e9, 1e30)])
    assert (np.abs(elementwise(function, far)) <= 1.0 + error).all()
    assert np.isnan(elementwise(function, np.array([np.inf, -np.inf, np.nan], dtype))).all()


@pytest.mark.parametrize(("dtype", "error", "lowest"), [(np.float32, 1e-7, -87), (np.float64, 3e-16, -708)])
def test_exponential(dtype, error, lowest):
    random = np.random.default_rng(0)
    x = np.concatenate([random.uniform(bottom, 0, 20_000).astype(dtype) for bottom in (-1e-3, -1, lowest)])
    np.testing.assert_allclose(elementwise(elementary.exponential, x), np.exp(x.astype(np.float64)), rtol=error)
    ends = elementwise(elementary.exponential, np.array([0.0, lowest * 1.1, -1e30, -np.inf, np.nan], dtype))
    assert ends[:4].tolist() == [1.0, 0.0, 0.0, 0.0] and np.isnan(ends[4])


# Against tensor operations ----


def results(law, given, mask=None, count=0):
    """Weights and gradients of all pairs and of listed edges."""
    x, *geometry = given
    edges = CompressedEdges.from_mask(torch.ones(len(geometry[1]), len(geometry[0]), dtype=torch.bool))
    y = all_to_all(x, *geometry, law, mask=mask, n_masked=count)
    listed = edge_weight(*geometry, law, edges)
    pull = torch.linspace(-1, 1, listed.numel(), dtype=listed.dtype)
    inputs = [*geometry, *law.parameters()]
    grads = torch.autograd.grad(y.square().sum(), [x, *inputs]), torch.autograd.grad((listed * pull).sum(), inputs)
    return [y, listed, *grads[0], *grads[1]]


def operands(dtype, n=33, m=41, dim=3, batch=5):
    shapes = (batch, n), (n, dim), (m, dim), (n,)
    return [torch.randn(*shape, dtype=dtype, requires_grad=True) for shape in shapes]


@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("dtype", PRECISION, ids=str)
@every_fused_law
def test_kernels_agree_with_tensor_operations(make, dtype, masked, monkeypatch):
    law, given = make().to(dtype), operands(dtype)
    mask, count = (torch.rand(41, 33) < 0.5, 100) if masked else (None, 0)
    fused = results(law, given, mask, count)
    monkeypatch.setattr(handover, "_numba_works", lambda: False)
    for result, right in zip(fused, results(law, given, mask, count), strict=True):
        size = right.detach().abs().max().item()
        torch.testing.assert_close(result, right, rtol=0, atol=PRECISION[dtype] * size)


@pytest.mark.parametrize("threads", [2, 3])
@pytest.mark.parametrize("law", [Cosine(learnable=True), MexicanHat(learnable=True)], ids=str)
def test_several_threads_agree_with_one(law, threads, monkeypatch):
    given, law = operands(torch.float64), law.double()
    expected = results(law, given)
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    for module in (dense_kernels, sparse_kernels):
        monkeypatch.setattr(module, "_WORTH_A_THREAD", 1)
    try:
        first, second = results(law, given), results(law, given)
    finally:
        torch.set_num_threads(before)
    for result, again, right in zip(first, second, expected, strict=True):
        assert torch.equal(result, again)
        torch.testing.assert_close(result, right, rtol=1e-10, atol=1e-10)


# Accuracy ----


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
@every_fused_law
def test_weights_at_every_length(make, dtype):
    law = make().to(dtype)
    length = torch.logspace(-5, 3, 400, dtype=dtype)[:, None]
    origin = torch.zeros(1, 1, dtype=dtype)
    weight = pairwise_weight(length, origin, torch.ones(400, dtype=dtype), law).detach().double().numpy()
    square = softened_squares(length.double().numpy(), origin.double().numpy(), law.softening)
    scale, tiny = law_scale(law, square), torch.finfo(dtype).tiny
    # The phase of a wave and the exponent of a Gaussian are themselves rounded, by a share of their size.
    if isinstance(law, Cosine | SineWave | CosineWave):
        rounded = law.wavenumber.item() * np.sqrt(square)
    else:
        rounded = np.abs(np.log(np.maximum(scale, tiny)))
    share = {torch.float32: 1e-6, torch.float64: 1e-14}[dtype]
    assert (np.abs(weight - law_weight(law, square)) <= share * scale * (1.0 + rounded) + tiny).all()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
@every_fused_law
def test_nan_stays_and_an_overflow_is_the_limit(make, dtype):
    law = make().to(dtype)
    far = torch.finfo(dtype).max / 4
    source = torch.tensor([[0.0], [far], [math.inf], [math.nan]], dtype=dtype)
    origin, scale = torch.zeros(1, 1, dtype=dtype), torch.ones(4, dtype=dtype)
    edges = CompressedEdges.from_mask(torch.ones(1, 4, dtype=torch.bool))
    for weight in (pairwise_weight(source, origin, scale, law)[0], edge_weight(source, origin, scale, law, edges)):
        assert weight[0].isfinite() and weight[3].isnan()
        if isinstance(law, Cosine):
            assert weight[1:].isnan().all()
        else:
            torch.testing.assert_close(weight[1:3], torch.zeros(2, dtype=dtype), rtol=0, atol=1e-18)


@pytest.mark.parametrize("kind", [Cosine, SineWave, CosineWave, MexicanHat])
def test_the_gradient_of_a_parameter_is_recorded_where_it_is_learnable(kind):
    for learnable in (False, True):
        law = kind(learnable=learnable)
        weight = pairwise_weight(torch.rand(3, 2), torch.rand(4, 2), torch.ones(3), law)
        assert weight.requires_grad is learnable
