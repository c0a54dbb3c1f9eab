"""Loops that Numba compiles for convolutions over channels, on plain arrays; imported on the first call.

Pairs of channels are one axis: entry ``c * C' + c'`` belongs to channel ``c`` of a source and ``c'`` of a target. The
offsets of pairs have shape ``(d, pairs)``; in dimensions beyond those of the displacements, they are the differences
themselves. The squared lengths of an edge are computed together, its weights one by one where they are used. They are
those of the inverse distance, unless :func:`by_formula` gives the loops another formula of
:mod:`spatialgraph.kernels.loops.formulas`.
"""

import functools

import numpy as np
from numba import njit, prange

from spatialgraph.kernels.compilation import kernel
from spatialgraph.kernels.loops.checks import lie_inside
from spatialgraph.kernels.loops.formulas import compiled

# Sums may be reordered for vectorisation; infinities and NaN are preserved.
OPTIONS = {"error_model": "numpy", "fastmath": {"reassoc", "contract", "nsz"}}
_inline = njit(**OPTIONS)
_compile = kernel(**OPTIONS)
weight, weight_gradients, has_parameter = compiled("inverse_distance", **OPTIONS)

# Edges whose gradients are summed before they are added to a total: long sums of small numbers would lose digits.
_TOGETHER = 256


@_inline
def measure_all(offset, constant, dim):
    """Return the part of the softened squared lengths that all edges have, from the dimensions beyond ``dim``."""
    square = np.empty(offset.shape[1], offset.dtype)
    square[:] = constant
    for axis in range(dim, offset.shape[0]):
        row = offset[axis]
        for j in range(square.size):
            square[j] += row[j] * row[j]
    return square


@_inline
def measure(displacement, offset, common, square):
    """Write the softened squared length of each pair of channels over one edge."""
    for j in range(square.size):
        square[j] = common[j]
    for axis in range(displacement.size):
        row, here = offset[axis], displacement[axis]
        for j in range(square.size):
            difference = here + row[j]
            square[j] += difference * difference


@_compile
def convolve(x, displacement, offset, factor, constants, sources, targets, y, parts):
    """Add what each edge sends to its target's row of ``y``, of shape ``(parts, targets, C')``."""
    invalid, edges, wide = 0, sources.size, y.shape[2]
    zero, largest = x.dtype.type(0), x.dtype.type(np.finfo(x.dtype).max)
    for part in prange(parts):
        first, stop = edges * part // parts, edges * (part + 1) // parts
        if not (lie_inside(sources, first, stop, x.shape[0]) and lie_inside(targets, first, stop, y.shape[1])):
            first, invalid = stop, invalid + 1
        square, common = np.empty(offset.shape[1], x.dtype), measure_all(offset, constants[0], displacement.shape[1])
        for e in range(first, stop):
            measure(displacement[e], offset, common, square)
            sent, total = x[sources[e]], y[part, targets[e]]
            for c in range(sent.size):
                amount, row = sent[c] * factor[e], square[c * wide : (c + 1) * wide]
                for k in range(wide):
                    total[k] += weight(amount, row[k], constants, zero, largest)
    return invalid == 0


@_inline
def pull(displacement, offset, slope, grad_displacement, grad_offset):
    """Write the gradient of one edge's displacement, and add those of the offsets; the last row adds the slopes."""
    for axis in range(displacement.size):
        row, sums, here, total = offset[axis], grad_offset[axis], displacement[axis], displacement[axis] * 0
        for j in range(slope.size):
            component = (here + row[j]) * slope[j]
            total += component
            sums[j] += component
        grad_displacement[axis] = total
    sums = grad_offset[displacement.size]
    for j in range(slope.size):
        sums[j] += slope[j]


@_compile
def gradients(
    x,
    displacement,
    offset,
    factor,
    constants,
    sources,
    targets,
    grad,
    grad_x,
    grad_displacement,
    grad_offset,
    grad_factor,
    grad_parameter,
    parts,
):
    """Write the gradients; those of ``x``, offsets and the formula's parameter separately for each thread."""
    invalid, edges, wide = 0, sources.size, grad.shape[1]
    zero, largest = x.dtype.type(0), x.dtype.type(np.finfo(x.dtype).max)
    for part in prange(parts):
        first, stop = edges * part // parts, edges * (part + 1) // parts
        if not (lie_inside(sources, first, stop, x.shape[0]) and lie_inside(targets, first, stop, grad.shape[0])):
            first, invalid = stop, invalid + 1
        dim, pairs = displacement.shape[1], offset.shape[1]
        slope, sums = np.empty(pairs, x.dtype), np.empty((dim + 1, pairs), x.dtype)
        common = measure_all(offset, constants[0], dim)
        for start in range(first, stop, _TOGETHER):
            sums[:] = 0
            for e in range(start, min(start + _TOGETHER, stop)):
                measure(displacement[e], offset, common, slope)
                sent, received, returned = x[sources[e]], grad[targets[e]], grad_x[part, sources[e]]
                grad_factor[e] = 0
                for c in range(sent.size):
                    row, amount = slope[c * wide : (c + 1) * wide], sent[c] * factor[e]
                    total, total_parameter = zero, zero
                    for k in range(wide):
                        product, toward, by_parameter = weight_gradients(received[k], row[k], constants, zero, largest)
                        total += product
                        row[k] = -toward * amount
                        if has_parameter:
                            total_parameter += by_parameter
                    returned[c] += total * factor[e]
                    grad_factor[e] += total * sent[c]
                    if has_parameter:
                        grad_parameter[part] += total_parameter * amount
                pull(displacement[e], offset, slope, grad_displacement[e], sums)
            grad_offset[part, :dim] += sums[:dim]
            for axis in range(dim, offset.shape[0]):
                grad_offset[part, axis] += sums[dim] * offset[axis]
    return invalid == 0


@functools.cache
def by_formula(name):
    """Return ``convolve`` and ``gradients`` for a formula."""
    functions = compiled(name, **OPTIONS)._asdict()
    return convolve.using(name, functions), gradients.using(name, functions)
