"""Neurons that are left without use, for example after pruning: without a synapse, or a path to an output."""

import copy

import torch
from torch import Tensor, nn

from spatialgraph import checks
from spatialgraph.graph.network import Network, graph_of

__all__ = ["drop_dead_ends", "drop_isolated", "isolated"]


def isolated(network: nn.Module) -> Tensor:
    """Return the indices of neurons without incoming and outgoing synapses.

    Args:
        network: a graph, or a model that has one.

    Example:
        >>> from spatialgraph import SpatialGraph, prune
        >>> isolated(prune(SpatialGraph.layered([2, 2]), 1.0))
        tensor([0, 1, 2, 3])
    """
    graph = graph_of(network)
    graph.connectivity.verify()
    return torch.nonzero(~graph.connectivity.topology.has_edge())[:, 0].to(graph.layer.device)


@torch.no_grad()
def drop_isolated(network: Network, inputs: bool = False) -> Network:
    """Return a copy of a network without its isolated neurons; the others are renumbered in their order.

    Values of the remaining neurons and synapses are copied to new parameters. The outputs of a model without
    normalisation do not change, nor do those of one with ``normalize="live"``. With normalisation over all neurons they
    do, because isolated neurons contribute to the mean and variance of their layer; fine-tune such a model.

    Args:
        network: a graph, or a model that has one.
        inputs: whether to remove isolated inputs too. The inputs of the new network are then ``x[:, keep]``, where
            ``keep = ~torch.isin(graph.inputs, isolated(graph))``. Outputs are never removed.

    Returns:
        The smaller network.

    Raises:
        TypeError: if ``network`` is neither a graph nor a model with one, or ``inputs`` is not a bool.
        ValueError: if no neuron of a layer, or no input, would remain.

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
    remaining = graph.is_output | (graph.is_input if not inputs else False)
    has_edge = graph.connectivity.topology.has_edge().to(remaining.device)
    if inputs and not (has_edge & graph.is_input).any():
        raise ValueError("inputs must be False where no synapse leads from any input, got True")
    result = copy.deepcopy(network)
    graph_of(result).keep_neurons_(remaining | has_edge)
    return result


@torch.no_grad()
def drop_dead_ends(network: Network) -> Network:
    """Return a copy without the hidden neurons that no path leads from to an output, and without their synapses.

    The outputs of a model without normalisation do not change, nor do those of a
    :class:`~spatialgraph.SpatialMLP` with ``normalize="live"``. Where fewer than two hidden neurons of a stage would
    remain, it keeps all. The other neurons are renumbered in their order.

    Args:
        network: a graph, or a model that has one, without recurrent or masked synapses.

    Returns:
        The smaller network.

    Raises:
        TypeError: if ``network`` is neither a graph nor a model with one.
        ValueError: if it has recurrent or masked synapses.

    Example:
        >>> from spatialgraph import SpatialGraph
        >>> edges = torch.tensor([[0, 0, 0, 1, 2], [1, 2, 3, 4, 4]])
        >>> drop_dead_ends(SpatialGraph(torch.randn(5, 2), edges, layer=torch.tensor([0, 1, 1, 1, 2])))
        SpatialGraph(neurons=4, synapses=4, dim=2, spacing='free')
    """
    graph = graph_of(network)
    graph.connectivity.verify()
    if graph.is_recurrent:
        raise ValueError("network must have no recurrent synapses, got some")
    if graph.masked_share:
        raise ValueError(f"network must have no masked synapses, got a share of {graph.masked_share:g}")
    remaining = torch.ones_like(graph.is_output)
    for projection in graph.projections:
        if projection.live is not None:
            hidden = projection.targets[: projection.hidden]
            remaining[hidden] = False
            remaining[hidden[projection.live]] = True
    result = copy.deepcopy(network)
    graph_of(result).keep_(remaining[graph.edge_index[1]])
    graph_of(result).keep_neurons_(remaining)
    return result
