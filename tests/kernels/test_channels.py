"""The fused kernels of channels against the tensor operations they stand in for."""

import pytest
import torch
from references import PlainInverseDistance

from spatialgraph.functional.channels import channel_convolution
from spatialgraph.functional.fused import channel_law
from spatialgraph.kernels import channels
from spatialgraph.laws import Gaussian, InverseDistance

pytest.importorskip("numba")


def operands(dtype=torch.float64, edges=3000):
    shapes = (50, 5), (edges, 3), (5, 7, 3), (edges,)
    values = [torch.randn(*shape, dtype=dtype, requires_grad=True) for shape in shapes]
    return values, torch.stack([torch.randint(50, (edges,)), torch.randint(40, (edges,))])


def run(law, given):
    arguments, edges = given
    y = channel_convolution(*arguments, law, edges, 40)
    return [y, *torch.autograd.grad(y.square().sum(), arguments)]


@pytest.fixture
def threads():
    before = torch.get_num_threads()
    yield torch.set_num_threads
    torch.set_num_threads(before)


@pytest.mark.parametrize("count", [1, 2, 3])
def test_any_number_of_threads_agrees_with_tensor_operations(count, threads):
    threads(count)
    given = operands()
    for fused, plain in zip(run(InverseDistance(), given), run(PlainInverseDistance(), given), strict=True):
        torch.testing.assert_close(fused, plain, rtol=1e-10, atol=1e-10)


def test_single_precision(threads):
    threads(2)
    arguments, edges = operands(torch.float32)
    exact = run(PlainInverseDistance(), ([a.detach().double().requires_grad_() for a in arguments], edges))
    first, second = run(InverseDistance(), (arguments, edges)), run(InverseDistance(), (arguments, edges))
    for fused, again, right in zip(first, second, exact, strict=True):
        assert torch.equal(fused, again)
        scale = float(right.detach().abs().max())
        torch.testing.assert_close(fused.double(), right, rtol=0, atol=1e-5 * scale)


def test_they_serve_inverse_distances_in_single_and_double_precision():
    x = torch.zeros(1, 1)
    assert channel_law(InverseDistance(), x) is channels
    assert channel_law(Gaussian(), x) is None and channel_law(InverseDistance(), x.half()) is None


@pytest.mark.parametrize("row", [0, 1])
@pytest.mark.parametrize("number", [-1, 50])
def test_edges_beyond_the_nodes_are_refused(row, number):
    (x, displacement, offset, weight), edges = operands()
    edges[row, 17] = number
    values = [value.detach() for value in (x, displacement, offset, weight)]
    with pytest.raises(ValueError, match=rf"edge_index\[{row}\] must lie between 0 and .., got {number}"):
        channels.convolve(*values, 1e-3, edges, 40)
    with pytest.raises(ValueError, match=rf"edge_index\[{row}\] must lie between 0 and .., got {number}"):
        channels.gradients(*values, 1e-3, edges, torch.zeros(40, 7, dtype=torch.float64))


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({0: torch.zeros(50, 4)}, ValueError, r"offset must have shape \(4, 7, 3\), got \(5, 7, 3\)"),
        ({1: torch.zeros(2999, 3)}, ValueError, r"displacement must have shape \(3000, 3\), got \(2999, 3\)"),
        ({1: torch.zeros(3000, 3).double()}, TypeError, "displacement must have dtype torch.float32"),
        ({3: torch.zeros(2999)}, ValueError, r"edge_weight must have shape \(3000,\), got \(2999,\)"),
    ],
)
def test_wrong_operands(change, error, message):
    values, edges = operands(torch.float32)
    values = [change.get(place, value.detach()) for place, value in enumerate(values)]
    with pytest.raises(error, match=message):
        channels.convolve(*values, 1e-3, edges, 40)
