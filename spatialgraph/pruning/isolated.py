"""Isolated neurons: those that pruning left without a synapse."""

import copy

import torch
from torch import Tensor, nn

from spatialgraph import checks
from spatialgraph.graph.network import Network, graph_of

__all__ = ["drop_isolated", "isolated"]


def isolated(network: nn.Module) -> Tensor:
    """Return the numbers of the neurons that no synapse leads to or from.

    Args:
        network: a graph, or a model that has one.

    Example:
        >>> from spatialgraph import SpatialGraph, prune
        >>> isolated(prune(SpatialGraph.layered([2, 2]), 1.0))
        tensor([0, 1, 2, 3])
    """
    graph = graph_of(network)
    return torch.nonzero(~graph.connectivity.topology.has_edge())[:, 0].to(graph.layer.device)


@torch.no_grad()
def drop_isolated(network: Network, inputs: bool = False) -> Network:
    """Return a copy of a network without its isolated neurons; the others are numbered anew, in their order.

    What belongs to the neurons that stay, and to their synapses, keeps its values, in new parameters. A model that does
    not normalise computes the same. One that normalises does not: isolated neurons count in the mean and variance of
    their layer, so train it on.

    Args:
        network: a graph, or a model that has one.
        inputs: whether isolated inputs go as well. Features ``x`` of the network are then ``x[:, keep]``, where
            ``keep = ~torch.isin(graph.inputs, isolated(graph))``. Outputs always stay.

    Returns:
        The smaller network.

    Raises:
        TypeError: if an argument is of the wrong type.
        ValueError: if no neuron of a layer, or no input, would stay.

    Example:
        >>> from spatialgraph import SpatialGraph
        >>> graph = SpatialGraph.layered([3, 4, 2])
        >>> graph = graph.keep_((graph.edge_index == 4).any(0))  # synapses to and from one hidden neuron
        >>> drop_isolated(graph)
        SpatialGraph(neurons=6, synapses=5, dim=3, spacing='learned')
    """
    graph = graph_of(network)
    graph.connectivity.verify()
    checks.flag("inputs", inputs)
    kept = graph.is_output | (graph.is_input if not inputs else False)
    has_edge = graph.connectivity.topology.has_edge().to(kept.device)
    if inputs and not (has_edge & graph.is_input).any():
        raise ValueError("inputs must be False where no synapse leads from any input, got True")
    result = copy.deepcopy(network)
    graph_of(result).keep_neurons_(kept | has_edge)
    return result
