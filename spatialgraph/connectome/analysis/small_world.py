"""Small-world propensity: between a ring of neighbours and a random network."""

import numpy as np

from spatialgraph.connectome.analysis.measures import clustering, path_length
from spatialgraph.connectome.analysis.weighted_edges import WeightedEdges

__all__ = ["small_world_propensity"]


def small_world_propensity(edges: WeightedEdges, rng: np.random.Generator, sources: int | None = None) -> float:
    r"""Return how much a network has both the clustering of a lattice and the short paths of a random network.

    .. math:: \phi = 1 - \sqrt{\frac{\Delta_C^2 + \Delta_L^2}{2}}

    with the relative distances :math:`\Delta_C` of the clustering from that of a lattice and :math:`\Delta_L` of the
    path length from that of a random network, each between 0 and 1: `Muldoon et al. (2016)
    <https://doi.org/10.1038/srep22057>`_. Both have the weights of the network, whose directions are ignored. In the
    lattice, the largest weights join the nearest neurons of a ring.

    Args:
        edges: the edges.
        rng: the random number generator of the two networks.
        sources: number of neurons whose paths are measured; None for all.

    Returns:
        A number from 0 to 1; above 0.6 counts as a small world. NaN without synapses.

    Example:
        >>> from spatialgraph import SpatialGraph
        >>> edges = WeightedEdges.of(SpatialGraph.layered([9, 8, 7]))
        >>> 0.0 <= small_world_propensity(edges, np.random.default_rng(0)) <= 1.0
        True
    """
    own = _undirected(edges)
    if own is None:
        return float("nan")
    pairs, weight = own
    latticed = _ring(edges.count, len(weight), rng)
    shuffled = _random(edges.count, len(weight), rng)
    measured = [
        _measure(edges.count, ends, weights, sources, rng)
        for ends, weights in (
            (pairs, weight),
            (latticed, np.sort(weight)[::-1]),
            (shuffled, rng.permutation(weight)),
        )
    ]
    (own_c, own_l), (lattice_c, lattice_l), (random_c, random_l) = measured
    by_clustering = _share(lattice_c - own_c, lattice_c - random_c)
    by_length = _share(own_l - random_l, lattice_l - random_l)
    return float(1.0 - np.sqrt((by_clustering**2 + by_length**2) / 2.0))


def _share(part: float, whole: float) -> float:
    """Return a ratio between 0 and 1; 0 where the two networks do not differ."""
    return float(np.clip(part / whole, 0.0, 1.0)) if whole else 0.0


def _measure(
    count: int, ends: np.ndarray, weight: np.ndarray, sources: int | None, rng: np.random.Generator
) -> tuple[float, float]:
    """Return mean clustering and path length of an undirected network."""
    source, target = np.concatenate([ends, ends[::-1]], axis=1)
    both = np.concatenate([weight, weight])
    edges = WeightedEdges(count, source, target, both, np.ones_like(both))
    return float(clustering(edges).mean()), path_length(edges, sources, rng)[0]


def _undirected(edges: WeightedEdges) -> tuple[np.ndarray, np.ndarray] | None:
    """Return pairs of neurons, shape ``(2, P)``, and the mean absolute weight of both directions; None without any."""
    low, high = np.minimum(edges.source, edges.target), np.maximum(edges.source, edges.target)
    numbers, place = np.unique(low.astype(np.int64) * edges.count + high, return_inverse=True)
    weight = np.bincount(place, np.abs(edges.weight), minlength=len(numbers)) / 2.0
    exists = weight > 0
    numbers, weight = numbers[exists], weight[exists]
    return (np.stack([numbers // edges.count, numbers % edges.count]), weight) if len(weight) else None


def _ring(count: int, pairs: int, rng: np.random.Generator) -> np.ndarray:
    """Return pairs of neurons of a ring, nearest first; those of the same distance in random order."""
    steps = np.arange(1, count // 2 + 1)
    found, left = [], pairs
    for step in steps:
        starts = np.arange(count if 2 * step < count else count // 2)
        chosen = rng.permutation(starts)[:left]
        found.append(np.stack([chosen, (chosen + step) % count]))
        left -= len(chosen)
        if not left:
            break
    return np.concatenate(found, axis=1)


def _random(count: int, pairs: int, rng: np.random.Generator) -> np.ndarray:
    """Return different random pairs of neurons."""
    possible = count * (count - 1) // 2
    if pairs > possible // 4:
        numbers = rng.permutation(possible)[:pairs]
    else:
        numbers = np.empty(0, np.int64)
        while len(numbers) < pairs:
            numbers = np.unique(np.concatenate([numbers, rng.integers(possible, size=pairs)]))
        numbers = rng.permutation(numbers)[:pairs]
    # Pair (i, j) with i < j has the number j (j - 1) / 2 + i.
    high = ((1.0 + np.sqrt(1.0 + 8.0 * numbers)) / 2.0).astype(np.int64)
    high -= high * (high - 1) // 2 > numbers
    high += (high + 1) * high // 2 <= numbers
    return np.stack([numbers - high * (high - 1) // 2, high])
