"""Fused CPU kernels for the inverse-distance law, compiled by Numba where it is installed, and what all kernels share.

They compute what :mod:`spatialgraph.functional` computes by tensor operations, in one pass over the weights in place of
a dozen. Each thread takes a run of rows and adds up sums of its own, so that the bits depend on the number of threads
alone.
"""

import contextlib
import functools
import importlib.util
import threading
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.autograd import forward_ad

from spatialgraph.laws import InverseDistance, Law

__all__ = [
    "array",
    "available",
    "constants",
    "geometry_gradients",
    "is_observed",
    "part_count",
    "serves",
    "threads",
    "weight",
]

# Below this number of weights a hand-over to another thread costs more than it saves.
_WORTH_A_THREAD = 2**16

# One of Numba's threading layers must not be entered by two threads at once.
_lock = threading.Lock()


@contextlib.contextmanager
def threads(parts: int) -> Iterator[None]:
    """Run a compiled kernel on so many threads at most: one that waits for Numba's others waits for busy cores too.

    Example:
        >>> with threads(1):
        ...     pass
    """
    import numba

    with _lock:
        before, wanted = numba.get_num_threads(), min(parts, numba.config.NUMBA_NUM_THREADS)
        if wanted == before:  # the common case: setting takes longer than many a kernel
            yield
            return
        numba.set_num_threads(wanted)
        try:
            yield
        finally:
            numba.set_num_threads(before)


def part_count(work: int, worth: int, most: int | None = None) -> int:
    """Return how many threads share some work: one where it is less than ``worth``, else at most ``most``.

    Example:
        >>> part_count(work=10, worth=1000)
        1
    """
    if work < worth:
        return 1
    return torch.get_num_threads() if most is None else min(most, torch.get_num_threads())


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


def is_observed(*values: Tensor) -> bool:
    """Tell whether something besides plain autograd follows what is done with tensors.

    A compiler, exporter or tracer, a transform of ``torch.func``, forward-mode differentiation or a subclass of tensors
    does: it must be given tensor operations, for it sees nothing of what a compiled kernel does.

    Example:
        >>> is_observed(torch.zeros(1))
        False
        >>> torch.func.vmap(lambda x: x + is_observed(x))(torch.zeros(1))
        tensor([1.])
    """
    return (
        torch.compiler.is_compiling()  # first: a compiler is not to trace the other questions
        or torch.jit.is_tracing()  # type: ignore[attr-defined, no-untyped-call]
        or torch._C._are_functorch_transforms_active()
        or torch._C._len_torch_dispatch_stack() > 0
        or forward_ad._current_level >= 0
        or any(type(value) not in (Tensor, nn.Parameter) for value in values)
    )


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
        and _has_numba()
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
    from spatialgraph import compiled

    columns, rows, factors = _by_axis(source_pos), array(target_pos), array(scale)
    result = source_pos.new_empty(len(rows), len(factors))
    parts = _parts(result)
    with threads(parts):
        compiled.fill(columns, rows, factors, *constants(source_pos, softening**2), result.numpy(), parts)
    return result


def geometry_gradients(
    grad_weight: Tensor, source_pos: Tensor, target_pos: Tensor, scale: Tensor, softening: float
) -> tuple[Tensor, Tensor, Tensor]:
    """Carry the gradient of the signed weight matrix on to source positions, target positions and scales."""
    from spatialgraph import compiled

    columns, rows, factors = _by_axis(source_pos), array(target_pos), array(scale)
    parts = _parts(grad_weight)
    grad_columns = np.zeros((parts, *columns.shape), columns.dtype)
    grad_scale = np.zeros((parts, len(factors)), columns.dtype)
    grad_rows = np.empty_like(rows)
    (constant,) = constants(source_pos, softening**2)
    with threads(parts):
        compiled.pull(columns, rows, factors, constant, array(grad_weight), grad_columns, grad_rows, grad_scale)
    grad_source = -(grad_columns.sum(0) * factors).T
    return torch.from_numpy(grad_source), torch.from_numpy(grad_rows), torch.from_numpy(grad_scale.sum(0))


def _by_axis(pos: Tensor) -> Any:  # noqa: ANN401
    return np.ascontiguousarray(pos.detach().numpy().T)  # for so few numbers numpy is many times faster than torch


def _parts(weight: Tensor) -> int:
    return part_count(weight.numel(), _WORTH_A_THREAD, most=len(weight))


@functools.lru_cache(maxsize=1)
def _has_numba() -> bool:
    return importlib.util.find_spec("numba") is not None
