"""Recurrent populations: states of neurons that receive from each other with one time step of delay."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

__all__ = ["Normalize", "Send", "biased", "gated", "recurrent"]

Send = Callable[[Tensor], Tensor]
"""From states of shape ``(..., n)`` to what they add to the inputs of the next step, the same shape."""

Normalize = Callable[[Tensor, Tensor], Tensor]
"""From summed inputs ``(..., n)`` and biases ``(n,)`` to normalised inputs with the biases added."""


def biased(total: Tensor, bias: Tensor) -> Tensor:
    """Add biases without normalisation."""
    return total + bias


def recurrent(
    inputs: Tensor,
    state: Tensor,
    send: Send,
    bias: Tensor,
    activation: Callable[[Tensor], Tensor] = torch.tanh,
    normalize: Normalize = biased,
    rate: Tensor | None = None,
) -> Tensor:
    r"""Return the states of a population in all time steps, as ``nn.RNN`` computes them, or leaky ones.

    .. math:: h_t = (1 - \alpha) \odot h_{t-1} + \alpha \odot \phi(\mathrm{norm}(u_t + W h_{t-1}) + b)

    Args:
        inputs: what other neurons send, :math:`u_t`, shape ``(T, ..., n)``.
        state: the state before the first step, shape ``(..., n)``.
        send: carries states through the recurrent synapses, :math:`W`.
        bias: biases, shape ``(n,)``.
        activation: :math:`\phi`.
        normalize: normalises summed inputs and adds the biases.
        rate: the neurons' rates :math:`\alpha`, shape ``(n,)``, the time step over their time constants; None for 1.

    Returns:
        States, shape ``(T, ..., n)``.

    Example:
        >>> recurrent(torch.ones(3, 1), torch.zeros(1), lambda h: h, torch.zeros(1), activation=torch.relu)[:, 0]
        tensor([1., 2., 3.])
    """
    states = []
    for entering in inputs.unbind(0):
        reached = activation(normalize(entering + send(state), bias))
        state = reached if rate is None else torch.lerp(state, reached, rate)
        states.append(state)
    return torch.stack(states)


def gated(
    inputs: Sequence[Tensor], state: Tensor, sends: Sequence[Send], biases: Tensor, normalize: Normalize = biased
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
        sends: carry states through the recurrent synapses of the same three.
        biases: their biases, shape ``(3, n)``.
        normalize: normalises summed inputs and adds the biases.

    Returns:
        States, shape ``(T, ..., n)``.

    Example:
        >>> zeros = [torch.zeros(3, 1)] * 3
        >>> gated(zeros, torch.ones(1), [lambda h: h] * 3, torch.tensor([[0.0], [100.0], [0.0]]))[:, 0]
        tensor([1., 1., 1.])
    """
    to_reset, to_update, to_candidate = sends
    states = []
    for reset, update, candidate in zip(*(part.unbind(0) for part in inputs), strict=True):
        r = torch.sigmoid(normalize(reset + to_reset(state), biases[0]))
        z = torch.sigmoid(normalize(update + to_update(state), biases[1]))
        n = torch.tanh(normalize(candidate + r * to_candidate(state), biases[2]))
        state = n + z * (state - n)
        states.append(state)
    return torch.stack(states)
