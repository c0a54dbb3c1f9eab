"""Loops that Numba compiles for convolutions over channels, on plain arrays; imported on the first call.

Pairs of channels are one axis: entry ``c * C' + c'`` belongs to channel ``c`` of a source and ``c'`` of a target. The
offsets of pairs have shape ``(d, pairs)``. All weights of an edge are computed together, and used at once.
"""

import numpy as np
from numba import njit, prange

from spatialgraph.kernels.compilation import kernel
from spatialgraph.kernels.loops.checks import lie_inside

# Sums may be reordered for vectorisation; infinities and NaN are preserved.
_options = {"error_model": "numpy", "fastmath": {"reassoc", "contract", "nsz"}}
_inline = njit(**_options)
_compile = kernel(**_options)

# Edges whose gradients are summed before they are added to a total: long sums of small numbers would lose digits.
_TOGETHER = 256


@_inline
def weigh(displacement, offset, constant, weight):
    """Write the inverse distance of each pair of channels over one edge."""
    one = weight.dtype.type(1)
    for j in range(weight.size):
        weight[j] = constant
    for axis in range(offset.shape[0]):
        row, here = offset[axis], displacement[axis]
        for j in range(weight.size):
            difference = here + row[j]
            weight[j] += difference * difference
    for j in range(weight.size):
        weight[j] = one / np.sqrt(weight[j])


@_compile
def convolve(x, displacement, offset, factor, constant, sources, targets, y, parts):
    """Add what each edge sends to its target's row of ``y``, of shape ``(parts, targets, C')``."""
    invalid, edges, wide = 0, sources.size, y.shape[2]
    for part in prange(parts):
        first, stop = edges * part // parts, edges * (part + 1) // parts
        if not (lie_inside(sources, first, stop, x.shape[0]) and lie_inside(targets, first, stop, y.shape[1])):
            first, invalid = stop, invalid + 1
        weight = np.empty(offset.shape[1], x.dtype)
        for e in range(first, stop):
            weigh(displacement[e], offset, constant, weight)
            sent, total = x[sources[e]], y[part, targets[e]]
            for c in range(sent.size):
                amount, row = sent[c] * factor[e], weight[c * wide : (c + 1) * wide]
                for k in range(wide):
                    total[k] += amount * row[k]
    return invalid == 0


@_inline
def return_edge(sent, factor, received, weight, grad_sent):
    """Add the gradient of one edge's source, turn weights into slopes, and return the gradient of its factor."""
    wide, grad_factor = received.size, factor * 0
    for c in range(sent.size):
        row, returned = weight[c * wide : (c + 1) * wide], factor * 0
        for k in range(wide):
            returned += row[k] * received[k]
        grad_sent[c] += returned * factor
        grad_factor += returned * sent[c]
        amount = -sent[c] * factor
        for k in range(wide):
            row[k] *= row[k] * row[k] * received[k] * amount  # d w / d D = -w^3 (D + o)
    return grad_factor


@_inline
def pull(displacement, offset, slope, grad_displacement, grad_offset):
    """Write the gradient of one edge's displacement, and add those of the offsets."""
    for axis in range(offset.shape[0]):
        row, sums, here, total = offset[axis], grad_offset[axis], displacement[axis], displacement[axis] * 0
        for j in range(slope.size):
            component = (here + row[j]) * slope[j]
            total += component
            sums[j] += component
        grad_displacement[axis] = total


@_compile
def gradients(
    x,
    displacement,
    offset,
    factor,
    constant,
    sources,
    targets,
    grad,
    grad_x,
    grad_displacement,
    grad_offset,
    grad_factor,
    parts,
):
    """Write the gradients; those of ``x`` and of the offsets separately for each thread, the latter in float64."""
    invalid, edges = 0, sources.size
    for part in prange(parts):
        first, stop = edges * part // parts, edges * (part + 1) // parts
        if not (lie_inside(sources, first, stop, x.shape[0]) and lie_inside(targets, first, stop, grad.shape[0])):
            first, invalid = stop, invalid + 1
        weight, sums = np.empty(offset.shape[1], x.dtype), np.empty(offset.shape, x.dtype)
        for start in range(first, stop, _TOGETHER):
            sums[:] = 0
            for e in range(start, min(start + _TOGETHER, stop)):
                weigh(displacement[e], offset, constant, weight)
                received, own = grad[targets[e]], grad_x[part, sources[e]]
                grad_factor[e] = return_edge(x[sources[e]], factor[e], received, weight, own)
                pull(displacement[e], offset, weight, grad_displacement[e], sums)
            grad_offset[part] += sums
    return invalid == 0
