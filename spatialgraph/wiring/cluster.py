"""Neighbour search by torch_cluster: candidates in float32 on the accelerator."""

from __future__ import annotations

import math
from types import ModuleType

import torch
from torch import Tensor

from spatialgraph.wiring import brute
from spatialgraph.wiring.candidates import filtered, joined, nearest_within, settle
from spatialgraph.wiring.clouds import Clouds, Pairs, blocks

__all__ = ["nearest", "package", "within"]

# torch_cluster's CUDA kernel holds at most 100 candidates per target.
_WIDTH = 100
_MARGIN = 16
_LIMIT = 64

# Covers squares that underflow.
_FLOOR = 1e-150


def package() -> ModuleType:
    """Return torch_cluster.

    Raises:
        ImportError: if it is not installed.
    """
    try:
        import torch_cluster
    except ImportError as error:
        raise ImportError(
            "backend='torch_cluster' needs the package torch-cluster: pip install spatialgraph[cluster]"
        ) from error
    module: ModuleType = torch_cluster
    return module


class _SinglePrecision:
    """Positions centred and scaled into [-1, 1] in float32, where no squared distance overflows."""

    def __init__(self, clouds: Clouds) -> None:
        low = torch.minimum(clouds.source.amin(0), clouds.target.amin(0))
        high = torch.maximum(clouds.source.amax(0), clouds.target.amax(0))
        centre = low / 2 + high / 2
        self.scale = float((high - low).max()) / 2 or 1.0
        self.source = ((clouds.source - centre) / self.scale).to(torch.float32).contiguous()
        self.target = ((clouds.target - centre) / self.scale).to(torch.float32).contiguous()

    def error(self, length: Tensor) -> Tensor:
        """Return a bound on the error of a length: twice the rounding error of coordinates, differences and sums."""
        d = self.source.shape[1]
        return 2**-23 * (math.sqrt(d) * self.scale + (d + 3) / 2 * length) + _FLOOR


def nearest(clouds: Clouds, k: int) -> Tensor:
    """Find the k nearest sources of each target."""
    cluster = package()
    n, m = len(clouds.source), len(clouds.target)
    width = min(k + clouds.excluded + _MARGIN, n, _WIDTH)
    if k + clouds.excluded >= width and width < n:
        return brute.nearest(clouds, k)
    single = _SinglePrecision(clouds)
    target, source = cluster.knn(single.source, single.target, width)
    order = target.argsort(stable=True)
    # If the kernel finds fewer than requested, rows have different lengths.
    full = target.bincount(minlength=m) == width
    candidates = source[order][full[target[order]]].view(-1, width)
    rows = full.nonzero()[:, 0]
    picked, last, farthest = settle(clouds.only(rows), candidates, k)
    last, farthest = last.sqrt(), farthest.sqrt()
    # Sources that were not returned may be nearer than the farthest candidate by up to two rounding errors.
    settled = last < farthest - 2 * single.error(farthest) if width < n else torch.ones_like(last, dtype=torch.bool)
    result = picked.new_empty((m, k))
    result[rows] = picked
    full[rows] = settled
    open_rows = (~full).nonzero()[:, 0]
    if len(open_rows):
        result[open_rows] = brute.nearest(clouds.only(open_rows), k)
    return result


def within(clouds: Clouds, r: float, cap: int | None) -> Pairs:
    """Find the sources within r of each target, at most the nearest ``cap`` of them."""
    cluster = package()
    single = _SinglePrecision(clouds)
    n = len(clouds.source)
    # The kernels exclude the boundary and round; no distance in the scaled coordinates exceeds 2 sqrt(d).
    wanted = torch.tensor(r, dtype=torch.float64, device="cpu")
    reach = float((wanted + 2 * single.error(wanted)) / single.scale)
    reach = min(reach, 3 * math.sqrt(single.source.shape[1]))
    limit = min(n, _LIMIT if cap is None else cap + clouds.excluded + 1)
    rows = torch.arange(len(clouds.target), device=clouds.source.device)
    found = []
    while len(rows):
        crowded = []
        for block in blocks(rows, limit):
            row, source = cluster.radius(single.source, single.target[block], reach, max_num_neighbors=limit)
            # The kernels stop at the limit with any sources, not the nearest.
            full = row.bincount(minlength=len(block)) >= limit
            if limit == n and cap is None:
                full.fill_(False)
            found.append(filtered(clouds, r, source[~full[row]], block[row[~full[row]]]))
            crowded.append(block[full])
        rows = torch.cat(crowded)
        if cap is not None and len(rows):
            found.append(nearest_within(clouds, r, cap, rows, nearest))
            break
        limit = min(n, 4 * limit)
    return joined(found)
