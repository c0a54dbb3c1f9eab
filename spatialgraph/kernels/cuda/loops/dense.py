"""Tiles of the weights of all pairs in Triton, which :mod:`spatialgraph.kernels.cuda.dense` launches.

A program computes a tile of (targets, sources).
"""

import triton
import triton.language as tl

from spatialgraph.kernels.cuda.loops.formulas import differentiate, number
from spatialgraph.kernels.cuda.loops.tiles import place_of_tile, softened, spread

__all__ = ["fill", "pull"]


@triton.jit
def fill(
    source_pos, target_pos, scale, out, sources, targets,
    source_stride, source_axis, target_stride, target_axis, scale_stride,
    softening_square, first, second, third,
    FORMULA: tl.constexpr, DIM: tl.constexpr, FIRST_IS_TENSOR: tl.constexpr, BJ: tl.constexpr, BI: tl.constexpr,
):  # fmt: skip
    """Write the weights of all pairs, shape (targets, sources), in the precision of ``out``."""
    tile_j, tile_i = place_of_tile(sources, BI)
    j, i = tile_j * BJ + tl.arange(0, BJ), tile_i * BI + tl.arange(0, BI)
    square = softened(
        source_pos, target_pos, i, j, sources, targets,
        source_stride, source_axis, target_stride, target_axis, softening_square, DIM,
    )  # fmt: skip
    w, _, _ = differentiate(square, number(first, FIRST_IS_TENSOR), second, third, FORMULA)
    w *= tl.load(scale + i.to(tl.int64) * scale_stride, mask=i < sources, other=0.0)[None, :]
    place = j.to(tl.int64)[:, None] * sources + i[None, :]
    tl.store(out + place, w.to(out.dtype.element_ty), mask=(j < targets)[:, None] & (i < sources)[None, :])


@triton.jit
def pull(
    grad_weight, source_pos, target_pos, scale, by_source, by_target, by_first, sources, targets,
    source_stride, source_axis, target_stride, target_axis, scale_stride,
    softening_square, first, second, third,
    FORMULA: tl.constexpr, DIM: tl.constexpr, FIRST_IS_TENSOR: tl.constexpr, IS_LEARNT: tl.constexpr,
    BJ: tl.constexpr, BI: tl.constexpr,
):  # fmt: skip
    """Sum the gradients of positions, scales and the first number over a tile of the gradient of the weights."""
    tile_j, tile_i = place_of_tile(sources, BI)
    j, i = tile_j * BJ + tl.arange(0, BJ), tile_i * BI + tl.arange(0, BI)
    place = j.to(tl.int64)[:, None] * sources + i[None, :]
    grad = tl.load(grad_weight + place, mask=(j < targets)[:, None] & (i < sources)[None, :], other=0.0)
    spread(
        grad.to(tl.float32), source_pos, target_pos, scale, by_source, by_target, by_first,
        tile_j, tile_i, j, i, sources, targets,
        source_stride, source_axis, target_stride, target_axis, scale_stride,
        softening_square, first, second, third, FORMULA, DIM, FIRST_IS_TENSOR, IS_LEARNT,
    )  # fmt: skip
