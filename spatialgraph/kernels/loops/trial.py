"""A test of Numba: a small product by the functions that the sparse kernels use, compared with the known result."""

import numpy as np
from numba import prange

from spatialgraph.kernels.compilation import kernel
from spatialgraph.kernels.loops.vectors import STRIP_BYTES, combine, compare, strip

_compile = kernel(error_model="numpy")


@_compile
def multiply(x, column, weight, out, sums, parts):
    """Write ``weight @ x[column]`` to ``out``, and the dot product of each row of ``x`` and ``out`` to ``sums``."""
    width, floor = strip(x.itemsize), x.dtype.type(-np.inf)
    for part in prange(parts):
        if part == 0:
            combine(x, width, 0, column, weight, 0, column.size, x.dtype.type(0), floor, out, 0)
            compare(x, width, 0, column, out, 0, out, False, 0, column.size, sums)


def run() -> None:
    """Raise ``RuntimeError`` if the compiled product is wrong."""
    width = STRIP_BYTES // 4
    x = np.repeat(np.array([1.0, 2.0], np.float32), width)
    out, sums = np.zeros(width, np.float32), np.zeros(2, np.float32)
    multiply(x, np.array([1, 0]), np.array([3.0, -1.0], np.float32), out, sums, 1)
    if (out != 5.0).any() or sums.tolist() != [10.0 * width, 5.0 * width]:
        raise RuntimeError("a compiled product was wrong")
