"""What one pass of a spiking network computes with: biases, synapses between stages, and recurrent ones."""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple, cast

import torch
from torch import Tensor

from spatialgraph import checks
from spatialgraph.models.stages import Send
from spatialgraph.neurons.neuron import Neuron, Recording, State

__all__ = ["Pass", "RecurrentSynapses"]


@dataclasses.dataclass(frozen=True)
class RecurrentSynapses:
    """The recurrent synapses of a stage's hidden neurons in one pass.

    Args:
        send: from the spikes of the steps before, oldest first, shape ``(..., n)`` each, to what they add to the
            currents of the next step, ``(..., n)``.
        reach: how many of these steps it needs.
        lines: the network's lines, which hold the spikes before the pass and, after it, what the next pass needs.
        number: which of the lines is theirs.
    """

    send: Callable[[Sequence[Tensor]], Tensor]
    reach: int
    lines: list[Tensor | None]
    number: int

    def run(
        self,
        neurons: Neuron,
        current: Tensor,
        num_steps: int,
        normalize: Callable[[Tensor], Tensor],
        state: State | None,
        record: str,
    ) -> Recording:
        """Advance neurons step by step.

        Args:
            neurons: the neurons.
            current: what they receive from other stages, shape ``(T, ..., n)``, or ``(1, ..., n)`` if constant.
            num_steps: number of steps T.
            normalize: from the summed currents of a step to those of the neurons.
            state: the neurons' state before the first step; None for rest.
            record: as in :meth:`Neuron.run <spatialgraph.neurons.neuron.Neuron.run>`, spikes at least.
        """
        past, steps = self._past(current), []
        for step in range(num_steps):
            total = current[min(step, len(current) - 1)] + self.send(past)
            recording = neurons.run(normalize(total)[None], 1, state, record)
            state = recording.state
            past = [*past, cast(Tensor, recording.spikes)[0]][-self.reach :]
            steps.append(recording)
        self.lines[self.number] = torch.stack(past)
        return _joined(steps)

    def _past(self, current: Tensor) -> list[Tensor]:
        line = self.lines[self.number]
        if line is None:
            return [torch.zeros_like(current[0])]
        if not checks.tensor("line of the state", line).dim() or not len(line):
            raise ValueError(f"line of the state must have at least one time step, got shape {tuple(line.shape)}")
        return list(checks.operand("line of the state", line, (len(line), *current.shape[1:]), current).unbind(0))


def _joined(steps: Sequence[Recording]) -> Recording:
    """Join recordings of one step each."""
    spikes, potentials, states = zip(*steps, strict=True)
    return Recording(torch.cat(spikes), None if potentials[0] is None else torch.cat(potentials), states[-1])


class Pass(NamedTuple):
    """What one pass of a spiking network computes with.

    ``biases`` are those of each stage's targets, ``send`` carries signals into the stages, and ``recurrent`` holds the
    recurrent synapses by the number of their stage.
    """

    biases: Sequence[Tensor]
    send: Send
    recurrent: Mapping[int, RecurrentSynapses]
