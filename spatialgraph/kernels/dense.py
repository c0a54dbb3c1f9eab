"""Fused CPU kernels for the inverse-distance law, compiled by Numba where it is installed, and what all kernels share.

They compute what :mod:`spatialgraph.functional` computes by tensor operations, in one pass over the weights in place of
a dozen. Each thread takes a run of rows and adds up sums of its own, so that the bits depend on the number of threads
alone.

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
from spatialgraph.kernels.compilation import fork_between_compilations, part_count, warn
from spatialgraph.laws import InverseDistance, Law
from spatialgraph.tracing import is_observed

__all__ = [
    "array",
    "available",
    "columns_exist",
    "compressed_rows",
    "constants",
    "geometry_gradients",
    "is_observed",
    "serves",
    "weight",
]

# Below this number of weights a hand-over to another thread costs more than it saves.
_WORTH_A_THREAD = 2**16


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
    from spatialgraph.kernels.loops import checks as compiled_checks

    arrays = [array(checks.indices("pointer", pointer)), array(checks.indices(column_name, column))]
    if not compiled_checks.pointer_fits(arrays[0], column.shape[0], 1):
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


def serves(law: Law, *values: Tensor) -> bool:
    """Tell whether the kernels serve this law and these tensors.

    Example:
        >>> serves(InverseDistance(), torch.zeros(1, 1, dtype=torch.float16))
        False
    """
    return type(law) is InverseDistance and available(*values)


def weight(source_pos: Tensor, target_pos: Tensor, scale: Tensor, softening: float) -> Tensor:
    """Return the ``(m, n)`` matrix of scaled inverse distances; arguments as in ``functional.pairwise_weight``."""
    from spatialgraph.kernels.loops import dense as compiled

    _check_geometry(source_pos, target_pos, scale)
    columns, rows, factors = _by_axis(source_pos), array(target_pos), array(scale)
    result = source_pos.new_empty(len(rows), len(factors))
    compiled.fill(columns, rows, factors, *constants(source_pos, softening**2), result.numpy(), _parts(result))
    return result


def geometry_gradients(
    grad_weight: Tensor, source_pos: Tensor, target_pos: Tensor, scale: Tensor, softening: float
) -> tuple[Tensor, Tensor, Tensor]:
    """Carry the gradient of the signed weight matrix on to source positions, target positions and scales."""
    from spatialgraph.kernels.loops import dense as compiled

    _check_geometry(source_pos, target_pos, scale)
    checks.operand("grad_weight", grad_weight, (len(target_pos), len(source_pos)), source_pos)
    columns, rows, factors = _by_axis(source_pos), array(target_pos), array(scale)
    parts = _parts(grad_weight)
    grad_columns = np.zeros((parts, *columns.shape), columns.dtype)
    grad_scale = np.zeros((parts, len(factors)), columns.dtype)
    grad_rows = np.empty_like(rows)
    (constant,) = constants(source_pos, softening**2)
    compiled.pull(columns, rows, factors, constant, array(grad_weight), grad_columns, grad_rows, grad_scale, parts)
    grad_source = -(grad_columns.sum(0) * factors).T
    return torch.from_numpy(grad_source), torch.from_numpy(grad_rows), torch.from_numpy(grad_scale.sum(0))


def _check_geometry(source_pos: Tensor, target_pos: Tensor, scale: Tensor) -> None:
    checks.for_kernel("source_pos", source_pos, 2)
    checks.geometry(source_pos, target_pos, scale)


def _by_axis(pos: Tensor) -> Any:  # noqa: ANN401
    return np.ascontiguousarray(pos.detach().numpy().T)  # for so few numbers numpy is many times faster than torch


def _parts(weight: Tensor) -> int:
    return part_count(weight.numel(), _WORTH_A_THREAD, most=len(weight))


@functools.lru_cache(maxsize=1)
def _numba_works() -> bool:
    """Tell whether Numba is installed and usable; where it is the one and not the other, a warning says so."""
    if importlib.util.find_spec("numba") is None:
        return False
    try:
        import numba

        if numba.config.DISABLE_JIT:
            raise RuntimeError("NUMBA_DISABLE_JIT is set")
        from spatialgraph.kernels.loops import trial as compiled_trial

        fork_between_compilations()
        compiled_trial.run()
    except Exception as error:  # whatever a broken installation may raise
        warn("Numba cannot be used, and slower tensor operations take its place", error)
        return False
    return True
