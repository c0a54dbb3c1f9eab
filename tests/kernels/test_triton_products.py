"""Products with weights that are never stored, against double precision: on a GPU, or through Triton's interpreter."""

import pytest
import torch
import torch.nn.functional as F
from conftest import DEVICE
from triton_references import MOST_ERROR, PLACE, error, law_of

from spatialgraph.functional import composed, fused
from spatialgraph.kernels.cuda import dense, partial_sums, products
from spatialgraph.laws import LAWS

pytest.importorskip("triton")
pytestmark = [
    pytest.mark.skipif(DEVICE.type not in ("sim", "cuda"), reason="needs a GPU or Triton's interpreter"),
    pytest.mark.filterwarnings("ignore::RuntimeWarning"),  # of NumPy, where the interpreter's squares overflow
]

SHAPES = [(33, 70, 45, 3), (1, 200, 130, 2), (70, 40, 50, 5), (3, 5, 2, 1)]


def operands(batch, n, m, dim):
    source, target = torch.randn(n, dim), torch.randn(m, dim)
    target[0] = source[0]  # two neurons meet
    return torch.randn(batch, n), source, target, torch.randn(n), torch.randn(m)


@pytest.mark.parametrize("name", LAWS)
@pytest.mark.parametrize("shape", SHAPES)
def test_products_and_gradients(name, shape):
    law, (x, *geometry, bias) = law_of(name), operands(*shape)
    grad = torch.randn(shape[0], shape[2])
    exact = [values.double().requires_grad_() for values in (x, *geometry, bias)]
    y = composed.all_to_all(*exact[:4], law.double(), exact[4], None, 0, False)
    y.backward(grad.double())
    by_law = [parameter.grad for parameter in law.parameters()]
    law.zero_grad()
    law.float().to(PLACE)
    kernels, geometry = products.ProductKernels(name), [values.to(PLACE) for values in geometry]
    numbers = law.softening, fused.settings_of(law)
    here = x.to(PLACE)
    assert error(kernels.multiply(here, *geometry, *numbers, bias.to(PLACE)), y) < MOST_ERROR
    back = kernels.multiply(grad.to(PLACE), *geometry, *numbers, is_back=True)
    *grads, by_first = kernels.geometry_gradients(grad.to(PLACE), here, *geometry, *numbers)
    for found, values in zip((back, *grads), exact, strict=False):
        assert error(found, values.grad) < MOST_ERROR
    for found, right in zip(fused.parameter_gradients(law, by_first), by_law, strict=True):
        terms = grad.norm() * y.detach().norm()  # of one sum, terms of both signs cancel
        assert float((found.cpu().double() - right).abs()) < MOST_ERROR * float(terms)


@pytest.mark.parametrize("batch", [5, 40, 90])
@pytest.mark.parametrize("has_bias", [False, True])
def test_bias_and_rectifier(has_bias, batch):
    """With one program for all sources, and with several."""
    x, *geometry, bias = (values.to(PLACE) for values in operands(batch, 70, 40, 3))
    bias = bias if has_bias else None
    kernels = products.ProductKernels("gaussian")
    y = kernels.multiply(x, *geometry, 0.0, [1.0], bias)
    torch.testing.assert_close(kernels.multiply(x, *geometry, 0.0, [1.0], bias, True), y.relu())
    assert bool((y < 0).any()) and bool((y > 0).any())


@pytest.mark.parametrize("name", ["inverse_distance", "gaussian", "cosine_wave"])
@pytest.mark.parametrize("batch", [16, 50, 200])
def test_half_precision_is_as_exact_as_a_product_with_stored_weights(name, batch):
    law = law_of(name).to(PLACE)
    x, source, target, scale, _ = operands(batch, 120, 90, 3)
    x, grad = x.to(torch.bfloat16), torch.randn(batch, 90).to(torch.bfloat16)
    exact = [values.double().requires_grad_() for values in (x, source, target, scale)]
    law.double()
    right = composed.all_to_all(*exact, law.to("cpu"), None, None, 0, False)
    right.backward(grad.double())
    law.float().to(PLACE)
    geometry, numbers = (
        [values.to(PLACE) for values in (source, target, scale)],
        (law.softening, fused.settings_of(law)),
    )
    kernels, x, grad = products.ProductKernels(name), x.to(PLACE), grad.to(PLACE)
    found = [
        kernels.multiply(x, *geometry, *numbers),
        kernels.multiply(grad, *geometry, *numbers, is_back=True),
        *kernels.geometry_gradients(grad, x, *geometry, *numbers)[:3],
    ]
    stored = dense.TileKernels(name)
    weight = stored.weight(*geometry, *numbers).to(torch.bfloat16)
    plain = [
        F.linear(x, weight),
        grad @ weight,
        *stored.geometry_gradients((grad.t() @ x).float(), *geometry, *numbers)[:3],
    ]
    for own, other, expected in zip(found, plain, [right, *(values.grad for values in exact)], strict=True):
        assert error(own, expected) <= 3 * error(other, expected)


def rounded(values):
    """Single precision with the ten bits of TF32."""
    return ((values.view(torch.int32) + 4096) & -8192).view(torch.float32)


@pytest.mark.parametrize("batch", [10, 50, 200])
def test_tf32_is_rounded(batch, tf32):
    """Numbers that are cut off would make sums of positive ones too small."""
    x, source, target, scale, _ = operands(batch, 300, 70, 3)
    x, scale = x.abs(), scale.abs()
    geometry = [values.to(PLACE) for values in (source, target, scale)]
    exact = [values.double() for values in (x, source, target, scale)]
    right = composed.all_to_all(*exact, law_of("gaussian").double(), None, None, 0, False)
    found = products.ProductKernels("gaussian").multiply(x.to(PLACE), *geometry, 0.0, [1.0])
    weight = dense.TileKernels("gaussian").weight(*geometry, 0.0, [1.0]).cpu()
    plain = rounded(x).double() @ rounded(weight).double().t()
    assert 1e-6 < error(found, right) <= 2 * error(plain, right)
    assert (
        not products.ProductKernels("gaussian")
        .multiply(torch.full_like(x, torch.nan).to(PLACE), *geometry, 0.0, [1.0])
        .isfinite()
        .any()
    )


def test_weights_are_scaled_before_they_are_rounded():
    """In half precision, a weight may be larger than all numbers, and its product with a small scale is not."""
    pos, scale = torch.zeros(1, 2, device=PLACE), torch.full((1,), 1e-3, device=PLACE)
    x = torch.ones(1, 1, dtype=torch.float16, device=PLACE)
    kernels = products.ProductKernels("inverse_distance")
    for is_back in (False, True):
        assert kernels.multiply(x, pos, pos, scale, 1e-5, is_back=is_back).item() == pytest.approx(100.0, rel=1e-3)


def test_partial_sums_in_blocks(monkeypatch):
    x, *geometry, _ = (values.to(PLACE) for values in operands(20, 70, 200, 3))
    grad = torch.randn(20, 200, device=PLACE)
    law = law_of("cosine").to(PLACE)
    numbers = law.softening, fused.settings_of(law)
    kernels = products.ProductKernels("cosine")
    whole = kernels.geometry_gradients(grad, x, *geometry, *numbers)
    monkeypatch.setattr(partial_sums, "MOST_BYTES", 1)
    for found in (
        kernels.geometry_gradients(grad, x, *geometry, *numbers),
        dense.TileKernels("cosine").geometry_gradients(grad.t() @ x, *geometry, *numbers),
    ):
        for own, other in zip(found, whole, strict=True):
            torch.testing.assert_close(own, other, rtol=1e-4, atol=1e-4)


def test_each_run_gives_the_same_bits():
    x, *geometry, bias = (values.to(PLACE) for values in operands(10, 300, 70, 3))
    grad, kernels = torch.randn(10, 70, device=PLACE), products.ProductKernels("gaussian")
    runs = [
        (
            kernels.multiply(x, *geometry, 0.0, [1.0], bias),
            *kernels.geometry_gradients(grad, x, *geometry, 0.0, [1.0])[:3],
        )
        for _ in range(2)
    ]
    assert all(torch.equal(one, other) for one, other in zip(*runs, strict=True))


def test_what_lies_past_the_last_neuron_has_no_weight():
    """There, positions are read as 0, and an inverse distance from there may be infinite."""
    source, target = torch.ones(3, 2, device=PLACE), torch.zeros(2, 2, device=PLACE)
    y = products.ProductKernels("inverse_distance").multiply(
        torch.ones(1, 3, device=PLACE), source, target, torch.ones(3, device=PLACE), 0.0
    )
    torch.testing.assert_close(y, torch.full_like(y, 3 / 2**0.5))


def test_no_samples_and_no_neurons():
    kernels = products.ProductKernels("gaussian")
    pos, scale = torch.ones(3, 2, device=PLACE), torch.ones(3, device=PLACE)
    nothing = kernels.multiply(torch.empty(0, 3, device=PLACE), pos, pos, scale, 0.0, [1.0])
    assert nothing.shape == (0, 3)
    grads = kernels.geometry_gradients(nothing, nothing, pos, pos, scale, 0.0, [1.0])
    assert all(bool((grad == 0).all()) for grad in grads[:3])
    empty = kernels.multiply(torch.empty(2, 0, device=PLACE), pos[:0], pos, scale[:0], 0.0, [1.0], scale)
    assert empty.tolist() == [[1.0] * 3] * 2


@pytest.fixture
def tf32():
    """Let products round to TF32."""
    precision = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("high")
    yield
    torch.set_float32_matmul_precision(precision)


def test_stored_weights_pay_for_many_samples():
    def worthwhile(*shape, dtype=torch.float32):
        return products.ProductKernels.is_worthwhile(torch.empty(*shape[:2], dtype=dtype, device="meta"), shape[2])

    assert worthwhile(64, 784, 2048) and not worthwhile(65, 784, 2048)
    assert worthwhile(256, 784, 2048, dtype=torch.bfloat16) and not worthwhile(257, 784, 2048, dtype=torch.bfloat16)
    assert worthwhile(4096, 2**15, 2**15) and not worthwhile(1, 3, 4, dtype=torch.float64)
    precision = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("high")
    try:
        assert products.multiplies_in_tf32() and worthwhile(65, 784, 2048)
    finally:
        torch.set_float32_matmul_precision(precision)
