"""Neighbour search: which sources lie nearest to, or within a radius of, each target.

Three backends share one definition of near. Candidates are ordered by their squared distance, summed over
the axes in order from float64 differences, and then by source index. Every backend settles the cases that
its own arithmetic cannot tell apart in exactly this order, so all of them return the same edges, also where
distances tie.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from types import ModuleType
from typing import Any, Literal, TypeAlias

import numpy as np
import torch
from scipy.spatial import cKDTree
from torch import Tensor

__all__ = ["BACKENDS", "Backend", "Clouds", "nearest", "within"]

Backend = Literal["auto", "scipy", "torch_cluster", "brute"]
BACKENDS = ("auto", "scipy", "torch_cluster", "brute")

Array: TypeAlias = "np.ndarray[Any, Any]"
Pairs: TypeAlias = "tuple[Tensor, Tensor]"

# Elements of one temporary (rows, candidates) table: 32 MB in float64.
_TABLE = 2**22

# The square of a larger radius would overflow; coordinates are limited so that no distance reaches this one.
_LARGEST_RADIUS = 1e153

# The tree's distances and the canonical ones differ by a few units in the 16th digit. Distances closer than
# this relative gap count as tied and are settled canonically; the absolute term covers squares that
# underflow.
_TIE = 1e-9
_TIE_FLOOR = 1e-150

_TREE_BLOCK = 2**16

# torch_cluster's CUDA kernel holds at most 100 candidates per target.
_CLUSTER_WIDTH = 100
_CLUSTER_MARGIN = 16
_CLUSTER_LIMIT = 64


@dataclass(frozen=True)
class Clouds:
    """Source and target positions of one search.

    Attributes:
        source: Source positions (N, d), float64, finite, in length units.
        target: Target positions (M, d), likewise, on the same device.
        own: For each target its own index among the sources, which it must not choose (M,), or None if it
            has none.
    """

    source: Tensor
    target: Tensor
    own: Tensor | None = None

    @property
    def excluded(self) -> int:
        """How many sources, 0 or 1, each target must not choose."""
        return 0 if self.own is None else 1

    @property
    def available(self) -> int:
        """How many sources each target can choose from."""
        return len(self.source) - self.excluded

    def only(self, rows: Tensor) -> Clouds:
        """The same search for some of the targets."""
        return Clouds(self.source, self.target[rows], None if self.own is None else self.own[rows])

    def squared_lengths(self, sources: Tensor, targets: Tensor) -> Tensor:
        """Canonical squared distances for source and target indices that broadcast together."""
        axes = zip(self.source.T, self.target.T, strict=True)
        # Squared in a step of its own, because a fused multiply-add would round differently.
        squares = ((source[sources] - target[targets]).square_() for source, target in axes)
        total: Tensor = next(squares)
        for square in squares:
            total += square
        return total

    def tables(self) -> Iterator[Pairs]:
        """Squared distances to all sources, block by block of targets so that memory is bounded.

        Yields:
            Target indices (rows,) and squared distances (rows, N), infinite for a target's own index.
        """
        everyone = torch.arange(len(self.source), device=self.source.device)[None]
        targets = torch.arange(len(self.target), device=self.source.device)
        step = max(1, _TABLE // len(self.source))
        for begin in range(0, len(targets), step):
            rows = targets[begin : begin + step]
            table = self.squared_lengths(everyone, rows[:, None])
            if self.own is not None:
                table.scatter_(1, self.own[rows, None], math.inf)
            yield rows, table


def nearest(clouds: Clouds, k: int, backend: Backend = "auto") -> Tensor:
    """Finds the k nearest sources of each target.

    Args:
        clouds: The positions.
        k: How many, from 1 to ``clouds.available``.
        backend: One of BACKENDS; the result does not depend on it.

    Returns:
        Source indices (M, k), ascending in each row.

    Raises:
        ImportError: If torch_cluster is asked for by name and not installed.
    """
    search, _ = _SEARCHES[_choose(backend, clouds.source.device)]
    return search(clouds, k)


def within(clouds: Clouds, r: float, max_sources: int | None = None, backend: Backend = "auto") -> Pairs:
    """Finds the sources within the distance r of each target, boundary included.

    Args:
        clouds: The positions.
        r: The distance, in length units.
        max_sources: Keep the nearest so many per target; None keeps all.
        backend: One of BACKENDS; the result does not depend on it.

    Returns:
        Source indices (E,) and target indices (E,), in no particular order.

    Raises:
        ImportError: If torch_cluster is asked for by name and not installed.
    """
    _, search = _SEARCHES[_choose(backend, clouds.source.device)]
    cap = max_sources if max_sources is not None and max_sources < clouds.available else None
    return search(clouds, min(r, _LARGEST_RADIUS), cap)


def _choose(backend: str, device: torch.device) -> str:
    if backend != "auto":
        return backend
    if device.type == "cpu":
        return "scipy"
    if device.type == "cuda":  # other accelerators have no torch_cluster kernels
        try:
            _torch_cluster()
        except ImportError:
            return "brute"
        return "torch_cluster"
    return "brute"


# Brute force: distances to all sources


def _nearest_brute(clouds: Clouds, k: int) -> Tensor:
    blocks = [_smallest(table, k).nonzero()[:, 1] for _, table in clouds.tables()]
    return torch.cat(blocks).view(-1, k)


def _within_brute(clouds: Clouds, r: float, cap: int | None) -> Pairs:
    found = []
    for rows, table in clouds.tables():
        kept = table <= r * r
        if cap is not None:
            kept &= _smallest(table, cap)
        row, source = kept.nonzero(as_tuple=True)
        found.append((source, rows[row]))
    return _joined(found)


def _smallest(table: Tensor, k: int) -> Tensor:
    """Mask of the k smallest entries of each row, of equals the first."""
    largest = table.topk(k, largest=False, sorted=False).values.amax(1, keepdim=True)
    below = table < largest
    tied = table == largest
    vacant = k - below.sum(1, keepdim=True)
    return below | (tied & (tied.cumsum(1, dtype=torch.int32) <= vacant))


# SciPy: a k-d tree on the CPU


def _tree(points: Array) -> cKDTree:
    # Splits at midpoints are faster to build than splits at medians and as fast to query.
    return cKDTree(points, leafsize=32, balanced_tree=False)


def _nearest_scipy(clouds: Clouds, k: int) -> Tensor:
    device = clouds.source.device
    one_cloud = clouds.target is clouds.source
    source = clouds.source.cpu()
    clouds = Clouds(
        source,
        source if one_cloud else clouds.target.cpu(),
        None if clouds.own is None else clouds.own.cpu(),
    )
    tree = _tree(clouds.source.numpy())
    # Targets that are near in space follow each other, so that they find the tree's nodes in the
    # processor's cache.
    order = (tree if one_cloud else _tree(clouds.target.numpy())).indices
    chosen = np.empty((len(order), k), dtype=np.int64)
    tied = [
        _query_block(tree, clouds, order[begin : begin + _TREE_BLOCK], chosen)
        for begin in range(0, len(order), _TREE_BLOCK)
    ]
    result = torch.from_numpy(chosen)
    _settle_ties(tree, clouds, np.concatenate(tied), result)
    return result.to(device)


def _query_block(tree: cKDTree, clouds: Clouds, rows: Array, chosen: Array) -> Array:
    """Fills in some rows of the result and returns those of them that a tie leaves undecided."""
    k = chosen.shape[1]
    needed = k + clouds.excluded
    width = min(needed + 1, tree.n)
    distance, index = _query(tree, clouds.target.numpy()[rows], width)
    index = index[:, :needed]
    if clouds.own is not None:
        index[index == clouds.own.numpy()[rows, None]] = tree.n  # sorts last
    index.sort(axis=1)
    chosen[rows] = index[:, :k]
    return rows[_reaches_past(distance, needed)] if width > needed else rows[:0]


def _settle_ties(tree: cKDTree, clouds: Clouds, rows: Array, result: Tensor) -> None:
    """Overwrites rows whose k-th nearest source ties with the next, from ever more candidates."""
    k = result.shape[1]
    needed = k + clouds.excluded
    width = 4 * needed
    while len(rows) and 16 * width < tree.n:
        tied = []
        step = max(1, _TABLE // width)
        for begin in range(0, len(rows), step):
            block = rows[begin : begin + step]
            distance, index = _query(tree, clouds.target.numpy()[block], width)
            some = torch.from_numpy(block)
            result[some] = _settle(clouds.only(some), torch.from_numpy(index), k)[0]
            tied.append(block[_reaches_past(distance, needed)])
        rows = np.concatenate(tied)
        width *= 4
    if len(rows):
        remaining = torch.from_numpy(rows)
        result[remaining] = _nearest_brute(clouds.only(remaining), k)


def _query(tree: cKDTree, targets: Array, width: int) -> tuple[Array, Array]:
    distance, index = tree.query(targets, width, workers=-1)
    return distance.reshape(-1, width), index.reshape(-1, width)  # SciPy drops the axis where width is 1


def _reaches_past(distance: Array, needed: int) -> Array:
    """Mask of rows whose last candidate is about as near as the one in place needed."""
    mask: Array = distance[:, -1] <= distance[:, needed - 1] * (1 + _TIE) + _TIE_FLOOR
    return mask


def _within_scipy(clouds: Clouds, r: float, cap: int | None) -> Pairs:
    device = clouds.source.device
    targets = clouds.target.numpy(force=True)
    tree = _tree(clouds.source.numpy(force=True))
    reach = r * (1 + _TIE) + _TIE_FLOOR
    crowded = torch.zeros(len(targets), dtype=torch.bool, device=device)
    if cap is not None:
        # Crowded targets search by number instead, so that memory is bounded by the cap.
        counts = np.asarray(tree.query_ball_point(targets, reach, workers=-1, return_length=True))
        crowded = torch.from_numpy(counts).to(device) > cap + clouds.excluded
    rows = (~crowded).nonzero()[:, 0]
    found = []
    if len(rows):
        pairs = tree.sparse_distance_matrix(_tree(targets[rows.numpy(force=True)]), reach, output_type="ndarray")
        source, row = (torch.from_numpy(pairs[end].astype(np.int64)).to(device) for end in ("i", "j"))
        found.append(_filter(clouds, r, source, rows[row]))
    if cap is not None and crowded.any():
        found.append(_nearest_within(clouds, r, cap, crowded.nonzero()[:, 0], _nearest_scipy))
    return _joined(found)


# What the backends with other arithmetic share


def _settle(clouds: Clouds, candidates: Tensor, k: int) -> tuple[Tensor, Tensor, Tensor]:
    """Chooses k of each target's candidates in the canonical order.

    Args:
        clouds: The search, for as many targets as there are rows of candidates.
        candidates: Source indices (M, c), of which a target may choose at least k.
        k: How many to choose.

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
    # A stable sort leaves equals in the order of their indices.
    squared, order = squared.sort(dim=1, stable=True)
    return candidates.gather(1, order[:, :k]).sort(1).values, squared[:, k - 1], farthest


def _filter(clouds: Clouds, r: float, sources: Tensor, targets: Tensor) -> Pairs:
    """Keeps the pairs within r by the canonical distance, without a neuron and itself."""
    kept = clouds.squared_lengths(sources, targets) <= r * r
    if clouds.own is not None:
        kept &= sources != clouds.own[targets]
    return sources[kept], targets[kept]


def _nearest_within(clouds: Clouds, r: float, k: int, rows: Tensor, search: Callable[[Clouds, int], Tensor]) -> Pairs:
    """The k nearest sources of some targets, as far as they are within r."""
    sources = search(clouds.only(rows), k)
    return _filter(clouds, r, sources.flatten(), rows.repeat_interleave(k))


def _joined(found: list[Pairs]) -> Pairs:
    sources, targets = zip(*found, strict=True)
    return torch.cat(sources), torch.cat(targets)


# torch_cluster: candidates in float32 on the accelerator


def _torch_cluster() -> ModuleType:
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
        """Bound on the error of a length: twice the rounding of coordinates, differences and sums."""
        d = self.source.shape[1]
        return 2**-23 * (math.sqrt(d) * self.scale + (d + 3) / 2 * length) + _TIE_FLOOR


def _nearest_torch_cluster(clouds: Clouds, k: int) -> Tensor:
    cluster = _torch_cluster()
    n, m = len(clouds.source), len(clouds.target)
    width = min(k + clouds.excluded + _CLUSTER_MARGIN, n, _CLUSTER_WIDTH)
    if k + clouds.excluded >= width and width < n:
        return _nearest_brute(clouds, k)
    single = _SinglePrecision(clouds)
    target, source = cluster.knn(single.source, single.target, width)
    order = target.argsort(stable=True)
    # A kernel that finds fewer than asked for leaves rows out of step.
    full = target.bincount(minlength=m) == width
    candidates = source[order][full[target[order]]].view(-1, width)
    rows = full.nonzero()[:, 0]
    picked, last, farthest = _settle(clouds.only(rows), candidates, k)
    last, farthest = last.sqrt(), farthest.sqrt()
    # Sources that were not returned may be nearer than the farthest candidate by two rounding errors.
    settled = last < farthest - 2 * single.error(farthest) if width < n else torch.ones_like(last, dtype=torch.bool)
    result = picked.new_empty((m, k))
    result[rows] = picked
    full[rows] = settled
    open_rows = (~full).nonzero()[:, 0]
    if len(open_rows):
        result[open_rows] = _nearest_brute(clouds.only(open_rows), k)
    return result


def _within_torch_cluster(clouds: Clouds, r: float, cap: int | None) -> Pairs:
    cluster = _torch_cluster()
    single = _SinglePrecision(clouds)
    n = len(clouds.source)
    # The kernels exclude the boundary and round; no distance in single's units exceeds 2 sqrt(d).
    wanted = torch.tensor(r, dtype=torch.float64)
    reach = float((wanted + 2 * single.error(wanted)) / single.scale)
    reach = min(reach, 3 * math.sqrt(single.source.shape[1]))
    limit = min(n, _CLUSTER_LIMIT if cap is None else cap + clouds.excluded + 1)
    rows = torch.arange(len(clouds.target), device=clouds.source.device)
    found = []
    while len(rows):
        crowded = []
        step = max(1, _TABLE // limit)
        for begin in range(0, len(rows), step):
            block = rows[begin : begin + step]
            row, source = cluster.radius(single.source, single.target[block], reach, max_num_neighbors=limit)
            # The kernels stop at the limit, whichever sources they met first.
            full = row.bincount(minlength=len(block)) >= limit
            if limit == n and cap is None:
                full.fill_(False)
            found.append(_filter(clouds, r, source[~full[row]], block[row[~full[row]]]))
            crowded.append(block[full])
        rows = torch.cat(crowded)
        if cap is not None and len(rows):
            found.append(_nearest_within(clouds, r, cap, rows, _nearest_torch_cluster))
            break
        limit = min(n, 4 * limit)
    return _joined(found)


_SEARCHES: dict[str, tuple[Callable[[Clouds, int], Tensor], Callable[[Clouds, float, int | None], Pairs]]] = {
    "brute": (_nearest_brute, _within_brute),
    "scipy": (_nearest_scipy, _within_scipy),
    "torch_cluster": (_nearest_torch_cluster, _within_torch_cluster),
}
