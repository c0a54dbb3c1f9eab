"""Loops that Numba compiles for :mod:`spatialgraph.kernels.dense`, on plain arrays.

``columns`` holds the coordinates of the sources by axis, shape ``(d, n)``, ``rows`` those of the targets, shape
``(m, d)``. Each thread computes one part of the rows. The weights are those of the inverse distance, unless
:func:`by_formula` gives the loops another formula of :mod:`spatialgraph.kernels.loops.formulas`.
"""

import functools

import numpy as np
from numba import prange

from spatialgraph.kernels.compilation import kernel
from spatialgraph.kernels.loops.formulas import compiled

# For vectorisation, a division by zero must not raise and sums may be reordered; infinities and NaN are preserved.
OPTIONS = {"error_model": "numpy", "fastmath": {"reassoc", "contract", "nsz", "arcp"}}
_compile = kernel(**OPTIONS)
weight, weight_gradients, has_parameter = compiled("inverse_distance", **OPTIONS)


@_compile
def fill(columns, rows, scale, constants, out, parts):
    """Write the weights of all pairs."""
    count = rows.shape[0]
    zero, largest = columns.dtype.type(0), columns.dtype.type(np.finfo(columns.dtype).max)
    for part in prange(parts):
        for j in range(count * part // parts, count * (part + 1) // parts):
            row = out[j]
            for i in range(row.size):
                row[i] = constants[0]
            for axis in range(columns.shape[0]):
                column, here = columns[axis], rows[j, axis]
                for i in range(row.size):
                    difference = here - column[i]
                    row[i] += difference * difference
            for i in range(row.size):
                row[i] = weight(scale[i], row[i], constants, zero, largest)


@_compile
def gradients(columns, rows, scale, constants, grad, grad_columns, grad_rows, grad_scale, grad_parameter, parts):
    """Sum the gradients of positions and scales, and of the formula's parameter if it has one."""
    count = rows.shape[0]
    zero, largest = columns.dtype.type(0), columns.dtype.type(np.finfo(columns.dtype).max)
    for part in prange(parts):
        factor = np.empty(columns.shape[1], columns.dtype)
        scales = grad_scale[part]
        for j in range(count * part // parts, count * (part + 1) // parts):
            g, total = grad[j], zero
            for i in range(factor.size):
                factor[i] = constants[0]
            for axis in range(columns.shape[0]):
                column, here = columns[axis], rows[j, axis]
                for i in range(factor.size):
                    difference = here - column[i]
                    factor[i] += difference * difference
            for i in range(factor.size):
                product, pull, by_parameter = weight_gradients(g[i], factor[i], constants, zero, largest)
                factor[i] = -pull
                scales[i] += product
                if has_parameter:
                    total += by_parameter * scale[i]
            if has_parameter:
                grad_parameter[part] += total
            for axis in range(columns.shape[0]):
                column, here, sums = columns[axis], rows[j, axis], grad_columns[part, axis]
                total = zero
                for i in range(factor.size):
                    component = factor[i] * (here - column[i])
                    sums[i] += component
                    total += component * scale[i]
                grad_rows[j, axis] = total


@functools.cache
def by_formula(name):
    """Return ``fill`` and ``gradients`` for a formula."""
    functions = compiled(name, **OPTIONS)._asdict()
    return fill.using(name, functions), gradients.using(name, functions)
