"""Calculations with laws that have no kernels, compiled by PyTorch on a GPU.

A law of one's own takes dozens of tensor operations, each of which passes over all weights; ``torch.compile`` fuses
them. It compiles once for each class of laws and number of dimensions: sizes above 1, settings and parameters are
variables of what it makes. Where it fails, the tensor operations are used as they are.
"""

import functools
import types
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.nn.modules.module import _has_any_global_hook

from spatialgraph.kernels.compilation import warn
from spatialgraph.laws import Law
from spatialgraph.tracing import is_observed, without_autocast

__all__ = ["BACKEND", "DEVICES", "calculate", "is_compiled"]

BACKEND = "inductor"
"""What compiles, as in ``torch.compile``."""

DEVICES = {"cuda"}
"""Kinds of devices for which calculations are compiled; on a CPU, that takes longer than it saves."""


def calculate(function: Callable[..., Any], law: Law, *operands: Tensor) -> Any:  # noqa: ANN401
    """Return ``function(law, *operands)`` without gradients, compiled where that is of use.

    Args:
        function: computes with the law and the tensors, and has no other variables.
        law: the law.
        *operands: tensors, of which the first tells device and dtype.

    Example:
        >>> from spatialgraph.laws import Gaussian
        >>> calculate(lambda law, square: law.from_square(square), Gaussian(), torch.zeros(2))
        tensor([1., 1.])
    """
    if not is_compiled(law, *operands):
        return function(law, *operands)
    with torch.no_grad(), without_autocast(operands[0].device.type):
        return _compiled(function, *_code(law))(law, *(values.detach() for values in operands))


def is_compiled(law: Law, *operands: Tensor) -> bool:
    """Tell whether calculations with a law are compiled for these tensors: on a GPU, in single precision, not observed.

    Example:
        >>> from spatialgraph.laws import Gaussian
        >>> is_compiled(Gaussian(), torch.zeros(1))
        False
    """
    first = operands[0]
    return (
        first.device.type in DEVICES
        and first.dtype == torch.float32
        and not is_observed(*operands)
        and not _has_hooks(law)
        and _has_slopes(law)
        and _code(law) not in _REFUSED
    )


class _Compiled:
    """A function of a law that is compiled at its first call."""

    def __init__(self, function: Callable[..., Any]) -> None:
        self._plain = function
        self._fast: Callable[..., Any] | None = None

    def __call__(self, law: Law, *operands: Tensor) -> Any:  # noqa: ANN401
        try:
            if self._fast is None:
                self._fast = _compile(self._plain)
            return self._fast(law, *operands)
        except torch.OutOfMemoryError:
            raise
        except torch._dynamo.exc.FailOnRecompileLimitHit:  # sizes of 0 or 1, and dimensions, are compiled apart
            return self._plain(law, *operands)
        except Exception as error:  # a compiler may raise anything
            result = self._plain(law, *operands)  # raises here where it is the law that fails
            _REFUSED.add(_code(law))
            name = type(law).__qualname__
            warn(f"The law {name} cannot be compiled; slower tensor operations are used instead", error)
            return result


# The code of laws that could not be compiled.
_REFUSED: set[tuple[object, ...]] = set()


@functools.lru_cache(maxsize=256)
def _compiled(function: Callable[..., Any], *code: object) -> _Compiled:
    """Return what compiles a function for laws of some code."""
    return _Compiled(function)


def _compile(function: Callable[..., Any]) -> Callable[..., Any]:
    # The compiler limits how often it compiles the same code again: each law has a copy of it.
    own = types.FunctionType(function.__code__.replace(), function.__globals__)
    return torch.compile(own, backend=BACKEND, fullgraph=True, dynamic=True)


def _code(law: Law) -> tuple[object, ...]:
    """Return the class of a law, the names in it and its methods; of changes of these the compiler takes no notice."""
    code: list[object] = [type(law)]
    for kind in type(law).__mro__:
        if issubclass(kind, Law):
            members = vars(kind)
            code += members
            code += [value for value in members.values() if isinstance(value, types.FunctionType)]
    return tuple(code)


def _has_hooks(law: Law) -> bool:
    """Tell whether modules call hooks, of which the compiler takes no notice either."""
    return _has_any_global_hook() or any(part._forward_hooks or part._forward_pre_hooks for part in law.modules())


def _has_slopes(law: Law) -> bool:
    """Tell whether a law has the derivatives by its parameters; without, autograd must record its operations."""
    return type(law).parameter_slopes is not Law.parameter_slopes or next(law.parameters(), None) is None
