"""Fused CPU kernels for the inverse-distance law, compiled by Numba where it is installed.

They compute the same as the tensor operations in :mod:`spatialgraph.functional`, in one pass over the weights instead
of a dozen. Each thread takes a block of rows and keeps its own sums, so results depend on the number of threads only.
"""

from typing import Any

import numpy as np
import torch
from torch import Tensor

from spatialgraph import checks
from spatialgraph.kernels.compilation import part_count
from spatialgraph.kernels.handover import array, constants

__all__ = ["geometry_gradients", "weight"]

# Minimum number of weights for which several threads are faster than one.
_WORTH_A_THREAD = 2**16


def weight(source_pos: Tensor, target_pos: Tensor, scale: Tensor, softening: float) -> Tensor:
    """Return the ``(m, n)`` matrix of scaled inverse distances; arguments as in ``functional.pairwise_weight``."""
    from spatialgraph.kernels.loops import dense as loops

    _check_geometry(source_pos, target_pos, scale)
    columns, rows, factors = _by_axis(source_pos), array(target_pos), array(scale)
    result = source_pos.new_empty(len(rows), len(factors))
    loops.fill(columns, rows, factors, *constants(source_pos, softening**2), result.numpy(), _parts(result))
    return result


def geometry_gradients(
    grad_weight: Tensor, source_pos: Tensor, target_pos: Tensor, scale: Tensor, softening: float
) -> tuple[Tensor, Tensor, Tensor]:
    """Return the gradients of source positions, target positions and scales, given that of the signed weight matrix."""
    from spatialgraph.kernels.loops import dense as loops

    _check_geometry(source_pos, target_pos, scale)
    checks.operand("grad_weight", grad_weight, (len(target_pos), len(source_pos)), source_pos)
    columns, rows, factors = _by_axis(source_pos), array(target_pos), array(scale)
    parts = _parts(grad_weight)
    grad_columns = np.zeros((parts, *columns.shape), columns.dtype)
    grad_scale = np.zeros((parts, len(factors)), columns.dtype)
    grad_rows = np.empty_like(rows)
    (constant,) = constants(source_pos, softening**2)
    loops.gradients(columns, rows, factors, constant, array(grad_weight), grad_columns, grad_rows, grad_scale, parts)
    grad_source = -(grad_columns.sum(0) * factors).T
    return torch.from_numpy(grad_source), torch.from_numpy(grad_rows), torch.from_numpy(grad_scale.sum(0))


def _check_geometry(source_pos: Tensor, target_pos: Tensor, scale: Tensor) -> None:
    checks.for_kernel("source_pos", source_pos, 2)
    checks.geometry(source_pos, target_pos, scale)


def _by_axis(pos: Tensor) -> Any:  # noqa: ANN401
    return np.ascontiguousarray(pos.detach().numpy().T)  # NumPy is many times faster than PyTorch for small arrays


def _parts(weight: Tensor) -> int:
    return part_count(weight.numel(), _WORTH_A_THREAD, most=len(weight))
