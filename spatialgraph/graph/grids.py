"""Grids: layers whose neurons are the cells of a grid, with learnable values for each row, column, ... of it."""

import dataclasses
import functools
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from spatialgraph import checks
from spatialgraph.devices import in_double

__all__ = ["LEVEL", "Grid", "Sums", "grid_shapes", "layer_sizes"]

# Coordinates that are one, for the neurons of a layer or as sums in a grid, may differ by so much.
LEVEL = 1e-6


@dataclasses.dataclass(frozen=True)
class Grid:
    """The cells of the grid of one layer.

    Args:
        shape: number of cells along each axis of the grid.
        cells: number of each neuron's cell, counted row by row; None where each cell has its neuron, in this order.

    Example:
        >>> Grid((2, 3)).spread(torch.tensor([[10.0], [20.0], [1.0], [2.0], [3.0]]))[:, 0].tolist()
        [11.0, 12.0, 13.0, 21.0, 22.0, 23.0]
    """

    shape: tuple[int, ...]
    cells: Tensor | None = None

    @classmethod
    def of(cls, shape: tuple[int, ...], cells: Tensor) -> "Grid":
        """Return the grid whose cells these are."""
        everyone = torch.arange(math.prod(shape), device=cells.device)
        return cls(shape, None if torch.equal(cells, everyone) else cells)

    @property
    def rows(self) -> int:
        """Number of rows, columns, ... of the grid, all together."""
        return sum(self.shape)

    def spread(self, rows: Tensor) -> Tensor:
        """Return the sum of what the rows, columns, ... of each cell have, differentiable.

        Args:
            rows: values of the rows, then of the columns, and so on, shape ``(rows, *)``.

        Returns:
            Values of the cells, shape ``(n, *)``.
        """
        parts = rows.split(self.shape)
        along = [part.reshape(*self._only(axis), *rows.shape[1:]) for axis, part in enumerate(parts)]
        cells: Tensor = functools.reduce(torch.add, along).flatten(0, len(self.shape) - 1)
        return cells if self.cells is None else cells.index_select(0, self.cells)

    def fit(self, values: Tensor) -> Tensor:
        """Return values of the rows, columns, ... whose sums are nearest to those of the cells, in double precision.

        Args:
            values: values of the cells, shape ``(n, axes)``.

        Returns:
            Shape ``(rows, axes)``. Those of all axes but the first have mean 0 where each cell has its neuron.

        Example:
            >>> Grid((2, 2)).fit(torch.tensor([[0.0], [1.0], [10.0], [11.0]]))[:, 0].tolist()
            [0.5, 10.5, -0.5, 0.5]
        """
        exact = in_double(values.detach())
        if self.cells is not None:
            return self._least_squares(exact, self.cells)
        cells, mean = exact.reshape(*self.shape, -1), exact.mean(0)
        axes = range(len(self.shape))
        means = [cells.mean([other for other in axes if other != axis]) for axis in axes]
        return torch.cat([means[0], *(each - mean for each in means[1:])])

    def _only(self, axis: int) -> list[int]:
        """Return the shape of what differs along one axis of the grid alone."""
        return [size if other == axis else 1 for other, size in enumerate(self.shape)]

    def _least_squares(self, exact: Tensor, kept: Tensor) -> Tensor:
        """Fit the rows to those cells that have a neuron; of several solutions the smallest."""
        import scipy.sparse.linalg

        cells = kept.cpu().numpy()
        places = np.unravel_index(cells, self.shape)
        starts = np.cumsum([0, *self.shape[:-1]])
        columns = np.concatenate([place + start for place, start in zip(places, starts, strict=True)])
        rows = np.tile(np.arange(len(cells)), len(self.shape))
        member = scipy.sparse.csr_array((np.ones(len(rows)), (rows, columns)), shape=(len(cells), self.rows))
        found = [
            scipy.sparse.linalg.lsqr(member, column, atol=1e-15, btol=1e-15, conlim=0, iter_lim=100 * self.rows)[0]
            for column in exact.cpu().numpy().T
        ]
        return torch.from_numpy(np.stack(found, axis=1).reshape(self.rows, -1)).to(exact.device)


@dataclasses.dataclass(frozen=True)
class Sums:
    """Which neurons of a group have values of their own, and which the sums of values of their rows, columns, ...

    Args:
        single: numbers of the neurons with values of their own.
        grids: the grids of the others.
        members: numbers of all neurons of the group, those first, then the cells of the grids.

    Example:
        >>> sums = Sums(torch.tensor([4]), (Grid((2, 2)),), torch.tensor([4, 0, 1, 2, 3]))
        >>> sums.values(torch.tensor([9.0]), torch.tensor([0.0, 10.0, 1.0, 2.0])).tolist()
        [9.0, 1.0, 2.0, 11.0, 12.0]
    """

    single: Tensor
    grids: tuple[Grid, ...]
    members: Tensor

    @property
    def rows(self) -> int:
        """Number of rows, columns, ... of all grids."""
        return sum(grid.rows for grid in self.grids)

    def values(self, own: Tensor, rows: Tensor) -> Tensor:
        """Return the values of all members, differentiable, shape ``(members, *)``.

        Args:
            own: those of the neurons with values of their own, shape ``(single, *)``.
            rows: those of the rows, columns, ... of all grids, shape ``(rows, *)``.
        """
        if not self.grids:
            return own
        parts = rows.split([grid.rows for grid in self.grids])
        return torch.cat([own, *(grid.spread(part) for grid, part in zip(self.grids, parts, strict=True))])

    def shares(self) -> Tensor:
        """Return the scale of each row and column at which sums have the variance 1, on the CPU, shape ``(rows,)``."""
        return torch.cat([torch.full((grid.rows,), len(grid.shape) ** -0.5) for grid in self.grids])

    def fit(self, values: Tensor) -> tuple[Tensor, Tensor]:
        """Return the values of single neurons, and those of rows, columns, ... that fit the cells.

        Args:
            values: values of the members, shape ``(members, axes)``.
        """
        own, *parts = values.split([len(self.single), *map(len, self.cells)])
        found = [grid.fit(part) for grid, part in zip(self.grids, parts, strict=True)]
        rows = torch.cat(found) if found else values.new_empty(0, values.shape[1])
        return own, rows.to(values)

    def check_fit(self, name: str, values: Tensor, own: Tensor, rows: Tensor) -> None:
        """Raise ``ValueError`` where values of the cells are not the sums of those of rows and columns.

        Args:
            name: what the values are, for the message.
            values: values of the members, shape ``(members, axes)``.
            own: what :meth:`fit` returned of the single neurons.
            rows: and of the rows and columns.
        """
        if self.agree(values, own, rows):
            return
        at, axis = divmod(int((self.values(own, rows) - values).abs().argmax()), values.shape[1])
        raise ValueError(
            f"{name} must be sums of a value for the row and one for the column of each cell of a grid, got "
            f"{float(values[at, axis]):g} for neuron {int(self.members[at])}"
        )

    def agree(self, values: Tensor, own: Tensor, rows: Tensor) -> bool:
        """Tell whether these values of single neurons, rows and columns give those of the members, but for rounding."""
        if not self.grids:
            return True
        near = LEVEL + 8 * torch.finfo(values.dtype).eps
        scale = values.detach().abs().max().clamp(min=1.0)
        return bool(((self.values(own, rows) - values).abs() <= near * scale).all())

    @property
    def cells(self) -> tuple[Tensor, ...]:
        """Numbers of the neurons of each grid."""
        counts = [math.prod(grid.shape) if grid.cells is None else len(grid.cells) for grid in self.grids]
        return tuple(self.members.split([len(self.single), *counts])[1:])

    @classmethod
    def of(cls, layer: Tensor, cells: Tensor, shapes: Mapping[int, tuple[int, ...]], group: Tensor) -> "Sums":
        """Return the sums of a group of neurons that has all cells of a grid, or none.

        Args:
            layer: layer of each neuron, shape ``(N,)``.
            cells: cell of each neuron, -1 for none, shape ``(N,)``; empty where there are no grids.
            shapes: shapes of the grids by the number of the layer.
            group: marks the neurons, shape ``(N,)``, bool.
        """
        if not shapes:
            single = torch.nonzero(group)[:, 0]
            return cls(single, (), single)
        single = torch.nonzero(group & (cells < 0))[:, 0]
        grids, members = [], [single]
        for number, shape in shapes.items():
            neurons = torch.nonzero(group & (layer == number))[:, 0]
            if len(neurons):
                grids.append(Grid.of(shape, cells[neurons]))
                members.append(neurons)
        return cls(single, tuple(grids), torch.cat(members))


def layer_sizes(sizes: Any) -> tuple[list[int], dict[int, tuple[int, ...]]]:  # noqa: ANN401 - any value is checked
    """Return how many neurons each layer has, and the shapes of those that are grids, by the layer's number.

    Raises:
        TypeError: if ``sizes`` is no sequence, or holds other things than ints and tuples of them.
        ValueError: if a number is below 1, or there are less than two layers.

    Example:
        >>> layer_sizes([(28, 28), 300, 10])
        ([784, 300, 10], {0: (28, 28)})
    """
    if isinstance(sizes, Sequence) and not isinstance(sizes, str | bytes):
        counts = [1 if isinstance(size, tuple | list | torch.Size) else size for size in sizes]
        checks.sizes(counts)
        shapes = {number: size for number, size in enumerate(sizes) if isinstance(size, tuple | list | torch.Size)}
        found = {number: grid_shape(f"sizes[{number}]", shape) for number, shape in shapes.items()}
        counts = [math.prod(found[number]) if number in found else count for number, count in enumerate(counts)]
        return counts, {number: shape for number, shape in found.items() if len(shape) > 1}
    return checks.sizes(sizes), {}


def grid_shape(name: str, shape: Any) -> tuple[int, ...]:  # noqa: ANN401
    """Return the shape of a grid as a tuple of at least one positive int."""
    if isinstance(shape, str | bytes) or not isinstance(shape, Sequence):
        raise TypeError(f"{name} must be the shape of a grid, a tuple of ints, got {type(shape).__name__}")
    if not shape:
        raise ValueError(f"{name} must have at least one axis, got {shape!r}")
    return tuple(checks.integer(f"{name}[{axis}]", size, minimum=1) for axis, size in enumerate(shape))


def grid_shapes(shapes: Mapping[int, Sequence[int]] | None, layer: Tensor) -> dict[int, tuple[int, ...]]:
    """Return the shapes of grids by the layer's number, which must have as many cells as the layer has neurons.

    Raises:
        TypeError: if it is no mapping from numbers to shapes.
        ValueError: if there is no such layer, or it has another number of neurons.

    Example:
        >>> grid_shapes({0: [1, 2]}, torch.tensor([0, 0, 1]))
        {0: (1, 2)}
    """
    if shapes is None:
        return {}
    if not isinstance(shapes, Mapping):
        raise TypeError(f"grids must be a mapping from layers to shapes, got {type(shapes).__name__}")
    found = {}
    for number, shape in shapes.items():
        checks.layer_number("grids", number, layer)
        found[number] = grid_shape(f"grids[{number}]", shape)
        cells, neurons = math.prod(found[number]), int((layer == number).sum())
        if cells != neurons:
            raise ValueError(
                f"grids[{number}] must have as many cells as the layer has neurons ({neurons}), got {cells}"
            )
    return {number: shape for number, shape in found.items() if len(shape) > 1}
