"""The strongest synapses of a network, for files and pictures that cannot show all of them."""

import torch
from torch import Tensor

from spatialgraph import checks

__all__ = ["strongest"]


def strongest(
    weight: Tensor, *, min_weight: float | None = None, top: int | None = None, fraction: float | None = None
) -> Tensor:
    """Return the numbers of the synapses with the largest absolute weights, in ascending order.

    Args:
        weight: weights of all synapses, shape ``(E,)``.
        min_weight: keep those with at least this absolute weight.
        top: keep so many; all where there are fewer.
        fraction: keep this share, rounded to a whole number of synapses.

    Returns:
        int64 tensor; all numbers where none of the three is given. Of equal weights, the first synapses are kept.

    Raises:
        ValueError: if more than one of the three is given, or one is out of range.

    Example:
        >>> strongest(torch.tensor([0.1, -3.0, 2.0]), top=2)
        tensor([1, 2])
    """
    given = {"min_weight": min_weight, "top": top, "fraction": fraction}
    named = [name for name, value in given.items() if value is not None]
    if len(named) > 1:
        raise ValueError(f"at most one of min_weight, top and fraction may be given, got {' and '.join(named)}")
    count = len(weight)
    if min_weight is not None:
        return torch.nonzero(weight.abs() >= checks.number("min_weight", min_weight))[:, 0]
    if top is not None:
        count = min(count, checks.integer("top", top, minimum=0))
    if fraction is not None:
        count = round(count * checks.between("fraction", fraction, 0.0, 1.0))
    if count == len(weight):
        return torch.arange(count, device=weight.device)
    return torch.sort(weight.abs(), descending=True, stable=True).indices[:count].sort().values
