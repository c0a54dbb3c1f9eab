"""A hash of a seed and two neurons, the same on every device and in C, that says whether an edge exists."""

from __future__ import annotations

import torch
from torch import Tensor

from spatialgraph import checks

__all__ = ["SEEDS", "hash_pairs", "hashed_seed", "seeded_edges", "threshold"]

SEEDS = 2**32
_MASK = SEEDS - 1
_ODD = 0x9E3779B9  # so that the seed 0, which the mixing function leaves as it is, is like the others
# Pairs that are hashed at a time; each takes three tensors of 8 bytes.
_PAIRS = 2**22


def hash_pairs(seed: int, source: Tensor, target: Tensor) -> Tensor:
    r"""Return a number from 0 to :math:`2^{32} - 1` for each pair of neurons.

    .. math:: h = m(m(m(\mathrm{seed} + \mathtt{9e3779b9}_{16}) + t) + s), \quad
        m(x): x \leftarrow x \oplus (x \gg 16);\ x \leftarrow \mathtt{7feb352d}_{16}\, x;\
        x \leftarrow x \oplus (x \gg 15);\ x \leftarrow \mathtt{846ca68b}_{16}\, x;\ x \leftarrow x \oplus (x \gg 16)

    All sums and products are modulo :math:`2^{32}`. The mixing function :math:`m` is ``lowbias32`` of
    https://nullprogram.com/blog/2018/07/31/.

    Args:
        seed: from 0 to :math:`2^{32} - 1`.
        source: numbers of sources, int64, that broadcast with the targets.
        target: numbers of targets, int64.

    Example:
        >>> hash_pairs(0, torch.tensor([0, 1]), torch.tensor([0]))
        tensor([2488251732,  516850854])
    """
    return _mix(_mix(hashed_seed(seed) + target & _MASK) + source & _MASK)


def hashed_seed(seed: int) -> int:
    r"""Return what is added to the number of a target, :math:`m(\mathrm{seed} + \mathtt{9e3779b9}_{16})`.

    Example:
        >>> hashed_seed(0) == hashed_seed(2**32)
        True
    """
    return int(_mix(torch.tensor(seed + _ODD & _MASK, device="cpu")))


def seeded_edges(
    n_sources: int, n_targets: int, density: float, seed: int, device: torch.device | str | None
) -> Tensor:
    """Return the edges whose hash lies below the threshold of a density, sorted by target, then source, ``(2, E)``."""
    source, below = torch.arange(n_sources, device=device), threshold(density)
    found = []
    for targets in torch.arange(n_targets, device=device).split(max(1, _PAIRS // n_sources)):
        at, sources = torch.nonzero(hash_pairs(seed, source[None, :], targets[:, None]) < below, as_tuple=True)
        found.append(torch.stack([sources, targets[at]]))
    return torch.cat(found, dim=1)


def threshold(density: float) -> int:
    """Return what hashes lie below at this density, as an edge exists.

    Example:
        >>> threshold(0.5) == 2**31, threshold(1.0) == 2**32
        (True, True)
    """
    return round(checks.real("density", density) * SEEDS)


def _mix(x: Tensor) -> Tensor:
    # Products of int64 wrap around, which leaves their lower 32 bits right.
    x = (x ^ (x >> 16)) * 0x7FEB352D & _MASK
    x = (x ^ (x >> 15)) * 0x846CA68B & _MASK
    return x ^ (x >> 16)
