"""Neurons of snnTorch, whose state is passed in and returned."""

import inspect
from typing import cast

import torch
from torch import Tensor, nn

from spatialgraph import checks
from spatialgraph.functional.leaky import check_rows
from spatialgraph.neurons.neuron import Neuron, Recording, State

__all__ = ["SnnTorchNeuron"]


class SnnTorchNeuron(Neuron):
    """A neuron of snnTorch whose state is passed in and returned.

    snnTorch stores every neuron in a list of its class, and the state of the last step in the module. This wrapper
    removes the neuron from the list and clears its state after each run.

    Args:
        module: a spiking neuron of snnTorch made with ``init_hidden=False``, such as ``Synaptic``, ``Alpha``,
            ``Lapicque``, ``RLeaky`` or ``RSynaptic``.

    Raises:
        ImportError: if snnTorch is not installed.
        TypeError: if ``module`` is not a spiking neuron of snnTorch.
        ValueError: if it was created with ``init_hidden=True``.

    Example:
        >>> import snntorch
        >>> neuron = SnnTorchNeuron(snntorch.Synaptic(alpha=0.5, beta=0.9))
        >>> recording = neuron.run(torch.ones(1, 4), num_steps=3)
        >>> recording.spikes.shape, len(recording.state)
        (torch.Size([3, 4]), 2)
    """

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        try:
            from snntorch import SpikingNeuron
        except ImportError as error:
            raise ImportError(
                f"neurons of type {type(module).__name__} need snnTorch; "
                'install it with: pip install "spatialgraph[snn]"'
            ) from error
        if not isinstance(module, SpikingNeuron):
            raise TypeError(f"neuron must return a spiking neuron of snnTorch, got {type(module).__name__}")
        if module.init_hidden:
            raise ValueError("neuron must return one made with init_hidden=False, got init_hidden=True")
        SpikingNeuron.instances = [other for other in SpikingNeuron.instances if other is not module]
        self.module = module
        self.states = [name for name in inspect.signature(module.forward).parameters if name != "input_"]

    def run(
        self, current: Tensor, num_steps: int, state: State | None = None, record: str = "spikes potentials"
    ) -> Recording:
        """Advance by many steps; arguments as in :meth:`Neuron.run`. Spikes and potentials are always recorded."""
        check_rows(current, checks.integer("num_steps", num_steps, minimum=1))
        self._forget(current)
        spikes, potentials = [], []
        values = (None,) * len(self.states) if state is None else state
        for step in range(num_steps):
            spike, *rest = self.module(current[min(step, len(current) - 1)], *values)
            values = (spike, *rest) if self.states[0] == "spk" else tuple(rest)
            spikes.append(spike)
            potentials.append(rest[-1])
        self._forget(current)
        # snnTorch returns spikes in single precision, regardless of that of the potentials.
        return Recording(torch.stack(spikes).to(current.dtype), torch.stack(potentials), cast(State, values))

    def _forget(self, like: Tensor) -> None:
        for name in (*self.states, "reset"):
            if isinstance(getattr(self.module, name, None), Tensor):
                setattr(self.module, name, like.new_zeros(0))
