"""The kernels of each operation, and the only place that chooses one for given tensors."""

from collections.abc import Callable, Hashable
from typing import Any

from torch import Tensor

__all__ = ["find", "register", "unregister"]

Serves = Callable[..., bool]
"""Tells whether a kernel supports some tensors."""

_KERNELS: dict[Hashable, list[tuple[Serves, Any]]] = {}


def register(operation: Hashable, functions: Any, serves: Serves) -> None:  # noqa: ANN401 - a module or an object
    """Register kernels for an operation. Kernels registered last are asked first.

    Args:
        operation: names the operation; :mod:`spatialgraph.functional.fused` lists those of the library.
        functions: a module or an object with the functions of the operation, named and called as the present ones.
        serves: from the tensors of a call to whether these kernels support them.

    Raises:
        TypeError: if ``serves`` is not a function.

    Example:
        >>> import types
        >>> doubling = types.SimpleNamespace(double=lambda x: 2 * x)
        >>> register("doubling", doubling, lambda x: x.dim() == 1)
        >>> find("doubling", Tensor([1.0])).double(3)
        6
        >>> unregister("doubling", doubling)
    """
    if not callable(serves):
        raise TypeError(f"serves must be a function of tensors, got {type(serves).__name__}")
    _KERNELS.setdefault(operation, []).insert(0, (serves, functions))


def unregister(operation: Hashable, functions: Any) -> None:  # noqa: ANN401
    """Undo :func:`register`."""
    _KERNELS[operation] = [entry for entry in _KERNELS[operation] if entry[1] is not functions]


def find(operation: Hashable, *values: Tensor) -> Any | None:  # noqa: ANN401
    """Return the kernels that support an operation on these tensors; None where there are none."""
    for serves, functions in _KERNELS.get(operation, ()):
        if serves(*values):
            return functions
    return None
