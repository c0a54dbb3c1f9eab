"""The fused kernels against the tensor operations they stand in for."""

import concurrent.futures

import pytest
import torch
from references import PlainInverseDistance

from spatialgraph.functional import all_to_all, edge_weight, pairwise_weight, sparse
from spatialgraph.functional.compressed_edges import CompressedEdges
from spatialgraph.functional.fused import dense_law
from spatialgraph.kernels import handover
from spatialgraph.laws import Gaussian, InverseDistance, InversePower

pytest.importorskip("numba")


def operands(n=300, m=400, dim=3, dtype=torch.float64):
    torch.manual_seed(0)
    shapes = (5, n), (n, dim), (m, dim), (n,), (m,)
    x, source_pos, target_pos, scale, bias = (torch.randn(*shape, dtype=dtype, requires_grad=True) for shape in shapes)
    return [x, source_pos, target_pos, scale], bias


def run(law, dtype=torch.float64, given=None):
    arguments, bias = given or operands(dtype=dtype)
    y = all_to_all(*arguments, law, bias)
    return [y, *torch.autograd.grad(y.square().sum(), [*arguments, bias])]


@pytest.fixture
def threads():
    before = torch.get_num_threads()
    yield torch.set_num_threads
    torch.set_num_threads(before)


@pytest.mark.parametrize("count", [1, 2, 3])
def test_any_number_of_threads_agrees_with_tensor_operations(count, threads):
    threads(count)
    for fused, plain in zip(run(InverseDistance()), run(PlainInverseDistance()), strict=True):
        torch.testing.assert_close(fused, plain, rtol=1e-10, atol=1e-10)


def test_same_number_of_threads_same_bits(threads):
    threads(2)
    first, second = run(InverseDistance(), torch.float32), run(InverseDistance(), torch.float32)
    assert all(torch.equal(a, b) for a, b in zip(first, second, strict=True))


def test_called_from_several_threads_at_once():
    given = operands()
    expected = run(InverseDistance(), given=given)
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        for results in pool.map(lambda _: run(InverseDistance(), given=given), range(12)):
            for result, right in zip(results, expected, strict=True):
                torch.testing.assert_close(result, right)


def test_two_neurons_may_meet():
    pos = torch.zeros(2, 3, requires_grad=True)
    y = all_to_all(torch.ones(1, 2), pos, torch.zeros(1, 3), torch.ones(2), InverseDistance(softening=0.01))
    y.sum().backward()
    assert y.item() == pytest.approx(200.0)
    assert torch.equal(pos.grad, torch.zeros(2, 3))


@pytest.mark.parametrize(
    ("law", "pos", "expected"),
    [
        (InverseDistance(), torch.zeros(1, 1), True),
        (InverseDistance(), torch.zeros(1, 1, dtype=torch.float64), True),
        (InverseDistance(), torch.zeros(1, 1, dtype=torch.bfloat16), False),
        (InverseDistance(), torch.zeros(1, 1, device="meta"), False),
        (PlainInverseDistance(), torch.zeros(1, 1), False),
        (Gaussian(), torch.zeros(1, 1), True),
        (InversePower(), torch.zeros(1, 1), False),
    ],
)
def test_what_the_kernels_serve(law, pos, expected):
    assert (dense_law(law, pos) is not None) is expected


def test_without_numba_tensor_operations_serve(monkeypatch):
    monkeypatch.setattr(handover, "_numba_works", lambda: False)
    assert dense_law(InverseDistance(), torch.zeros(1, 1)) is None
    for result, right in zip(run(InverseDistance()), run(PlainInverseDistance()), strict=True):
        torch.testing.assert_close(result, right, rtol=1e-12, atol=1e-12)


# Sparse projections ----


def sparse_operands(n=60, m=80, density=0.3, batch=700, dtype=torch.float64):
    torch.manual_seed(0)
    chosen = torch.rand(m, n) < density
    chosen[3] = False  # a target without edges
    targets, sources = torch.nonzero(chosen, as_tuple=True)
    edges = CompressedEdges.from_edges(torch.stack([sources, targets]), n, m)
    shapes = (batch, n), (n, 3), (m, 3), (n,)
    return [torch.randn(*shape, dtype=dtype, requires_grad=True) for shape in shapes], edges


def run_sparse(law, given):
    (x, *geometry), edges = given
    y = sparse(x, edge_weight(*geometry, law, edges), edges)
    return [y, *torch.autograd.grad(y.square().sum(), [x, *geometry])]


def without_kernels(monkeypatch):
    monkeypatch.setattr(handover, "available", lambda *values: False)


@pytest.mark.parametrize("count", [1, 2, 3])
@pytest.mark.parametrize(("n", "batch"), [(60, 700), (60, 1), (5, 37), (9000, 130)])
def test_sparse_kernels_agree_with_tensor_operations(count, n, batch, threads, monkeypatch):
    threads(count)
    given = sparse_operands(n, density=min(0.3, 500 / n), batch=batch)
    fused = run_sparse(InverseDistance(), given)
    without_kernels(monkeypatch)
    for result, right in zip(fused, run_sparse(InverseDistance(), given), strict=True):
        torch.testing.assert_close(result, right, rtol=1e-10, atol=1e-10)


def test_sparse_kernels_agree_with_a_dense_product():
    (x, *geometry), edges = sparse_operands()
    dense = edges.matrix(torch.ones(len(edges.sources), dtype=torch.float64)).to_dense()
    expected = x @ (pairwise_weight(*geometry, InverseDistance()) * dense).t()
    torch.testing.assert_close(run_sparse(InverseDistance(), ([x, *geometry], edges))[0], expected)


def test_sparse_kernels_give_the_same_bits_again(threads):
    threads(2)
    given = sparse_operands(dtype=torch.float32)
    first, second = run_sparse(InverseDistance(), given), run_sparse(InverseDistance(), given)
    assert all(torch.equal(a, b) for a, b in zip(first, second, strict=True))


def test_sparse_kernels_without_edges():
    (x, *geometry), _ = sparse_operands()
    edges = CompressedEdges.from_edges(torch.empty(2, 0, dtype=torch.int64), 60, 80)
    y, *grads = run_sparse(InverseDistance(), ([x, *geometry], edges))
    assert not y.any() and not any(grad.any() for grad in grads)


def test_sparse_kernels_of_other_laws_share_the_product(monkeypatch):
    given = sparse_operands(n=20, batch=9)
    fused = run_sparse(InversePower(), given)
    without_kernels(monkeypatch)
    for result, right in zip(fused, run_sparse(InversePower(), given), strict=True):
        torch.testing.assert_close(result, right)
