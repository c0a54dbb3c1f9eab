"""Selection of the smallest weights without sorting."""

import numpy as np
import torch
from torch import Tensor

from spatialgraph import checks
from spatialgraph.tracing import is_observed

__all__ = ["without_smallest"]

# The bit patterns of non-negative floats, read as integers, have the order of the floats; NumPy's partition of integers
# is many times faster than PyTorch's kthvalue.
INTEGERS: dict[torch.dtype, type[np.signedinteger]] = {torch.float32: np.int32, torch.float64: np.int64}


@torch.no_grad()
def without_smallest(weight: Tensor, count: int | Tensor) -> Tensor:
    """Mark all weights except those with the smallest magnitudes.

    Weights whose magnitude equals the smallest remaining one all remain, so that fewer than ``count`` may be excluded.
    NaN counts as the largest magnitude.

    Args:
        weight: any floating-point numbers, any shape.
        count: number of weights to exclude, from 0 to all; not checked if it is a tensor, whose values compilers do
            not know.

    Returns:
        Whether each weight remains, bool, in the shape of ``weight``.

    Raises:
        TypeError: if ``weight`` is not a floating-point tensor or ``count`` not an int.
        ValueError: if ``count`` is negative or exceeds the number of weights.

    Example:
        >>> without_smallest(torch.tensor([[0.5, -0.1], [-2.0, 0.3]]), 2)
        tensor([[ True, False],
                [ True, False]])
    """
    if not checks.tensor("weight", weight).is_floating_point():
        raise TypeError(f"weight must be floating point, got {weight.dtype}")
    if isinstance(count, Tensor):
        return _without_so_many(weight, count)
    if checks.integer("count", count, minimum=0) > weight.numel():
        raise ValueError(f"count must be at most the number of weights ({weight.numel()}), got {count}")
    if count in (0, weight.numel()):
        return torch.full_like(weight, count == 0, dtype=torch.bool)
    magnitude = weight.detach().abs()
    if weight.device.type != "cpu" and not is_observed(weight):  # many times faster there than kthvalue
        return ~(magnitude < magnitude.flatten().sort().values[count])
    if weight.dtype not in INTEGERS or is_observed(weight):
        return ~(magnitude < torch.kthvalue(magnitude.flatten(), count + 1).values)
    bits = magnitude.contiguous().numpy().view(INTEGERS[weight.dtype])
    return torch.from_numpy(bits >= np.partition(bits, count, axis=None)[count])


def _without_so_many(weight: Tensor, count: Tensor) -> Tensor:
    """Mark weights as above, where nothing may follow from the value of ``count``."""
    magnitude = weight.detach().abs()
    if not magnitude.numel():
        return torch.ones_like(weight, dtype=torch.bool)
    most = magnitude.numel() - 1
    smallest = magnitude.flatten().sort().values.gather(0, count.clamp(max=most).view(1))
    return ~(magnitude < smallest) & (count <= most)
