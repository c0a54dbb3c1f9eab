"""Costs of inference with a spiking network, in spikes and operations."""

import dataclasses

import torch
from torch import Tensor

from spatialgraph.models.spiking_network import SpikingNetwork

__all__ = ["SpikeCost", "spike_cost"]


@dataclasses.dataclass(frozen=True)
class SpikeCost:
    """Costs per sample for a run of all time steps, averaged over samples.

    Args:
        spikes: number of spikes of all neurons except inputs.
        synaptic_operations: additions of weights to potentials caused by these spikes, one for each outgoing synapse of
            a neuron that fires.
        input_operations: multiply-adds or additions caused by the inputs; a constant current is multiplied once.
        dense_operations: multiply-adds of a dense network of these sizes that computes every synapse in every step.
    """

    spikes: float
    synaptic_operations: float
    input_operations: float
    dense_operations: float


@torch.no_grad()
def spike_cost(model: SpikingNetwork, x: Tensor, generator: torch.Generator | None = None) -> SpikeCost:
    """Count spikes and operations of a run.

    Args:
        model: a :class:`~spatialgraph.SpatialSNN` or :class:`~spatialgraph.DenseSNN`.
        x: inputs of one or more samples, as in ``model.simulate``.
        generator: random number generator for ``coding="rate"``.

    Raises:
        TypeError: if ``model`` is not a spiking network.
        ValueError: if ``x`` holds no sample, or does not have the shape or range of the model's inputs.

    Example:
        >>> from spatialgraph import SpatialSNN
        >>> spike_cost(SpatialSNN([3, 4, 2], num_steps=5), torch.zeros(2, 3)).dense_operations
        100.0
    """
    if not isinstance(model, SpikingNetwork):
        raise TypeError(f"model must be a spiking network, got {type(model).__name__}")
    run = model.simulate(x, generator=generator)
    fan_outs = model.fan_outs()
    samples = run.spikes[0][0, ..., 0].numel()
    if not samples:
        raise ValueError(f"x must hold at least one sample, got shape {tuple(x.shape)}")
    sent = [_of_each_neuron(spikes) for spikes in run.spikes]
    entering = samples if model.coding == "current" else _of_each_neuron(run.inputs)
    pairs = zip(sent, fan_outs[1:], strict=True)
    return SpikeCost(
        spikes=sum(int(counts.sum()) for counts in sent) / samples,
        synaptic_operations=sum(int((counts * fan_out).sum()) for counts, fan_out in pairs) / samples,
        input_operations=int((entering * fan_outs[0]).sum()) / samples,
        dense_operations=float(sum(int(fan_out.sum()) for fan_out in fan_outs) * model.num_steps),
    )


def _of_each_neuron(signals: Tensor) -> Tensor:
    """Count the signals of each neuron, as integers: networks in half precision would round large counts."""
    return signals.flatten(0, -2).count_nonzero(0)
