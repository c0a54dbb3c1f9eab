"""Delays: spikes that take time, against four nested loops."""

import math

import pytest
import torch
from conftest import DEVICE
from delayed_spikes import WAYS, choose, every_way, loops
from hypothesis import given
from hypothesis import strategies as st
from references import assert_close, complete_edges

from spatialgraph.functional.compressed_edges import CompressedEdges
from spatialgraph.functional.delay_steps import line_length
from spatialgraph.functional.delays import delayed
from spatialgraph.kernels import delays as delay_kernels

both_engines = pytest.mark.parametrize("listed", [False, True], ids=["all-to-all", "edges"])


def operands(num_steps=9, batch=2, n=4, m=3, longest=4.0, dtype=torch.float64, density=0.4):
    """Spike trains, weights and delays that are no whole numbers; all ask for gradients."""
    x = torch.randn(num_steps, batch, n).to(dtype) * (torch.rand(num_steps, batch, n) < density)
    delay = torch.rand(m, n).to(dtype) * longest
    near = (delay - delay.round()).abs() < 0.05  # finite differences must not cross a whole number
    return [a.requires_grad_() for a in (x, torch.randn(m, n).to(dtype), torch.where(near, delay.floor() + 0.5, delay))]


def as_edges(weight, delay):
    """The same synapses as a list."""
    m, n = weight.shape
    return weight.reshape(-1), delay.reshape(-1), CompressedEdges.from_edges(complete_edges(n, m).to(DEVICE), n, m)


def send(listed, x, weight, delay, line=None):
    """Send on the device of this session; operands and results are on the CPU."""
    x, weight, delay = (values.to(DEVICE) for values in (x, weight, delay))
    line = None if line is None else line.to(DEVICE)
    if not listed:
        return delayed(x, weight, delay, line=line).cpu()
    weight, delay, edges = as_edges(weight, delay)
    return delayed(x, weight, delay, edges, line).cpu()


# Against loops ----


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=str)
@pytest.mark.parametrize("longest", [0.9, 4.0, 30.0])
@both_engines
@every_way
def test_nested_loops(way, listed, longest, dtype):
    x, weight, delay = operands(longest=longest, dtype=dtype)
    y = send(listed, x, weight, delay)
    assert y.dtype == dtype
    # Shares are differences of delays: 4 steps of delay leave 22 of the 24 bits.
    assert_close(y, loops(x, weight, delay), 1e-12 if dtype == torch.float64 else 1e-5)


@given(
    num_steps=st.integers(1, 6),
    before=st.integers(0, 5),
    longest=st.floats(0.0, 8.0),
    density=st.floats(0.0, 1.0),
    seed=st.integers(0, 2**31),
)
def test_any_run_and_line(num_steps, before, longest, density, seed):
    torch.manual_seed(seed)
    x, weight, delay = operands(num_steps + before, longest=longest, density=density)
    if seed % 3 == 0:
        delay = delay.detach().round()
    expected = loops(x, weight, delay, before)
    for way in WAYS:
        with pytest.MonkeyPatch.context() as patch:
            choose(patch, way)
            for listed in (False, True):
                line = x[:before] if before else None
                assert_close(send(listed, x[before:], weight, delay, line), expected, 1e-12)


@every_way
def test_some_edges_only(way):
    x, weight, delay = operands()
    exists = torch.rand(weight.shape) < 0.5
    target, source = torch.nonzero(exists, as_tuple=True)
    edges = CompressedEdges.from_edges(torch.stack([source, target]), *reversed(weight.shape))
    y = delayed(x, weight[exists], delay[exists], edges)
    assert_close(y, loops(x, weight * exists, delay), 1e-12)
    gradients = torch.autograd.grad(y.square().sum(), (x, weight, delay))
    expected = torch.autograd.grad(send(False, x, weight * exists, delay).square().sum(), (x, weight, delay))
    for gradient, right in zip(gradients, expected, strict=True):
        assert_close(gradient, right, 1e-12)


@every_way
def test_no_edges_at_all(way):
    edges = CompressedEdges.from_edges(torch.empty(2, 0, dtype=torch.int64), 4, 3)
    x = torch.ones(5, 2, 4)
    assert torch.equal(delayed(x, torch.empty(0), torch.empty(0), edges), torch.zeros(5, 2, 3))


@both_engines
@every_way
@pytest.mark.parametrize("leading", [(), (1,), (2, 3), (0,)], ids=str)
def test_leading_axes(leading, way, listed):
    _, weight, delay = operands()
    x = torch.randn(6, *leading, 4, dtype=torch.float64)
    y = send(listed, x, weight, delay)
    assert y.shape == (6, *leading, 3)
    assert_close(y.reshape(6, -1, 3), loops(x.reshape(6, -1, 4), weight, delay), 1e-12)


@both_engines
@every_way
def test_gradients_of_an_empty_batch(way, listed):
    _, weight, delay = operands()
    x = torch.zeros(6, 0, 4, dtype=torch.float64, requires_grad=True)
    inputs = (x, weight, delay)
    for gradient, right in zip(torch.autograd.grad(send(listed, *inputs).sum(), inputs), inputs, strict=True):
        assert torch.equal(gradient, torch.zeros_like(right))


def test_all_ways_have_the_same_gradients():
    # Delays at whole numbers too, the longest among them: there the slope is that to the right.
    x, weight, delay = operands(num_steps=8)
    delay = torch.where(torch.rand(delay.shape) < 0.5, delay.detach().floor() + 1.0, delay.detach())
    delay[0, 0] = 5.0
    delay.requires_grad_()
    expected = None
    for way in WAYS:
        with pytest.MonkeyPatch.context() as patch:
            choose(patch, way)
            for listed in (False, True):
                y = send(listed, x, weight, delay)
                results = [y, *torch.autograd.grad((y * torch.arange(y.numel()).view_as(y)).sum(), (x, weight, delay))]
                expected = results if expected is None else expected
                for result, right in zip(results, expected, strict=True):
                    assert_close(result, right, 1e-12)


# By hand ----


@both_engines
@every_way
def test_by_hand(way, listed):
    x = torch.tensor([[1.0], [0.0], [0.0], [0.0]])
    assert send(listed, x, torch.tensor([[2.0]]), torch.tensor([[1.25]]))[:, 0].tolist() == [0.0, 1.5, 0.5, 0.0]
    assert send(listed, x, torch.tensor([[2.0]]), torch.tensor([[0.0]]))[:, 0].tolist() == [2.0, 0.0, 0.0, 0.0]
    assert send(listed, x, torch.tensor([[2.0]]), torch.tensor([[2.0]]))[:, 0].tolist() == [0.0, 0.0, 2.0, 0.0]


@pytest.mark.parametrize("whole", [0, 1, 3])
@both_engines
@every_way
def test_a_whole_delay_shifts(way, listed, whole):
    # Spikes are 0 or 1 and weights multiples of 1/64, so that every order of the sum gives the same bits.
    x = (torch.rand(9, 5, 7) < 0.2).float()
    weight = torch.randint(-64, 65, (6, 7)) / 64
    y = send(listed, x, weight, torch.full((6, 7), float(whole)))
    product = x @ weight.t()
    assert torch.equal(y, torch.cat([torch.zeros(whole, 5, 6), product[: 9 - whole]]))


@both_engines
@every_way
def test_between_whole_delays_the_input_is_linear(way, listed):
    x, weight, _ = operands()
    early, late = (send(listed, x, weight, torch.full_like(weight, whole)) for whole in (2.0, 3.0))
    for fraction in (0.25, 0.5, 0.9):
        y = send(listed, x, weight, torch.full_like(weight, 2.0 + fraction))
        assert_close(y, (1.0 - fraction) * early + fraction * late, 1e-12)


@both_engines
@every_way
def test_delays_longer_than_the_run_never_arrive(way, listed):
    x, weight, delay = operands(num_steps=5)
    late = (delay.detach() + 5.0).requires_grad_()
    y = send(listed, x, weight, late)
    assert torch.equal(y, torch.zeros_like(y))
    if y.requires_grad:
        gradients = torch.autograd.grad(y.sum(), (x, weight, late), allow_unused=True)
        assert all(g is None or torch.equal(g, torch.zeros_like(g)) for g in gradients)


@both_engines
@every_way
def test_nothing_arrives_before_its_time(way, listed):
    # y[t] knows nothing of x[t'] for t' > t - floor(d), nor of what is older than a step more.
    x, weight, _ = operands(num_steps=8, batch=1, n=1, m=1, density=1.0)
    for time in (0.0, 0.4, 1.0, 2.7):
        delay = torch.full_like(weight, time)
        jacobian = torch.autograd.functional.jacobian(lambda x: send(listed, x, weight, delay)[:, 0, 0], x)[:, :, 0, 0]  # noqa: B023
        lag = torch.arange(8)[:, None] - torch.arange(8)
        reached = (lag == math.floor(time)) | ((lag == math.floor(time) + 1) & (time % 1 > 0))
        assert torch.equal(jacobian != 0, reached)


# Gradients ----


@pytest.mark.skipif(DEVICE.type != "cpu", reason="hundreds of passes")
@both_engines
@every_way
@pytest.mark.parametrize("before", [0, 3])
def test_gradcheck(way, listed, before):
    x, weight, delay = operands(num_steps=5 + before, n=3, m=2, longest=3.0)

    def run(x, weight, delay):
        return send(listed, x[before:], weight, delay, x[:before] if before else None)

    assert torch.autograd.gradcheck(run, (x, weight, delay))


@both_engines
@every_way
def test_gradients_of_what_is_asked_for(way, listed):
    x, weight, delay = operands()
    expected = torch.autograd.grad(send(listed, x, weight, delay).square().sum(), (x, weight, delay))
    for place in range(3):
        given = [a if number == place else a.detach() for number, a in enumerate((x, weight, delay))]
        (gradient,) = torch.autograd.grad(send(listed, *given).square().sum(), given[place])
        assert_close(gradient, expected[place], 1e-12)


@both_engines
@every_way
def test_at_a_whole_delay_the_slope_is_that_to_the_right(way, listed):
    x, weight, _ = operands(num_steps=8, density=1.0)
    grad_y = torch.randn(8, 2, 3, dtype=torch.float64)
    for whole in (0.0, 2.0):
        delay = torch.full_like(weight, whole).requires_grad_()
        (slope,) = torch.autograd.grad(send(listed, x, weight, delay), delay, grad_y)
        for j in range(3):
            for i in range(4):
                # Linear up to the next whole number: a difference over half a step is the slope.
                alone = torch.zeros_like(weight)
                alone[j, i] = 1.0
                start, later = (send(listed, x, weight * alone, delay.detach() + h) for h in (0.0, 0.5))
                right = ((later - start) * grad_y).sum() / 0.5
                assert slope[j, i].item() == pytest.approx(right.item(), rel=1e-9, abs=1e-12)
        assert (slope != 0).all()


# Lines ----


@both_engines
@every_way
@pytest.mark.parametrize("whole", [False, True])
@pytest.mark.parametrize("parts", [(4, 6), (1, 9), (2, 1, 7), (5, 5)], ids=str)
def test_a_run_in_parts(parts, whole, way, listed):
    x, weight, delay = operands(num_steps=10, density=0.6)
    if whole:
        delay = delay.detach().round().requires_grad_()
    expected = send(listed, x, weight, delay)
    pieces, line = [], None
    for piece in torch.split(x, parts):
        pieces.append(send(listed, piece, weight, delay, line))
        past = piece if line is None else torch.cat([line, piece])
        line = past[max(0, len(past) - line_length(delay)) :]
    y = torch.cat(pieces)
    assert_close(y, expected, 1e-12)
    results = torch.autograd.grad((y * torch.arange(y.numel()).view_as(y)).sum(), (x, weight, delay))
    rights = torch.autograd.grad((expected * torch.arange(y.numel()).view_as(y)).sum(), (x, weight, delay))
    for result, right in zip(results, rights, strict=True):
        assert_close(result, right, 1e-12)


@pytest.mark.parametrize(("delay", "length"), [([], 0), ([0.5, 2.0], 3), ([0.5, 2.1], 3), ([0.1], 1)], ids=str)
def test_length_of_a_line(delay, length):
    # At a whole number it leaves room for a slightly longer delay, that is, for the slope.
    assert line_length(torch.tensor(delay)) == length


# Threads ----


@pytest.fixture
def threads():
    before = torch.get_num_threads()
    yield torch.set_num_threads
    torch.set_num_threads(before)


def test_any_number_of_threads_agrees(threads, monkeypatch):
    pytest.importorskip("numba")
    monkeypatch.setattr(delay_kernels, "_WORTH_A_THREAD", 1)
    x, weight, delay = operands(batch=5)
    results = {}
    for count in (1, 2, 2, 7):
        threads(count)
        y = send(False, x, weight, delay)
        new = [y, *torch.autograd.grad(y.square().sum(), (x, weight, delay))]
        assert all(torch.equal(a, b) for a, b in zip(results.setdefault(count, new), new, strict=True))
        for result, right in zip(new, results[1], strict=True):
            assert_close(result, right, 1e-12)
