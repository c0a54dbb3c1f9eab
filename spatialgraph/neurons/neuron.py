"""The interface of groups of spiking neurons."""

import abc
from typing import NamedTuple

from torch import Tensor, nn

__all__ = ["Neuron", "Recording", "State"]

State = tuple[Tensor, ...]
"""The state of a group of neurons between two time steps; the membrane potential comes last."""


class Recording(NamedTuple):
    """The result of a run of T steps.

    ``spikes`` and ``potentials`` have shape ``(T, ..., n)``, or are None if not requested; pass ``state`` to continue
    the run.
    """

    spikes: Tensor | None
    potentials: Tensor | None
    state: State


class Neuron(nn.Module, abc.ABC):
    """Base class of groups of neurons, whose state is passed in and returned."""

    @abc.abstractmethod
    def run(
        self, current: Tensor, num_steps: int, state: State | None = None, record: str = "spikes potentials"
    ) -> Recording:
        """Advance by many steps.

        Args:
            current: input of each step, shape ``(num_steps, ..., n)``, or ``(1, ..., n)`` for a constant current.
            num_steps: number of steps.
            state: final state of an earlier run; None to start at rest.
            record: which of spikes and potentials to return; others may be returned as well.
        """
