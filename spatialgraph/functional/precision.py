"""Half precision: geometry is computed in single precision, and results are rounded at the end."""

import torch
from torch import Tensor

from spatialgraph.tracing import is_autocast

__all__ = ["dtype_name", "in_single", "product_dtype"]


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


def product_dtype(x: Tensor, like: Tensor) -> torch.dtype:
    """Return the dtype of a product with ``x``; for whole numbers that of another tensor.

    Example:
        >>> product_dtype(torch.ones(2, dtype=torch.int64), torch.zeros(1))
        torch.float32
    """
    kind = x.device.type
    if is_autocast(kind):
        return torch.get_autocast_dtype(kind)
    return x.dtype if x.is_floating_point() else like.dtype
