"""Pruning: removing synapses from a network, and the neurons that have none left."""

import copy

import torch
from torch import Tensor, nn

from spatialgraph import checks
from spatialgraph.graph.network import Network, graph_of
from spatialgraph.graph.spatial_graph import SpatialGraph

__all__ = ["drop_isolated", "isolated", "prune", "prune_"]

SCORES = ("length", "weight", "random")
SCOPES = ("projection", "global")


@torch.no_grad()
def prune_(
    network: Network,
    amount: float,
    *,
    by: str = "length",
    scope: str = "projection",
    generator: torch.Generator | None = None,
) -> Network:
    """Remove the least important synapses of a network in place.

    All parameters stay the same objects, so that an optimiser goes on with the state of positions, polarities and
    biases. Free weights and delays of the synapses that remain keep their values; an optimiser that has a state of them
    must forget it (see :meth:`SpatialGraph.rewire <spatialgraph.SpatialGraph.rewire>`). What is removed is no longer
    computed (see :mod:`spatialgraph.graph.projections` for the choice of the engine). The rule is that of `Erb et al.
    (2025) <https://arxiv.org/abs/2506.13410>`_, section 3.2: for the inverse distance and polarities of -1 and 1 the
    longest synapses are those of the smallest weights.

    Args:
        network: a graph, or a model that has one.
        amount: share of the synapses to remove, from 0 to 1, rounded to whole synapses.
        by: which go first: the longest (``"length"``), those of the smallest absolute weight (``"weight"``), or any
            (``"random"``).
        scope: whether the share is that of each ``"projection"`` or of all synapses together (``"global"``).
        generator: source of random numbers for ``by="random"``.

    Returns:
        The network itself.

    Raises:
        TypeError: if an argument is of the wrong type.
        ValueError: if ``amount`` is out of range or a name unknown.

    Example:
        >>> prune_(SpatialGraph.layered([784, 2048, 10]), 0.95)
        SpatialGraph(neurons=2842, synapses=81306, dim=3, spacing='learned')
    """
    graph = graph_of(network)
    checks.between("amount", amount, 0.0, 1.0)
    checks.choice("by", by, SCORES)
    checks.choice("scope", scope, SCOPES)
    scores = _scores(graph, by, generator)
    counts = [projection.synapses for projection in graph.projections] if scope == "projection" else [len(scores)]
    graph.keep(torch.cat([_largest(part, amount) for part in scores.split(counts)]))
    return network


def prune(
    network: Network,
    amount: float,
    *,
    by: str = "length",
    scope: str = "projection",
    generator: torch.Generator | None = None,
) -> Network:
    """Return a copy of a network without its least important synapses; arguments as in :func:`prune_`.

    Example:
        >>> graph = SpatialGraph.layered([8, 4])
        >>> prune(graph, 0.5).synapses, graph.synapses
        (16, 32)
    """
    graph_of(network)
    return prune_(copy.deepcopy(network), amount, by=by, scope=scope, generator=generator)


def isolated(network: nn.Module) -> Tensor:
    """Return the numbers of the neurons that no synapse leads to or from.

    Args:
        network: a graph, or a model that has one.

    Example:
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
        >>> graph = SpatialGraph.layered([3, 4, 2])
        >>> graph = graph.keep((graph.edge_index == 4).any(0))  # synapses to and from one hidden neuron
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
    graph_of(result).keep_neurons(kept | has_edge)
    return result


def _scores(graph: SpatialGraph, by: str, generator: torch.Generator | None) -> Tensor:
    """Return a number for each synapse; those of the smallest go first."""
    if by == "length":
        return -graph.lengths()
    if by == "weight":
        return graph.weights().abs()
    return torch.rand(graph.synapses, generator=generator).to(graph.layer.device)


def _largest(scores: Tensor, amount: float) -> Tensor:
    """Mark all but a share of the smallest scores; of equal ones the first goes first."""
    kept = torch.ones_like(scores, dtype=torch.bool)
    kept[torch.argsort(scores, stable=True)[: round(amount * len(scores))]] = False
    return kept
