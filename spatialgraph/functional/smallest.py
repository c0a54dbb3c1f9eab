"""The exact border between the smallest weights and the others, found without sorting."""

import numpy as np
import torch
from torch import Tensor

from spatialgraph import checks
from spatialgraph.tracing import is_observed

__all__ = ["without_smallest"]

# Bit patterns of numbers that are not negative have the order of the numbers, and NumPy selects among integers many
# times faster than PyTorch selects.
INTEGERS: dict[torch.dtype, type[np.signedinteger]] = {torch.float32: np.int32, torch.float64: np.int64}


@torch.no_grad()
def without_smallest(weight: Tensor, count: int) -> Tensor:
    """Mark all weights but those of the smallest magnitudes.

    Of equal magnitudes at the border all stay, so that fewer than ``count`` may be left out. NaN counts as the largest.

    Args:
        weight: any floating-point numbers, any shape.
        count: how many to leave out, from 0 to all.

    Returns:
        Whether each weight stays, bool, in the shape of ``weight``.

    Raises:
        TypeError: if an argument is of the wrong type.
        ValueError: if there are fewer than ``count`` weights.

    Example:
        >>> without_smallest(torch.tensor([[0.5, -0.1], [-2.0, 0.3]]), 2)
        tensor([[ True, False],
                [ True, False]])
    """
    if not checks.tensor("weight", weight).is_floating_point():
        raise TypeError(f"weight must be floating point, got {weight.dtype}")
    if checks.integer("count", count, minimum=0) > weight.numel():
        raise ValueError(f"count must be at most the number of weights ({weight.numel()}), got {count}")
    if count in (0, weight.numel()):
        return torch.full_like(weight, count == 0, dtype=torch.bool)
    magnitude = weight.detach().abs()
    if weight.device.type != "cpu" or weight.dtype not in INTEGERS or is_observed(weight):
        return ~(magnitude < torch.kthvalue(magnitude.flatten(), count + 1).values)
    bits = magnitude.contiguous().numpy().view(INTEGERS[weight.dtype])
    return torch.from_numpy(bits >= np.partition(bits, count, axis=None)[count])
