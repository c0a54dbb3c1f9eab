"""Products with weights of all pairs in Triton, whose tiles are computed where they are multiplied and never stored."""

import triton
import triton.language as tl

from spatialgraph.kernels.cuda.loops.formulas import differentiate, number
from spatialgraph.kernels.cuda.loops.tiles import place_of_tile, softened, spread

__all__ = ["multiply", "pull_product"]


@triton.jit
def multiply(
    x, inner_pos, outer_pos, scale, bias, out, batch, inner, outer, share,
    inner_stride, inner_axis, outer_stride, outer_axis, scale_stride, bias_stride,
    softening_square, first, second, third,
    FORMULA: tl.constexpr, DIM: tl.constexpr, FIRST_IS_TENSOR: tl.constexpr, SCALES_INNER: tl.constexpr,
    HAS_BIAS: tl.constexpr, RECTIFY: tl.constexpr, PRECISION: tl.constexpr,
    BB: tl.constexpr, BO: tl.constexpr, BI: tl.constexpr,
):  # fmt: skip
    """Write a tile of the product of x, shape (batch, inner), with weights from inner to outer neurons.

    A program sums over ``share`` inner neurons, a multiple of BI; ``out`` has the shape (shares, batch, outer). The
    scale is that of the inner neurons or of the outer ones.
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
            w *= tl.load(scale + i.to(tl.int64) * scale_stride, mask=i < inner, other=0.0)[:, None]
        else:  # before it is rounded, for half precision holds small numbers only
            w *= tl.load(scale + o.to(tl.int64) * scale_stride, mask=o < outer, other=0.0)[None, :]
        # What lies past the last neuron may have an infinite weight, which 0 would not remove.
        w = tl.where((i < inner)[:, None], w, 0.0)
        values, w = _rounded(values, PRECISION), _rounded(w.to(values.dtype), PRECISION)
        total = tl.dot(values, w, total, input_precision=PRECISION)
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
        total = tl.dot(_rounded(g, PRECISION), _rounded(values, PRECISION), total, input_precision=PRECISION)
    spread(
        total, source_pos, target_pos, scale, by_source, by_target, by_first, tile_j, tile_i, j, i, sources, targets,
        source_stride, source_axis, target_stride, target_axis, scale_stride,
        softening_square, first, second, third, FORMULA, DIM, FIRST_IS_TENSOR, IS_LEARNT,
    )  # fmt: skip


@triton.jit
def _rounded(values, PRECISION: tl.constexpr):
    """Round single precision to TF32; tensor cores would cut it off, which makes every sum too small."""
    if PRECISION == "tf32" and values.dtype == tl.float32:
        bits = (values.to(tl.int32, bitcast=True) + 4096) & -8192
        return tl.where(values == values, bits.to(tl.float32, bitcast=True), values)
    else:
        return values
