"""A network as PyG's ``Data``, and back."""

import json
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from spatialgraph import checks
from spatialgraph.functional.precision import dtype_name
from spatialgraph.graph.columns import Labels, check_complete
from spatialgraph.graph.fields import NetworkFields, make_fields, read_settings
from spatialgraph.graph.tables import edge_columns, node_columns, row_settings, settings
from spatialgraph.graph.weighted import Weighted

if TYPE_CHECKING:
    from spatialgraph.pyg import Data

__all__ = ["read_data", "write_data"]

_NEURONS = ("layer", "polarity", "raw_polarity", "bias", "anchored", "is_input", "is_output", "cell")
_EDGES = {"weight": "edge_free_weight", "delay": "edge_free_delay"}


@torch.no_grad()
def write_data(graph: Weighted) -> "Data":
    """Return a network as tensors of neurons and edges, and its settings.

    Example:
        >>> from spatialgraph import SpatialGraph
        >>> json.loads(write_data(SpatialGraph.layered([3, 2])).settings)["law"]
        'inverse_distance'
    """
    from spatialgraph.pyg import Data

    neurons, edges = node_columns(graph), edge_columns(graph)
    columns = {name: neurons[name] for name in ("layer", "polarity", "bias")}
    if graph.polarity_mode == "binary":  # so steep that polarities do not tell all that is learned
        columns["raw_polarity"] = neurons["raw_polarity"]
    if graph.connectivity.topology.anchored.any():
        columns["anchored"] = neurons["anchored"]
    columns |= {name: neurons[name] for name in ("is_input", "is_output", "cell") if name in neurons}
    columns |= {f"edge_{name}": values for name, values in edges.items() if name != "length"}
    copies = {name: values.detach().clone() for name, values in columns.items()}
    # One string: PyG's batches and data sets turn the numbers of a dictionary into tensors and round them.
    text = json.dumps(settings(graph) | row_settings(graph))
    return Data(pos=graph.positions().clone(), edge_index=graph.edge_index, settings=text, **copies)


def read_data(data: Any) -> NetworkFields:  # noqa: ANN401 - any value is checked
    """Read what :func:`write_data` returned, or any ``Data`` with positions and edges.

    Raises:
        TypeError: if ``data`` is no ``Data``, or an attribute of the wrong type.
        ValueError: if an attribute is missing, or has a wrong shape or value.
    """
    from spatialgraph.pyg import Data

    if not isinstance(data, Data):
        raise TypeError(f"data must be a torch_geometric.data.Data, got {type(data).__name__}")
    for name in ("pos", "edge_index"):
        if data.get(name) is None:
            raise ValueError(f"data must have {name}, got {data}")
    pos = checks.positions("pos", data.pos)
    edges = checks.edge_index(data.edge_index, pos.shape[0])
    columns = {name: _column(data, name, pos.shape[0]) for name in _NEURONS if data.get(name) is not None}
    free = {name: _column(data, key, edges.shape[1]) for name, key in _EDGES.items() if data.get(key) is not None}
    labels = Labels()
    check_complete(columns, labels)
    check_complete(free, labels, edges)
    found = {"dtype": dtype_name(pos.dtype)} | read_settings(data.get("settings"))
    return make_fields(found, _numbers(pos), edges.cpu(), columns, free, labels)


def _column(data: Any, name: str, count: int) -> np.ndarray:  # noqa: ANN401
    return _numbers(checks.shape(name, data[name], (count,)))


def _numbers(values: Tensor) -> np.ndarray:
    numbers: np.ndarray = values.detach().cpu().to(torch.float64).numpy()
    return numbers
