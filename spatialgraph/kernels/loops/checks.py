"""The loops that look at a projection's edges before others follow them.

Numba keeps what it compiled beside the modules that use these, and looks only at their age: touch them when you change
this one.
"""

import numpy as np
from numba import njit

from spatialgraph.kernels.compilation import kernel

_inline = njit(error_model="numpy")
_compile = kernel(error_model="numpy")


@_compile
def pointer_fits(pointer, entries, parts):
    """Tell whether a pointer leads from 0 to the number of entries without falling."""
    if pointer.size == 0 or pointer[0] != 0 or pointer[-1] != entries:
        return False
    is_falling = False
    for j in range(pointer.size - 1):
        is_falling |= pointer[j] > pointer[j + 1]
    return not is_falling


@_inline
def lie_inside(column, first, behind, columns):
    """Tell whether the entries from ``first`` to ``behind`` have columns between 0 and ``columns - 1``.

    Each thread asks this of its own entries just before it follows them: asked of all beforehand, they would be read
    from memory twice.
    """
    # In the width of the entries, so that twice as many narrow ones are looked at in one go.
    entries, top = column[first:behind], column.dtype.type(min(columns - 1, np.iinfo(column.dtype).max))
    signs = column.dtype.type(0)  # negative once a number is
    for e in range(entries.size):
        signs |= entries[e] | (top - entries[e])
    return signs >= 0
