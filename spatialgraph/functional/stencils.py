"""Neurons of a plane on a regular grid: spread charges onto it, gather from it, and the gradients of both."""

import math
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from spatialgraph.functional.fused import STENCILS
from spatialgraph.functional.ordered import add_
from spatialgraph.functional.splines import Grid
from spatialgraph.kernels.registry import find

__all__ = ["Stencils"]

# Numbers that a block of points reads from the grid or adds to it at a time.
_BLOCK = 2**21


class Stencils:
    """The grid points around the neurons of a plane, and their weights.

    Args:
        grid: the grid.
        pos: positions in the plane, shape ``(n, axes)``.

    Example:
        >>> stencils = Stencils(Grid((-2.0,), 1.0, (8,), 4), torch.tensor([[1.0]]))
        >>> (6 * stencils.spread(torch.ones(1, 1))).round().tolist()
        [[0.0, 0.0, 1.0, 4.0, 1.0, 0.0, 0.0, 0.0]]
    """

    def __init__(self, grid: Grid, pos: Tensor) -> None:
        self._grid, self._offset = grid, grid.offsets(pos.detach())
        self._kernels: Any = find(STENCILS, self._offset)

    def spread(self, charge: Tensor) -> Tensor:
        """Add charges ``(batch, n)`` to the grid points around each position, shape ``(batch, *grid)``."""
        points, batch = math.prod(self._grid.shape), charge.shape[0]
        if self._kernels is not None:
            density: Tensor = self._kernels.spread(self._offset, self._grid.shape, self._grid.order, charge.t())
        else:
            density = charge.new_zeros(points, batch)
            for rows in self._blocks(batch):
                numbers, weights = self._grid.stencils(self._offset[rows])
                parts = weights[:, :, None] * charge[:, rows].t()[:, None, :]
                add_(density, numbers.flatten(), parts.flatten(0, 1))
        return density.t().reshape(batch, *self._grid.shape)

    def gather(self, field: Tensor) -> Tensor:
        """Return a field of shape ``(batch, *grid)`` at the positions, shape ``(batch, n)``."""
        flat = _by_point(field)
        if self._kernels is not None:
            gathered: Tensor = self._kernels.gather(self._offset, self._grid.shape, self._grid.order, flat)
            return gathered.t()
        found = field.new_empty(len(self._offset), field.shape[0])
        for rows in self._blocks(field.shape[0]):
            numbers, weights = self._grid.stencils(self._offset[rows])
            found[rows] = (weights[:, None, :] @ flat[numbers]).squeeze(1)
        return found.t()

    def pull(self, field: Tensor, charge: Tensor) -> tuple[Tensor, Tensor]:
        """Return the charges ``(batch, n)`` times the field, summed over the batch, and the gradient by positions.

        Their shapes are ``(n,)`` and ``(n, axes)``.
        """
        flat, values = _by_point(field), charge.t()
        if self._kernels is not None:
            sums, gradient = self._kernels.pull(self._offset, self._grid.shape, self._grid.order, flat, values)
            return sums, gradient / self._grid.spacing
        sums, gradient = torch.empty_like(self._offset[:, 0]), torch.empty_like(self._offset)
        for rows in self._blocks(field.shape[0]):
            with torch.enable_grad():
                own = self._offset[rows].requires_grad_()
                numbers, weights = self._grid.stencils(own)
                pull = (flat[numbers] @ values[rows][:, :, None]).squeeze(-1)
                sums[rows] = (pull * weights).sum(1).detach()
                (gradient[rows],) = torch.autograd.grad(weights, own, pull)
        return sums, gradient / self._grid.spacing

    def _blocks(self, batch: int) -> Iterator[slice]:
        step = max(1, _BLOCK // (batch * self._grid.order ** len(self._grid.shape)))
        for start in range(0, len(self._offset), step):
            yield slice(start, min(start + step, len(self._offset)))


def _by_point(field: Tensor) -> Tensor:
    return field.flatten(1).t().contiguous()
