"""Pruning: removal of synapses from a network."""

import copy

import torch
from torch import Tensor

from spatialgraph import checks
from spatialgraph.devices import draw
from spatialgraph.functional.memory import check_fits
from spatialgraph.graph.network import Network, graph_of
from spatialgraph.graph.spatial_graph import SpatialGraph
from spatialgraph.wiring.shortest import shortest_pairs

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

    All parameters remain the same objects, so optimiser state of positions, polarities and biases stays valid. Free
    weights and delays of the remaining synapses keep their values; delete their optimiser state (see
    :meth:`SpatialGraph.rewire_ <spatialgraph.SpatialGraph.rewire_>`). Removed synapses are no longer computed. The
    criterion is that of `Erb et al. (2025) <https://arxiv.org/abs/2506.13410>`_, section 3.2: for the inverse distance
    and polarities of -1 and 1 the longest synapses have the smallest weights.

    Where all pairs have a synapse, and there are too many to list, the shortest are found by a search of neighbours:
    by length, within each projection.

    Args:
        network: a graph, or a model that has one.
        amount: share of the synapses to remove, from 0 to 1, rounded to whole synapses.
        by: which synapses to remove: the longest (``"length"``), those with the smallest absolute weights
            (``"weight"``), or random ones (``"random"``).
        scope: ``"projection"`` to remove the share of each projection, or ``"global"`` to remove it from all synapses
            together.
        generator: random number generator for ``by="random"``.

    Returns:
        The network itself.

    Raises:
        TypeError: if ``network`` is neither a graph nor a model with one, or ``amount`` is not a number.
        ValueError: if ``amount`` is not between 0 and 1, ``by`` or ``scope`` is unknown, or synapses that would have to
            be listed do not fit into the memory.

    Example:
        >>> prune_(SpatialGraph.layered([784, 2048, 10]), 0.95)
        SpatialGraph(neurons=2842, synapses=81306, dim=3, spacing='learned')
    """
    graph = graph_of(network)
    checks.between("amount", amount, 0.0, 1.0)
    checks.choice("by", by, SCORES)
    checks.choice("scope", scope, SCOPES)
    if any(projection.is_large for projection in graph.projections):
        _check_large(by, scope)
        graph.connect_(_shortest(graph, amount))
        return network
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


def _check_large(by: str, scope: str) -> None:
    if by != "length":
        raise ValueError(
            f"by must be 'length' where synapses are too many to list, got {by!r}; rewire_(Random(density)) draws some"
        )
    if scope != "projection":
        raise ValueError(f"scope must be 'projection' where synapses are too many to list, got {scope!r}")


def _shortest(graph: SpatialGraph, amount: float) -> Tensor:
    """Return the edges that are left of each projection, its shortest ones."""
    pos, kept = graph.pos, []
    for number, projection in enumerate(graph.projections):
        source, target = projection.sources, projection.targets
        if projection.is_large:
            count = projection.synapses - round(amount * projection.synapses)
            check_fits("synapses that are left", count, each=96)
            nearest = shortest_pairs(pos[source], pos[target], count)
            kept.append(torch.stack([source[nearest[0]], target[nearest[1]]]))
        else:
            remaining = _largest(-graph.transmission().length(number).flatten(), amount)
            kept.append(projection.engine.edge_index(source, target)[:, remaining])
    return torch.cat(kept, 1)


def _scores(graph: SpatialGraph, by: str, generator: torch.Generator | None) -> Tensor:
    """Return a score for each synapse; those with the smallest scores are removed first."""
    if by == "length":
        return -graph.lengths()
    if by == "weight":
        return graph.weights().abs()
    return draw(torch.rand, graph.synapses, generator=generator, device=graph.layer.device)


def _largest(scores: Tensor, amount: float) -> Tensor:
    """Mark all scores except a share of the smallest; of equal scores the first is removed first."""
    remaining = torch.ones_like(scores, dtype=torch.bool)
    remaining[torch.argsort(scores, stable=True)[: round(amount * len(scores))]] = False
    return remaining
