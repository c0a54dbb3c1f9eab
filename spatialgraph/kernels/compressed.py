"""Fused CPU kernels for sparse projections, compiled by Numba where it is installed.

They compute the same as the tensor operations in :mod:`spatialgraph.functional`. Each thread takes rows with about the
same number of edges, so for given inputs, results depend only on the number of threads. Activations have the batch as
their last axis.
"""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from torch import Tensor

from spatialgraph import checks
from spatialgraph.kernels.compilation import part_count
from spatialgraph.kernels.handover import array, columns_exist, compressed_rows, constants

__all__ = ["EdgeKernels", "product", "sampled"]

# Minimum number of multiply-adds for which several threads are faster than one.
_WORTH_A_THREAD = 2**17

# Mean number of edges per column from which packing the activations into contiguous memory is faster. It is between
# 100, where packing takes a tenth more time, and 400, where it saves a third (784-2048, batch 600).
_WORTH_PACKING = 200

# The backward pass stores source indices in 32 bits.
_MOST_SOURCES = 2**32


def product(
    pointer: Tensor, column: Tensor, weight: Tensor, x: Tensor, bias: Tensor | None = None, rectify: bool = False
) -> Tensor:
    """Return ``matrix @ x + bias`` for a matrix in compressed rows and ``x`` of shape ``(columns, batch)``.

    If ``rectify`` is true, negative results are set to 0.

    Example:
        >>> import torch
        >>> pointer, column, weight = torch.tensor([0, 2]), torch.tensor([0, 1]), torch.tensor([2.0, 3.0])
        >>> product(pointer, column, weight, torch.ones(2, 1), torch.tensor([1.0])).tolist()
        [[6.0]]
    """
    from spatialgraph.kernels.loops import compressed as loops

    checks.for_kernel("x", x, 2)
    edges = compressed_rows(pointer, column)
    rows = pointer.shape[0] - 1
    checks.operand("weight", weight, (column.shape[0],), x)
    bias = x.new_zeros(rows) if bias is None else checks.operand("bias", bias, (rows,), x)
    y = x.new_empty(rows, x.shape[1])
    if y.numel():
        numbers = array(weight), *_laid_out(x, column), array(bias), *constants(x, 0.0 if rectify else -math.inf)
        fits = loops.product(*edges, *numbers, y.numpy(), _parts(column, x))
        columns_exist(fits, column, x.shape[0])
    return y


def sampled(
    pointer: Tensor, column: Tensor, rows: Tensor, x: Tensor, active: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """Return, for each edge, the dot product of its row of ``rows`` ``(rows, batch)`` and its column's row of ``x``.

    If ``active`` is given, in the shape of ``rows``, entries of ``rows`` count as 0 where ``active`` is not positive.

    Returns:
        The products, shape ``(E,)``, and the sums of the rows, shape ``(rows,)``.

    Example:
        >>> import torch
        >>> rows, x = torch.tensor([[1.0, 2.0]]), torch.tensor([[3.0, 4.0], [5.0, 6.0]])
        >>> sampled(torch.tensor([0, 2]), torch.tensor([0, 1]), rows, x)
        (tensor([11., 17.]), tensor([3.]))
    """
    from spatialgraph.kernels.loops import compressed as loops

    checks.for_kernel("x", x, 2)
    edges = compressed_rows(pointer, column)
    expected = pointer.shape[0] - 1, x.shape[1]
    checks.operand("rows", rows, expected, x)
    masks = array(rows if active is None else checks.operand("active", active, expected, x)), active is not None
    out, sums = x.new_zeros(column.shape[0]), x.new_zeros(expected[0])
    if rows.numel():
        results = out.numpy(), sums.numpy()
        fits = loops.sampled(*edges, array(rows), *masks, *_laid_out(x, column), *results, _parts(column, x))
        columns_exist(fits, column, x.shape[0])
    return out, sums


class EdgeKernels:
    """The kernels of listed edges for one formula; rows are targets, columns sources.

    Args:
        formula: a name in ``spatialgraph.kernels.loops.formulas``.
    """

    def __init__(self, formula: str) -> None:
        self.formula = formula

    def weights(
        self,
        pointer: Tensor,
        column: Tensor,
        source_pos: Tensor,
        target_pos: Tensor,
        scale: Tensor,
        softening: float,
        settings: Sequence[float | Tensor] = (),
    ) -> Tensor:
        """Return the scaled weight of each edge.

        Args:
            pointer: where the edges of each target begin, shape ``(m + 1,)``.
            column: source of each edge, shape ``(E,)``.
            source_pos: positions of the sources, shape ``(n, d)``.
            target_pos: positions of the targets, shape ``(m, d)``.
            scale: factor of each source, shape ``(n,)``.
            softening: a length whose square is added to squared lengths.
            settings: the constants of the formula.
        """
        from spatialgraph.kernels.loops import compressed as loops

        operands = _operands(pointer, column, source_pos, target_pos, scale)
        numbers = tuple(constants(source_pos, softening**2, *settings))
        weigh, _ = loops.by_formula(self.formula)
        out = source_pos.new_empty(column.shape[0])
        fits = weigh(*operands, numbers, out.numpy(), _threads(16 * column.shape[0]))
        columns_exist(fits, column, source_pos.shape[0])
        return out

    def gradients(
        self,
        pointer: Tensor,
        column: Tensor,
        source_pos: Tensor,
        target_pos: Tensor,
        scale: Tensor,
        softening: float,
        grad: Tensor,
        settings: Sequence[float | Tensor] = (),
        by_source: tuple[Tensor, Tensor, Tensor] | None = None,
    ) -> tuple[Tensor, Tensor, Tensor, float]:
        """Return the gradients of source positions, target positions, scales and the formula's parameter.

        Arguments are those of :meth:`weights`, the gradient of the edges' weights, shape ``(E,)``, and the same edges
        by source: where those of each source begin, their numbers and their targets. These kernels do not need the
        latter. The last result is 0 for a formula without a parameter.
        """
        from spatialgraph.kernels.loops import compressed as loops

        operands = _operands(pointer, column, source_pos, target_pos, scale)
        numbers = tuple(constants(source_pos, softening**2, *settings))
        checks.operand("grad", grad, (column.shape[0],), source_pos)
        if source_pos.shape[0] > _MOST_SOURCES:
            raise ValueError(f"source_pos must have at most {_MOST_SOURCES} rows, got {source_pos.shape[0]}")
        _, gradients = loops.by_formula(self.formula)
        parts = _threads(16 * column.shape[0])
        grad_sources = source_pos.new_zeros(parts, *source_pos.t().shape)
        grad_targets = target_pos.new_zeros(target_pos.t().shape)
        grad_scale, grad_parameter = scale.new_zeros(parts, len(scale)), np.zeros(parts)
        sums = [values.numpy() for values in (grad_sources, grad_targets, grad_scale)]
        fits = gradients(*operands, numbers, array(grad), *sums, grad_parameter, parts)
        columns_exist(fits, column, source_pos.shape[0])
        return grad_sources.sum(0).t(), grad_targets.t(), grad_scale.sum(0), float(grad_parameter.sum())


def _operands(pointer: Tensor, column: Tensor, source_pos: Tensor, target_pos: Tensor, scale: Tensor) -> list[Any]:
    """Return the edges and the geometry as arrays, positions by axis."""
    checks.for_kernel("source_pos", source_pos, 2)
    checks.geometry(source_pos, target_pos, scale)
    edges = compressed_rows(pointer, column)
    checks.shape("target_pos", target_pos, (pointer.shape[0] - 1, source_pos.shape[1]))
    return [*edges, *(array(values) for values in (source_pos.t(), target_pos.t(), scale))]


def _laid_out(x: Tensor, column: Tensor) -> tuple[Any, bool, bool]:
    """Return activations in their memory order, whether they are transposed, and whether a kernel must pack them.

    Packing is required if they are transposed or if a strip is wider than the batch.
    """
    from spatialgraph.kernels.loops.vectors import STRIP_BYTES

    is_transposed = not x.is_contiguous() and x.t().is_contiguous()
    is_narrow = x.shape[1] * x.element_size() < STRIP_BYTES
    is_packed = is_transposed or is_narrow or len(column) >= _WORTH_PACKING * x.shape[0]
    return array(x.t() if is_transposed else x), is_transposed, is_packed


def _parts(column: Tensor, x: Tensor) -> int:
    return _threads(len(column) * x.shape[1])


def _threads(work: int) -> int:
    return part_count(work, _WORTH_A_THREAD)
