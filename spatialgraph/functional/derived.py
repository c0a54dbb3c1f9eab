"""Derived tensors: read-only values that are computed from parameters."""

from typing import Any, NoReturn

import torch
from torch import Tensor

__all__ = ["Derived", "refusing"]


class Derived(Tensor):
    """A read-only tensor; results of operations on it are plain tensors.

    Use a subclass that ``refusing`` returns, whose message says what to write to in its place.
    """

    # As in nn.Parameter: functions treat it as a plain tensor, even those that reject other subclasses.
    __torch_function__ = torch._C._disabled_torch_function_impl  # type: ignore[assignment]

    def __reduce_ex__(self, protocol: Any) -> Any:  # noqa: ANN401 - as in Tensor
        """Pickle as a plain tensor, so that loading does not need this package."""
        return self.as_subclass(Tensor).__reduce_ex__(protocol)


def refusing(name: str, message: str) -> type[Derived]:
    """Return a type of derived tensors whose in-place methods raise ``TypeError`` with a message.

    Example:
        >>> kind = refusing("DerivedSum", "this is a sum; change its terms")
        >>> torch.ones(2).as_subclass(kind).zero_()
        Traceback (most recent call last):
        TypeError: this is a sum; change its terms
    """

    def refuse(*args: object, **kwargs: object) -> NoReturn:
        raise TypeError(message)

    kind = type(name, (Derived,), {"__doc__": f"A derived tensor: {message}."})
    writing = [n for n in dir(Tensor) if n.endswith("_") and not n.startswith("_")]
    in_place = [n for n in dir(Tensor) if n.startswith("__i") and hasattr(Tensor, "__" + n[3:])]
    for method in [*writing, *in_place, "__setitem__"]:
        setattr(kind, method, refuse)
    kind.data = property(lambda self: self.detach().as_subclass(kind), refuse)  # type: ignore[attr-defined]
    return kind
