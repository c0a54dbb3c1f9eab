"""The fused kernels of sparse projections against dense products in float64, for every layout and width of a batch."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from spatialgraph.functional import sparse
from spatialgraph.functional.compressed_edges import CompressedEdges
from spatialgraph.kernels import compressed as sparse_kernels
from spatialgraph.kernels import handover

pytest.importorskip("numba")

TOLERANCE = {torch.float32: 1e-5, torch.float64: 1e-12}


def random_edges(n, m, share):
    edges = torch.nonzero(torch.rand(m, n) < share).t().flip(0)
    return CompressedEdges.from_edges(edges, n, m)


def dense(edges, weight):
    matrix = weight.new_zeros(len(edges.target_pointer) - 1, len(edges.source_pointer) - 1)
    return matrix.index_put((edges.targets, edges.sources), weight)


LAYOUTS = {
    "batch last": lambda x: x.t().contiguous().t(),
    "batch first": lambda x: x.contiguous(),
    "neither": lambda x: x.repeat_interleave(2, 1)[:, ::2],
}

cases = {
    "n": st.integers(1, 40),
    "m": st.integers(1, 30),
    "batch": st.sampled_from([1, 2, 15, 16, 63, 64, 65, 127, 128, 129, 200, 300]),
    "share": st.sampled_from([0.0, 0.1, 0.6, 1.0]),
    "dtype": st.sampled_from(list(TOLERANCE)),
    "layout": st.sampled_from(list(LAYOUTS)),
    "biased": st.booleans(),
    "rectify": st.booleans(),
    "seed": st.integers(0, 1000),
}


@settings(max_examples=120, deadline=None)
@given(**cases)
def test_values_and_gradients(n, m, batch, share, dtype, layout, biased, rectify, seed):
    torch.manual_seed(seed)
    edges = random_edges(n, m, share)
    x = LAYOUTS[layout](torch.randn(batch, n, dtype=dtype)).requires_grad_()
    weight = torch.randn(len(edges.sources), dtype=dtype, requires_grad=True)
    bias = torch.randn(m, dtype=dtype, requires_grad=True) if biased else None
    assert handover.available(x)
    y = sparse(x, weight, edges, bias, rectify)
    expected = x.double() @ dense(edges, weight.double()).t()
    expected = expected if bias is None else expected + bias.double()
    expected = expected.relu() if rectify else expected
    tolerance = TOLERANCE[dtype]
    torch.testing.assert_close(y, expected.to(dtype), rtol=tolerance, atol=10 * tolerance)
    # Where rounding decides the sign of an input, the two may differ in its gradient.
    pull = torch.randn_like(y) * (expected.abs() > 1e-4)
    inputs = [x, weight] if bias is None else [x, weight, bias]
    grads = torch.autograd.grad((y * pull).sum(), inputs)
    references = torch.autograd.grad((expected * pull).sum(), inputs)
    for grad, reference in zip(grads, references, strict=True):
        torch.testing.assert_close(grad, reference.to(dtype), rtol=tolerance, atol=30 * tolerance)


@pytest.mark.parametrize("threads", [1, 2, 3])
@pytest.mark.parametrize("packed", [0, 10**6])
def test_work_shared_by_threads_and_packed_or_not(monkeypatch, threads, packed):
    torch.manual_seed(0)
    monkeypatch.setattr(sparse_kernels, "_WORTH_PACKING", packed)
    monkeypatch.setattr(sparse_kernels, "_threads", lambda work: threads)
    edges = random_edges(50, 70, 0.3)
    x, rows = torch.randn(50, 333), torch.randn(70, 333)
    active = torch.randn(70, 333)
    weight, bias = torch.randn(len(edges.sources)), torch.randn(70)
    y = sparse_kernels.product(edges.target_pointer, edges.sources, weight, x, bias, rectify=True)
    torch.testing.assert_close(y, (dense(edges, weight) @ x + bias[:, None]).relu(), rtol=1e-5, atol=1e-5)
    out, sums = sparse_kernels.sampled(edges.target_pointer, edges.sources, rows, x, active)
    masked = torch.where(active > 0, rows, 0.0)
    torch.testing.assert_close(out, (masked @ x.t())[edges.targets, edges.sources], rtol=1e-5, atol=1e-4)
    torch.testing.assert_close(sums, masked.sum(1), rtol=1e-5, atol=1e-4)


def test_the_same_bits_each_time():
    edges = random_edges(300, 200, 0.5)
    x, weight = torch.randn(257, 300), torch.randn(len(edges.sources))
    assert torch.equal(sparse(x, weight, edges), sparse(x, weight, edges))


@pytest.mark.parametrize("rectify", [False, True])
def test_nan_and_infinity_stay(rectify):
    edges = CompressedEdges.from_edges(torch.tensor([[0, 1, 1], [0, 0, 1]]), 2, 2)
    x = torch.ones(130, 2)
    x[3, 0], x[129, 1] = float("nan"), float("inf")
    y = sparse(x, torch.ones(3), edges, rectify=rectify)
    assert y[3, 0].isnan()
    assert y[3, 1] == 1.0
    assert y[129].isinf().all()
    assert y[[0, 4, 128]].isfinite().all()


def test_nothing_is_stored_for_edges_and_batch(monkeypatch):
    """The largest tensors are activations: neither a copy of the inputs nor messages."""
    edges, x = random_edges(100, 80, 1.0), torch.randn(600, 100, requires_grad=True)
    weight = torch.randn(len(edges.sources), requires_grad=True)
    saved = []
    with torch.autograd.graph.saved_tensors_hooks(lambda t: saved.append(t) or t, lambda t: t):
        sparse(x, weight, edges, rectify=True).sum().backward()
    assert max(t.numel() for t in saved) <= 600 * 100
    assert any(t.data_ptr() == x.data_ptr() for t in saved)


@pytest.mark.parametrize("narrow", [torch.int32, torch.int64])
def test_edges_of_both_integer_types(narrow):
    torch.manual_seed(0)
    pairs = torch.nonzero(torch.rand(9, 12) < 0.3).t().flip(0)
    x, weight = torch.randn(70, 12), torch.randn(pairs.shape[1], requires_grad=True)
    edges = CompressedEdges.from_edges(pairs.to(narrow), 12, 9)
    y = sparse(x, weight, edges)
    expected = x @ dense(edges, weight).t()
    torch.testing.assert_close(y, expected)
    torch.testing.assert_close(*(torch.autograd.grad(out.square().sum(), weight)[0] for out in (y, expected)))


def test_activations_more_precise_than_weights_are_refused():
    edges = random_edges(3, 2, 1.0)
    with pytest.raises(TypeError, match=r"x must not be more precise than weight \(torch.float32\), got torch.float64"):
        sparse(torch.rand(4, 3).double(), torch.rand(edges.count), edges)
