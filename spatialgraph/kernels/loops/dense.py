"""The loops that Numba compiles for :mod:`spatialgraph.kernels.dense`, on plain arrays.

``columns`` holds the coordinates of the sources by axis, shape ``(d, n)``, ``rows`` those of the targets, shape
``(m, d)``. Each part of the rows is one thread's.
"""

import numpy as np
from numba import prange

from spatialgraph.kernels.compilation import kernel

# To be vectorised, loops must not raise on a division by zero and sums may be reordered; infinities and NaN stay.
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
            for i in range(row.size):  # a square that overflows: its reciprocal root, approximated, would be NaN
                row[i] = zero if row[i] > largest else scale[i] / np.sqrt(row[i])


@_compile
def pull(columns, rows, scale, constant, grad, grad_columns, grad_rows, grad_scale, parts):
    """Add up the gradients by positions and scales."""
    zero, one = columns.dtype.type(0), columns.dtype.type(1)
    largest = columns.dtype.type(np.finfo(columns.dtype).max)
    count = rows.shape[0]
    for part in prange(parts):
        pull = np.empty(columns.shape[1], columns.dtype)
        scales = grad_scale[part]
        for j in range(count * part // parts, count * (part + 1) // parts):
            g = grad[j]
            for i in range(pull.size):
                pull[i] = constant
            for axis in range(columns.shape[0]):
                column, here = columns[axis], rows[j, axis]
                for i in range(pull.size):
                    difference = here - column[i]
                    pull[i] += difference * difference
            for i in range(pull.size):
                w = zero if pull[i] > largest else one / np.sqrt(pull[i])
                product = g[i] * w
                scales[i] += product
                pull[i] = -product * w * w  # d w / d q_j = -w^3 (q_j - p_i)
            for axis in range(columns.shape[0]):
                column, here, sums = columns[axis], rows[j, axis], grad_columns[part, axis]
                total = columns.dtype.type(0)
                for i in range(pull.size):
                    component = pull[i] * (here - column[i])
                    sums[i] += component
                    total += component * scale[i]
                grad_rows[j, axis] = total
