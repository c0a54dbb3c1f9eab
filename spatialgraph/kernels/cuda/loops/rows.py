"""Products of compressed rows in Triton, which :mod:`spatialgraph.kernels.cuda.rows` launches.

A program takes edges of one row, in their order, so that each run gives the same bits. Edges that name no column are
left out.
"""

import triton
import triton.language as tl

__all__ = ["multiply", "sample"]


@triton.jit
def multiply(
    pointer, column, weight, x, bias, out, rows, columns, edges, batch,
    HAS_BIAS: tl.constexpr, RECTIFY: tl.constexpr, BE: tl.constexpr, BR: tl.constexpr,
):  # fmt: skip
    """Multiply a row with x, shape (columns, batch); ``out`` has the shape (shares of a row, rows, batch)."""
    row, part, parts = tl.program_id(0).to(tl.int64), tl.program_id(2), tl.num_programs(2)
    b = tl.program_id(1) * BR + tl.arange(0, BR)
    begin, end = _edges_of(pointer, row, edges)
    share = tl.cdiv(tl.cdiv(end - begin, BE), parts) * BE
    total = tl.zeros((BR,), tl.float32)
    for start in range(begin + part * share, tl.minimum(begin + (part + 1) * share, end), BE):
        e = start + tl.arange(0, BE)
        k, is_there = _columns(column, e, end, columns)
        w = tl.load(weight + e, mask=is_there, other=0.0)
        total += tl.sum(w[:, None] * _read(x, k, b, is_there, batch), 0)
    if HAS_BIAS:
        total += tl.load(bias + row)
    if RECTIFY:
        total = tl.where(total < 0.0, 0.0, total)
    tl.store(out + (part.to(tl.int64) * rows + row) * batch + b, total, mask=b < batch)


@triton.jit
def sample(
    pointer, column, grad, active, x, out, sums, rows, columns, edges, batch,
    HAS_ACTIVE: tl.constexpr, BE: tl.constexpr, BR: tl.constexpr,
):  # fmt: skip
    """Write the dot products of a row of ``grad``, shape (rows, batch), with the rows of x that its edges name.

    Entries of ``grad`` count as 0 where ``active`` is not positive. ``sums`` are those of the rows.
    """
    row, part = tl.program_id(0).to(tl.int64), tl.program_id(1)
    begin, end = _edges_of(pointer, row, edges)
    for start in range(begin + part * BE, end, tl.num_programs(1) * BE):
        e = start + tl.arange(0, BE)
        k, is_there = _columns(column, e, end, columns)
        total = tl.zeros((BE,), tl.float32)
        for first in range(0, batch, BR):
            b = first + tl.arange(0, BR)
            g = _active(grad, active, row, b, batch, HAS_ACTIVE)
            total += tl.sum(g[None, :] * _read(x, k, b, is_there, batch), 1)
        tl.store(out + e, total, mask=e < end)
    if part == 0:
        single = tl.zeros((BR,), tl.float32)
        for first in range(0, batch, BR):
            single += _active(grad, active, row, first + tl.arange(0, BR), batch, HAS_ACTIVE)
        tl.store(sums + row, tl.sum(single))


@triton.jit
def _edges_of(pointer, row, edges):
    """Return where the edges of a row begin and end."""
    return tl.maximum(tl.load(pointer + row), 0), tl.minimum(tl.load(pointer + row + 1), edges)


@triton.jit
def _columns(column, e, end, columns):
    """Return the columns of edges, and which of them there are."""
    k = tl.load(column + e, mask=e < end, other=0).to(tl.int64)
    return k, (e < end) & (k >= 0) & (k < columns)


@triton.jit
def _read(x, k, b, is_there, batch):
    """Return entries of some rows of x."""
    return tl.load(x + k[:, None] * batch + b[None, :], mask=is_there[:, None] & (b < batch)[None, :], other=0.0)


@triton.jit
def _active(grad, active, row, b, batch, HAS_ACTIVE: tl.constexpr):
    """Return entries of a row of gradients, 0 where their result was not positive."""
    g = tl.load(grad + row * batch + b, mask=b < batch, other=0.0)
    if HAS_ACTIVE:
        g = tl.where(tl.load(active + row * batch + b, mask=b < batch, other=0.0) > 0.0, g, 0.0)
    return g
