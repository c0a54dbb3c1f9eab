"""Products with weights of all pairs in Triton, whose tiles are computed where they are multiplied and never stored."""

import triton
import triton.language as tl

from spatialgraph.kernels.cuda.loops.formulas import differentiate, number
from spatialgraph.kernels.cuda.loops.tiles import place_of_tile, softened, spread

__all__ = ["multiply", "pull_product"]


@triton.jit
def multiply(
    x, inner_pos, outer_pos, inner_scale, outer_scale, bias, out, batch, inner, outer, share,
    inner_stride, inner_axis, outer_stride, outer_axis, scale_stride, bias_stride,
    softening_square, first, second, third,
    FORMULA: tl.constexpr, DIM: tl.constexpr, FIRST_IS_TENSOR: tl.constexpr, SCALES_INNER: tl.constexpr,
    HAS_BIAS: tl.constexpr, RECTIFY: tl.constexpr, PRECISION: tl.constexpr,
    BB: tl.constexpr, BO: tl.constexpr, BI: tl.constexpr,
):  # fmt: skip
    """Write a tile of the product of x, shape (batch, inner), with weights from inner to outer neurons.

    A program sums over ``share`` inner neurons, a multiple of BI; ``out`` has the shape (shares, batch, outer). One of
    the two scales is used, that of the sources.
    """
    b, o = tl.program_id(1) * BB + tl.arange(0, BB), tl.program_id(0) * BO + tl.arange(0, BO)
    part = tl.program_id(2)
    rows = b.to(tl.int64)[:, None]
    total = tl.zeros((BB, BO), tl.float32)
    for begin in range(part * share, tl.minimum((part + 1) * share, inner), BI):
        i = begin + tl.arange(0, BI)
        values = tl.load(x + rows * inner + i[None, :], mask=(b < batch)[:, None] & (i < inner)[None, :], other=0.0)
        square = softened(
            outer_pos, inner_pos, o, i, outer, inner,
            outer_stride, outer_axis, inner_stride, inner_axis, softening_square, DIM,
        )  # fmt: skip
        w, _, _ = differentiate(square, number(first, FIRST_IS_TENSOR), second, third, FORMULA)
        if SCALES_INNER:
            w *= tl.load(inner_scale + i.to(tl.int64) * scale_stride, mask=i < inner, other=0.0)[:, None]
        # What lies past the last neuron may have an infinite weight, which 0 would not remove.
        w = tl.where((i < inner)[:, None], w, 0.0)
        total = tl.dot(values, w.to(values.dtype), total, input_precision=PRECISION)
    if not SCALES_INNER:
        total *= tl.load(outer_scale + o.to(tl.int64) * scale_stride, mask=o < outer, other=0.0)[None, :]
    if HAS_BIAS:
        total += tl.load(bias + o.to(tl.int64) * bias_stride, mask=o < outer, other=0.0).to(tl.float32)[None, :]
    if RECTIFY:
        total = tl.where(total < 0.0, 0.0, total)
    place = part.to(tl.int64) * batch * outer + rows * outer + o[None, :]
    tl.store(out + place, total.to(out.dtype.element_ty), mask=(b < batch)[:, None] & (o < outer)[None, :])


@triton.jit
def pull_product(
    grad, x, batch, grad_stride, source_pos, target_pos, scale, by_source, by_target, by_first, sources, targets,
    source_stride, source_axis, target_stride, target_axis, scale_stride,
    softening_square, first, second, third,
    FORMULA: tl.constexpr, DIM: tl.constexpr, FIRST_IS_TENSOR: tl.constexpr, IS_LEARNT: tl.constexpr,
    PRECISION: tl.constexpr, BJ: tl.constexpr, BI: tl.constexpr, BB: tl.constexpr,
):  # fmt: skip
    """As ``pull`` for all pairs, with the gradient of the weights, the product of ``grad`` and ``x``, in registers."""
    tile_j, tile_i = place_of_tile(sources, BI)
    j, i = tile_j * BJ + tl.arange(0, BJ), tile_i * BI + tl.arange(0, BI)
    total = tl.zeros((BJ, BI), tl.float32)
    for begin in range(0, batch, BB):
        b = begin + tl.arange(0, BB)
        rows = b.to(tl.int64)
        is_there = b < batch
        g = tl.load(
            grad + rows[None, :] * grad_stride + j[:, None], mask=(j < targets)[:, None] & is_there[None, :], other=0.0
        )  # fmt: skip
        values = tl.load(
            x + rows[:, None] * sources + i[None, :], mask=is_there[:, None] & (i < sources)[None, :], other=0.0
        )  # fmt: skip
        total = tl.dot(g, values, total, input_precision=PRECISION)
    spread(
        total, source_pos, target_pos, scale, by_source, by_target, by_first, tile_j, tile_i, j, i, sources, targets,
        source_stride, source_axis, target_stride, target_axis, scale_stride,
        softening_square, first, second, third, FORMULA, DIM, FIRST_IS_TENSOR, IS_LEARNT,
    )  # fmt: skip
