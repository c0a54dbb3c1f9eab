"""Tiles of pairs in Triton: squared lengths, and sums of the gradients of what weights follow from.

Positions are read where they are, with any strides. Sums over tiles go to memory of their own for each tile, without
atomic operations, so that each run gives the same bits.
"""

import triton
import triton.language as tl

from spatialgraph.kernels.cuda.loops.formulas import differentiate, number

__all__ = ["place_of_tile", "softened", "spread"]


@triton.jit
def place_of_tile(sources, BI: tl.constexpr):
    """Return which tile of targets and of sources is this program's; they lie in one row, for only it may be long."""
    columns = tl.cdiv(sources, BI)
    return tl.program_id(0) // columns, tl.program_id(0) % columns


@triton.jit
def spread(
    grad, source_pos, target_pos, scale, by_source, by_target, by_first, tile_j, tile_i, j, i, sources, targets,
    source_stride, source_axis, target_stride, target_axis, scale_stride,
    softening_square, first, second, third,
    FORMULA: tl.constexpr, DIM: tl.constexpr, FIRST_IS_TENSOR: tl.constexpr, IS_LEARNT: tl.constexpr,
):  # fmt: skip
    """Sum the gradients of positions, scales and the first number over a tile of the gradient of the weights.

    ``by_source`` has the shape (tiles of targets, sources, DIM + 1), with the scale last, ``by_target`` the shape
    (tiles of sources, targets, DIM), ``by_first`` the shape (tiles of targets, tiles of sources).
    """
    is_target, is_source = j < targets, i < sources
    lies_within = is_target[:, None] & is_source[None, :]
    grad = tl.where(lies_within, grad, 0.0)
    square = softened(
        source_pos, target_pos, i, j, sources, targets,
        source_stride, source_axis, target_stride, target_axis, softening_square, DIM,
    )  # fmt: skip
    w, twice_slope, slope = differentiate(square, number(first, FIRST_IS_TENSOR), second, third, FORMULA)
    s = tl.load(scale + i.to(tl.int64) * scale_stride, mask=is_source, other=0.0)
    from_source = by_source + (tile_j.to(tl.int64) * sources + i) * (DIM + 1)
    tl.store(from_source + DIM, tl.sum(grad * w, 0), mask=is_source)
    if IS_LEARNT:
        share = tl.where(lies_within, grad * slope * s[None, :], 0.0)
        tl.store(by_first + tl.program_id(0), tl.sum(share))
    strength = tl.where(lies_within, twice_slope * grad, 0.0)
    from_target = by_target + (tile_i.to(tl.int64) * targets + j) * DIM
    for axis in tl.static_range(DIM):
        q = _coordinate(target_pos, j, targets, axis, target_stride, target_axis)
        p = _coordinate(source_pos, i, sources, axis, source_stride, source_axis)
        component = (q[:, None] - p[None, :]) * strength
        tl.store(from_source + axis, -s * tl.sum(component, 0), mask=is_source)
        tl.store(from_target + axis, tl.sum(component * s[None, :], 1), mask=is_target)


@triton.jit
def _coordinate(pos, neurons, count, axis, stride, axis_stride):
    """Load a coordinate of some neurons; 0 past the last one."""
    return tl.load(pos + neurons.to(tl.int64) * stride + axis * axis_stride, mask=neurons < count, other=0.0)


@triton.jit
def softened(
    source_pos, target_pos, i, j, sources, targets,
    source_stride, source_axis, target_stride, target_axis, softening_square, DIM: tl.constexpr,
):  # fmt: skip
    """Return the softened squared lengths of a tile, from differences of coordinates."""
    square = tl.zeros((j.shape[0], i.shape[0]), tl.float32) + softening_square
    for axis in tl.static_range(DIM):
        q = _coordinate(target_pos, j, targets, axis, target_stride, target_axis)
        p = _coordinate(source_pos, i, sources, axis, source_stride, source_axis)
        difference = q[:, None] - p[None, :]
        square += difference * difference
    return square
