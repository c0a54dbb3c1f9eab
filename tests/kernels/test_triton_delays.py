"""The delay kernels in Triton against nested loops in double precision: on a GPU, or through Triton's interpreter."""

import pytest
import torch
from conftest import DEVICE
from delayed_spikes import loops
from hypothesis import given
from hypothesis import strategies as st
from triton_references import PLACE

from spatialgraph.functional.compressed_edges import CompressedEdges
from spatialgraph.functional.delay_steps import delayed_by_operations
from spatialgraph.kernels.cuda import delays

pytest.importorskip("triton")
pytestmark = pytest.mark.skipif(DEVICE.type not in ("sim", "cuda"), reason="needs a GPU or Triton's interpreter")


def listed(edges):
    return delays.Edges(*(getattr(edges, name).to(PLACE) for name in delays.Edges._fields))


def operands(steps, batch, n, m, longest):
    x = torch.randn(steps, batch, n) * (torch.rand(steps, batch, n) < 0.5)
    return x, torch.randn(m, n), torch.rand(m, n) * longest


@given(
    steps=st.integers(1, 9),
    batch=st.integers(0, 5),
    n=st.integers(0, 9),
    m=st.integers(0, 6),
    longest=st.sampled_from([0.0, 1.0, 4.0, 1e9]),
    before=st.integers(0, 4),
    is_listed=st.booleans(),
    is_whole=st.booleans(),
)
def test_sums_and_gradients(steps, batch, n, m, longest, before, is_listed, is_whole):
    x, weight, delay = operands(steps + before, batch, n, m, longest)
    if is_whole:
        delay = delay.round()
    exists = torch.rand(m, n) < 0.6 if is_listed else torch.ones(m, n, dtype=torch.bool)
    edges = CompressedEdges.from_mask(exists)
    own = (weight[exists], delay[exists]) if is_listed else (weight, delay)
    given_here = [values.to(PLACE) for values in (x, *own)]
    rows = listed(edges) if is_listed else None
    y = delays.send(*given_here, rows, before)
    expected = loops(x, weight * exists, delay.clamp(max=100.0), before)
    torch.testing.assert_close(y.cpu().double(), torch.from_numpy(expected), rtol=1e-5, atol=1e-5)

    grad = torch.randn(steps, batch, m)
    exact = [values.double().requires_grad_() for values in (x, weight[exists], delay[exists])]
    delayed_by_operations(*exact, edges, before).backward(grad.double())
    grads = [
        delays.send(grad.to(PLACE), *given_here[1:], rows, before, back_to=n),
        *delays.gradients(*given_here, grad.to(PLACE), rows, before),
    ]
    for found, leaf in zip(grads, exact, strict=True):
        torch.testing.assert_close(found.cpu().double().view_as(leaf.grad), leaf.grad, rtol=1e-5, atol=1e-5)


def test_many_entries_and_edges():
    """More than a program takes at a time, in several tiles."""
    x, weight, delay = operands(60, 9, 21, 3, 20.0)
    y = delays.send(x.to(PLACE), weight.to(PLACE), delay.to(PLACE), before=7)
    exact = [values.double().requires_grad_() for values in (x, weight, delay)]
    right = delayed_by_operations(*exact, None, 7)
    torch.testing.assert_close(y.cpu().double(), right.detach(), rtol=1e-5, atol=1e-5)
    grad = torch.randn(53, 9, 3)
    right.backward(grad.double())
    found = delays.gradients(x.to(PLACE), weight.to(PLACE), delay.to(PLACE), grad.to(PLACE), before=7)
    for own, leaf in zip(found, exact[1:], strict=True):
        torch.testing.assert_close(own.cpu().double(), leaf.grad, rtol=1e-5, atol=1e-4)


@pytest.mark.parametrize("refused", [-1.0, torch.nan, torch.inf])
def test_refused_delays_make_their_targets_nan(refused):
    x, weight, delay = operands(5, 2, 4, 3, 2.0)
    delay[1, 2] = refused
    y = delays.send(x.to(PLACE), weight.to(PLACE), delay.to(PLACE))
    assert y[..., 1].isnan().all() and y[..., [0, 2]].isfinite().all()


def test_edges_out_of_range_are_not_read():
    rows = delays.Edges(
        torch.tensor([0, 2, 99], device=PLACE),  # the edges of a row may not go past the last one
        torch.tensor([0, 7, -5], dtype=torch.int32, device=PLACE),
        torch.tensor([0, 1, 3], device=PLACE),
        torch.tensor([0, 9, -1], device=PLACE),
        torch.tensor([0, 5, 1], dtype=torch.int32, device=PLACE),
    )
    x, weight, delay = (torch.ones(*shape, device=PLACE) for shape in ((3, 1, 2), (3,), (3,)))
    y = delays.send(x, weight, delay, rows)
    assert y[:, 0].tolist() == [[0.0, 0.0], [1.0, 0.0], [1.0, 0.0]]
    assert delays.send(y, weight, delay, rows, back_to=2).isfinite().all()
    assert delays.gradients(x, weight, delay, y, rows)[0].isfinite().all()


def test_each_run_gives_the_same_bits():
    x, weight, delay = (values.to(PLACE) for values in operands(40, 3, 30, 5, 9.0))
    grad = torch.randn(40, 3, 5).to(PLACE)
    runs = [(delays.send(x, weight, delay), *delays.gradients(x, weight, delay, grad)) for _ in range(2)]
    assert all(torch.equal(one, other) for one, other in zip(*runs, strict=True))
