"""Loops that Numba compiles for :mod:`spatialgraph.kernels.stencils`, on plain arrays.

``pos`` has shape ``(n, 3)``, in grid units. For each axis, ``shape`` holds the number of grid points and ``orders`` the
order of the spline; an axis that is not there has one grid point and order 1. Charges and fields have the batch as
their last axis.
"""

import numpy as np
from numba import njit, prange

from spatialgraph.kernels.compilation import kernel

OPTIONS = {"error_model": "numpy", "fastmath": {"reassoc", "contract", "nsz"}}
_inline = njit(**OPTIONS)
_compile = kernel(**OPTIONS)


@_inline
def splines(offset, order, weight, slope):
    """Write the B-spline of an order at the grid points around an offset, and its derivative; return the first one.

    Both are written from the last grid point to the first.
    """
    below = np.floor(offset)
    share, one = offset - below, weight.dtype.type(1)
    weight[0], slope[0] = one, 0
    for k in range(2, order + 1):
        if k == order:
            slope[0], slope[order - 1] = weight[0], -weight[order - 2]
            for j in range(1, order - 1):
                slope[j] = weight[j] - weight[j - 1]
        inverse = one / weight.dtype.type(k - 1)
        weight[k - 1] = (one - share) * weight[k - 2] * inverse
        for j in range(k - 2, 0, -1):
            weight[j] = ((share + j) * weight[j] + (k - j - share) * weight[j - 1]) * inverse
        weight[0] *= share * inverse
    return np.int64(below) - max(order // 2 - 1, 0)


@_inline
def around(point, shape, orders, first, weight, slope):
    """Write the first grid points and the splines of a point along each axis; tell whether they are on the grid."""
    for axis in range(3):
        if not 0 <= point[axis] < shape[axis]:  # not a number is refused as well
            return False
        first[axis] = splines(point[axis], orders[axis], weight[axis], slope[axis])
        if first[axis] < 0 or first[axis] + orders[axis] > shape[axis]:
            return False
    return True


@_inline
def start_of_line(first, a, b, shape):
    """Return the number of the grid point from which a spline reaches on along the last axis."""
    return ((first[0] + a) * shape[1] + first[1] + b) * shape[2] + first[2]


@_compile
def spread(pos, shape, orders, charge, density, parts):
    """Add charges ``(n, batch)`` to ``density`` of shape ``(copies, points, batch)``.

    Threads take points, and add them to a copy of their own; or, where there is one copy, a part of the batch.
    """
    copies, batch = density.shape[0], density.shape[2]
    outside = 0
    for part in prange(parts):
        number = np.int64(part)
        start, stop, begin, end = 0, len(pos), batch * number // parts, batch * (number + 1) // parts
        if copies > 1:
            start, stop, begin, end = len(pos) * number // parts, len(pos) * (number + 1) // parts, 0, batch
        first, weight, slope = np.empty(3, np.int64), np.empty((3, 8), pos.dtype), np.empty((3, 8), pos.dtype)
        sums = density[number % copies]
        for j in range(start, stop):
            if not around(pos[j], shape, orders, first, weight, slope):
                outside += 1
                continue
            row = charge[j, begin:end]
            for a in range(orders[0]):
                for b in range(orders[1]):
                    line = start_of_line(first, a, b, shape)
                    across = weight[0, orders[0] - 1 - a] * weight[1, orders[1] - 1 - b]
                    for c in range(0, orders[2], 2):  # two at a time: charges are read half as often
                        left, right = sums[line + c, begin:end], sums[line + c + 1, begin:end]
                        of_left = across * weight[2, orders[2] - 1 - c]
                        of_right = across * weight[2, orders[2] - 2 - c]
                        for k in range(row.size):
                            left[k] += of_left * row[k]
                            right[k] += of_right * row[k]
    return outside == 0


@_compile
def gather(pos, shape, orders, field, found, parts):
    """Write the field ``(points, batch)`` at each position to ``found`` of shape ``(n, batch)``."""
    outside = 0
    for part in prange(parts):
        number = np.int64(part)
        first, weight, slope = np.empty(3, np.int64), np.empty((3, 8), pos.dtype), np.empty((3, 8), pos.dtype)
        for j in range(len(pos) * number // parts, len(pos) * (number + 1) // parts):
            row = found[j]
            row[:] = 0
            if not around(pos[j], shape, orders, first, weight, slope):
                outside += 1
                continue
            for a in range(orders[0]):
                for b in range(orders[1]):
                    line = start_of_line(first, a, b, shape)
                    across = weight[0, orders[0] - 1 - a] * weight[1, orders[1] - 1 - b]
                    for c in range(0, orders[2], 2):  # two at a time: the result is written half as often
                        left, right = field[line + c], field[line + c + 1]
                        of_left = across * weight[2, orders[2] - 1 - c]
                        of_right = across * weight[2, orders[2] - 2 - c]
                        for k in range(row.size):
                            row[k] += of_left * left[k] + of_right * right[k]
    return outside == 0


@_compile
def pull(pos, shape, orders, field, charge, sums, gradient, parts):
    """Write charges ``(n, batch)`` times the field, summed over the batch, and its gradient by position ``(n, 3)``."""
    outside = 0
    for part in prange(parts):
        number = np.int64(part)
        first, weight, slope = np.empty(3, np.int64), np.empty((3, 8), pos.dtype), np.empty((3, 8), pos.dtype)
        for j in range(len(pos) * number // parts, len(pos) * (number + 1) // parts):
            row, along = charge[j], gradient[j]
            sums[j], along[:] = 0, 0
            if not around(pos[j], shape, orders, first, weight, slope):
                outside += 1
                continue
            for a in range(orders[0]):
                for b in range(orders[1]):
                    line = start_of_line(first, a, b, shape)
                    p, q = orders[0] - 1 - a, orders[1] - 1 - b
                    total, rise = pos.dtype.type(0), pos.dtype.type(0)
                    for c in range(orders[2]):
                        at, product = field[line + c], pos.dtype.type(0)
                        for k in range(row.size):
                            product += row[k] * at[k]
                        total += weight[2, orders[2] - 1 - c] * product
                        rise += slope[2, orders[2] - 1 - c] * product
                    sums[j] += weight[0, p] * weight[1, q] * total
                    along[0] += slope[0, p] * weight[1, q] * total
                    along[1] += weight[0, p] * slope[1, q] * total
                    along[2] += weight[0, p] * weight[1, q] * rise
    return outside == 0
