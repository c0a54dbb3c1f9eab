"""What follows from a topology on one device: groups of neurons and projections."""

import dataclasses

import torch
from torch import Tensor

from spatialgraph.graph.grids import Sums
from spatialgraph.graph.projections import (
    Projection,
    generations,
    make_projections,
    make_recurrent_projections,
    with_live,
)
from spatialgraph.graph.topology import Topology

__all__ = ["Located"]


@dataclasses.dataclass(frozen=True)
class Located:
    """What follows from a topology, on the device of the parameters.

    Args:
        topology: the neuron numbers and edges, on this device.
        fingerprint: the bits of the topology, shape ``(64,)``, bool.
        sizes: number of neurons of each layer, shape ``(L,)``; of all neurons in a network without layers.
        senders: numbers of the neurons that have a polarity, all but outputs.
        sending: the same, with the grids that they are cells of.
        receivers: numbers of the neurons that have a bias, all but inputs.
        movable: the neurons that are not anchored, with the grids that they are cells of.
        anchors: numbers of the neurons that are.
        feed_forward: one projection for each generation of neurons after the inputs.
        projections: those, then the recurrent ones.
        recurrent_numbers: numbers of the recurrent ones, by the number of the one into the same neurons.
    """

    topology: Topology
    fingerprint: Tensor
    sizes: Tensor
    senders: Tensor
    sending: Sums
    receivers: Tensor
    movable: Sums
    anchors: Tensor
    feed_forward: tuple[Projection, ...]
    projections: tuple[Projection, ...]
    recurrent_numbers: dict[int, int]

    @classmethod
    def of(cls, topology: Topology, fingerprint: Tensor, device: torch.device) -> "Located":
        """Cut a topology into projections."""
        sizes = torch.bincount(topology.layer.clamp(min=0)).to(device)
        topology = Topology(**{name: values.to(device) for name, values in vars(topology).items()})
        (edges, within), layer = topology.split_edges(), topology.layer
        generation = layer if topology.is_layered else generations(edges, topology.is_input)
        forward = make_projections(generation, topology.is_output, edges, topology.all_to_all)
        recurrent: tuple[Projection, ...] = ()
        if topology.is_recurrent:
            marked = topology.all_recurrent
            recurrent = make_recurrent_projections(forward[0].layout, generation, within, marked)
        else:
            forward = with_live(forward)
        numbers = {projection.blocks[0] - 1: number for number, projection in enumerate(recurrent, len(forward))}
        groups = ~topology.is_output, ~topology.is_input, topology.anchored
        senders, receivers, anchors = (torch.nonzero(group)[:, 0] for group in groups)
        return cls(
            topology,
            fingerprint.to(device),
            sizes,
            senders=senders,
            sending=topology.sums(~topology.is_output),
            receivers=receivers,
            movable=topology.sums(~topology.anchored),
            anchors=anchors,
            feed_forward=forward,
            projections=forward + recurrent,
            recurrent_numbers=numbers,
        )
