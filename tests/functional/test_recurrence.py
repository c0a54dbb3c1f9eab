"""Recurrent populations: analytic gradients through time against the same computed step by step."""

import pytest
import torch

from spatialgraph.functional import recurrence
from spatialgraph.functional.recurrence import gated, recurrent


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


NAMES = "inputs", "state", "weight", "bias", "rate"


@pytest.mark.parametrize("needed", NAMES)
def test_only_what_is_needed_is_computed(needed):
    given = dict(zip(NAMES, leaves((3, 2, 4), (2, 4), (4, 4), (4,), (4,)), strict=True))
    inputs, state, weight, bias, rate = (v.detach().requires_grad_(name == needed) for name, v in given.items())
    states = recurrent(inputs, state, weight, bias, rate=rate)
    node = states.grad_fn.next_functions[0][0]  # before it, a view
    with torch.no_grad():
        gradients = dict(zip(NAMES, node.apply(torch.ones_like(states)), strict=False))
    # Those of the inputs and of the state come with every other one.
    assert {name for name, values in gradients.items() if values is not None} == {"inputs", "state", needed}


@pytest.mark.parametrize("is_plain", [False, True])
def test_what_is_not_a_number_has_a_gradient_as_in_relu(monkeypatch, is_plain):
    monkeypatch.setattr(recurrence, "_is_plain", lambda *values: is_plain)
    inputs, state, weight, bias = leaves((2, 1, 2), (1, 2), (2, 2), (2,))
    inputs.data[:, :, 1] = torch.nan
    states = recurrent(inputs, state, torch.zeros_like(weight), bias, nonlinearity="relu")
    (gradient,) = torch.autograd.grad(states.sum(), [bias])
    assert float(gradient[1]) == 2.0


WRONG = [
    ({"inputs": torch.zeros(2)}, ValueError, r"inputs must have shape \(T, ..., n\), got \(2,\)"),
    ({"inputs": [0.0]}, TypeError, "inputs must be a tensor, got list"),
    ({"inputs": torch.zeros(5, 2, 3, 5)}, ValueError, r"state must have shape \(2, 3, 5\), got \(2, 3, 4\)"),
    ({"state": torch.zeros(3, 2, 4)}, ValueError, r"state must have shape \(2, 3, 4\), got \(3, 2, 4\)"),
    ({"state": torch.zeros(4)}, ValueError, r"state must have shape \(2, 3, 4\), got \(4,\)"),
]
MATRIX = torch.zeros(4, 4)


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        *WRONG,
        ({"bias": torch.zeros(3, 4)}, ValueError, r"bias must have shape \(4,\), got \(3, 4\)"),
        ({"bias": torch.zeros(1)}, ValueError, r"bias must have shape \(4,\), got \(1,\)"),
        ({"rate": torch.zeros(1)}, ValueError, r"rate must have shape \(4,\), got \(1,\)"),
        ({"rate": 0.5}, TypeError, "rate must be a tensor, got float"),
        ({"weights": torch.zeros(4, 3)}, ValueError, r"weights must have shape \(4, 4\), got \(4, 3\)"),
        ({"weights": None}, TypeError, "weights must be a tensor, got NoneType"),
    ],
)
def test_wrong_shapes(change, error, message):
    given = {"inputs": torch.zeros(5, 2, 3, 4), "state": torch.zeros(2, 3, 4), "weights": MATRIX, "bias": MATRIX[0]}
    with pytest.raises(error, match=message):
        recurrent(**(given | change))


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        *[({"inputs": [value["inputs"]] * 3}, e, m.replace("inputs", r"inputs\[0\]")) for value, e, m in WRONG[:3]],
        *WRONG[3:],
        ({"inputs": [torch.zeros(5, 2, 3, 4)] * 2}, ValueError, "inputs must have 3 members .*, got 2"),
        (
            {"inputs": [torch.zeros(t, 2, 3, 4) for t in (5, 5, 1)]},
            ValueError,
            r"inputs\[2\] must have shape \(5, 2, 3, 4\), got \(1, 2, 3, 4\)",
        ),
        ({"weights": [MATRIX] * 4}, ValueError, "weights must have 3 members .*, got 4"),
        ({"weights": [MATRIX, MATRIX[:3], MATRIX]}, ValueError, r"weights\[1\] must have shape \(4, 4\), got \(3, 4"),
        ({"biases": torch.zeros(5, 4)}, ValueError, r"biases must have shape \(3, 4\), got \(5, 4\)"),
    ],
)
def test_wrong_shapes_of_gates(change, error, message):
    given = {"inputs": [torch.zeros(5, 2, 3, 4)] * 3, "state": torch.zeros(2, 3, 4), "weights": [MATRIX] * 3}
    with pytest.raises(error, match=message):
        gated(**(given | {"biases": torch.zeros(3, 4)} | change))


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
