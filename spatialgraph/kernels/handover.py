"""What stands between tensors and compiled code: which tensors kernels serve, arrays on their memory, and indices.

All kernels are called with plain tensors. Before compiled code sees them, shapes, dtypes and devices are checked. Every
index is checked before it is followed, anew in every call: a list of edges may have been written to by any route.
"""

import functools
import importlib.util
from typing import Any

import numpy as np
import torch
from torch import Tensor

from spatialgraph import checks
from spatialgraph.kernels.compilation import fork_between_compilations, warn
from spatialgraph.tracing import is_observed

__all__ = ["array", "available", "columns_exist", "compressed_rows", "constants"]


def array(values: Tensor) -> Any:  # noqa: ANN401 - numpy arrays of several kinds
    """Return a tensor's numbers as a contiguous array, on the same memory where they lie so.

    Example:
        >>> array(torch.tensor([1.0, 2.0]))
        array([1., 2.], dtype=float32)
    """
    return values.detach().contiguous().numpy()


def constants(like: Tensor, *values: float) -> list[Any]:
    """Return numbers in the precision of a tensor, so that no kernel computes in another.

    Example:
        >>> [value.dtype.name for value in constants(torch.zeros(1), 0.5, 2.0)]
        ['float32', 'float32']
    """
    kind = np.float32 if like.dtype == torch.float32 else np.float64
    return [kind(value) for value in values]


def compressed_rows(pointer: Tensor, column: Tensor, column_name: str = "column") -> list[Any]:
    """Return the arrays of a matrix in compressed rows, once all of its rows are known to lie inside of it.

    Whether all columns exist is left to the loops, see :func:`columns_exist`.

    Args:
        pointer: where each row begins, shape ``(rows + 1,)``.
        column: column of each entry, shape ``(E,)``.
        column_name: what an error calls ``column``.

    Raises:
        TypeError: if one is not int64.
        ValueError: if the pointer does not lead from 0 to ``E`` without falling.

    Example:
        >>> compressed_rows(torch.tensor([0, 2]), torch.tensor([0]))
        Traceback (most recent call last):
        ValueError: pointer must lead from 0 to the number of edges (1), got 0 to 2
    """
    from spatialgraph.kernels.loops import checks as loops

    arrays = [array(checks.indices("pointer", pointer)), array(checks.indices(column_name, column))]
    if not loops.pointer_fits(arrays[0], column.shape[0], 1):
        checks.pointer("pointer", pointer, column.shape[0])
    return arrays


def columns_exist(fits: bool, column: Tensor, columns: int, column_name: str = "column") -> None:
    """Raise the error of a column that does not exist, where loops have found one.

    Example:
        >>> columns_exist(False, torch.tensor([0, 5]), 3)
        Traceback (most recent call last):
        ValueError: column must lie between 0 and 2, got 5
    """
    if not fits:
        checks.within(column_name, column, columns)


def available(*values: Tensor) -> bool:
    """Tell whether compiled kernels serve these tensors: Numba is there, and nobody observes them.

    Example:
        >>> available(torch.zeros(1, dtype=torch.float16))
        False
    """
    first = values[0]
    return (
        first.device.type == "cpu"
        and first.dtype in (torch.float32, torch.float64)
        and not is_observed(*values)
        and _numba_works()
    )


@functools.lru_cache(maxsize=1)
def _numba_works() -> bool:
    """Tell whether Numba is installed and usable; where it is the one and not the other, a warning says so."""
    if importlib.util.find_spec("numba") is None:
        return False
    try:
        import numba

        if numba.config.DISABLE_JIT:
            raise RuntimeError("NUMBA_DISABLE_JIT is set")
        from spatialgraph.kernels.loops import trial as loops

        fork_between_compilations()
        loops.run()
    except Exception as error:  # whatever a broken installation may raise
        warn("Numba cannot be used, and slower tensor operations take its place", error)
        return False
    return True
