"""Loops that check the indices of a projection's edges."""

import numpy as np
from numba import njit

from spatialgraph.kernels.compilation import kernel

_inline = njit(error_model="numpy")
_compile = kernel(error_model="numpy")


@_compile
def pointer_fits(pointer, entries, parts):
    """Tell whether a pointer starts at 0, ends at the number of entries and never decreases."""
    if pointer.size == 0 or pointer[0] != 0 or pointer[-1] != entries:
        return False
    is_falling = False
    for j in range(pointer.size - 1):
        is_falling |= pointer[j] > pointer[j + 1]
    return not is_falling


@_inline
def lie_inside(column, first, stop, columns):
    """Tell whether the entries ``first`` to ``stop - 1`` have columns between 0 and ``columns - 1``.

    Each thread checks its own entries just before it uses them, so that they are read from memory only once.
    """
    # Computed in the width of the entries, so that a vector holds twice as many narrow ones.
    entries, top = column[first:stop], column.dtype.type(min(columns - 1, np.iinfo(column.dtype).max))
    signs = column.dtype.type(0)  # negative as soon as one number is
    for e in range(entries.size):
        signs |= entries[e] | (top - entries[e])
    return signs >= 0
