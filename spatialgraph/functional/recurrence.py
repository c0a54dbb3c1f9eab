"""Recurrent populations: states of neurons that receive from each other with one time step of delay."""

from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from spatialgraph import checks
from spatialgraph.functional.normalization import normalised
from spatialgraph.functional.through_time import recurrent_through_time
from spatialgraph.tracing import is_autocast, is_observed

__all__ = ["NONLINEARITIES", "Weights", "gated", "recurrent"]

Weights = Tensor | Callable[[Tensor], Tensor]
"""A dense matrix of weights, targets first, or a function from states ``(..., n)`` to what they send, as many."""

NONLINEARITIES: dict[str, Callable[[Tensor], Tensor]] = {"tanh": torch.tanh, "relu": F.relu}


def recurrent(
    inputs: Tensor,
    state: Tensor,
    weights: Weights,
    bias: Tensor,
    *,
    rate: Tensor | None = None,
    nonlinearity: str = "tanh",
    normalize: bool = False,
) -> Tensor:
    r"""Return the states of a population in all time steps, as ``nn.RNN`` computes them, or leaky ones.

    .. math:: h_t = (1 - \alpha) \odot h_{t-1} + \alpha \odot \phi(\mathrm{norm}(u_t + W h_{t-1}) + b)

    Args:
        inputs: what other neurons send, :math:`u_t`, shape ``(T, ..., n)``.
        state: the state before the first step, shape ``(..., n)``.
        weights: the recurrent synapses :math:`W`, a matrix ``(n, n)``, or a function that carries states through them.
        bias: biases, shape ``(n,)``.
        rate: the neurons' rates :math:`\alpha`, shape ``(n,)``, the time step over their time constants; None for 1.
        nonlinearity: :math:`\phi`, ``"tanh"`` or ``"relu"``.
        normalize: whether the summed inputs are brought to mean 0 and variance 1 before the biases are added.

    Returns:
        States, shape ``(T, ..., n)``.

    Raises:
        TypeError: if an argument is not a tensor.
        ValueError: if ``nonlinearity`` is unknown, or a shape does not agree with that of ``inputs``.

    Example:
        >>> ones, zeros = torch.ones(3, 1), torch.zeros(1)
        >>> recurrent(ones, zeros, torch.ones(1, 1), zeros, nonlinearity="relu")[:, 0]
        tensor([1., 2., 3.])
    """
    checks.choice("nonlinearity", nonlinearity, list(NONLINEARITIES))
    n = _population("inputs", inputs, state)
    _check_weights("weights", weights, n)
    checks.shape("bias", bias, (n,))
    if rate is not None:
        checks.shape("rate", rate, (n,))
    others = () if rate is None else (rate,)
    if not isinstance(weights, Tensor) or not _is_plain(inputs, state, weights, bias, *others):
        return _step_by_step(inputs, state, weights, bias, rate, nonlinearity, normalize)
    batch = state.shape[:-1].numel()
    rows = inputs.reshape(len(inputs), batch, n), state.reshape(batch, n)
    states = recurrent_through_time(*rows, weights, bias, rate, nonlinearity, normalize, _step_by_step)
    return states.view_as(inputs)


def gated(
    inputs: Sequence[Tensor], state: Tensor, weights: Sequence[Weights], biases: Tensor, *, normalize: bool = False
) -> Tensor:
    r"""Return the states of a gated population in all time steps, as ``nn.GRU`` computes them.

    .. math::
        r_t &= \sigma(\mathrm{norm}(u^r_t + W^r h_{t-1}) + b^r) \\
        z_t &= \sigma(\mathrm{norm}(u^z_t + W^z h_{t-1}) + b^z) \\
        n_t &= \tanh(\mathrm{norm}(u^n_t + r_t \odot W^n h_{t-1}) + b^n) \\
        h_t &= (1 - z_t) \odot n_t + z_t \odot h_{t-1}

    The unit is that of `Cho et al. (2014) <https://arxiv.org/abs/1406.1078>`_, with the reset gate after the product.

    Args:
        inputs: what other neurons send to reset gates, update gates and candidates, shapes ``(T, ..., n)``.
        state: the state before the first step, shape ``(..., n)``.
        weights: the recurrent synapses into the same three, as in :func:`recurrent`.
        biases: their biases, shape ``(3, n)``.
        normalize: as in :func:`recurrent`.

    Returns:
        States, shape ``(T, ..., n)``.

    Raises:
        TypeError: if an argument is not a tensor.
        ValueError: if there are not three inputs and weights, or shapes do not agree.

    Example:
        >>> zeros, biases = [torch.zeros(3, 1)] * 3, torch.tensor([[0.0], [100.0], [0.0]])
        >>> gated(zeros, torch.ones(1), [torch.ones(1, 1)] * 3, biases)[:, 0]
        tensor([1., 1., 1.])
    """
    for name, members in (("inputs", inputs), ("weights", weights)):
        if len(members) != 3:
            raise ValueError(f"{name} must have 3 members (reset gates, update gates, candidates), got {len(members)}")
    n = _population("inputs[0]", inputs[0], state)
    for place in (0, 1, 2):
        checks.shape(f"inputs[{place}]", inputs[place], tuple(inputs[0].shape))
        _check_weights(f"weights[{place}]", weights[place], n)
    checks.shape("biases", biases, (3, n))
    to_reset, to_update, to_candidate = map(_sender, weights)
    states = []
    for reset, update, candidate in zip(*(part.unbind(0) for part in inputs), strict=True):
        r = torch.sigmoid(_biased(reset + to_reset(state), biases[0], normalize))
        z = torch.sigmoid(_biased(update + to_update(state), biases[1], normalize))
        reached = torch.tanh(_biased(candidate + r * to_candidate(state), biases[2], normalize))
        state = reached + z * (state - reached)
        states.append(state)
    return torch.stack(states)


def _population(name: str, inputs: Tensor, state: Tensor) -> int:
    """Return the number of neurons n of inputs ``(T, ..., n)``, after a check of the state ``(..., n)``."""
    if checks.tensor(name, inputs).dim() < 2:
        raise ValueError(f"{name} must have shape (T, ..., n), got {tuple(inputs.shape)}")
    checks.shape("state", state, tuple(inputs.shape[1:]))
    return inputs.shape[-1]


def _check_weights(name: str, weights: Weights, n: int) -> None:
    """Check that a matrix leads from n neurons to as many."""
    if not callable(weights):
        checks.shape(name, weights, (n, n))


def _is_plain(*values: Tensor) -> bool:
    """Tell whether analytic gradients apply: in single or double precision, recorded by plain autograd only."""
    dtype, device = values[0].dtype, values[0].device.type
    if is_observed(*values) or is_autocast(device):
        return False
    return dtype in (torch.float32, torch.float64) and all(value.dtype == dtype for value in values)


def _step_by_step(
    inputs: Tensor,
    state: Tensor,
    weights: Weights,
    bias: Tensor,
    rate: Tensor | None,
    nonlinearity: str,
    normalize: bool,
) -> Tensor:
    send, activate, states = _sender(weights), NONLINEARITIES[nonlinearity], []
    for entering in inputs.unbind(0):
        reached = activate(_biased(entering + send(state), bias, normalize))
        # Products may have rounded what is reached to half precision; the state keeps its own.
        state = reached if rate is None else torch.lerp(state, reached.to(state.dtype), rate.to(state.dtype))
        states.append(state)
    return torch.stack(states)


def _sender(weights: Weights) -> Callable[[Tensor], Tensor]:
    if not isinstance(weights, Tensor):
        return weights
    return lambda state: F.linear(state, weights)


def _biased(total: Tensor, bias: Tensor, normalize: bool) -> Tensor:
    return normalised(total, bias) if normalize else total + bias
