"""Detection of tracers and transforms that record operations on tensors."""

import torch
from torch import Tensor, nn
from torch.autograd import forward_ad

__all__ = ["is_observed", "is_traced"]


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
        or any(type(value) not in (Tensor, nn.Parameter) for value in values)
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
