"""Export of networks to networkx, and import."""

from typing import TYPE_CHECKING

import torch
from torch import nn

from spatialgraph.graph.network import graph_of
from spatialgraph.graph.spatial_graph import SpatialGraph
from spatialgraph.graph.tables import edge_columns, node_columns, settings

if TYPE_CHECKING:
    import networkx

__all__ = ["from_networkx", "to_networkx"]


def to_networkx(network: nn.Module) -> "networkx.DiGraph":
    """Export a network to networkx, with all data that :func:`from_networkx` needs to restore it.

    All attributes are plain numbers and names, which every writer of networkx supports. GraphML preserves all of them;
    GEXF does not store the settings, which are attributes of the graph.

    Args:
        network: a graph, or a model that has one.

    Returns:
        A directed graph. Nodes are numbered ``0 .. N-1`` and carry ``x, y, z, p3, ...`` (length units), ``layer``,
        ``polarity``, ``bias``, ``raw_polarity`` (the learnable parameter of the polarity) and ``anchored``; without
        layers also ``is_input`` and ``is_output``. Edges carry the signed ``weight``, the ``length`` (length units),
        the ``delay`` (time steps) where there is a velocity, and ``free_weight`` and ``free_delay`` where these are
        learned. The graph itself carries the settings.

    Raises:
        TypeError: if ``network`` is neither a SpatialGraph nor a model that has one.

    Example:
        >>> to_networkx(SpatialGraph.layered([2, 1])).edges[0, 2].keys()
        dict_keys(['weight', 'length'])
    """
    import networkx

    graph = graph_of(network)
    with torch.no_grad():
        result = networkx.DiGraph(**settings(graph))
        columns = node_columns(graph)
        rows = zip(*(column.tolist() for column in columns.values()), strict=True)
        result.add_nodes_from((number, dict(zip(columns, row, strict=True))) for number, row in enumerate(rows))
        source, target = graph.edge_index.tolist()
        columns = edge_columns(graph)
        rows = zip(*(column.tolist() for column in columns.values()), strict=True)
        edges = (dict(zip(columns, row, strict=True)) for row in rows)
        result.add_edges_from(zip(source, target, edges, strict=True))
    return result


def from_networkx(graph: "networkx.DiGraph") -> SpatialGraph:
    """Build a network from a networkx graph; see :meth:`SpatialGraph.from_networkx <spatialgraph.SpatialGraph>`.

    Example:
        >>> from_networkx(to_networkx(SpatialGraph.layered([2, 1])))
        SpatialGraph(neurons=3, synapses=2, dim=3, spacing='learned')
    """
    return SpatialGraph.from_networkx(graph)
