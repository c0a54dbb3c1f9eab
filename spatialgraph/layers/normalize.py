"""Normalisation of edge weights by their sums."""

from typing import Any

import torch
from torch import Tensor

from spatialgraph import checks

__all__ = ["check_normalize", "inverse"]


def check_normalize(name: str, value: Any) -> str | None:  # noqa: ANN401 - any value is checked
    """Return a way to normalise weights, None for none.

    Example:
        >>> check_normalize("normalize", "gcn")
        'gcn'
    """
    return None if value is None else checks.choice(name, value, ("sum", "gcn"))


def inverse(sums: Tensor, power: float = 1.0) -> Tensor:
    """Return sums of absolute weights to a negative power; 0 where the sum is 0.

    Example:
        >>> inverse(torch.tensor([0.0, 4.0]), 0.5)
        tensor([0.0000, 0.5000])
    """
    is_zero = sums == 0
    return torch.where(is_zero, 1.0, sums).pow(-power).masked_fill(is_zero, 0.0)
