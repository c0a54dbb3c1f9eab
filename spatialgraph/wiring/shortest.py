"""The shortest pairs of two sets of neurons, found by trees, without measuring all pairs."""

import numpy as np
import torch
from scipy.spatial import cKDTree
from torch import Tensor

from spatialgraph import checks

__all__ = ["shortest_pairs"]

# Pairs within the radius of a search, in those that are wanted; and how often the radius is halved to find it.
_SURPLUS, _HALVINGS = 1.25, 60


def shortest_pairs(source_pos: Tensor, target_pos: Tensor, count: int) -> Tensor:
    """Return the shortest pairs of a source and a target.

    Of pairs that are equally long, those of later targets are taken, and of one target those of later sources.

    Args:
        source_pos: positions of the sources, shape ``(n, d)``, in length units.
        target_pos: positions of the targets, shape ``(m, d)``, in length units.
        count: number of pairs, at most ``n * m``.

    Returns:
        Tensor of shape ``(2, count)``, int64: sources and targets, sorted by target, then source.

    Raises:
        ValueError: if there are fewer pairs, or positions are not finite.

    Example:
        >>> shortest_pairs(torch.tensor([[0.0], [1.0], [5.0]]), torch.tensor([[1.0], [7.0]]), count=3).tolist()
        [[0, 1, 2], [0, 0, 1]]
    """
    ends = [checks.finite(name, pos) for name, pos in (("source_pos", source_pos), ("target_pos", target_pos))]
    source, target = (end.detach().cpu().double().numpy() for end in ends)
    checks.integer("count", count, minimum=0)
    if count > len(source) * len(target):
        raise ValueError(f"count must be at most {len(source) * len(target)}, the number of pairs, got {count}")
    if count == 0:
        return torch.empty(2, 0, dtype=torch.int64, device=source_pos.device)
    trees = cKDTree(source), cKDTree(target)
    found = trees[0].sparse_distance_matrix(trees[1], _reach(*trees, count), output_type="ndarray")
    number = found["j"] * len(source) + found["i"]
    chosen = np.sort(number[np.lexsort((-number, found["v"]))[:count]])
    return torch.from_numpy(np.stack([chosen % len(source), chosen // len(source)])).to(source_pos.device)


def _reach(source: cKDTree, target: cKDTree, count: int) -> float:
    """Return a radius with at least so many pairs, and few more unless many are equally long."""
    low = float(source.query(target.data)[0].min())
    width = max(float(np.ptp(np.concatenate([source.data, target.data]), axis=0).max()), 1e-300)
    # Counting takes longer the more pairs there are: the search widens from a radius that is too small.
    high, step = low, width * (count / (source.n * target.n)) ** (1 / max(1, source.m)) / 8
    while (pairs := _pairs(source, target, high)) < count:
        low, high, step = high, high + step, 2 * step
    for _ in range(_HALVINGS):
        if pairs <= _SURPLUS * count:
            break
        middle = (low + high) / 2
        between = _pairs(source, target, middle)
        if between < count:
            low = middle
        else:
            high, pairs = middle, between
    return _widened(high)


def _pairs(source: cKDTree, target: cKDTree, radius: float) -> int:
    return int(source.count_neighbors(target, _widened(radius)))


def _widened(radius: float) -> float:
    """Return a radius that includes pairs at its very length in spite of rounding."""
    return radius * (1 + 1e-12)
