"""Weights of listed edges in Triton, which :mod:`spatialgraph.kernels.cuda.compressed` launches.

A program takes the edges of one neuron, in their order, so that each run gives the same bits. Edges that name no neuron
are not read.
"""

import triton
import triton.language as tl

from spatialgraph.kernels.cuda.loops.formulas import differentiate, number

__all__ = ["pull", "weigh"]


@triton.jit
def weigh(
    pointer, column, source_pos, target_pos, scale, out, sources, edges,
    source_stride, source_axis, target_stride, target_axis, scale_stride,
    softening_square, first, second, third,
    FORMULA: tl.constexpr, DIM: tl.constexpr, FIRST_IS_TENSOR: tl.constexpr, BLOCK: tl.constexpr, AXES: tl.constexpr,
):  # fmt: skip
    """Write the weights of the edges of a target."""
    row = tl.program_id(0).to(tl.int64)
    axis = tl.arange(0, AXES)
    here = tl.load(target_pos + row * target_stride + axis * target_axis, mask=axis < DIM, other=0.0)
    begin, end = tl.maximum(tl.load(pointer + row), 0), tl.minimum(tl.load(pointer + row + 1), edges)
    for start in range(begin, end, BLOCK):
        e = start + tl.arange(0, BLOCK)
        i, difference = _differences(
            column, source_pos, here, e, end, axis, sources, source_stride, source_axis, DIM
        )  # fmt: skip
        square = tl.sum(difference * difference, 1) + softening_square
        w, _, _ = differentiate(square, number(first, FIRST_IS_TENSOR), second, third, FORMULA)
        s = tl.load(scale + i * scale_stride, mask=(e < end) & (i >= 0) & (i < sources), other=0.0)
        tl.store(out + e, w * s, mask=e < end)


@triton.jit
def pull(
    pointer, column, order, own_pos, other_pos, scale, grad, by_own, by_scale, by_first, others, edges,
    own_stride, own_axis, other_stride, other_axis, scale_stride,
    softening_square, first, second, third,
    FORMULA: tl.constexpr, DIM: tl.constexpr, FIRST_IS_TENSOR: tl.constexpr, IS_SOURCE: tl.constexpr,
    BLOCK: tl.constexpr, AXES: tl.constexpr,
):  # fmt: skip
    """Sum the gradients of a neuron over its edges, those of a source or of a target.

    Of a source these are its position and its scale, of a target its position and its share of the first number.
    """
    row = tl.program_id(0).to(tl.int64)
    axis = tl.arange(0, AXES)
    here = tl.load(own_pos + row * own_stride + axis * own_axis, mask=axis < DIM, other=0.0)
    begin, end = tl.maximum(tl.load(pointer + row), 0), tl.minimum(tl.load(pointer + row + 1), edges)
    total, single = tl.zeros((AXES,), tl.float32), tl.zeros((BLOCK,), tl.float32)
    for start in range(begin, end, BLOCK):
        e = start + tl.arange(0, BLOCK)
        k, difference = _differences(
            column, other_pos, here, e, end, axis, others, other_stride, other_axis, DIM
        )  # fmt: skip
        is_there = (e < end) & (k >= 0) & (k < others)
        square = tl.sum(difference * difference, 1) + softening_square
        w, twice_slope, slope = differentiate(square, number(first, FIRST_IS_TENSOR), second, third, FORMULA)
        if IS_SOURCE:
            edge = tl.load(order + e, mask=e < end, other=0).to(tl.int64)
            is_there = is_there & (edge >= 0) & (edge < edges)
            s = tl.load(scale + row * scale_stride)
        else:
            edge = e
            s = tl.load(scale + k * scale_stride, mask=is_there, other=0.0)
        g = tl.load(grad + edge, mask=is_there, other=0.0)
        if IS_SOURCE:
            single += tl.where(is_there, g * w, 0.0)
        else:
            single += tl.where(is_there, g * slope * s, 0.0)
        strength = tl.where(is_there, twice_slope * g * s, 0.0)
        total += tl.sum(difference * strength[:, None], 0)
    tl.store(by_own + row * DIM + axis, total, mask=axis < DIM)
    if IS_SOURCE:
        tl.store(by_scale + row, tl.sum(single))
    elif FIRST_IS_TENSOR:
        tl.store(by_first + row, tl.sum(single))


@triton.jit
def _differences(column, pos, here, e, end, axis, neurons, stride, axis_stride, DIM: tl.constexpr):
    """Return the neurons at the other ends of some edges, and the differences of positions from here."""
    k = tl.load(column + e, mask=e < end, other=0).to(tl.int64)
    inside = ((e < end) & (k >= 0) & (k < neurons))[:, None] & (axis < DIM)[None, :]
    there = tl.load(pos + k[:, None] * stride + axis[None, :] * axis_stride, mask=inside, other=0.0)
    return k, tl.where(inside, here[None, :] - there, 0.0)
