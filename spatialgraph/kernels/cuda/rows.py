"""Fused kernels in Triton for products of compressed rows, for tensors on a GPU.

They compute the same as the tensor operations in :mod:`spatialgraph.functional.compressed`, in single precision.
Activations have the batch as their last axis, and neighbouring programs share those that they read. The edges were
checked when they were made; kernels leave out what is out of range.
"""

from torch import Tensor

from spatialgraph import checks
from spatialgraph.kernels.cuda.launching import MOST_ROWS, launch, tiles

__all__ = ["product", "sampled"]

# Edges and samples that a program takes at a time.
_PRODUCT = 8, 128
_SAMPLED = 16, 64

# Rows with more edges are shared out among programs, as long as there are few of these.
_EDGES_OF_A_PROGRAM, _PROGRAMS = 256, 1056


def product(
    pointer: Tensor, column: Tensor, weight: Tensor, x: Tensor, bias: Tensor | None = None, rectify: bool = False
) -> Tensor:
    """Return ``matrix @ x + bias`` for a matrix in compressed rows; arguments as for the kernels of the CPU."""
    from spatialgraph.kernels.cuda.loops import rows as loops

    rows = _check(pointer, column, x)
    columns, batch = x.shape
    checks.operand("weight", weight, (len(column),), x)
    bias = None if bias is None else checks.operand("bias", bias, (rows,), x).contiguous()
    be, br = _PRODUCT
    grid = rows, tiles(batch, br)
    wanted = tiles(len(column), _EDGES_OF_A_PROGRAM * max(rows, 1))
    shares = max(1, min(wanted, _PROGRAMS // max(1, grid[0] * grid[1])))
    is_whole = shares == 1
    # Not a view, where it is the result: autograd forbids to change views in place.
    out = x.new_empty((rows, batch) if is_whole else (shares, rows, batch))
    launch(
        loops.multiply, (*grid, shares),
        pointer, column, weight.contiguous(), x.contiguous(), weight if bias is None else bias, out,
        rows, columns, len(column), batch,
        HAS_BIAS=is_whole and bias is not None, RECTIFY=is_whole and rectify, BE=be, BR=br,
    )  # fmt: skip
    if is_whole:
        return out
    y = out.sum(0) if bias is None else out.sum(0).add_(bias[:, None])
    return y.relu_() if rectify else y


def sampled(
    pointer: Tensor, column: Tensor, rows: Tensor, x: Tensor, active: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """Return, for each edge, the dot product of its row of two matrices; arguments and results as for the CPU."""
    from spatialgraph.kernels.cuda.loops import rows as loops

    expected = _check(pointer, column, x), x.shape[1]
    grad = checks.operand("rows", rows, expected, x).contiguous()
    masks = grad if active is None else checks.operand("active", active, expected, x).contiguous()
    out, sums = x.new_empty(len(column)), x.new_empty(expected[0])
    be, br = _SAMPLED
    # As many programs for a row as its share of the edges needs; to know more would wait for the GPU.
    programs = max(1, min(MOST_ROWS, tiles(len(column), be * max(expected[0], 1))))
    launch(
        loops.sample, (expected[0], programs),
        pointer, column, grad, masks, x.contiguous(), out, sums, *expected[:1], x.shape[0], len(column), x.shape[1],
        HAS_ACTIVE=active is not None, BE=be, BR=br,
    )  # fmt: skip
    return out, sums


def _check(pointer: Tensor, column: Tensor, x: Tensor) -> int:
    """Check the edges, and return the number of rows."""
    checks.axes("x", x, 2)
    for name, values in (("pointer", pointer), ("column", column)):
        checks.same_device(name, checks.indices(name, values), x)
    return len(pointer) - 1
