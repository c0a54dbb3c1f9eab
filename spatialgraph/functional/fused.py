"""Support of laws and tensors by the fused kernels."""

from torch import Tensor

from spatialgraph.kernels import handover
from spatialgraph.laws import InverseDistance, Law

__all__ = ["serves"]


def serves(law: Law, *values: Tensor) -> bool:
    """Tell whether the fused kernels support this law and these tensors.

    Example:
        >>> import torch
        >>> serves(InverseDistance(), torch.zeros(1, 1, dtype=torch.float16))
        False
    """
    return type(law) is InverseDistance and handover.available(*values)
