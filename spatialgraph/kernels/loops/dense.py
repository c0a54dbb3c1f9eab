"""Loops that Numba compiles for :mod:`spatialgraph.kernels.dense`, on plain arrays.

``columns`` holds the coordinates of the sources by axis, shape ``(d, n)``, ``rows`` those of the targets, shape
``(m, d)``. Each thread computes one part of the rows.
"""

import numpy as np
from numba import prange

from spatialgraph.kernels.compilation import kernel

# For vectorisation, a division by zero must not raise and sums may be reordered; infinities and NaN are preserved.
_compile = kernel(error_model="numpy", fastmath={"reassoc", "contract", "nsz", "arcp"})


@_compile
def fill(columns, rows, scale, constant, out, parts):
    """Write the weights of all pairs."""
    count = rows.shape[0]
    zero, largest = columns.dtype.type(0), columns.dtype.type(np.finfo(columns.dtype).max)
    for part in prange(parts):
        for j in range(count * part // parts, count * (part + 1) // parts):
            row = out[j]
            for i in range(row.size):
                row[i] = constant
            for axis in range(columns.shape[0]):
                column, here = columns[axis], rows[j, axis]
                for i in range(row.size):
                    difference = here - column[i]
                    row[i] += difference * difference
            for i in range(row.size):  # the approximate reciprocal root of an overflow is NaN
                row[i] = zero if row[i] > largest else scale[i] / np.sqrt(row[i])


@_compile
def gradients(columns, rows, scale, constant, grad, grad_columns, grad_rows, grad_scale, parts):
    """Sum the gradients of positions and scales."""
    zero, one = columns.dtype.type(0), columns.dtype.type(1)
    largest = columns.dtype.type(np.finfo(columns.dtype).max)
    count = rows.shape[0]
    for part in prange(parts):
        factor = np.empty(columns.shape[1], columns.dtype)
        scales = grad_scale[part]
        for j in range(count * part // parts, count * (part + 1) // parts):
            g = grad[j]
            for i in range(factor.size):
                factor[i] = constant
            for axis in range(columns.shape[0]):
                column, here = columns[axis], rows[j, axis]
                for i in range(factor.size):
                    difference = here - column[i]
                    factor[i] += difference * difference
            for i in range(factor.size):
                w = zero if factor[i] > largest else one / np.sqrt(factor[i])
                product = g[i] * w
                scales[i] += product
                factor[i] = -product * w * w  # d w / d q_j = -w^3 (q_j - p_i)
            for axis in range(columns.shape[0]):
                column, here, sums = columns[axis], rows[j, axis], grad_columns[part, axis]
                total = columns.dtype.type(0)
                for i in range(factor.size):
                    component = factor[i] * (here - column[i])
                    sums[i] += component
                    total += component * scale[i]
                grad_rows[j, axis] = total
