"""Null models: random networks that share some properties with a given one, for comparison with chance."""

import dataclasses

import numpy as np

from spatialgraph.connectome.analysis.weighted_edges import WeightedEdges, among

__all__ = ["length_null", "degree_null", "strength_null"]

# Rounds of swaps in each of which every edge is proposed once; 10 swaps an edge are customary.
ROUNDS = 10
# Rounds in which weights are handed out: strengths that are left are computed again for each.
_PARTS = 20


def length_null(edges: WeightedEdges, rng: np.random.Generator) -> WeightedEdges:
    """Return the same edges with their lengths shuffled.

    Example:
        >>> from spatialgraph import SpatialGraph
        >>> edges = WeightedEdges.of(SpatialGraph.layered([3, 2]))
        >>> bool(np.isclose(length_null(edges, np.random.default_rng(0)).length.sum(), edges.length.sum()))
        True
    """
    return dataclasses.replace(edges, length=rng.permutation(edges.length))


def degree_null(edges: WeightedEdges, rng: np.random.Generator) -> WeightedEdges:
    """Return random edges with the same in- and out-degree of every neuron.

    Two edges exchange their targets unless an edge would begin and end at the same neuron, or exist twice: `Maslov and
    Sneppen (2002) <https://doi.org/10.1126/science.1065103>`_. An edge keeps its source and its weight, so that the
    out-strengths stay too. Lengths stay with the edges and mean nothing afterwards.

    Example:
        >>> from spatialgraph import SpatialGraph
        >>> from spatialgraph.wiring import Random
        >>> edges = WeightedEdges.of(SpatialGraph.layered([9, 8, 7], wiring=Random(0.5)))
        >>> null = degree_null(edges, np.random.default_rng(0))
        >>> bool((np.bincount(null.target) == np.bincount(edges.target)).all())
        True
    """
    return dataclasses.replace(edges, target=_swapped(edges, np.zeros(len(edges.source), np.int8), rng))


def strength_null(edges: WeightedEdges, rng: np.random.Generator) -> WeightedEdges:
    """Return random edges with the same numbers of excitatory and inhibitory synapses in and out of every neuron.

    Targets are exchanged between edges of the same sign only. The weights of each sign are then handed out so that the
    in- and out-strengths of the neurons come close to those of the network: `Rubinov and Sporns (2011)
    <https://doi.org/10.1016/j.neuroimage.2011.03.069>`_. Degrees by sign and the weights are the same exactly,
    strengths approximately.

    Example:
        >>> from spatialgraph import SpatialGraph
        >>> edges = WeightedEdges.of(SpatialGraph.layered([9, 8, 7]))
        >>> null = strength_null(edges, np.random.default_rng(0))
        >>> bool((np.sort(null.weight) == np.sort(edges.weight)).all())
        True
    """
    sign = np.sign(edges.weight).astype(np.int8)
    null = dataclasses.replace(edges, target=_swapped(edges, sign, rng))
    weight = edges.weight.copy()
    for each in (-1, 1):
        chosen = np.flatnonzero(sign == each)
        weight[chosen] = each * _handed_out(edges, null, chosen, rng)
    return dataclasses.replace(null, weight=weight)


def _swapped(edges: WeightedEdges, group: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Return targets after swaps between edges of the same group."""
    source, target, count = edges.source.astype(np.int64), edges.target.astype(np.int64), edges.count
    for _ in range(ROUNDS):
        order = rng.permutation(len(source))
        order = order[np.argsort(group[order], kind="stable")]
        one, two = order[: len(order) // 2 * 2].reshape(-1, 2).T
        proposed = np.stack([source[one] * count + target[two], source[two] * count + target[one]])
        is_new = _is_single(proposed, np.concatenate([source * count + target, proposed.ravel()]), count).all(0)
        is_open = (source[one] != target[two]) & (source[two] != target[one]) & (group[one] == group[two])
        one, two = one[is_new & is_open], two[is_new & is_open]
        target[one], target[two] = target[two], target[one]
    return target


def _is_single(proposed: np.ndarray, numbers: np.ndarray, count: int) -> np.ndarray:
    """Tell which proposed edges are there only once among edges with these numbers, below ``count ** 2``."""
    if count * count <= 8 * len(numbers):  # so many edges that a table of all pairs is faster than sorting
        single: np.ndarray = np.bincount(numbers, minlength=count * count)[proposed] == 1
        return single
    numbers = np.sort(numbers)
    return ~among(proposed, numbers[1:][numbers[1:] == numbers[:-1]])


def _handed_out(edges: WeightedEdges, null: WeightedEdges, chosen: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Return absolute weights of some edges of a null model, such that strengths come close to those of the network."""
    size = np.abs(edges.weight[chosen])
    out = np.bincount(edges.source[chosen], size, minlength=edges.count)
    into = np.bincount(edges.target[chosen], size, minlength=edges.count)
    source, target = null.source[chosen], null.target[chosen]
    result, left, pool = np.empty(len(chosen)), np.arange(len(chosen)), np.sort(size)
    for part in range(_PARTS):
        # Large weights go to edges between neurons with much strength left.
        left = left[np.argsort(out[source[left]] * into[target[left]], kind="stable")]
        ranks = rng.choice(len(left), len(left) // (_PARTS - part), replace=False)
        given, values = left[ranks], pool[ranks]
        result[given] = values
        out = np.maximum(out - np.bincount(source[given], values, minlength=edges.count), 0.0)
        into = np.maximum(into - np.bincount(target[given], values, minlength=edges.count), 0.0)
        left, pool = np.delete(left, ranks), np.delete(pool, ranks)
    return result
