"""Reading a networkx graph into plain tensors; the names of attributes are those that ``to_networkx`` writes."""

import dataclasses
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

if TYPE_CHECKING:
    import networkx

__all__ = ["NetworkFields", "axis_names", "read_networkx"]


@dataclasses.dataclass(frozen=True)
class NetworkFields:
    """What a networkx graph says of a spatial network; None for what it leaves open."""

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
    dtype = getattr(torch, graph.graph.get("dtype", "float32"))
    pos = torch.from_numpy(_coordinates(graph)).to(dtype)
    number = {node: place for place, node in enumerate(graph)}
    ends = np.fromiter((number[end] for edge in graph.edges() for end in edge), np.int64, 2 * graph.number_of_edges())
    layer = _column(graph, "layer")
    has_layers = layer is not None and bool((layer >= 0).all())
    gaps = [graph.graph[f"gap{gap}"] for gap in range(len(graph)) if f"gap{gap}" in graph.graph]
    names = ("polarity", "gain", "spacing", "weights", "velocity", "delays")
    polarity = _column(graph, "raw_polarity")
    return NetworkFields(
        pos=pos,
        edge_index=torch.from_numpy(ends.reshape(-1, 2).T.copy()),
        layer=torch.from_numpy(layer).to(torch.int64) if has_layers and layer is not None else None,
        anchored=_tensor(_column(graph, "anchored"), torch.bool),
        raw_polarity=_tensor(_column(graph, "polarity") if polarity is None else polarity, dtype),
        bias=_tensor(_column(graph, "bias"), dtype),
        gaps=torch.tensor(gaps, dtype=dtype) if gaps else None,
        law=graph.graph.get("law", "inverse_distance"),
        law_settings={key[4:]: value for key, value in graph.graph.items() if key.startswith("law_")},
        free_synapses={
            name: values for name in ("weight", "delay") if (values := _free(graph, name, dtype)) is not None
        },
        options={name: graph.graph[name] for name in names if name in graph.graph},
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


def _free(graph: "networkx.DiGraph", name: str, dtype: torch.dtype) -> Tensor | None:
    """Return learnable numbers of edges, in the order of the edges; None where an edge lacks them."""
    values = [data.get(f"free_{name}") for _, _, data in graph.edges(data=True)]
    return None if not values or None in values else torch.tensor(values, dtype=dtype)


def _tensor(column: np.ndarray | None, dtype: torch.dtype) -> Tensor | None:
    return None if column is None else torch.from_numpy(column).to(dtype)
