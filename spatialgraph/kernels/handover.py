"""Conversion of tensors to arrays for compiled code, and the checks before it runs.

All kernels take plain tensors. Their shapes, dtypes and devices are checked before compiled code runs. Indices are
checked in every call, because a tensor of edges may have been modified in place since the last one.
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
    """Return a tensor as a contiguous array, which shares its memory if the tensor is contiguous.

    Example:
        >>> array(torch.tensor([1.0, 2.0]))
        array([1., 2.], dtype=float32)
    """
    return values.detach().contiguous().numpy()


def constants(like: Tensor, *values: float | Tensor) -> list[Any]:
    """Return numbers, or the values of tensors with one element, in the precision of a tensor.

    Example:
        >>> [value.dtype.name for value in constants(torch.zeros(1), 0.5, 2.0)]
        ['float32', 'float32']
    """
    kind = np.float32 if like.dtype == torch.float32 else np.float64
    return [kind(value.item() if isinstance(value, Tensor) else value) for value in values]


def compressed_rows(pointer: Tensor, column: Tensor, column_name: str = "column") -> list[Any]:
    """Return the arrays of a matrix in compressed rows, after a check of its row pointer.

    The loops check the columns, see :func:`columns_exist`.

    Args:
        pointer: where each row begins, shape ``(rows + 1,)``.
        column: column of each entry, shape ``(E,)``.
        column_name: name of ``column`` in error messages.

    Raises:
        TypeError: if one is neither int32 nor int64.
        ValueError: if the pointer does not start at 0, does not end at ``E``, or decreases.

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
    """Raise ``ValueError`` if the loops found a column that is out of range.

    Example:
        >>> columns_exist(False, torch.tensor([0, 5]), 3)
        Traceback (most recent call last):
        ValueError: column must lie between 0 and 2, got 5
    """
    if not fits:
        checks.within(column_name, column, columns)


def available(*values: Tensor) -> bool:
    """Tell whether compiled kernels support these tensors: Numba is usable, and nothing traces or transforms them.

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
    """Tell whether Numba is installed and usable; warn if it is installed but not usable."""
    if importlib.util.find_spec("numba") is None:
        return False
    try:
        import numba

        if numba.config.DISABLE_JIT:
            raise RuntimeError("NUMBA_DISABLE_JIT is set")
        from spatialgraph.kernels.loops import trial as loops

        fork_between_compilations()
        loops.run()
    except Exception as error:  # a broken installation may raise anything
        warn("Numba cannot be used; slower tensor operations are used instead", error)
        return False
    return True
