"""Export of networks to networkx, and import."""

from typing import TYPE_CHECKING

import numpy as np
from torch import nn

from spatialgraph.connectome.formats.tables import Tables
from spatialgraph.graph.spatial_graph import SpatialGraph

if TYPE_CHECKING:
    import networkx

__all__ = ["digraph", "from_networkx", "to_networkx"]


def to_networkx(
    network: nn.Module, *, min_weight: float | None = None, top: int | None = None, fraction: float | None = None
) -> "networkx.DiGraph":
    """Export a network to networkx, with all data that :func:`from_networkx` needs to restore it.

    All attributes are plain numbers and names, which every writer of networkx supports. Formats without attributes of
    the graph, such as GEXF, lose the settings of the network: :func:`~spatialgraph.export` keeps them.

    Args:
        network: a graph, or a model that has one.
        min_weight: keep only synapses of at least this absolute weight.
        top: keep only so many synapses, those of the largest absolute weights.
        fraction: keep only this share of the synapses, those of the largest absolute weights.

    Returns:
        A directed graph. Nodes are numbered ``0 .. N-1`` and carry ``x, y, z, p3, ...`` (length units), ``layer``,
        ``polarity``, ``bias``, ``raw_polarity`` (the learnable parameter of the polarity) and ``anchored``; without
        layers also ``is_input`` and ``is_output``. Edges carry the signed ``weight``, the ``length`` (length units),
        the ``delay`` (time steps) where there is a velocity, and ``free_weight`` and ``free_delay`` where these are
        learned. The graph itself carries the settings.

    Raises:
        TypeError: if ``network`` is neither a SpatialGraph nor a model that has one.
        ValueError: if a parameter is infinite or NaN; the message names the neuron or synapse.

    Example:
        >>> to_networkx(SpatialGraph.layered([2, 1])).edges[0, 2].keys()
        dict_keys(['weight', 'length'])
    """
    return digraph(Tables.of(network, min_weight=min_weight, top=top, fraction=fraction))


def digraph(tables: Tables) -> "networkx.DiGraph":
    """Return tables as a directed graph; see :func:`to_networkx`."""
    import networkx

    result = networkx.DiGraph(**tables.settings)
    names = list(tables.neurons)
    rows = zip(*(column.tolist() for column in tables.neurons.values()), strict=True)
    result.add_nodes_from((number, dict(zip(names, row, strict=True))) for number, row in enumerate(rows))
    numbers = np.array(range(len(result)), dtype=object)  # one int for each neuron, not for each synapse
    source, target = (numbers[tables.synapses[end]].tolist() for end in ("source", "target"))
    columns = {name: column.tolist() for name, column in tables.synapses.items() if name not in ("source", "target")}
    edges = [{"weight": value} for value in columns.pop("weight")]
    for name, column in columns.items():  # column by column: twice as fast as a dictionary of a row
        for edge, value in zip(edges, column, strict=True):
            edge[name] = value
    result.add_edges_from(zip(source, target, edges, strict=True))
    return result


def from_networkx(graph: "networkx.DiGraph") -> SpatialGraph:
    """Build a network from a networkx graph; see :meth:`SpatialGraph.from_networkx <spatialgraph.SpatialGraph>`.

    Example:
        >>> from_networkx(to_networkx(SpatialGraph.layered([2, 1])))
        SpatialGraph(neurons=3, synapses=2, dim=3, spacing='learned')
    """
    return SpatialGraph.from_networkx(graph)
