"""Reading a networkx graph into plain tensors; the names of attributes are those that ``to_networkx`` writes."""

import math
import re
import warnings
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from spatialgraph import checks
from spatialgraph.graph.columns import Labels
from spatialgraph.graph.fields import OPTIONS, NetworkFields, axis_names, make_fields, read_settings

if TYPE_CHECKING:
    import networkx

__all__ = ["coordinates", "read_column", "read_networkx", "read_number"]

NUMBERS = ("layer", "polarity", "raw_polarity", "bias", "cell")
FLAGS = ("anchored", "is_input", "is_output")
_AXIS = re.compile(r"p([3-9]|[1-9]\d+)")


def read_networkx(graph: "networkx.DiGraph") -> NetworkFields:
    """Read nodes, edges and settings of a directed networkx graph; neurons are numbered in the order of its nodes.

    Raises:
        TypeError: if ``graph`` is not a directed networkx graph without parallel edges.
        ValueError: if an attribute has a wrong value; the message names the node or edge, the attribute and the value.
    """
    _check_graph(graph)
    nodes, labels = dict(graph.nodes.items()), Labels(list(graph))
    pos = coordinates(nodes)
    columns = {name: read_column(nodes.items(), name, read_number, "node") for name in NUMBERS}
    columns |= {name: read_column(nodes.items(), name, _flag, "node") for name in FLAGS}
    edges = [((source, target), data) for source, target, data in graph.edges(data=True)]
    free = {name: read_column(edges, f"free_{name}", read_number, "edge") for name in ("weight", "delay")}
    fields = make_fields(
        _settings(graph),
        pos,
        _edge_index(graph),
        {name: values for name, values in columns.items() if values is not None},
        {name: values for name, values in free.items() if values is not None},
        labels,
    )
    return fields


def _check_graph(graph: Any) -> None:  # noqa: ANN401 - any value is checked
    import networkx

    if not isinstance(graph, networkx.Graph):
        raise TypeError(f"graph must be a networkx.DiGraph, got {type(graph).__name__}")
    if not graph.is_directed() or graph.is_multigraph():
        raise TypeError(f"graph must be a plain directed networkx graph, got {type(graph).__name__}")
    if len(graph) == 0:
        raise ValueError("graph must have at least one node, got none")


def _settings(graph: "networkx.DiGraph") -> Mapping[str, Any]:
    """Return the settings: attributes of the graph, or of a node as JSON where a format has no others."""
    own: dict[str, Any] = graph.graph
    if any(name in own for name in OPTIONS):
        return own
    texts = [data["settings"] for data in graph.nodes.values() if "settings" in data]
    if texts:
        return read_settings(texts[0])
    if any("raw_polarity" in data for data in graph.nodes.values()):
        warnings.warn(
            "graph has neurons of a network without its settings, such as polarity_mode, gain and law: they are the "
            "defaults; use a format that keeps attributes of the graph, or spatialgraph.export",
            stacklevel=4,
        )
    return own


def _edge_index(graph: "networkx.DiGraph") -> Tensor:
    number = {node: place for place, node in enumerate(graph)}
    ends = np.fromiter((number[end] for edge in graph.edges() for end in edge), np.int64, 2 * graph.number_of_edges())
    return torch.from_numpy(ends.reshape(-1, 2).T.copy())


# Attributes ----


def coordinates(nodes: Mapping[Hashable, Mapping[str, Any]]) -> np.ndarray:
    """Return positions from ``x``, ``y``, ``z``, ``p3``, ..., or from ``pos`` where no node has any of these.

    Example:
        >>> coordinates({"a": {"x": 1, "y": 2}, "b": {"x": 0, "y": 0}}).tolist()
        [[1.0, 2.0], [0.0, 0.0]]
    """
    attributes = {name: node for node, data in nodes.items() for name in data}
    last = max(attributes, key=_axis_number, default="x")
    if _axis_number(last) < 0 and "pos" in attributes:
        return _tuples(nodes)
    columns = []
    for name in axis_names(max(_axis_number(last), 0) + 1):
        column = read_column(nodes.items(), name, read_number, "node")
        if column is None or np.isnan(column).any():
            node = next(node for node, data in nodes.items() if name not in data)
            others = f", where node {attributes[last]!r} has {last!r}" if last in attributes else ""
            raise ValueError(f"graph must give every node the coordinate {name!r}, got none for node {node!r}{others}")
        columns.append(column)
    return np.stack(columns, axis=1)


def _axis_number(name: Any) -> int:  # noqa: ANN401 - an attribute's name may be anything
    """Return the number of the axis that an attribute is a coordinate of; -1 for other attributes."""
    if name in ("x", "y", "z"):
        return "xyz".index(name)
    found = _AXIS.fullmatch(name) if isinstance(name, str) else None
    return int(found[1]) if found else -1


def _tuples(nodes: Mapping[Hashable, Mapping[str, Any]]) -> np.ndarray:
    rows: list[list[float]] = []
    for node, data in nodes.items():
        if "pos" not in data:
            raise ValueError(f"graph must give every node a pos, got none for node {node!r}")
        value = data["pos"]
        row = value.tolist() if isinstance(value, np.ndarray | Tensor) else value
        if isinstance(row, str) or not isinstance(row, Sequence) or not len(row):
            raise ValueError(f"graph must hold coordinates in 'pos', got {value!r} for node {node!r}")
        rows.append([read_number("pos", entry, "node", node) for entry in row])
        if len(row) != len(rows[0]):
            raise ValueError(
                f"graph must give every node a pos of the same length, got {len(row)} coordinates for node {node!r} "
                f"and {len(rows[0])} for node {next(iter(nodes))!r}"
            )
    return np.asarray(rows, dtype=np.float64)


def read_column(
    items: Iterable[tuple[Hashable, Mapping[str, Any]]],
    name: str,
    read: Callable[[str, Any, str, Hashable], float],
    kind: str,
) -> np.ndarray | None:
    """Return an attribute of nodes or edges as numbers, NaN where one lacks it; None where all lack it.

    Example:
        >>> read_column([("a", {"bias": 1}), ("b", {})], "bias", read_number, "node")
        array([ 1., nan])
    """
    values = [read(name, data[name], kind, item) if name in data else math.nan for item, data in items]
    column = np.asarray(values, dtype=np.float64)
    return None if np.isnan(column).all() else column


def read_number(name: str, value: Any, kind: str, item: Hashable) -> float:  # noqa: ANN401
    """Return the number that an attribute of a node or an edge holds.

    Example:
        >>> read_number("weight", "heavy", "edge", (0, 1))
        Traceback (most recent call last):
        ValueError: graph must hold numbers in 'weight', got 'heavy' for edge (0, 1)
    """
    if not checks.is_real(value):
        raise ValueError(f"graph must hold numbers in {name!r}, got {value!r} for {kind} {item!r}")
    number = checks.real(name, value)
    if not math.isfinite(number):
        raise ValueError(f"graph must hold finite numbers in {name!r}, got {value} for {kind} {item!r}")
    return number


def _flag(name: str, value: Any, kind: str, item: Hashable) -> float:  # noqa: ANN401
    if isinstance(value, bool | np.bool_) or (checks.is_real(value) and value in (0, 1)):  # GML has no truth values
        return float(value)
    raise ValueError(f"graph must hold True, False, 1 or 0 in {name!r}, got {value!r} for {kind} {item!r}")
