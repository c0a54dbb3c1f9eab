"""Leaks: how fast the neurons of a leaky recurrent layer forget."""

import math
from typing import ClassVar

import torch
from torch import Tensor, nn

from spatialgraph.models.stages import check_count

__all__ = ["Leaks"]

# Slow and fast neurons at the start: the slowest have a time constant of ten steps, and the fastest keep 1 % of their
# state in a step.
_FIRST, _LAST = 0.1, 0.99


class Leaks(nn.Module):
    r"""The rates at which neurons approach what they receive, one for each neuron.

    .. math:: \alpha = \sigma(\mathrm{raw\_rate})

    A rate is the time step over the neuron's time constant, between 0 and 1, without a unit.

    Args:
        n_neurons: number of neurons of the layer n.
        like: tensor whose dtype and device the parameter has.

    Example:
        >>> Leaks(3, torch.zeros(1)).rates.data
        tensor([0.1000, 0.3146, 0.9900])
    """

    parameter_kinds: ClassVar[dict[str, str]] = {"raw_rate": "biases"}

    def __init__(self, n_neurons: int, like: Tensor) -> None:
        super().__init__()
        self.raw_rate = nn.Parameter(like.new_empty(n_neurons))
        self.reset_parameters()

    @torch.no_grad()
    def reset_parameters(self) -> None:
        """Spread the rates evenly on a logarithmic scale from 0.1 to 0.99."""
        first, last = math.log(_FIRST), math.log(_LAST)
        rates = torch.linspace(first, last, len(self.raw_rate), dtype=torch.float64, device="cpu").exp()
        self.raw_rate.copy_(torch.logit(rates))

    @property
    def rates(self) -> Tensor:
        r"""The rates :math:`\alpha`, the time step over the time constants, shape ``(n,)``."""
        return torch.sigmoid(self.raw_rate)

    def check(self, n_neurons: int) -> None:
        """Raise ``ValueError`` if neurons have been added or removed since the rates were made."""
        check_count("neurons in a leaky layer", len(self.raw_rate), n_neurons)

    def extra_repr(self) -> str:
        """Return the settings shown by ``repr``."""
        return f"n_neurons={len(self.raw_rate)}"
