"""Isolated neurons: those that pruning left without a synapse."""

import copy

import torch
from torch import Tensor

from spatialgraph.graph.spatial_graph import SpatialGraph
from spatialgraph.pruning.removal import check_graph
from spatialgraph.used import replace

__all__ = ["drop_isolated", "isolated"]


def isolated(graph: SpatialGraph) -> Tensor:
    """Return the numbers of the neurons that no synapse leads to or from.

    Example:
        >>> from spatialgraph import prune
        >>> isolated(prune(SpatialGraph.layered([2, 2]), 1.0))
        tensor([0, 1, 2, 3])
    """
    check_graph(graph)
    degree = torch.bincount(graph.edge_index.flatten(), minlength=graph.neurons)
    return torch.nonzero(degree == 0)[:, 0]


@torch.no_grad()
def drop_isolated(graph: SpatialGraph, inputs: bool = False) -> SpatialGraph:
    """Return a copy of a network without its isolated neurons; the others are numbered anew, in their order.

    What belongs to the neurons that stay, and to their synapses, keeps its values, in new parameters. A model that does
    not normalise computes the same. One that normalises does not: isolated neurons count in the mean and variance of
    their layer, so train it on.

    Args:
        graph: the network; of a model, ``model.graph``.
        inputs: whether isolated inputs go as well. Features ``x`` of the network are then ``x[:, keep]``, where
            ``keep = ~torch.isin(graph.inputs, isolated(graph))``. Outputs always stay.

    Returns:
        The smaller network.

    Raises:
        TypeError: if an argument is of the wrong type.
        ValueError: if no neuron of a layer, or no input, would stay.

    Example:
        >>> graph = SpatialGraph.layered([3, 4, 2])
        >>> graph = graph.keep((graph.edge_index == 4).any(0))  # synapses to and from one hidden neuron
        >>> drop_isolated(graph)
        SpatialGraph(neurons=6, synapses=5, dim=3, spacing='learned')
    """
    check_graph(graph)
    graph.connectivity.verify()
    if not isinstance(inputs, bool):
        raise TypeError(f"inputs must be a bool, got {type(inputs).__name__}")
    kept = graph.is_output.clone() if inputs else graph.is_output | graph.is_input
    kept[graph.edge_index.flatten()] = True
    _check_layers(graph, kept)
    result = copy.deepcopy(graph)
    if result.free_synapses.weight_kind != "free":
        replace(result, "raw_polarity", graph.raw_polarity[kept[~graph.is_output]])
    replace(result, "raw_bias", graph.raw_bias[kept[~graph.is_input]])
    if isinstance(graph.init, Tensor):
        result.init = graph.init[kept.to(graph.init.device)]
    result.positions.keep_neurons(kept)
    result.connectivity.keep_neurons(kept)
    return result


def _check_layers(graph: SpatialGraph, kept: Tensor) -> None:
    if not kept[graph.is_input].any():
        raise ValueError("inputs must be False where no synapse leads from any input, got True")
    if graph.is_layered:
        left = torch.bincount(graph.layer[kept], minlength=int(graph.layer.max()) + 1)
        if not left.all():
            raise ValueError(f"graph must keep a neuron in each layer, got layer {int(left.argmin())} wholly isolated")
