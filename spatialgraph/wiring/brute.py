"""Neighbour search by brute force: distances to all sources."""

import torch
from torch import Tensor

from spatialgraph.wiring.candidates import joined
from spatialgraph.wiring.clouds import Clouds, Pairs

__all__ = ["nearest", "within"]


def nearest(clouds: Clouds, k: int) -> Tensor:
    """Find the k nearest sources of each target."""
    blocks = [_smallest(table, k).nonzero()[:, 1] for _, table in clouds.tables()]
    return torch.cat(blocks).view(-1, k)


def within(clouds: Clouds, r: float, cap: int | None) -> Pairs:
    """Find the sources within r of each target, at most the nearest ``cap`` of them."""
    found = []
    for rows, table in clouds.tables():
        selected = table <= r * r
        if cap is not None:
            selected &= _smallest(table, cap)
        row, source = selected.nonzero(as_tuple=True)
        found.append((source, rows[row]))
    return joined(found)


def _smallest(table: Tensor, k: int) -> Tensor:
    """Mark the k smallest entries of each row; ties are resolved in favour of the first."""
    largest = table.topk(k, largest=False, sorted=False).values.amax(1, keepdim=True)
    below = table < largest
    tied = table == largest
    vacant = k - below.sum(1, keepdim=True)
    return below | (tied & (tied.cumsum(1, dtype=torch.int32) <= vacant))
