import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from spatialgraph.neurons.coding import encode, latency, rate


def seeded(number):
    return torch.Generator().manual_seed(number)


# Current, and time series ----


def test_a_current_is_constant_and_differentiable():
    x = torch.randn(3, 4, requires_grad=True)
    signal = encode(x, "current", 25)
    assert torch.equal(signal, x[None])
    assert torch.equal(torch.autograd.grad(signal.sum(), x)[0], torch.ones(3, 4))


def test_a_time_series_is_taken_as_it_is():
    x = 10.0 * torch.randn(5, 3, 4)
    assert encode(x, None, 5) is x


@pytest.mark.parametrize("coding", ["current", "rate", "latency", None])
@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -float("inf")])
def test_values_that_are_not_finite(coding, bad):
    x = torch.full((2, 3), 0.5)
    x[1, 2] = bad
    with pytest.raises(ValueError, match=rf"x must be finite, got {bad} at \(1, 2\)"):
        encode(x, coding, 2)


def test_large_values_are_finite():
    x = torch.full((4, 4), 3e38)  # their sum overflows
    assert torch.equal(encode(x, "current", 2)[0], x)


@pytest.mark.parametrize("coding", ["rate", "latency"])
@pytest.mark.parametrize(("low", "high"), [(-0.1, 0.5), (0.5, 1.01), (-1.0, 2.0)])
def test_values_out_of_range(coding, low, high):
    message = f"x must lie between 0 and 1 for coding='{coding}', got values from {low:g} to {high:g}"
    with pytest.raises(ValueError, match=message):
        encode(torch.tensor([low, 0.5, high]), coding, 3)
    assert encode(torch.tensor([0.0, 1.0]), coding, 3).shape == (3, 2)


@pytest.mark.parametrize("coding", ["rate", "latency"])
@pytest.mark.parametrize("shape", [(4,), (0, 4), (3, 4), (2, 3, 4)], ids=str)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_shape_and_dtype(dtype, shape, coding):
    spikes = encode(torch.rand(shape, dtype=dtype, requires_grad=True), coding, 6)
    assert spikes.shape == (6, *shape) and spikes.dtype == dtype and not spikes.requires_grad
    assert ((spikes == 0) | (spikes == 1)).all()


# Rate ----


def test_same_seed_same_spikes():
    x = torch.rand(5, 7)
    assert torch.equal(rate(x, 20, seeded(3)), rate(x, 20, seeded(3)))
    assert not torch.equal(rate(x, 20, seeded(3)), rate(x, 20, seeded(4)))
    torch.manual_seed(3)
    first = rate(x, 20)
    torch.manual_seed(3)
    assert torch.equal(rate(x, 20), first)


def test_the_mean_is_the_value():
    x = torch.tensor([0.0, 0.1, 0.5, 0.9, 1.0])
    mean = rate(x, 10_000, seeded(0)).mean(0)
    assert mean[0] == 0.0 and mean[-1] == 1.0
    # The standard deviation of the mean is at most 0.005.
    assert (mean - x).abs().max() < 0.02


def test_steps_are_drawn_independently():
    spikes = rate(torch.full((1000,), 0.5), 2, seeded(0))
    # Equal at half of the inputs; three standard deviations are 0.05.
    assert 0.45 < (spikes[0] == spikes[1]).float().mean() < 0.55


# Latency ----


@pytest.mark.parametrize(
    ("x", "steps", "moment"),
    [(1.0, 25, 0), (0.0, 25, 24), (0.5, 25, 12), (0.25, 5, 3), (0.9, 11, 1), (0.3, 1, 0), (0.0, 1, 0)],
)
def test_latency_by_hand(x, steps, moment):
    spikes = latency(torch.tensor([x]), steps)
    assert spikes[:, 0].tolist() == [float(step == moment) for step in range(steps)]


@given(values=st.lists(st.floats(0.0, 1.0, width=32), min_size=1, max_size=20), num_steps=st.integers(1, 40))
def test_one_spike_each_the_sooner_the_larger_the_value(values, num_steps):
    x = torch.tensor(values).sort().values
    spikes = latency(x, num_steps)
    assert torch.equal(spikes.sum(0), torch.ones(len(values)))
    assert (spikes.argmax(0).diff() <= 0).all()


def test_an_unknown_coding():
    with pytest.raises(ValueError, match="coding must be one of 'current', 'rate', 'latency', got 'Rate'"):
        encode(torch.rand(3), "Rate", 5)


@pytest.mark.parametrize("steps", [258, 300, 3000])
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_latency_in_half_precision(dtype, steps):
    x = torch.rand(200, dtype=dtype)
    assert torch.equal(latency(x, steps).float(), latency(x.float(), steps))
    assert (latency(x, steps).float().sum(0) == 1.0).all()


@pytest.mark.parametrize("code", [rate, latency])
def test_numbers_of_steps_out_of_range(code):
    with pytest.raises(ValueError, match="num_steps must be at least 1, got 0"):
        code(torch.rand(3), 0)
    with pytest.raises(TypeError, match=r"num_steps must be an int, got 2.5"):
        code(torch.rand(3), 2.5)
