"""Layers of whole numbers: positions, polarities and biases of a quantised network, as a device has them.

What is defined here is defined to the bit: the exported C code computes the same.
"""

import dataclasses

import numpy as np
import torch

from spatialgraph.graph.grids import LEVEL, Sums
from spatialgraph.graph.quantization import codes_of
from spatialgraph.graph.scales import Quantization
from spatialgraph.graph.spatial_graph import SpatialGraph

__all__ = ["Codes", "IntegerLayer", "integer_layers"]


@dataclasses.dataclass(frozen=True)
class Codes:
    """Codes of the neurons of a layer, or of the rows, columns, ... of its grid.

    Args:
        values: int8, shape ``(rows, *)``.
        shape: shape of the grid; empty for neurons with codes of their own.
        cells: cell of each neuron of a grid where some cells have none, else None.

    Example:
        >>> Codes(np.array([[1], [2], [10], [20]], dtype=np.int8), (2, 2)).summed()[:, 0].tolist()
        [11, 21, 12, 22]
    """

    values: np.ndarray
    shape: tuple[int, ...] = ()
    cells: np.ndarray | None = None

    def summed(self) -> np.ndarray:
        """Return the code of each neuron, those of its row, column, ... added up, int64."""
        values = self.values.astype(np.int64)
        if not self.shape:
            return values
        cells = np.arange(np.prod(self.shape)) if self.cells is None else self.cells
        starts = np.cumsum([0, *self.shape[:-1]])
        places = np.unravel_index(cells, self.shape)
        total: np.ndarray = np.sum([values[at + place] for at, place in zip(starts, places, strict=True)], axis=0)
        return total


@dataclasses.dataclass(frozen=True)
class IntegerLayer:
    """The neurons of a layer.

    Args:
        count: number of neurons.
        coordinates: codes of their coordinates, one for each axis.
        multipliers: units of length for one step of a code, for each axis, int64.
        height: how far the layer stands along the last axis, in units, not rounded; 0 where coordinates tell.
        polarities: codes of their polarities; 0 for outputs.
        biases: codes of their biases, int8, shape ``(count,)``; 0 for inputs.
    """

    count: int
    coordinates: Codes
    multipliers: np.ndarray
    height: float
    polarities: Codes
    biases: np.ndarray

    @property
    def cells(self) -> np.ndarray | None:
        """Cell of each neuron of a grid where some cells have none, else None."""
        return self.coordinates.cells if self.coordinates.cells is not None else self.polarities.cells

    def positions(self) -> np.ndarray:
        """Return the positions of the neurons without their height, in units, int64, shape ``(count, axes)``."""
        positions: np.ndarray = self.coordinates.summed() * self.multipliers
        return positions


def integer_layers(graph: SpatialGraph, quantization: Quantization) -> list[IntegerLayer]:
    """Return the layers of a quantised network, inputs first.

    Raises:
        ValueError: if an anchored neuron does not stand where its layer does.
    """
    topology, located = graph.connectivity.topology, graph.connectivity.located
    codes = {name: values.numpy() for name, values in codes_of(graph, quantization).items()}
    coordinates = np.zeros((graph.neurons, len(quantization.multipliers)), dtype=np.int8)
    coordinates[located.movable.single.cpu().numpy()] = codes["positions.coords"]
    coordinates[located.anchors.cpu().numpy()] = codes["positions.anchor_pos"]
    polarities, biases = (np.zeros(graph.neurons, dtype=np.int8) for _ in range(2))
    polarities[graph.polarised.single.cpu().numpy()] = codes["raw_polarity"]
    biases[located.receivers.cpu().numpy()] = codes["raw_bias"]
    in_grids = _in_grids(located.movable, codes["positions.grid_coords"])
    polarities_in_grids = _in_grids(graph.polarised, codes["raw_grid_polarity"])
    heights, layers = _heights(graph, quantization), []
    for number, height in enumerate(heights):
        neurons = np.flatnonzero((topology.layer == number).numpy())
        first = int(neurons[0])
        layers.append(
            IntegerLayer(
                count=len(neurons),
                coordinates=in_grids.get(first, Codes(coordinates[neurons])),
                multipliers=np.array(quantization.multipliers, dtype=np.int64),
                height=height,
                polarities=polarities_in_grids.get(first, Codes(polarities[neurons])),
                biases=biases[neurons],
            )
        )
    return layers


def _in_grids(sums: Sums, rows: np.ndarray) -> dict[int, Codes]:
    """Return the codes of layers that are grids, by the number of the first neuron."""
    found, start = {}, 0
    for grid, neurons in zip(sums.grids, sums.cells, strict=True):
        cells = None if grid.cells is None else grid.cells.cpu().numpy()
        found[int(neurons[0])] = Codes(rows[start : start + grid.rows], grid.shape, cells)
        start += grid.rows
    return found


def _heights(graph: SpatialGraph, quantization: Quantization) -> list[float]:
    """Return how far each layer stands along the last axis, in units; 0 where coordinates tell."""
    count = int(graph.connectivity.topology.layer.max()) + 1
    if graph.spacing == "free":
        return [0.0] * count
    heights, positions = graph.positions.heights().detach().cpu().double(), graph.positions
    layer = graph.connectivity.topology.layer[graph.connectivity.topology.anchored]
    apart = torch.nonzero((positions.anchor_pos[:, -1].detach().cpu().double() - heights[layer]).abs() > LEVEL)
    if len(apart):
        raise ValueError(
            "anchored neurons must stand where their layer does, got another last coordinate for anchored neuron "
            f"{int(apart[0])}"
        )
    return [height / quantization.unit for height in heights.tolist()]
