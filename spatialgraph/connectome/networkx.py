"""The connectome: a trained network as data for other tools."""

from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from spatialgraph.graph.fields import axis_names
from spatialgraph.graph.spatial_graph import SpatialGraph

if TYPE_CHECKING:
    import networkx

__all__ = ["from_networkx", "node_columns", "settings", "to_networkx"]


def to_networkx(graph: SpatialGraph) -> "networkx.DiGraph":
    """Export a network with everything that :func:`from_networkx` needs to build it again.

    All attributes are plain numbers and names, so that every writer of networkx takes them. GraphML keeps all of them;
    GEXF drops the settings, which belong to the graph as a whole.

    Args:
        graph: the network.

    Returns:
        A directed graph. Nodes are numbered ``0 .. N-1`` and carry ``x, y, z, p3, ...`` (length units), ``layer``,
        ``polarity``, ``bias``, ``raw_polarity`` (the learnable number behind a binary polarity) and ``anchored``;
        without layers also ``is_input`` and ``is_output``. Edges carry the signed ``weight``, the ``length`` (length
        units), the ``delay`` (time steps) where there is a velocity, and ``free_weight`` and ``free_delay`` where these
        are learned. The graph itself carries the settings.

    Raises:
        TypeError: if ``graph`` is not a :class:`SpatialGraph <spatialgraph.SpatialGraph>`.

    Example:
        >>> to_networkx(SpatialGraph.layered([2, 1])).edges[0, 2].keys()
        dict_keys(['weight', 'length'])
    """
    import networkx

    if not isinstance(graph, SpatialGraph):
        raise TypeError(f"graph must be a SpatialGraph (of a model: model.graph), got {type(graph).__name__}")
    with torch.no_grad():
        result = networkx.DiGraph(**settings(graph))
        columns = node_columns(graph)
        rows = zip(*(column.tolist() for column in columns.values()), strict=True)
        result.add_nodes_from((number, dict(zip(columns, row, strict=True))) for number, row in enumerate(rows))
        source, target = graph.edge_index.tolist()
        columns = _edge_columns(graph)
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


def settings(graph: SpatialGraph) -> dict[str, Any]:
    """Return what holds for a network as a whole, as numbers and names.

    Example:
        >>> settings(SpatialGraph.layered([2, 1]))["law"]
        'inverse_distance'
    """
    result = {
        "spacing": graph.spacing,
        "polarity": graph.polarity_kind,
        "gain": graph.gain,
        "dtype": str(graph.raw_bias.dtype).removeprefix("torch."),
        "law": graph.law.name,
        "weights": graph.free_synapses.weight_kind,
        "delays": graph.free_synapses.delay_kind,
    }
    if graph.velocity is not None:
        result["velocity"] = graph.velocity
    result |= {f"law_{name}": value for name, value in graph.law.settings().items()}
    result |= {f"gap{number}": gap for number, gap in enumerate(graph.positions.gaps.tolist())}
    # Attributes may have been set to numbers of NumPy, which files do not take.
    return {name: value.item() if isinstance(value, np.generic) else value for name, value in result.items()}


def node_columns(graph: SpatialGraph) -> dict[str, torch.Tensor]:
    """Return what every neuron has, one tensor of shape ``(N,)`` for each name.

    Example:
        >>> node_columns(SpatialGraph.layered([2, 1], dim=2)).keys()
        dict_keys(['x', 'y', 'layer', 'polarity', 'bias', 'raw_polarity', 'anchored'])
    """
    raw = graph.polarity
    if graph.raw_polarity.numel():
        raw = raw.masked_scatter(~graph.is_output, graph.raw_polarity)
    columns = dict(zip(axis_names(graph.dim), graph.pos.unbind(1), strict=True))
    columns |= {
        "layer": graph.layer,
        "polarity": graph.polarity,
        "bias": graph.bias,
        "raw_polarity": raw,
        "anchored": graph.positions.anchored,
    }
    # Layers say which neurons are inputs and outputs; edges do not where some were removed.
    return columns if graph.is_layered else columns | {"is_input": graph.is_input, "is_output": graph.is_output}


def _edge_columns(graph: SpatialGraph) -> dict[str, torch.Tensor]:
    columns = {"weight": graph.weights(), "length": graph.lengths()}
    if graph.velocity is not None:
        columns["delay"] = graph.delays()
    free = graph.free_synapses
    learned = {"free_weight": free.weight, "free_delay": free.delay}
    return columns | {name: values for name, values in learned.items() if values is not None}
