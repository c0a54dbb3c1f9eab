"""Tracing: whether something besides plain autograd follows what is done with tensors."""

import torch
from torch import Tensor, nn
from torch.autograd import forward_ad

__all__ = ["is_observed", "is_traced"]


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


def is_traced() -> bool:
    """Tell whether a compiler, exporter or tracer records what is computed, so that values may not be looked at.

    Example:
        >>> is_traced()
        False
    """
    return (
        torch.compiler.is_compiling()
        or torch._C._get_tracing_state() is not None
        or torch._C._len_torch_dispatch_stack() > 0
    )
