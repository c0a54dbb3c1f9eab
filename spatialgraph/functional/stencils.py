"""Neurons of a plane on a regular grid: spread charges onto it, gather from it, and the gradients of both."""

import functools
import math
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from spatialgraph.functional.fused import COMPRESSED
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
        self._grid, self._pos = grid, pos
        self._kernels: Any = find(COMPRESSED, pos)

    def spread(self, charge: Tensor) -> Tensor:
        """Add charges ``(batch, n)`` to the grid points around each position, shape ``(batch, *grid)``."""
        points, batch = math.prod(self._grid.shape), charge.shape[0]
        if self._kernels is not None:
            density: Tensor = self._kernels.transposed_product(*self._rows, charge.t(), points)
        else:
            density = charge.new_zeros(points, batch)
            for rows in self._blocks(batch):
                numbers, weights = self._grid.stencils(self._pos[rows])
                parts = weights[:, :, None] * charge[:, rows].t()[:, None, :]
                density.index_add_(0, numbers.flatten(), parts.flatten(0, 1))
        return density.t().reshape(batch, *self._grid.shape)

    def gather(self, field: Tensor) -> Tensor:
        """Return a field of shape ``(batch, *grid)`` at the positions, shape ``(batch, n)``."""
        flat = field.flatten(1).t()
        if self._kernels is not None:
            gathered: Tensor = self._kernels.product(*self._rows, flat)
            return gathered.t()
        found, flat = field.new_empty(len(self._pos), field.shape[0]), flat.contiguous()
        for rows in self._blocks(field.shape[0]):
            numbers, weights = self._grid.stencils(self._pos[rows])
            found[rows] = (weights[:, None, :] @ flat[numbers]).squeeze(1)
        return found.t()

    def sums(self, field: Tensor, charge: Tensor) -> Tensor:
        """Return the charges ``(batch, n)`` times the field at the positions, summed over the batch, shape ``(n,)``."""
        if self._kernels is None:
            return (charge * self.gather(field)).sum(0)
        return (self._by_weight(field, charge) * self._rows[2].view(len(self._pos), -1)).sum(1)

    def pull(self, field: Tensor, charge: Tensor) -> Tensor:
        """Return the gradient of the charges' sum over the field by the positions, shape ``(n, axes)``."""
        if self._kernels is not None:
            by_weight = self._by_weight(field, charge)
        else:
            flat = field.flatten(1).t().contiguous()
        found = torch.empty_like(self._pos)
        for rows in self._blocks(field.shape[0]):
            with torch.enable_grad():
                own = self._pos[rows].detach().requires_grad_()
                numbers, weights = self._grid.stencils(own)
                if self._kernels is not None:
                    pull = by_weight[rows]
                else:
                    pull = (flat[numbers] @ charge[:, rows].t()[:, :, None]).squeeze(-1)
                (found[rows],) = torch.autograd.grad(weights, own, pull)
        return found

    def _by_weight(self, field: Tensor, charge: Tensor) -> Tensor:
        """Return the gradient of the charges' sum over the field by the weights, shape ``(n, grid points)``."""
        pointer, column, _ = self._rows
        by_weight: Tensor = self._kernels.sampled(pointer, column, charge.t(), field.flatten(1).t())[0]
        return by_weight.view(len(self._pos), -1)

    @functools.cached_property
    def _rows(self) -> tuple[Tensor, Tensor, Tensor]:
        """All grid points and weights as compressed rows, for kernels."""
        each, count = self._grid.order ** len(self._grid.shape), len(self._pos)
        column = self._pos.new_empty(count, each, dtype=torch.int32)
        weight = self._pos.new_empty(count, each)
        for rows in self._blocks(1):
            column[rows], weight[rows] = self._grid.stencils(self._pos[rows])
        return torch.arange(0, count * each + 1, each), column.flatten(), weight.flatten()

    def _blocks(self, batch: int) -> Iterator[slice]:
        step = max(1, _BLOCK // (batch * self._grid.order ** len(self._grid.shape)))
        for start in range(0, len(self._pos), step):
            yield slice(start, min(start + step, len(self._pos)))
