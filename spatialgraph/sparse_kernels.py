"""Fused CPU kernels for sparse projections, compiled by Numba where it is installed.

They compute what :mod:`spatialgraph.functional` computes by tensor operations. Threads share the rows, each with about
as many edges, so that the bits depend on the number of threads alone. Activations have the batch as their last axis.
"""

import math
from typing import Any

from torch import Tensor

from spatialgraph.kernels import array, constants, part_count, threads

__all__ = ["gradients", "product", "sampled", "weights"]

# Below this number of multiply-adds a hand-over to another thread costs more than it saves.
_WORTH_A_THREAD = 2**17

# Edges of a column in the mean, from which on it pays to copy the activations to where they lie dense: half way between
# 100, where it costs a tenth more time, and 400, where it saves a third (784-2048, batch 600).
_WORTH_PACKING = 200


def product(
    pointer: Tensor, column: Tensor, weight: Tensor, x: Tensor, bias: Tensor | None = None, rectify: bool = False
) -> Tensor:
    """Return ``matrix @ x + bias`` for a matrix in compressed rows and ``x`` of shape ``(columns, batch)``.

    Where ``rectify``, negative numbers become 0.

    Example:
        >>> import torch
        >>> pointer, column, weight = torch.tensor([0, 2]), torch.tensor([0, 1]), torch.tensor([2.0, 3.0])
        >>> product(pointer, column, weight, torch.ones(2, 1), torch.tensor([1.0])).tolist()
        [[6.0]]
    """
    from spatialgraph import compiled_sparse

    rows = len(pointer) - 1
    y = x.new_empty(rows, x.shape[1])
    bias = x.new_zeros(rows) if bias is None else bias
    arrays = [array(values) for values in (pointer, column, weight)]
    (floor,) = constants(weight, 0.0 if rectify else -math.inf)
    parts = _parts(column, x)
    with threads(parts):
        compiled_sparse.product(*arrays, *_laid_out(x, column), array(bias), floor, y.numpy(), parts)
    return y


def sampled(
    pointer: Tensor, column: Tensor, rows: Tensor, x: Tensor, active: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """Return the scalar product of each edge's row of ``rows`` ``(rows, batch)`` with its column's of ``x``.

    Where ``active`` is given, of the shape of ``rows``, numbers whose counterpart is not positive count as 0.

    Returns:
        The products, one for each edge, and the sums of the rows.

    Example:
        >>> import torch
        >>> rows, x = torch.tensor([[1.0, 2.0]]), torch.tensor([[3.0, 4.0], [5.0, 6.0]])
        >>> sampled(torch.tensor([0, 2]), torch.tensor([0, 1]), rows, x)
        (tensor([11., 17.]), tensor([3.]))
    """
    from spatialgraph import compiled_sparse

    out, sums = x.new_zeros(len(column)), x.new_zeros(len(rows))
    arrays = [array(values) for values in (pointer, column, rows, rows if active is None else active)]
    is_masked, parts = active is not None, _parts(column, x)
    with threads(parts):
        compiled_sparse.sampled(*arrays, is_masked, *_laid_out(x, column), out.numpy(), sums.numpy(), parts)
    return out, sums


def weights(
    pointer: Tensor, column: Tensor, source_pos: Tensor, target_pos: Tensor, scale: Tensor, softening: float
) -> Tensor:
    """Return the scaled inverse distance of each edge; rows are targets, columns sources."""
    from spatialgraph import compiled_sparse

    out = source_pos.new_empty(len(column))
    arrays = [array(values) for values in (pointer, column, source_pos.t(), target_pos.t(), scale)]
    (constant,) = constants(source_pos, softening**2)
    parts = _threads(16 * len(column))
    with threads(parts):
        compiled_sparse.weigh(*arrays, constant, out.numpy(), parts)
    return out


def gradients(
    pointer: Tensor,
    column: Tensor,
    source_pos: Tensor,
    target_pos: Tensor,
    scale: Tensor,
    softening: float,
    grad: Tensor,
) -> tuple[Tensor, Tensor, Tensor]:
    """Carry the gradient of the edges' weights on to source positions, target positions and scales."""
    from spatialgraph import compiled_sparse

    parts = _threads(16 * len(column))
    grad_sources = source_pos.new_zeros(parts, *source_pos.t().shape)
    grad_targets = target_pos.new_zeros(target_pos.t().shape)
    grad_scale = scale.new_zeros(parts, len(scale))
    arrays = [array(values) for values in (pointer, column, source_pos.t(), target_pos.t(), scale)]
    (constant,) = constants(source_pos, softening**2)
    sums = [values.numpy() for values in (grad_sources, grad_targets, grad_scale)]
    with threads(parts):
        compiled_sparse.pull(*arrays, constant, array(grad), *sums)
    return grad_sources.sum(0).t(), grad_targets.t(), grad_scale.sum(0)


def _laid_out(x: Tensor, column: Tensor) -> tuple[Any, bool, bool]:
    """Return activations as they lie in memory, whether they are turned, and whether a kernel shall pack them.

    It must where they are turned or a strip is wider than the batch.
    """
    is_turned = not x.is_contiguous() and x.t().is_contiguous()
    strip = 512 // x.element_size()
    is_packed = is_turned or x.shape[1] < strip or len(column) >= _WORTH_PACKING * x.shape[0]
    return array(x.t() if is_turned else x), is_turned, is_packed


def _parts(column: Tensor, x: Tensor) -> int:
    return _threads(len(column) * x.shape[1])


def _threads(work: int) -> int:
    return part_count(work, _WORTH_A_THREAD)
