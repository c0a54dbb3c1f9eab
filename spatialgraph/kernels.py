"""Fused CPU kernels for the inverse-distance law, compiled by Numba where it is installed.

They compute what :mod:`spatialgraph.functional` computes by tensor operations, in one pass over the weights in place of
a dozen. Each thread takes a run of rows and adds up sums of its own, so that the bits depend on the number of threads
alone.
"""

import functools
import importlib.util
import threading
from typing import Any

import numpy as np
import torch
from torch import Tensor

from spatialgraph.laws import InverseDistance, Law

__all__ = ["geometry_gradients", "serves", "weight"]

# Below this number of weights a hand-over to another thread costs more than it saves.
_WORTH_A_THREAD = 2**16

# One of Numba's threading layers must not be entered by two threads at once.
_lock = threading.Lock()


def serves(law: Law, pos: Tensor) -> bool:
    """Tell whether the kernels serve this law and this kind of tensor.

    Example:
        >>> serves(InverseDistance(), torch.zeros(1, 1, dtype=torch.float16))
        False
    """
    return (
        type(law) is InverseDistance
        and pos.device.type == "cpu"
        and pos.dtype in (torch.float32, torch.float64)
        and not torch.compiler.is_compiling()
        and _has_numba()
    )


def weight(source_pos: Tensor, target_pos: Tensor, scale: Tensor, softening: float) -> Tensor:
    """Return the ``(m, n)`` matrix of scaled inverse distances; arguments as in ``functional.pairwise_weight``."""
    from spatialgraph import compiled

    columns, rows, factors = _by_axis(source_pos), _by_axis(target_pos), _array(scale)
    result = source_pos.new_empty(rows.shape[1], columns.shape[1])
    constant = columns.dtype.type(softening**2)
    with _lock:
        compiled.fill(columns, rows, factors, constant, result.numpy(), _bounds(result))
    return result


def geometry_gradients(
    grad_weight: Tensor, source_pos: Tensor, target_pos: Tensor, scale: Tensor, softening: float
) -> tuple[Tensor, Tensor, Tensor]:
    """Carry the gradient of the signed weight matrix on to source positions, target positions and scales."""
    from spatialgraph import compiled

    columns, rows, factors = _by_axis(source_pos), _by_axis(target_pos), _array(scale)
    bounds = _bounds(grad_weight)
    parts = len(bounds) - 1
    grad_columns = np.zeros((parts, *columns.shape), columns.dtype)
    grad_scale = np.zeros((parts, columns.shape[1]), columns.dtype)
    grad_rows = np.empty_like(rows)
    constant = columns.dtype.type(softening**2)
    with _lock:
        compiled.pull(
            columns, rows, factors, constant, _array(grad_weight), grad_columns, grad_rows, grad_scale, bounds
        )
    grad_source = torch.from_numpy(-(grad_columns.sum(0) * factors).T)
    return grad_source, torch.from_numpy(grad_rows.T), torch.from_numpy(grad_scale.sum(0))


def _array(values: Tensor) -> Any:  # noqa: ANN401 - numpy arrays of either precision
    return values.detach().contiguous().numpy()


def _by_axis(pos: Tensor) -> Any:  # noqa: ANN401
    return _array(pos.t())


def _bounds(weight: Tensor) -> Any:  # noqa: ANN401
    """Return where the run of rows of each thread begins and ends."""
    rows = weight.shape[0]
    parts = 1 if weight.numel() < _WORTH_A_THREAD else min(rows, torch.get_num_threads())
    return np.arange(parts + 1) * rows // parts


@functools.lru_cache(maxsize=1)
def _has_numba() -> bool:
    return importlib.util.find_spec("numba") is not None
