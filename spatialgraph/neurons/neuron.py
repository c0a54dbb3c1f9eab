"""What every group of spiking neurons is asked: state in, state out, over a whole run of time steps."""

import abc
from typing import NamedTuple

from torch import Tensor, nn

__all__ = ["Neuron", "Recording", "State"]

State = tuple[Tensor, ...]
"""The state of a group of neurons between two time steps; the membrane potential comes last."""


class Recording(NamedTuple):
    """What a group of neurons did in a run of T steps.

    ``spikes`` and ``potentials`` have shape ``(T, ..., n)``, or are None if not asked for; ``state`` continues the run.
    """

    spikes: Tensor | None
    potentials: Tensor | None
    state: State


class Neuron(nn.Module, abc.ABC):
    """A group of neurons that keeps no state: it is passed in and out."""

    @abc.abstractmethod
    def run(
        self, current: Tensor, num_steps: int, state: State | None = None, record: str = "spikes potentials"
    ) -> Recording:
        """Advance by many steps.

        Args:
            current: input of each step, shape ``(num_steps, ..., n)``, or ``(1, ..., n)`` for a constant current.
            num_steps: number of steps.
            state: where an earlier run ended; None starts at rest.
            record: which of spikes and potentials are wanted; more may be recorded.
        """
