"""Measures of network neuroscience on weighted directed edges.

They are those of the `Brain Connectivity Toolbox <https://doi.org/10.1016/j.neuroimage.2009.10.003>`_ (Rubinov and
Sporns, 2010), on sparse matrices. Weights count by their absolute values unless a measure says otherwise.
"""

from typing import TYPE_CHECKING

import numpy as np

from spatialgraph.connectome.analysis.weighted_edges import WeightedEdges, among

if TYPE_CHECKING:
    import scipy.sparse

__all__ = [
    "clustering",
    "excitatory_share",
    "path_length",
    "reciprocity",
    "rich_club",
    "total_wiring",
    "wiring_efficiency",
]

# Matrices with more entries than one in so many are multiplied as dense ones, which is faster.
_DENSE = 20


def excitatory_share(edges: WeightedEdges) -> float:
    """Return the share of positive weights in the sum of absolute weights; NaN without weights."""
    total = np.abs(edges.weight).sum()
    return float(np.maximum(edges.weight, 0.0).sum() / total) if total else float("nan")


def total_wiring(edges: WeightedEdges) -> float:
    r"""Return the wiring cost :math:`\sum_e |w_e|\, r_e`, in length units."""
    return float(np.abs(edges.weight) @ edges.length)


def wiring_efficiency(edges: WeightedEdges) -> float:
    r"""Return where the wiring cost stands between the worst and the best assignment of the weights to the lengths.

    .. math:: \frac{C_\mathrm{worst} - C}{C_\mathrm{worst} - C_\mathrm{best}}

    The best assignment gives the largest weight to the shortest synapse, the worst to the longest (rearrangement
    inequality). 1 is best, 0 worst; NaN where all assignments cost the same.
    """
    weight, length = np.sort(np.abs(edges.weight)), np.sort(edges.length)
    worst, best = float(weight @ length), float(weight[::-1] @ length)
    return (worst - total_wiring(edges)) / (worst - best) if worst > best else float("nan")


def reciprocity(edges: WeightedEdges) -> float:
    """Return the share of synapses with a synapse in the opposite direction; NaN without synapses."""
    source, target = edges.source.astype(np.int64), edges.target.astype(np.int64)
    numbers, turned = np.sort(source * edges.count + target), target * edges.count + source
    return float(among(turned, numbers).mean()) if len(numbers) else float("nan")


def clustering(edges: WeightedEdges) -> np.ndarray:
    """Return the weighted directed clustering coefficient of each neuron.

    `Fagiolo (2007) <https://doi.org/10.1103/PhysRevE.76.026107>`_; weights are divided by the largest one. A neuron
    that is part of no triangle has 0.
    """
    weight = np.abs(edges.weight)
    exists = edges.matrix((weight > 0).astype(np.float64))
    root = edges.matrix(np.cbrt(weight / weight.max(initial=np.finfo(float).tiny)))
    both = root + root.T
    triangles = _diagonal_of_cube(both) / 2.0
    degree = np.asarray((exists + exists.T).sum(axis=1)).ravel()
    possible = degree * (degree - 1.0) - 2.0 * _diagonal_of_product(exists, exists)
    return np.divide(triangles, possible, out=np.zeros(edges.count), where=(triangles > 0) & (possible > 0))


def path_length(
    edges: WeightedEdges, sources: int | None = None, rng: np.random.Generator | None = None
) -> tuple[float, float]:
    """Return the mean length of the shortest paths between neurons, and the share of pairs with a path.

    A synapse's distance is the inverse of its absolute weight.

    Args:
        edges: the edges.
        sources: number of sources, drawn at random, whose paths are measured; None for all.
        rng: the random number generator that draws them.
    """
    from scipy.sparse.csgraph import dijkstra

    exists = edges.weight != 0
    distance = np.divide(1.0, np.abs(edges.weight), out=np.zeros(len(edges.weight)), where=exists)
    matrix = edges.matrix(distance)
    matrix.eliminate_zeros()
    chosen = np.arange(edges.count)
    if sources is not None and sources < edges.count:
        chosen = (np.random.default_rng(0) if rng is None else rng).choice(edges.count, sources, replace=False)
    total, found = 0.0, 0
    for some in np.array_split(chosen, max(1, len(chosen) * edges.count // 2**24)):  # 128 MB of distances at a time
        lengths = dijkstra(matrix, indices=some)
        lengths = lengths[np.isfinite(lengths) & (lengths > 0)]
        total, found = total + float(lengths.sum()), found + lengths.size
    pairs = len(chosen) * (edges.count - 1)
    return (total / found if found else float("nan")), (found / pairs if pairs else float("nan"))


def rich_club(edges: WeightedEdges) -> np.ndarray:
    r"""Return the rich-club coefficients :math:`\phi(k)` for ``k = 0, 1, ...``.

    :math:`\phi(k)` is the share of pairs of neurons with more than ``k`` synapses, in and out, that have a synapse:
    `Colizza et al. (2006) <https://doi.org/10.1038/nphys209>`_. NaN where there are fewer than two such neurons.
    """
    degree = np.bincount(edges.source, minlength=edges.count) + np.bincount(edges.target, minlength=edges.count)
    lower = np.minimum(degree[edges.source], degree[edges.target])
    size = int(degree.max(initial=0)) + 1
    members = edges.count - np.cumsum(np.bincount(degree, minlength=size))
    between = len(lower) - np.cumsum(np.bincount(lower, minlength=size))
    pairs = members * (members - 1.0)
    result: np.ndarray = np.divide(between, pairs, out=np.full(size, np.nan), where=pairs > 0)
    return result


def _diagonal_of_cube(matrix: "scipy.sparse.csr_array") -> np.ndarray:
    """Return the diagonal of the third power of a symmetric matrix."""
    count = matrix.shape[0]
    if matrix.nnz * _DENSE < count * count:
        return _diagonal_of_product(matrix @ matrix, matrix)
    dense = matrix.toarray()
    result: np.ndarray = np.einsum("ij,ij->i", dense @ dense, dense)
    return result


def _diagonal_of_product(one: object, two: object) -> np.ndarray:
    """Return the diagonal of a product of sparse matrices, without the product."""
    return np.asarray(one.multiply(two.T).sum(axis=1)).ravel()  # type: ignore[attr-defined]
