"""Pruning: removing synapses from a network."""

import copy

import torch
from torch import Tensor

from spatialgraph import checks
from spatialgraph.graph.network import Network, graph_of
from spatialgraph.graph.spatial_graph import SpatialGraph

__all__ = ["SCOPES", "prune", "prune_"]

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
    must forget it (see :meth:`SpatialGraph.rewire_ <spatialgraph.SpatialGraph.rewire_>`). What is removed is no longer
    computed. The rule is that of `Erb et al.
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
    graph.keep_(torch.cat([_largest(part, amount) for part in scores.split(counts)]))
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
