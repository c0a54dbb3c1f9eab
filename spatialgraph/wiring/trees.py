"""Neighbour search by SciPy: a k-d tree, for positions on the CPU."""

from __future__ import annotations

import numpy as np
import torch
from scipy.spatial import cKDTree
from torch import Tensor

from spatialgraph.wiring import brute
from spatialgraph.wiring.candidates import filtered, joined, nearest_within, settle
from spatialgraph.wiring.clouds import Array, Clouds, Pairs, blocks

__all__ = ["nearest", "within"]

# The tree's distances and the canonical ones differ by a few units in the 16th digit. Distances within this relative
# tolerance count as tied and are resolved in the canonical order; the absolute term covers squares that underflow.
_TIE = 1e-9
_TIE_FLOOR = 1e-150

# Number of targets per query.
_BLOCK = 2**16


def _tree(points: Array) -> cKDTree:
    # Splits at midpoints are faster to build than splits at medians and as fast to query.
    return cKDTree(points, leafsize=32, balanced_tree=False)


def nearest(clouds: Clouds, k: int) -> Tensor:
    """Find the k nearest sources of each target."""
    one_cloud = clouds.target is clouds.source
    tree = _tree(clouds.source.numpy())
    # Targets are sorted by space, so that consecutive queries use the same nodes in the processor's cache.
    order = (tree if one_cloud else _tree(clouds.target.numpy())).indices
    chosen = np.empty((len(order), k), dtype=np.int64)
    tied = [_query_block(tree, clouds, order[begin : begin + _BLOCK], chosen) for begin in range(0, len(order), _BLOCK)]
    result = torch.from_numpy(chosen)
    _settle_ties(tree, clouds, np.concatenate(tied), result)
    return result


def _query_block(tree: cKDTree, clouds: Clouds, rows: Array, chosen: Array) -> Array:
    """Fill in some rows of the result and return those with an unresolved tie."""
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
    """Resolve rows whose k-th nearest source ties with the next, with an increasing number of candidates."""
    k = result.shape[1]
    needed = k + clouds.excluded
    width = 4 * needed
    while len(rows) and 16 * width < tree.n:
        tied = []
        for block in blocks(rows, width):
            distance, index = _query(tree, clouds.target.numpy()[block], width)
            some = torch.from_numpy(block)
            result[some] = settle(clouds.only(some), torch.from_numpy(index), k)[0]
            tied.append(block[_reaches_past(distance, needed)])
        rows = np.concatenate(tied)
        width *= 4
    if len(rows):
        remaining = torch.from_numpy(rows)
        result[remaining] = brute.nearest(clouds.only(remaining), k)


def _query(tree: cKDTree, targets: Array, width: int) -> tuple[Array, Array]:
    distance, index = tree.query(targets, width, workers=-1)
    return distance.reshape(-1, width), index.reshape(-1, width)  # SciPy drops the axis where width is 1


def _reaches_past(distance: Array, needed: int) -> Array:
    """Mark rows whose last candidate is tied with the k-th one."""
    mask: Array = distance[:, -1] <= distance[:, needed - 1] * (1 + _TIE) + _TIE_FLOOR
    return mask


def within(clouds: Clouds, r: float, cap: int | None) -> Pairs:
    """Find the sources within r of each target, at most the nearest ``cap`` of them."""
    targets = clouds.target.numpy()
    tree = _tree(clouds.source.numpy())
    reach = r * (1 + _TIE) + _TIE_FLOOR
    crowded = torch.zeros(len(targets), dtype=torch.bool, device="cpu")
    if cap is not None:
        # Targets with too many sources within r use a k-nearest search instead, so that memory is bounded by the cap.
        counts = np.asarray(tree.query_ball_point(targets, reach, workers=-1, return_length=True))
        crowded = torch.from_numpy(counts) > cap + clouds.excluded
    rows = (~crowded).nonzero()[:, 0]
    found = []
    if len(rows):
        pairs = tree.sparse_distance_matrix(_tree(targets[rows.numpy()]), reach, output_type="ndarray")
        source, row = (torch.from_numpy(pairs[end].astype(np.int64)) for end in ("i", "j"))
        found.append(filtered(clouds, r, source, rows[row]))
    if cap is not None and crowded.any():
        found.append(nearest_within(clouds, r, cap, crowded.nonzero()[:, 0], nearest))
    return joined(found)
