"""What a reader of graphs or files finds of layers that are grids."""

import dataclasses
import json
import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from spatialgraph import checks
from spatialgraph.graph.columns import Labels, refuse
from spatialgraph.graph.grids import grid_shape

__all__ = ["GridFields", "read_grids"]


@dataclasses.dataclass(frozen=True)
class GridFields:
    """The grids of a network.

    Args:
        shapes: by the number of the layer.
        cells: cell of each neuron, -1 for none, shape ``(N,)``.
        coords: coordinates of rows, columns, ... of all grids; None where only positions are known.
        raw_polarity: numbers behind polarities of rows, columns, ...; None likewise.
    """

    shapes: dict[int, tuple[int, ...]]
    cells: Tensor
    coords: Tensor | None = None
    raw_polarity: Tensor | None = None


def read_grids(
    settings: Mapping[Any, Any], cells: np.ndarray | None, layer: Tensor | None, dtype: torch.dtype, labels: Labels
) -> GridFields | None:
    """Read the grids that settings name; None for none.

    Args:
        settings: ``grids``, shapes by the layer's number as JSON; ``grid_coords`` and ``raw_grid_polarity``, lists as
            JSON.
        cells: cell of each neuron, NaN or -1 for none; None where each cell has a neuron, in their order.
        layer: layer of each neuron; None for a network without layers.
        dtype: that of the network.
        labels: what messages call the neurons.

    Raises:
        TypeError: if a setting is of the wrong type.
        ValueError: if it does not fit the neurons.

    Example:
        >>> found = read_grids({"grids": '{"0": [1, 2]}'}, None, torch.tensor([0, 0, 1]), torch.float32, Labels())
        >>> found.shapes, found.cells.tolist()
        ({0: (1, 2)}, [0, 1, -1])
    """
    shapes = _shapes(settings.get("grids"), layer)
    if not shapes or layer is None:
        return None
    places = np.full(len(layer), -1.0)
    for number, shape in shapes.items():
        places[layer.numpy() == number] = _cells(number, shape, cells, layer, labels)
    rows = {
        name: None if name not in settings else _numbers(name, settings[name], dtype)
        for name in ("grid_coords", "raw_grid_polarity")
    }
    return GridFields(shapes, torch.from_numpy(places).long(), rows["grid_coords"], rows["raw_grid_polarity"])


def _shapes(value: Any, layer: Tensor | None) -> dict[int, tuple[int, ...]]:  # noqa: ANN401 - any value is checked
    found = _json("grids", value) if isinstance(value, str) else value
    if found is None:
        return {}
    if not isinstance(found, Mapping):
        raise TypeError(f"grids must be an object of shapes by layer, got {value!r}")
    if layer is None:
        raise ValueError(f"grids must not be given for a network without layers, got {value!r}")
    shapes = {}
    for key, shape in found.items():
        number = int(key) if isinstance(key, str) and key.isdecimal() else key
        shapes[checks.layer_number("grids", number, layer)] = grid_shape(f"grids[{key}]", shape)
    return shapes


def _cells(number: int, shape: tuple[int, ...], cells: np.ndarray | None, layer: Tensor, labels: Labels) -> np.ndarray:
    """Return the cell of each neuron of a layer."""
    neurons = np.flatnonzero(layer.numpy() == number)
    if cells is None or np.isnan(cells[neurons]).all():
        if len(neurons) != math.prod(shape):
            raise ValueError(
                f"graph must give each neuron of the grid of layer {number} a 'cell', for only {len(neurons)} of "
                f"{math.prod(shape)} cells have a neuron, got none"
            )
        return np.arange(len(neurons), dtype=np.float64)
    own = np.full(len(layer), 0.0)
    own[neurons] = cells[neurons]
    rule = f"different whole numbers from 0 to {math.prod(shape) - 1}, for the grid of layer {number},"
    refuse("cell", rule, own, ~((own >= 0) & (own < math.prod(shape)) & (own == np.floor(own))), labels)
    repeated = np.ones(len(layer), dtype=bool)
    repeated[neurons[np.unique(own[neurons], return_index=True)[1]]] = False
    repeated[layer.numpy() != number] = False
    refuse("cell", rule, own, repeated, labels)
    return own[neurons]


def _numbers(name: str, value: Any, dtype: torch.dtype) -> Tensor:  # noqa: ANN401
    found = _json(name, value) if isinstance(value, str) else value
    try:
        numbers = torch.tensor(found, dtype=torch.float64)
    except (TypeError, ValueError, RuntimeError) as error:
        raise ValueError(f"{name} must be a list of numbers, got {value!r}") from error
    return checks.finite(name, numbers.to(dtype))


def _json(name: str, text: str) -> Any:  # noqa: ANN401
    try:
        return json.loads(text)
    except ValueError as error:
        raise ValueError(f"{name} must be JSON: {error}") from None
