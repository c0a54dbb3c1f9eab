"""Launches of Triton kernels, and whether there are any for given tensors."""

import functools
import importlib.util
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from spatialgraph.kernels.compilation import warn
from spatialgraph.tracing import is_observed

__all__ = ["DEVICES", "MOST_ROWS", "available", "is_tensor", "launch", "run", "three", "tiles"]

MOST_ROWS = 2**15
"""Programs along the second axis of a grid, at most; CUDA allows twice as many, and more along the first axis only."""

DEVICES = {"cuda"}
"""Kinds of devices that Triton compiles for here; those of AMD are called so too."""


def available(*values: Tensor) -> bool:
    """Tell whether Triton kernels support these tensors: on a GPU, in single precision, not traced or transformed.

    Example:
        >>> available(torch.zeros(1))
        False
    """
    first = values[0]
    return (
        first.device.type in DEVICES and first.dtype == torch.float32 and not is_observed(*values) and _triton_works()
    )


def launch(kernel: Any, grid: tuple[int, ...], *operands: Any, **constants: Any) -> None:  # noqa: ANN401
    """Run the programs of a kernel, as many as the grid has; none for an empty one."""
    if all(grid):
        run(kernel, grid, operands, constants)


def run(kernel: Any, grid: tuple[int, ...], operands: Sequence[Any], constants: Mapping[str, Any]) -> None:  # noqa: ANN401
    """Launch a kernel on the device of its tensors, which need not be the current one."""
    with torch.cuda.device_of(next(value for value in operands if isinstance(value, Tensor))):
        kernel[grid](*operands, **constants)


def is_tensor(settings: Sequence[float | Tensor]) -> bool:
    """Tell whether the first number of a formula is a tensor, whose value must not be fetched from the GPU."""
    return bool(settings) and isinstance(settings[0], Tensor)


def three(settings: Sequence[float | Tensor]) -> list[float | Tensor]:
    """Return the numbers of a formula, and 0 for those that it does not have."""
    return [*settings, *[0.0] * (3 - len(settings))]


def tiles(count: int, size: int) -> int:
    """Return how many tiles of a size cover a count.

    Example:
        >>> tiles(5, 2)
        3
    """
    return -(-count // size)


@functools.lru_cache(maxsize=1)
def _triton_works() -> bool:
    """Tell whether Triton is installed and can be imported; warn if it is installed and cannot."""
    if importlib.util.find_spec("triton") is None:
        return False
    try:
        import spatialgraph.kernels.cuda.loops.dense  # noqa: F401
    except Exception as error:  # a broken installation may raise anything
        warn("Triton cannot be used; slower tensor operations are used instead", error)
        return False
    return True
