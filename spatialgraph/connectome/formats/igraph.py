"""Export of networks to igraph, and import."""

from typing import TYPE_CHECKING

import numpy as np
from torch import nn

from spatialgraph.connectome.formats.tables import Tables
from spatialgraph.connectome.optional import imported
from spatialgraph.graph.spatial_graph import SpatialGraph

if TYPE_CHECKING:
    import igraph

__all__ = ["from_igraph", "to_igraph"]


def to_igraph(
    network: nn.Module, *, min_weight: float | None = None, top: int | None = None, fraction: float | None = None
) -> "igraph.Graph":
    """Export a network to igraph, with all data that :func:`from_igraph` needs to restore it.

    Args:
        network: a graph, or a model that has one.
        min_weight: keep only synapses of at least this absolute weight.
        top: keep only so many synapses, those of the largest absolute weights.
        fraction: keep only this share of the synapses, those of the largest absolute weights.

    Returns:
        A directed graph with the attributes of :func:`~spatialgraph.to_networkx`.

    Raises:
        ImportError: if igraph is not installed.
        TypeError: if ``network`` is neither a graph nor a model that has one.
        ValueError: if a parameter is infinite or NaN; the message names the neuron or synapse.

    Example:
        >>> to_igraph(SpatialGraph.layered([2, 1])).ecount()
        2
    """
    tables = Tables.of(network, min_weight=min_weight, top=top, fraction=fraction)
    columns = {name: values.tolist() for name, values in tables.synapses.items()}
    graph = imported("igraph").Graph(
        n=len(tables.neurons["x"]),
        edges=list(zip(columns.pop("source"), columns.pop("target"), strict=True)),
        directed=True,
        graph_attrs=tables.settings,
        vertex_attrs={name: values.tolist() for name, values in tables.neurons.items()},
        edge_attrs=columns,
    )
    return graph


def from_igraph(graph: "igraph.Graph") -> SpatialGraph:
    """Build a network from a directed igraph graph.

    Args:
        graph: vertices with coordinates ``x, y, z, p3, ...`` in length units, and what else :func:`to_igraph` writes,
            as far as known.

    Raises:
        TypeError: if ``graph`` is not a directed graph, or a setting is of the wrong type.
        ValueError: if an attribute is missing, or a value out of range; the message names it.

    Example:
        >>> from_igraph(to_igraph(SpatialGraph.layered([2, 1])))
        SpatialGraph(neurons=3, synapses=2, dim=3, spacing='learned')
    """
    if not isinstance(graph, imported("igraph").Graph) or not graph.is_directed():
        raise TypeError(f"graph must be a directed igraph.Graph, got {type(graph).__name__}")
    neurons = {name: np.asarray(graph.vs[name]) for name in graph.vs.attributes()}
    synapses = {name: np.asarray(graph.es[name]) for name in graph.es.attributes()}
    source, target = np.asarray(graph.get_edgelist(), dtype=np.int64).reshape(-1, 2).T
    settings = {name: graph[name] for name in graph.attributes()}
    return Tables(settings, neurons, {"source": source, "target": target, **synapses}).network()
