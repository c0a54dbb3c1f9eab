"""Modules: groups of neurons with strong synapses within and weak ones between them."""

import random

import numpy as np

from spatialgraph.connectome.analysis.weighted_edges import WeightedEdges
from spatialgraph.connectome.optional import imported

__all__ = ["find_modules"]


def find_modules(edges: WeightedEdges, seed: int = 0) -> tuple[np.ndarray, float]:
    """Divide neurons into modules by the Louvain method, on absolute weights without directions.

    `Blondel et al. (2008) <https://doi.org/10.1088/1742-5468/2008/10/P10008>`_.

    Args:
        edges: the edges.
        seed: seed of the order in which neurons are visited.

    Returns:
        The module of each neuron, shape ``(N,)``, largest modules first; and the modularity, NaN without weights.

    Raises:
        ImportError: if igraph is not installed.

    Example:
        >>> from spatialgraph import SpatialGraph
        >>> found, modularity = find_modules(WeightedEdges.of(SpatialGraph.layered([9, 8, 7])))
        >>> len(found), modularity < 1.0
        (24, True)
    """
    igraph = imported("igraph")
    weight = np.abs(edges.weight)
    graph = igraph.Graph(n=edges.count, edges=np.stack([edges.source, edges.target], axis=1)[weight > 0])
    igraph.set_random_number_generator(random.Random(seed))
    try:
        found = graph.community_multilevel(weights=weight[weight > 0])
    finally:
        igraph.set_random_number_generator(random)
    order = np.argsort([-len(members) for members in found], kind="stable")
    return np.argsort(order)[np.asarray(found.membership, dtype=np.int64)], float(found.modularity)
