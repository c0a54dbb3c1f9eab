"""Random draws of edges without replacement."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from spatialgraph.wiring.clouds import Clouds

__all__ = ["distinct_numbers", "far_sources"]


def distinct_numbers(possible: int, count: int, generator: torch.Generator | None) -> Tensor:
    """Draw count distinct numbers from 0 to possible - 1, in ascending order."""
    device = "cpu" if generator is None else generator.device
    if 4 * count >= possible:
        return torch.randperm(possible, generator=generator, device=device)[:count].sort().values
    drawn = torch.empty(0, dtype=torch.int64, device=device)
    while len(drawn) < count:
        # A few more than missing, to make up for duplicates.
        more = (count - len(drawn)) * 5 // 4 + 8
        fresh = torch.randint(possible, (more,), generator=generator, device=device)
        drawn = torch.cat([drawn, fresh]).sort().values
        drawn = drawn[torch.cat([drawn.new_ones(1), drawn.diff()]) > 0]
    # The stop depends only on the number drawn, so removing the excess at random keeps all sets equally probable.
    selected = torch.ones(len(drawn), dtype=torch.bool, device=device)
    selected[torch.randperm(len(drawn), generator=generator, device=device)[count:]] = False
    return drawn[selected]


def far_sources(clouds: Clouds, near: Tensor, count: int, exponent: float, generator: torch.Generator | None) -> Tensor:
    """Draw sources (M, count) by their length, excluding the nearest ones (M, k)."""
    extent = torch.cat([clouds.source, clouds.target])
    softening = max(1e-6 * float((extent.amax(0) - extent.amin(0)).max()), 1e-150)
    exponent = min(exponent, 1e300)  # larger exponents overflow; this one draws the nearest as well
    drawn_on = clouds.source.device if generator is None else generator.device
    drawn = []
    for rows, table in clouds.tables():
        # Gumbel-top-k: the smallest of exponential variables are a draw without replacement with probabilities
        # proportional to their rates.
        clock = torch.empty(table.shape, dtype=table.dtype, device=drawn_on).exponential_(generator=generator)
        ring = clock.log_().to(table.device)
        # The square root of the logarithm's argument is a length; it is infinite for a target itself.
        itself = table.isinf()
        ring += (table + softening**2).log_().mul_(exponent / 2)
        ring.masked_fill_(itself, math.inf).scatter_(1, near[rows], math.inf)
        drawn.append(ring.topk(count, largest=False).indices)
    return torch.cat(drawn)
