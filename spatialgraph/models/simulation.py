"""What a simulation of a spiking network returns: spikes, potentials, and the state it ends in."""

import dataclasses
from collections.abc import Callable
from typing import Any

from torch import Tensor

from spatialgraph.neurons.neuron import State

__all__ = ["NetworkState", "Simulation"]


@dataclasses.dataclass(frozen=True)
class NetworkState:
    """The state of a spiking network between two time steps.

    Args:
        neurons: the states of each stage's hidden neurons and of its outputs; None where it has none.
        lines: what was sent in the steps before, as far as it is still needed, oldest first, shape ``(L, ..., n)``:
            into each stage whose synapses have delays, then by the neurons of each stage with recurrent synapses; None
            for nothing.
    """

    neurons: tuple[tuple[State | None, State | None], ...]
    lines: tuple[Tensor | None, ...]

    def detach(self) -> "NetworkState":
        """Return the same state without its history, for truncated backpropagation through time.

        Example:
            >>> import spatialgraph as sg
            >>> import torch
            >>> model = sg.SpatialSNN([3, 2], num_steps=5)
            >>> state = model.simulate(torch.rand(1, 3)).state
            >>> state.detach().neurons[0][1][0].requires_grad
            False
        """
        return self._mapped(Tensor.detach)

    def to(self, *args: Any, **kwargs: Any) -> "NetworkState":  # noqa: ANN401 - as in torch.Tensor.to
        """Return the state on another device or in another dtype; arguments as in :meth:`torch.Tensor.to`."""
        return self._mapped(lambda values: values.to(*args, **kwargs))

    def _mapped(self, change: Callable[[Tensor], Tensor]) -> "NetworkState":
        def group(state: State | None) -> State | None:
            return None if state is None else tuple(change(values) for values in state)

        neurons = tuple((group(hidden), group(output)) for hidden, output in self.neurons)
        return NetworkState(neurons, tuple(None if line is None else change(line) for line in self.lines))


@dataclasses.dataclass(frozen=True)
class Simulation:
    """What a spiking network did in T time steps.

    Args:
        inputs: what the input neurons sent, shape ``(T, ..., inputs)``; shape ``(1, ..., inputs)`` if constant.
        spikes: spikes of each stage, shape ``(T, ..., neurons)``: the layers after the first, or for a network without
            layers the neurons of ``graph.feed_forward_projections[stage].targets``.
        potentials: membrane potentials of each stage, the same shapes.
        state: the state after the last step, to be passed to the next call.
    """

    inputs: Tensor
    spikes: tuple[Tensor, ...]
    potentials: tuple[Tensor, ...]
    state: NetworkState
