"""Listed edges as a topology holds them: sources and a pointer, in place of both ends of each edge."""

import torch
from torch import Tensor

from spatialgraph import checks

__all__ = ["LISTED", "compressed", "expanded"]

LISTED = ("listed_sources", "listed_pointer")
"""Names of the parts of a topology that hold edges."""


def compressed(edges: Tensor, neurons: int) -> dict[str, Tensor]:
    """Return the parts that hold edges.

    Args:
        edges: sorted by target, then source, shape ``(2, E)``.
        neurons: number of neurons.

    Raises:
        TypeError: if the edges are no whole numbers.
        ValueError: if they are not sorted, repeat, or name other neurons.

    Example:
        >>> compressed(torch.tensor([[0, 1], [2, 2]]), 3)
        {'listed_sources': tensor([0, 1]), 'listed_pointer': tensor([0, 0, 0, 2])}
    """
    if edges.dtype not in checks.INDICES:
        raise TypeError(f"edge_index must be int64, got {edges.dtype}")
    sources, targets = checks.edge_index(edges.long(), neurons)
    if ((targets * neurons + sources).diff() <= 0).any():
        raise ValueError("edge_index must be sorted by target, then source, got edges in another order")
    pointer = torch.zeros(neurons + 1, dtype=torch.int64, device=edges.device)
    torch.cumsum(torch.bincount(targets, minlength=neurons), 0, out=pointer[1:])
    return dict(zip(LISTED, (sources, pointer), strict=True))


def expanded(sources: Tensor, pointer: Tensor) -> Tensor:
    """Return edges of shape ``(2, E)`` in the type of their sources.

    Example:
        >>> expanded(torch.tensor([0, 1]), torch.tensor([0, 0, 0, 2]))
        tensor([[0, 1],
                [2, 2]])
    """
    counts = pointer.diff()
    neurons = torch.arange(len(counts), dtype=sources.dtype, device=sources.device)
    return torch.stack([sources, neurons.repeat_interleave(counts)])
