"""Detection of what records or changes operations on tensors: tracers, transforms and autocast."""

import contextlib

import torch
from torch import Tensor, nn
from torch.autograd import forward_ad

__all__ = ["PLAIN", "is_autocast", "is_observed", "is_traced", "without_autocast"]

PLAIN: set[type[Tensor]] = {Tensor, nn.Parameter}
"""Types of tensors that hold their values; other subclasses may record operations, or hold none."""


def is_autocast(kind: str) -> bool:
    """Tell whether autocast is on for a kind of device; some, such as meta, have none.

    Example:
        >>> is_autocast("cpu"), is_autocast("meta")
        (False, False)
    """
    return torch.amp.is_autocast_available(kind) and torch.is_autocast_enabled(kind)


def without_autocast(kind: str) -> contextlib.AbstractContextManager[object]:
    """Return a context in which operations on a kind of device keep their precision.

    Example:
        >>> with torch.autocast("cpu"), without_autocast("cpu"):
        ...     is_autocast("cpu")
        False
    """
    return torch.autocast(kind, enabled=False) if torch.amp.is_autocast_available(kind) else contextlib.nullcontext()


def is_observed(*values: Tensor) -> bool:
    """Tell whether anything other than plain autograd records operations on tensors.

    These are compilers, exporters, tracers, transforms of ``torch.func``, forward-mode differentiation and tensor
    subclasses. They need tensor operations, because they cannot record compiled kernels.

    Example:
        >>> is_observed(torch.zeros(1))
        False
        >>> torch.func.vmap(lambda x: x + is_observed(x))(torch.zeros(1))
        tensor([1.])
    """
    return (
        torch.compiler.is_compiling()  # first, so that a compiler does not trace the others
        or torch.jit.is_tracing()  # type: ignore[attr-defined, no-untyped-call]
        or torch._C._are_functorch_transforms_active()
        or torch._C._len_torch_dispatch_stack() > 0
        or forward_ad._current_level >= 0
        or any(type(value) not in PLAIN for value in values)
    )


def is_traced() -> bool:
    """Tell whether a compiler, exporter or tracer is active, so that values of tensors must not be read.

    Example:
        >>> is_traced()
        False
    """
    return (
        torch.compiler.is_compiling()
        or torch._C._get_tracing_state() is not None
        or torch._C._len_torch_dispatch_stack() > 0
    )
