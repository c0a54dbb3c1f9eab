"""The loop that looks at a projection's edges before others run; at most a fiftieth of the time that they take."""

import numpy as np

from spatialgraph.compilation import kernel

_compile = kernel(error_model="numpy")


@_compile
def rows_fit(pointer, column, columns, parts):
    """Tell whether compressed rows have columns between 0 and ``columns - 1`` and no entry outside the list."""
    if pointer.size == 0 or pointer[0] != 0 or pointer[-1] != column.size:
        return False
    is_falling = False
    for j in range(pointer.size - 1):
        is_falling |= pointer[j] > pointer[j + 1]
    highest = np.uint64(0)  # negative numbers are the highest of all
    for e in range(column.size):
        highest = max(highest, np.uint64(column[e]))
    return not is_falling and (column.size == 0 or highest < np.uint64(columns))
