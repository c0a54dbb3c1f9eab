"""Fused CPU kernels for the weights of all pairs, compiled by Numba where it is installed.

They compute the same as the tensor operations in :mod:`spatialgraph.functional`, in one pass over the weights instead
of a dozen. Each thread takes a block of rows and keeps its own sums, so for given inputs, results depend only on the
number of threads.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from spatialgraph import checks
from spatialgraph.kernels.compilation import part_count
from spatialgraph.kernels.handover import array, constants

__all__ = ["PairKernels"]

# Minimum number of weights for which several threads are faster than one.
_WORTH_A_THREAD = 2**16


class PairKernels:
    """The kernels of all pairs for one formula.

    Args:
        formula: a name in ``spatialgraph.kernels.loops.formulas``.
    """

    def __init__(self, formula: str) -> None:
        self.formula = formula

    def weight(
        self,
        source_pos: Tensor,
        target_pos: Tensor,
        scale: Tensor,
        softening: float,
        settings: Sequence[float | Tensor] = (),
        out: Tensor | None = None,
    ) -> Tensor:
        """Return the ``(m, n)`` matrix of scaled weights.

        Args:
            source_pos: positions of the sources, shape ``(n, d)``.
            target_pos: positions of the targets, shape ``(m, d)``.
            scale: factor of each source, shape ``(n,)``.
            softening: a length whose square is added to squared lengths.
            settings: the constants of the formula.
            out: a contiguous tensor to write to; None for a new one.
        """
        from spatialgraph.kernels.loops import dense as loops

        _check_geometry(source_pos, target_pos, scale)
        if out is not None and not checks.operand("out", out, (len(target_pos), len(scale)), scale).is_contiguous():
            raise ValueError(f"out must be contiguous, got strides {out.stride()}")
        fill, _ = loops.by_formula(self.formula)
        columns, rows, factors = _by_axis(source_pos), array(target_pos), array(scale)
        result = source_pos.new_empty(len(rows), len(factors)) if out is None else out
        numbers = tuple(constants(source_pos, softening**2, *settings))
        fill(columns, rows, factors, numbers, result.numpy(), _parts(result))
        return result

    def geometry_gradients(
        self,
        grad_weight: Tensor,
        source_pos: Tensor,
        target_pos: Tensor,
        scale: Tensor,
        softening: float,
        settings: Sequence[float | Tensor] = (),
    ) -> tuple[Tensor, Tensor, Tensor, float]:
        """Return the gradients of source positions, target positions, scales and the formula's parameter.

        Arguments are those of :meth:`weight`, after the gradient of the weight matrix. The last result is 0 for a
        formula without a parameter.
        """
        from spatialgraph.kernels.loops import dense as loops

        _check_geometry(source_pos, target_pos, scale)
        checks.operand("grad_weight", grad_weight, (len(target_pos), len(source_pos)), source_pos)
        _, gradients = loops.by_formula(self.formula)
        columns, rows, factors = _by_axis(source_pos), array(target_pos), array(scale)
        parts = _parts(grad_weight)
        grad_columns = np.zeros((parts, *columns.shape), columns.dtype)
        grad_scale = np.zeros((parts, len(factors)), columns.dtype)
        grad_rows, grad_parameter = np.empty_like(rows), np.zeros(parts)
        numbers = tuple(constants(source_pos, softening**2, *settings))
        sums = grad_columns, grad_rows, grad_scale, grad_parameter
        gradients(columns, rows, factors, numbers, array(grad_weight), *sums, parts)
        grad_source = torch.from_numpy(-(grad_columns.sum(0) * factors).T)
        grads = grad_source, torch.from_numpy(grad_rows), torch.from_numpy(grad_scale.sum(0))
        return *grads, float(grad_parameter.sum())


def _check_geometry(source_pos: Tensor, target_pos: Tensor, scale: Tensor) -> None:
    checks.for_kernel("source_pos", source_pos, 2)
    checks.geometry(source_pos, target_pos, scale)


def _by_axis(pos: Tensor) -> Any:  # noqa: ANN401
    return np.ascontiguousarray(pos.detach().numpy().T)  # NumPy is many times faster than PyTorch for small arrays


def _parts(weight: Tensor) -> int:
    return part_count(weight.numel(), _WORTH_A_THREAD, most=len(weight))
