"""Pruning: removing synapses from a network, and the neurons that have none left."""

import copy

import torch
from torch import Tensor

from spatialgraph import checks
from spatialgraph.graph.spatial_graph import SpatialGraph
from spatialgraph.used import replace

__all__ = ["drop_isolated", "isolated", "prune", "prune_"]

SCORES = ("length", "weight", "random")
SCOPES = ("projection", "global")


@torch.no_grad()
def prune_(
    graph: SpatialGraph,
    amount: float,
    *,
    by: str = "length",
    scope: str = "projection",
    generator: torch.Generator | None = None,
) -> SpatialGraph:
    """Remove the least important synapses of a network in place.

    All parameters stay the same objects, so that an optimiser goes on with the state of positions, polarities and
    biases. Free weights and delays of the synapses that remain keep their values; an optimiser that has a state of them
    must forget it (see :meth:`SpatialGraph.rewire <spatialgraph.SpatialGraph.rewire>`). What is removed is no longer
    computed (see :mod:`spatialgraph.graph.projections` for the choice of the engine). The rule is that of `Erb et al.
    (2025) <https://arxiv.org/abs/2506.13410>`_, section 3.2: for the inverse distance and polarities of -1 and 1 the
    longest synapses are those of the smallest weights.

    Args:
        graph: the network; of a model, ``model.graph``.
        amount: share of the synapses to remove, from 0 to 1, rounded to whole synapses.
        by: which go first: the longest (``"length"``), those of the smallest absolute weight (``"weight"``), or any
            (``"random"``).
        scope: whether the share is that of each ``"projection"`` or of all synapses together (``"global"``).
        generator: source of random numbers for ``by="random"``.

    Returns:
        The graph itself.

    Raises:
        TypeError: if an argument is of the wrong type.
        ValueError: if ``amount`` is out of range or a name unknown.

    Example:
        >>> prune_(SpatialGraph.layered([784, 2048, 10]), 0.95)
        SpatialGraph(neurons=2842, synapses=81306, dim=3, spacing='learned')
    """
    check_graph(graph)
    checks.between("amount", amount, 0.0, 1.0)
    checks.choice("by", by, SCORES)
    checks.choice("scope", scope, SCOPES)
    scores = _scores(graph, by, generator)
    counts = [projection.synapses for projection in graph.projections] if scope == "projection" else [len(scores)]
    return graph.keep(torch.cat([_largest(part, amount) for part in scores.split(counts)]))


def prune(
    graph: SpatialGraph,
    amount: float,
    *,
    by: str = "length",
    scope: str = "projection",
    generator: torch.Generator | None = None,
) -> SpatialGraph:
    """Return a copy of a network without its least important synapses; arguments as in :func:`prune_`.

    Example:
        >>> graph = SpatialGraph.layered([8, 4])
        >>> prune(graph, 0.5).synapses, graph.synapses
        (16, 32)
    """
    check_graph(graph)
    return prune_(copy.deepcopy(graph), amount, by=by, scope=scope, generator=generator)


def isolated(graph: SpatialGraph) -> Tensor:
    """Return the numbers of the neurons that no synapse leads to or from.

    Example:
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
    _check_graph(graph)
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


def _check_graph(graph: SpatialGraph) -> None:
    if not isinstance(graph, SpatialGraph):
        raise TypeError(f"graph must be a SpatialGraph (of a model: model.graph), got {type(graph).__name__}")


def _check_layers(graph: SpatialGraph, kept: Tensor) -> None:
    if not kept[graph.is_input].any():
        raise ValueError("inputs must be False where no synapse leads from any input, got True")
    if graph.is_layered:
        left = torch.bincount(graph.layer[kept], minlength=int(graph.layer.max()) + 1)
        if not left.all():
            raise ValueError(f"graph must keep a neuron in each layer, got layer {int(left.argmin())} wholly isolated")


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


def check_graph(graph: object) -> None:
    """Raise unless it is a network."""
    if not isinstance(graph, SpatialGraph):
        raise TypeError(f"graph must be a SpatialGraph (of a model: model.graph), got {type(graph).__name__}")
