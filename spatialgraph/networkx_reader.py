"""Reading a networkx graph into plain tensors; the names of attributes are those that ``to_networkx`` writes."""

import dataclasses
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

if TYPE_CHECKING:
    import networkx

__all__ = ["NetworkFields", "axis_names", "make_fields", "read_networkx"]

NODE_COLUMNS = ("layer", "anchored", "polarity", "raw_polarity", "bias")


@dataclasses.dataclass(frozen=True)
class NetworkFields:
    """What a networkx graph or a file says of a spatial network; None for what it leaves open."""

    pos: Tensor
    edge_index: Tensor
    layer: Tensor | None
    anchored: Tensor | None
    raw_polarity: Tensor | None
    bias: Tensor | None
    gaps: Tensor | None
    law: str
    law_settings: dict[str, Any]
    free_synapses: dict[str, Tensor]
    options: dict[str, Any]


def axis_names(dim: int) -> list[str]:
    """Return the names of coordinates: ``x, y, z, p3, p4, ...``.

    Example:
        >>> axis_names(4)
        ['x', 'y', 'z', 'p3']
    """
    return ["x", "y", "z", *(f"p{axis}" for axis in range(3, dim))][:dim]


def read_networkx(graph: "networkx.DiGraph") -> NetworkFields:
    """Read nodes, edges and settings of a directed networkx graph; neurons are numbered in the order of its nodes."""
    _check_graph(graph)
    number = {node: place for place, node in enumerate(graph)}
    ends = np.fromiter((number[end] for edge in graph.edges() for end in edge), np.int64, 2 * graph.number_of_edges())
    columns = {name: _column(graph, name) for name in NODE_COLUMNS}
    free = {name: _free(graph, name) for name in ("weight", "delay")}
    return make_fields(
        graph.graph,
        _coordinates(graph),
        torch.from_numpy(ends.reshape(-1, 2).T.copy()),
        {name: values for name, values in columns.items() if values is not None},
        {name: values for name, values in free.items() if values is not None},
    )


def make_fields(
    settings: Mapping[str, Any],
    pos: np.ndarray,
    edge_index: Tensor,
    columns: Mapping[str, np.ndarray],
    free: Mapping[str, np.ndarray],
) -> NetworkFields:
    """Read settings and columns of numbers, named as ``to_networkx`` names them.

    Args:
        settings: what holds for the network as a whole.
        pos: positions of all neurons, shape ``(N, d)``, in length units.
        edge_index: the edges, shape ``(2, E)``.
        columns: ``layer``, ``anchored``, ``polarity``, ``raw_polarity``, ``bias``, as far as known, shape ``(N,)``.
        free: learnable ``weight`` and ``delay`` of the edges, where they have them, shape ``(E,)``.

    Example:
        >>> make_fields({}, np.zeros((2, 3)), torch.tensor([[0], [1]]), {}, {}).law
        'inverse_distance'
    """
    dtype = getattr(torch, settings.get("dtype", "float32"))
    layer = columns.get("layer")
    has_layers = layer is not None and bool((layer >= 0).all())
    gaps = [settings[f"gap{gap}"] for gap in range(len(pos)) if f"gap{gap}" in settings]
    names = ("polarity", "gain", "spacing", "weights", "velocity", "delays")
    return NetworkFields(
        pos=torch.from_numpy(pos).to(dtype),
        edge_index=edge_index,
        layer=_tensor(layer, torch.int64) if has_layers else None,
        anchored=_tensor(columns.get("anchored"), torch.bool),
        raw_polarity=_tensor(columns.get("raw_polarity", columns.get("polarity")), dtype),
        bias=_tensor(columns.get("bias"), dtype),
        gaps=torch.tensor(gaps, dtype=dtype) if gaps else None,
        law=settings.get("law", "inverse_distance"),
        law_settings={key[4:]: value for key, value in settings.items() if key.startswith("law_")},
        free_synapses={name: torch.from_numpy(values).to(dtype) for name, values in free.items()},
        options={name: settings[name] for name in names if name in settings},
    )


def _check_graph(graph: Any) -> None:  # noqa: ANN401 - any value is checked
    import networkx

    if not isinstance(graph, networkx.Graph):
        raise TypeError(f"graph must be a networkx.DiGraph, got {type(graph).__name__}")
    if not graph.is_directed() or graph.is_multigraph():
        raise TypeError(f"graph must be a plain directed networkx graph, got {type(graph).__name__}")
    if len(graph) == 0:
        raise ValueError("graph must have at least one node, got none")


def _coordinates(graph: "networkx.DiGraph") -> np.ndarray:
    first = next(iter(graph.nodes.values()))
    if "x" not in first and "pos" in first:
        rows = [data.get("pos", ()) for data in graph.nodes.values()]
        if len({len(row) for row in rows}) > 1:
            raise ValueError("graph must give every node a pos of the same length")
        return np.asarray(rows, dtype=np.float64)
    names = [name for name in axis_names(3 + len(first)) if name in first]
    columns = [_column(graph, name) for name in names]
    for name, column in zip(names or ["x"], columns or [None], strict=True):
        if column is None:
            node = next(node for node, data in graph.nodes.items() if name not in data)
            raise ValueError(f"graph must give every node the coordinate {name!r}, got none for node {node!r}")
    return np.stack([column for column in columns if column is not None], axis=1)


def _column(graph: "networkx.DiGraph", name: str) -> np.ndarray | None:
    """Return a node attribute as numbers, or None where a node lacks it."""
    if not all(name in data for data in graph.nodes.values()):
        return None
    values = [data[name] for data in graph.nodes.values()]
    for value in values:
        if not isinstance(value, int | float | np.number):
            raise ValueError(f"graph must hold numbers in {name!r}, got {value!r}")
    return np.asarray(values, dtype=np.float64)


def _free(graph: "networkx.DiGraph", name: str) -> np.ndarray | None:
    """Return learnable numbers of edges, in the order of the edges; None where an edge lacks them."""
    values = [data.get(f"free_{name}") for _, _, data in graph.edges(data=True)]
    return None if not values or None in values else np.asarray(values, dtype=np.float64)


def _tensor(column: np.ndarray | None, dtype: torch.dtype) -> Tensor | None:
    return None if column is None else torch.from_numpy(column).to(dtype)
