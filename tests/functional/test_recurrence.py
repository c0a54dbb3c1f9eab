"""Recurrent populations: analytic gradients through time against the same computed step by step."""

import pytest
import torch

from spatialgraph.functional import recurrence
from spatialgraph.functional.recurrence import recurrent


def leaves(*shapes):
    return [torch.randn(*shape, dtype=torch.float64, requires_grad=True) for shape in shapes]


@pytest.mark.parametrize("normalize", [False, True])
@pytest.mark.parametrize("nonlinearity", ["tanh", "relu"])
@pytest.mark.parametrize("leaks", [False, True])
@pytest.mark.parametrize("batch", [(), (3,), (3, 2), (0,)])
def test_through_time_as_step_by_step(monkeypatch, batch, leaks, nonlinearity, normalize):
    inputs, state, weight, bias, raw = leaves((5, *batch, 4), (*batch, 4), (4, 4), (4,), (4,))
    given = [inputs, state, weight, bias, *([raw] if leaks else [])]
    results = []
    for is_plain in (True, False):
        rate = raw.sigmoid() if leaks else None
        with monkeypatch.context() as patch:
            patch.setattr(recurrence, "_is_plain", lambda *values, answer=is_plain: answer)
            states = recurrent(inputs, state, weight, bias, rate=rate, nonlinearity=nonlinearity, normalize=normalize)
        grad = torch.linspace(-1, 1, states.numel(), dtype=states.dtype).view_as(states)
        results.append([states, *torch.autograd.grad(states, given, grad)])
    for own, reference in zip(*results, strict=True):
        torch.testing.assert_close(own, reference, rtol=1e-11, atol=1e-11)


@pytest.mark.parametrize("normalize", [False, True])
def test_derivatives(normalize):
    given = leaves((3, 2, 3), (2, 3), (3, 3), (3,), (3,))

    def compute(inputs, state, weight, bias, raw):
        return recurrent(inputs, state, weight, bias, rate=raw.sigmoid(), normalize=normalize)

    assert torch.autograd.gradcheck(compute, given)
    assert torch.autograd.gradgradcheck(compute, given)


def test_only_what_is_needed_has_a_gradient():
    inputs, state, weight, bias = (values.detach() for values in leaves((3, 2, 4), (2, 4), (4, 4), (4,)))
    recurrent(inputs, state, weight.requires_grad_(), bias).sum().backward()
    assert weight.grad is not None and inputs.grad is None and state.grad is None and bias.grad is None


def test_states_changed_in_place_are_noticed():
    inputs, state, weight, bias = leaves((3, 2, 4), (2, 4), (4, 4), (4,))
    states = recurrent(inputs, state, weight, bias)
    with torch.no_grad():
        states.zero_()
    with pytest.raises(RuntimeError, match="modified.* inplace"):
        states.sum().backward()


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision(dtype):
    inputs, state, weight, bias = (values.detach() for values in leaves((3, 2, 4), (2, 4), (4, 4), (4,)))
    rounded = recurrent(inputs.to(dtype), state.to(dtype), 0.3 * weight.to(dtype), bias.to(dtype))
    assert rounded.dtype == dtype
    torch.testing.assert_close(rounded.double(), recurrent(inputs, state, 0.3 * weight, bias), rtol=0.05, atol=0.05)


def test_autocast():
    inputs, state, weight, bias = (values.float() for values in leaves((3, 2, 4), (2, 4), (4, 4), (4,)))
    with torch.autocast("cpu", torch.bfloat16):
        states = recurrent(inputs, state, 0.3 * weight, bias)
    torch.testing.assert_close(states.float(), recurrent(inputs, state, 0.3 * weight, bias), rtol=0.05, atol=0.05)


def test_transforms():
    inputs, state, weight, bias = (values.detach() for values in leaves((3, 2, 4), (2, 4), (4, 4), (4,)))
    expected = torch.stack([recurrent(inputs[:, i], state[i], weight, bias) for i in range(2)])
    mapped = torch.func.vmap(lambda u, h: recurrent(u, h, weight, bias), in_dims=(1, 0))(inputs, state)
    torch.testing.assert_close(mapped, expected)


def test_wrong_nonlinearity():
    with pytest.raises(ValueError, match="nonlinearity must be one of"):
        recurrent(torch.zeros(1, 2), torch.zeros(2), torch.zeros(2, 2), torch.zeros(2), nonlinearity="gelu")
