"""Kernels in Triton against the library in double precision: on a GPU, or through Triton's interpreter."""

import itertools

import pytest
import torch
from conftest import DEVICE
from hypothesis import given
from hypothesis import strategies as st
from triton_references import MOST_ERROR, PLACE, error, law_of

from spatialgraph.functional import composed, fused, leaky
from spatialgraph.functional.compressed_edges import CompressedEdges
from spatialgraph.functional.normalization import normalised
from spatialgraph.kernels.cuda import compressed, dense, rows
from spatialgraph.kernels.cuda import leaky as leaky_kernels
from spatialgraph.kernels.cuda import normalization as normalization_kernels
from spatialgraph.laws import LAWS

pytest.importorskip("triton")
pytestmark = [
    pytest.mark.skipif(DEVICE.type not in ("sim", "cuda"), reason="needs a GPU or Triton's interpreter"),
    pytest.mark.filterwarnings("ignore::RuntimeWarning"),  # of NumPy, where the interpreter's squares overflow
]


@pytest.mark.parametrize("name", LAWS)
@pytest.mark.parametrize("n, m, dim", [(70, 45, 3), (200, 130, 2), (40, 300, 5), (3, 2, 1), (256, 64, 3)])
def test_weights_of_all_pairs(name, n, m, dim):
    law = law_of(name)
    source, target, scale = torch.randn(n, dim), torch.randn(m, dim), torch.randn(n)
    target[0] = source[0]  # two neurons meet
    grad = torch.randn(m, n)
    exact = [values.double().requires_grad_() for values in (source, target, scale)]
    weight = composed.pairwise_weight(*exact, law.double())
    weight.backward(grad.double())
    by_law = [parameter.grad for parameter in law.parameters()]
    law.zero_grad()
    law.float().to(PLACE)
    kernels, given_here = dense.TileKernels(name), [values.to(PLACE) for values in (source, target, scale)]
    numbers = law.softening, fused.settings_of(law)
    assert error(kernels.weight(*given_here, *numbers), weight) < MOST_ERROR
    *grads, by_first = kernels.geometry_gradients(grad.to(PLACE), *given_here, *numbers)
    for found, values in zip(grads, exact, strict=True):
        assert error(found, values.grad) < MOST_ERROR
    for found, right in zip(fused.parameter_gradients(law, by_first), by_law, strict=True):
        terms = (grad.double() * weight).detach().norm()  # of one sum, terms of both signs cancel
        assert float((found.cpu().double() - right).abs()) < 10 * MOST_ERROR * float(terms)


@pytest.mark.parametrize("name", LAWS)
@pytest.mark.parametrize("n, m, dim, density", [(70, 45, 3, 0.2), (300, 3, 2, 0.9), (5, 4, 1, 0.5), (40, 50, 6, 0.0)])
def test_weights_of_listed_edges(name, n, m, dim, density):
    law = law_of(name)
    edges = CompressedEdges.from_mask(torch.rand(m, n) < density)
    source, target, scale = torch.randn(n, dim), torch.randn(m, dim), torch.randn(n)
    target[0] = source[0]  # two neurons may meet
    grad = torch.randn(edges.count)
    exact = [values.double().requires_grad_() for values in (source, target, scale)]
    weight = composed.edge_weight(*exact, law.double(), edges)
    weight.backward(grad.double())
    by_law = [parameter.grad for parameter in law.parameters()]
    law.zero_grad()
    law.float().to(PLACE)
    pointer, columns = edges.target_pointer.to(PLACE), edges.sources.to(PLACE)
    by_source = tuple(each.to(PLACE) for each in (edges.source_pointer, edges.by_source, edges.targets_by_source))
    numbers = law.softening, fused.settings_of(law)
    geometry = [values.to(PLACE) for values in (source, target, scale)]
    kernels = compressed.EdgeTileKernels(name)
    assert error(kernels.weights(pointer, columns, *geometry, *numbers), weight) < MOST_ERROR
    *grads, by_first = kernels.gradients(pointer, columns, *geometry, numbers[0], grad.to(PLACE), numbers[1], by_source)
    for found, values in zip(grads, exact, strict=True):
        assert error(found, values.grad) < MOST_ERROR
    for found, right in zip(fused.parameter_gradients(law, by_first), by_law, strict=True):
        terms = (grad.double() * weight).detach().norm()
        assert float((found.cpu().double() - right).abs()) <= 10 * MOST_ERROR * float(terms)


def test_edges_out_of_range_are_not_read():
    pos, scale = torch.randn(3, 2, device=PLACE), torch.ones(3, device=PLACE)
    pointer = torch.tensor([0, 2, 99, 4], device=PLACE)  # the edges of a row may not go past the last one
    columns = torch.tensor([0, 7, -5, 1], dtype=torch.int32, device=PLACE)
    kernels = compressed.EdgeTileKernels("gaussian")
    weight = kernels.weights(pointer, columns, pos, pos, scale, 0.0, [1.0])
    assert weight[0] == 1 and weight[1] == 0
    kernels.gradients(pointer, columns, pos, pos, scale, 0.0, weight, [1.0], (pointer, columns, columns))
    y = rows.product(pointer, columns, torch.ones(4, device=PLACE), torch.ones(3, 2, device=PLACE))
    assert y[0].tolist() == [1.0, 1.0]
    assert rows.sampled(pointer, columns, y, torch.ones(3, 2, device=PLACE))[0][:2].tolist() == [2.0, 0.0]


@given(
    m=st.integers(1, 5),
    n=st.integers(1, 40),
    batch=st.integers(0, 150),
    density=st.floats(0, 1),
    has_bias=st.booleans(),
    rectify=st.booleans(),
)
def test_products_of_compressed_rows(m, n, batch, density, has_bias, rectify):
    matrix = torch.randn(m, n) * (torch.rand(m, n) < density)
    edges = CompressedEdges.from_mask(matrix != 0)
    x, bias, grad = torch.randn(batch, n).t(), torch.randn(m), torch.randn(m, batch)
    exact = [values.double().requires_grad_() for values in (matrix, x, bias)]
    y = exact[0] @ exact[1] + (exact[2][:, None] if has_bias else 0.0)
    y = y.relu() if rectify else y
    y.backward(grad.double())
    rows_of = edges.target_pointer.to(PLACE), edges.sources.to(PLACE)
    operands = matrix[matrix != 0].to(PLACE), x.to(PLACE), bias.to(PLACE) if has_bias else None
    found = rows.product(*rows_of, *operands, rectify)
    torch.testing.assert_close(found.cpu().double(), y.detach(), rtol=1e-5, atol=1e-5)
    active = y.detach().float().to(PLACE) if rectify else None
    by_weight, by_bias = rows.sampled(*rows_of, grad.to(PLACE), x.to(PLACE), active)
    torch.testing.assert_close(by_weight.cpu().double(), exact[0].grad[matrix != 0], rtol=1e-5, atol=1e-4)
    if has_bias:
        torch.testing.assert_close(by_bias.cpu().double(), exact[2].grad, rtol=1e-5, atol=1e-4)


@pytest.mark.parametrize("rectify", [False, True])
def test_rows_that_are_shared_out_among_programs(rectify):
    matrix = torch.randn(2, 700)
    edges = CompressedEdges.from_mask(matrix != 0)
    x, bias = torch.randn(700, 5), torch.randn(2)
    rows_of = edges.target_pointer.to(PLACE), edges.sources.to(PLACE)
    y = rows.product(*rows_of, matrix.flatten().to(PLACE), x.to(PLACE), bias.to(PLACE), rectify)
    right = matrix.double() @ x.double() + bias.double()[:, None]
    assert error(y, right.relu() if rectify else right) < MOST_ERROR


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_weights_in_half_precision(dtype):
    source, target, scale = (torch.randn(*shape) for shape in ((50, 3), (30, 3), (50,)))
    given_here = [values.to(PLACE) for values in (source, target, scale)]
    out = torch.empty(30, 50, dtype=dtype, device=PLACE)
    kernels = dense.TileKernels("gaussian")
    kernels.weight(*given_here, 0.0, [1.0], out=out)
    exact = kernels.weight(*given_here, 0.0, [1.0])
    torch.testing.assert_close(out.float(), exact, rtol=torch.finfo(dtype).eps, atol=torch.finfo(dtype).tiny)


@pytest.mark.parametrize("name", LAWS)
def test_weights_of_far_and_unknown_positions(name):
    """Squares that overflow give 0, and NaN stays, as on the CPU; the cosine has no limit."""
    law = law_of(name).to(PLACE)
    source = torch.tensor([[0.0], [1e30], [torch.nan]], device=PLACE)
    target, scale = torch.zeros(1, 1, device=PLACE), torch.ones(3, device=PLACE)
    weight = dense.TileKernels(name).weight(source, target, scale, law.softening, fused.settings_of(law))[0]
    assert weight[0].isfinite() and weight[2].isnan()
    if name != "cosine":
        assert weight[1] == 0


def test_positions_may_have_any_strides():
    source, target = torch.randn(3, 40, device=PLACE).t(), torch.randn(30, 6, device=PLACE)[:, ::2]
    scale, grad = torch.randn(80, device=PLACE)[::2], torch.randn(40, 30, device=PLACE).t()
    kernels = dense.TileKernels("inverse_distance")
    plain = [values.contiguous() for values in (source, target, scale)]
    assert torch.equal(kernels.weight(source, target, scale, 1e-3), kernels.weight(*plain, 1e-3))
    results = zip(
        kernels.geometry_gradients(grad, source, target, scale, 1e-3),
        kernels.geometry_gradients(grad.contiguous(), *plain, 1e-3),
        strict=True,
    )
    assert all(torch.equal(torch.as_tensor(own), torch.as_tensor(other)) for own, other in results)


@given(batch=st.integers(0, 70), neurons=st.integers(1, 90), axis=st.sampled_from([0, 1]), rectify=st.booleans())
def test_normalisation(batch, neurons, axis, rectify):
    shape = (batch, neurons) if axis == 1 else (neurons, batch)
    total, bias, grad = 3 * torch.randn(shape) + 1, torch.randn(neurons), torch.randn(shape)
    exact, exact_bias = total.double().requires_grad_(), bias.double().requires_grad_()
    by_sample = exact if axis == 1 else exact.t()
    right = normalised(by_sample, exact_bias, rectify)
    right.backward(grad.double() if axis == 1 else grad.double().t())
    right = right if axis == 1 else right.t()
    given_here = total.to(PLACE), bias.to(PLACE)
    y, mean, scale = normalization_kernels.normalise(*given_here, rectify, axis)
    grads = normalization_kernels.gradients(*given_here, mean, scale, grad.to(PLACE), rectify, axis)
    near = {"rtol": 1e-4, "atol": 1e-4} if neurons < 8 else {"rtol": 1e-5, "atol": 1e-5}
    for found, expected in zip((y, *grads), (right, exact.grad, exact_bias.grad), strict=True):
        if neurons > 1:  # one neuron is the mean of its own
            torch.testing.assert_close(found.cpu().double(), expected.detach(), **near)


@pytest.mark.parametrize(("reset", "rows"), list(itertools.product((0, 1, 2), (1, 7))))
def test_leaky_integration(reset, rows):
    """The same spikes and potentials as step by step, to the bit."""
    current, potential, shares = torch.randn(rows, 5, 130), torch.randn(5, 130), torch.rand(7)
    leaves = [values.clone().requires_grad_() for values in (current, potential)]
    settings = leaky._Settings(7, 0.9, 1.0, leaky.RESETS[reset], True, True, shares)
    expected = leaky._step_by_step(*leaves, settings, leaky.FastSigmoid())
    given_here = current.to(PLACE), potential.to(PLACE), 0.9, 1.0, reset
    found = leaky_kernels.run(*given_here, 7, shares.to(PLACE))
    for own, other in zip(found, expected, strict=True):
        assert torch.equal(own.cpu(), other)
    grads = [torch.randn_like(values) for values in expected]
    torch.autograd.backward(expected, grads)
    there = [values.to(PLACE) for values in grads]
    found = leaky_kernels.gradients(*given_here, 25.0, 7, *there, shares.to(PLACE))
    for own, leaf in zip(found, leaves, strict=True):
        torch.testing.assert_close(own.cpu(), leaf.grad, rtol=1e-5, atol=1e-5)


def test_runs_without_steps_or_neurons():
    nothing = leaky_kernels.run(torch.ones(1, 3, device=PLACE), torch.ones(3, device=PLACE), 0.9, 1.0, 0, 0)
    assert nothing[3].tolist() == [1.0] * 3
    grads = leaky_kernels.gradients(
        torch.ones(1, 3, device=PLACE), torch.ones(3, device=PLACE), 0.9, 1.0, 0, 25.0, 0, by_last=torch.ones(3)
    )
    assert grads[0].tolist() == [[0.0] * 3] and grads[1].tolist() == [1.0] * 3
    empty = torch.empty(0, 2, device=PLACE)
    weight = dense.TileKernels("gaussian").weight(empty, torch.ones(3, 2, device=PLACE), empty[:, 0], 0.0, [1.0])
    assert weight.shape == (3, 0)
