"""Fused CPU kernels for points on a regular grid, compiled by Numba where it is installed.

They compute the same as the tensor operations in :mod:`spatialgraph.functional.stencils`, without a list of the grid
points around each position. A spline of even order reaches as many grid points along each axis. Charges and fields have
the batch as their last axis; fields have the grid points in the order of memory as their first.
"""

import math
from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from spatialgraph import checks
from spatialgraph.kernels.compilation import part_count
from spatialgraph.kernels.handover import array

__all__ = ["gather", "pull", "spread"]

# Minimum number of multiply-adds for which several threads are faster than one.
_WORTH_A_THREAD = 2**17
# Samples for each thread below which threads share points and not the batch.
_NARROW = 16
_AXES, _MOST = 3, 8


def spread(pos: Tensor, shape: Sequence[int], order: int, charge: Tensor) -> Tensor:
    """Add charges to the grid points around each position.

    Args:
        pos: positions in grid units, from its first point, shape ``(n, axes)`` with 1 to 3 axes.
        shape: number of grid points along each axis.
        order: order of the splines, even, at most 8.
        charge: shape ``(n, batch)``.

    Returns:
        Tensor of shape ``(points, batch)``.

    Raises:
        ValueError: if a spline reaches past the grid.

    Example:
        >>> (6 * spread(torch.tensor([[2.0]]), [6], 4, torch.ones(1, 1))).t().tolist()
        [[0.0, 1.0, 4.0, 1.0, 0.0, 0.0]]
    """
    from spatialgraph.kernels.loops import stencils as loops

    grid = _grid(pos, shape, order)
    checks.operand("charge", charge, (len(pos), charge.shape[1]), pos)
    batch = charge.shape[1]
    parts = _parts(pos, order, batch)
    density = charge.new_zeros(parts if batch < _NARROW * parts else 1, math.prod(shape), batch)
    if charge.numel():
        _check_inside(loops.spread(*grid, array(charge), density.numpy(), parts), pos, shape, order)
    return density.sum(0) if len(density) > 1 else density[0]


def gather(pos: Tensor, shape: Sequence[int], order: int, field: Tensor) -> Tensor:
    """Return a field of shape ``(points, batch)`` at the positions, shape ``(n, batch)``; see :func:`spread`.

    Example:
        >>> gather(torch.tensor([[2.0]]), [6], 4, torch.ones(6, 1))
        tensor([[1.]])
    """
    from spatialgraph.kernels.loops import stencils as loops

    grid = _grid(pos, shape, order)
    batch = checks.axes("field", field, 2).shape[1]
    checks.operand("field", field, (math.prod(shape), batch), pos)
    found = field.new_empty(len(pos), batch)
    if found.numel():
        fits = loops.gather(*grid, array(field), found.numpy(), _parts(pos, order, batch))
        _check_inside(fits, pos, shape, order)
    return found


def pull(pos: Tensor, shape: Sequence[int], order: int, field: Tensor, charge: Tensor) -> tuple[Tensor, Tensor]:
    """Return charges times the field at the positions, summed over the batch, and the gradient by positions.

    Args:
        pos: as in :func:`spread`, as are the others.
        shape: number of grid points along each axis.
        order: order of the splines.
        field: shape ``(points, batch)``.
        charge: shape ``(n, batch)``.

    Returns:
        Tensors of shape ``(n,)`` and ``(n, axes)``, the latter for each grid unit.

    Example:
        >>> pull(torch.tensor([[2.5]]), [6], 4, torch.arange(6.0)[:, None], torch.ones(1, 1))
        (tensor([2.5000]), tensor([[1.]]))
    """
    from spatialgraph.kernels.loops import stencils as loops

    grid = _grid(pos, shape, order)
    batch = checks.axes("field", field, 2).shape[1]
    checks.operand("field", field, (math.prod(shape), batch), pos)
    checks.operand("charge", charge, (len(pos), batch), pos)
    sums, gradient = pos.new_zeros(len(pos)), pos.new_zeros(len(pos), _AXES)
    if len(pos):
        results = sums.numpy(), gradient.numpy()
        fits = loops.pull(*grid, array(field), array(charge), *results, _parts(pos, order, batch))
        _check_inside(fits, pos, shape, order)
    return sums, gradient[:, _AXES - pos.shape[1] :]


def _grid(pos: Tensor, shape: Sequence[int], order: int) -> list[Any]:
    """Return positions, numbers of grid points and orders of three axes as arrays."""
    axes = checks.for_kernel("pos", pos, 2).shape[1]
    if not (1 <= axes <= _AXES and axes == len(shape)):
        raise ValueError(f"pos must have 1 to {_AXES} axes, as many as the grid has, got {axes} and {len(shape)}")
    if order not in range(2, _MOST + 1, 2):
        raise ValueError(f"order must be even and from 2 to {_MOST}, got {order}")
    absent = _AXES - axes
    sizes = torch.tensor([1] * absent + list(shape), device="cpu")
    orders = torch.tensor([1] * absent + [order] * axes, device="cpu")
    return [array(values) for values in (F.pad(pos.detach(), (absent, 0)), sizes, orders)]


def _check_inside(fits: bool, pos: Tensor, shape: Sequence[int], order: int) -> None:
    if not fits:
        low, high = pos.amin(0).tolist(), pos.amax(0).tolist()
        raise ValueError(
            f"pos must be so far inside a grid of {list(shape)} points that splines of order {order} do not reach past "
            f"it, got positions from {low} to {high}"
        )


def _parts(pos: Tensor, order: int, batch: int) -> int:
    return part_count(len(pos) * batch * order ** pos.shape[1], _WORTH_A_THREAD)
