"""The fused kernels of channels against the tensor operations they stand in for."""

import pytest
import torch
from references import LAWS

from spatialgraph.functional.channels import channel_convolution
from spatialgraph.functional.fused import channel_law
from spatialgraph.kernels import handover
from spatialgraph.kernels.channels import ChannelKernels
from spatialgraph.laws import Cosine, InverseDistance

pytest.importorskip("numba")

FUSED = {name: make for name, make in LAWS.items() if channel_law(make(), torch.zeros(1, 1)) is not None}
every_law = pytest.mark.parametrize("make", FUSED.values(), ids=FUSED.keys())
KERNELS = ChannelKernels("inverse_distance")


def operands(dtype=torch.float64, edges=3000):  # enough for several threads
    shapes = (50, 5), (edges, 3), (5, 7, 3), (edges,)
    values = [torch.randn(*shape, dtype=dtype, requires_grad=True) for shape in shapes]
    return values, torch.stack([torch.randint(50, (edges,)), torch.randint(40, (edges,))])


def run(law, given):
    arguments, edges = given
    y = channel_convolution(*arguments, law, edges, 40)
    return [y, *torch.autograd.grad(y.square().sum(), [*arguments, *law.parameters()])]


@pytest.fixture
def threads():
    before = torch.get_num_threads()
    yield torch.set_num_threads
    torch.set_num_threads(before)


@pytest.fixture
def without_kernels(monkeypatch):
    """Compute by tensor operations."""

    def run_plainly(law, given):
        with monkeypatch.context() as patch:
            patch.setattr(handover, "_numba_works", lambda: False)
            return run(law, given)

    return run_plainly


@every_law
def test_they_agree_with_tensor_operations(make, without_kernels):
    given, law = operands(), make().double()
    for fused, plain in zip(run(law, given), without_kernels(law, given), strict=True):
        torch.testing.assert_close(fused, plain, rtol=1e-10, atol=1e-10 * float(plain.detach().abs().max()))


@pytest.mark.parametrize("count", [2, 3])
def test_several_threads_agree_with_one(count, threads):
    given, law = operands(), Cosine(learnable=True).double()
    threads(1)
    expected = run(law, given)
    threads(count)
    for fused, again, plain in zip(run(law, given), run(law, given), expected, strict=True):
        assert torch.equal(fused, again)
        torch.testing.assert_close(fused, plain, rtol=1e-10, atol=1e-10 * float(plain.detach().abs().max()))


def test_single_precision(without_kernels):  # of one law; the formulas of all are tested by themselves
    arguments, edges = operands(torch.float32)
    exact = without_kernels(
        InverseDistance().double(), ([a.detach().double().requires_grad_() for a in arguments], edges)
    )
    for fused, right in zip(run(InverseDistance(), (arguments, edges)), exact, strict=True):
        scale = float(right.detach().abs().max())
        torch.testing.assert_close(fused.double(), right, rtol=0, atol=1e-5 * scale)


def test_which_laws_they_serve():
    x = torch.zeros(1, 1)
    assert {name for name in LAWS if channel_law(LAWS[name](), x) is None} == {
        "plain_inverse_distance",
        "inverse_power",
        "learnable_power",
        "exponential",
        "rational",
    }
    assert channel_law(InverseDistance(), x.half()) is None


@pytest.mark.parametrize("row", [0, 1])
@pytest.mark.parametrize("number", [-1, 50])
def test_edges_beyond_the_nodes_are_refused(row, number):
    (x, displacement, offset, weight), edges = operands()
    edges[row, 17] = number
    values = [value.detach() for value in (x, displacement, offset, weight)]
    with pytest.raises(ValueError, match=rf"edge_index\[{row}\] must lie between 0 and .., got {number}"):
        KERNELS.convolve(*values, 1e-3, edges, 40)
    with pytest.raises(ValueError, match=rf"edge_index\[{row}\] must lie between 0 and .., got {number}"):
        KERNELS.gradients(*values, 1e-3, edges, torch.zeros(40, 7, dtype=torch.float64))
    for features in (values[0], values[0].expand(3, *values[0].shape)):  # a batch is computed by tensor operations
        with pytest.raises(ValueError, match=rf"edge_index\[{row}\] must lie between 0 and .., got {number}"):
            channel_convolution(features, *values[1:], InverseDistance(), edges, 40)


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
        KERNELS.convolve(*values, 1e-3, edges, 40)
