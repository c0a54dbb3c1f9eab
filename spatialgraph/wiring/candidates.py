"""The canonical order of candidates, for backends with different rounding."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

from spatialgraph.wiring.clouds import Clouds, Pairs

__all__ = ["filtered", "joined", "nearest_within", "settle"]


def settle(clouds: Clouds, candidates: Tensor, k: int) -> tuple[Tensor, Tensor, Tensor]:
    """Choose k of each target's candidates in the canonical order.

    Args:
        clouds: the search, for as many targets as there are rows of candidates.
        candidates: source indices (M, c), at least k of which are not excluded.
        k: how many to choose.

    Returns:
        Source indices (M, k), ascending in each row, the squared distance of the k-th nearest one (M,), and
        the squared distance of the farthest candidate (M,).
    """
    candidates = candidates.sort(1).values
    rows = torch.arange(len(candidates), device=candidates.device)
    squared = clouds.squared_lengths(candidates, rows[:, None])
    farthest = squared.amax(1)
    if clouds.own is not None:
        squared.masked_fill_(candidates == clouds.own[:, None], math.inf)
    # A stable sort keeps ties in the order of their indices.
    squared, order = squared.sort(dim=1, stable=True)
    return candidates.gather(1, order[:, :k]).sort(1).values, squared[:, k - 1], farthest


def filtered(clouds: Clouds, r: float, sources: Tensor, targets: Tensor) -> Pairs:
    """Select the pairs within r by the canonical distance, without self-connections."""
    selected = clouds.squared_lengths(sources, targets) <= r * r
    if clouds.own is not None:
        selected &= sources != clouds.own[targets]
    return sources[selected], targets[selected]


def nearest_within(clouds: Clouds, r: float, k: int, rows: Tensor, search: Callable[[Clouds, int], Tensor]) -> Pairs:
    """Return those of the k nearest sources of some targets that are within r."""
    sources = search(clouds.only(rows), k)
    return filtered(clouds, r, sources.flatten(), rows.repeat_interleave(k))


def joined(found: list[Pairs]) -> Pairs:
    """Concatenate lists of pairs."""
    sources, targets = zip(*found, strict=True)
    return torch.cat(sources), torch.cat(targets)
