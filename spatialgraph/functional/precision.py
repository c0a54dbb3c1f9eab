"""Half precision: geometry is computed in single precision, and results are rounded at the end."""

import torch
from torch import Tensor

__all__ = ["dtype_name", "in_single"]


def in_single(values: Tensor) -> Tensor:
    """Convert half precision (float16, bfloat16) to single, and return other dtypes unchanged; differentiable.

    Example:
        >>> in_single(torch.zeros(1, dtype=torch.bfloat16)).dtype, in_single(torch.zeros(1, dtype=torch.float64)).dtype
        (torch.float32, torch.float64)
    """
    return values.float() if values.dtype in (torch.float16, torch.bfloat16) else values


def dtype_name(dtype: torch.dtype) -> str:
    """Return the name of a dtype, as used in files and messages.

    Example:
        >>> dtype_name(torch.float32)
        'float32'
    """
    return str(dtype).removeprefix("torch.")
