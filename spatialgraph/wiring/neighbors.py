"""Neighbour search: which sources lie nearest to, or within a radius of, each target.

All three backends use the same canonical order: candidates are ordered by their squared distance, summed over the axes
in order from float64 differences, and then by source index. Each backend resolves near-ties of its own arithmetic in
this order, so all of them return the same edges.
"""

from __future__ import annotations

import contextlib
from typing import Literal, Protocol

import torch
from torch import Tensor

from spatialgraph.wiring import brute, cluster, trees
from spatialgraph.wiring.clouds import Clouds, Pairs

__all__ = ["BACKENDS", "Backend", "nearest", "within"]

Backend = Literal["auto", "scipy", "torch_cluster", "brute"]
BACKENDS = ("auto", "scipy", "torch_cluster", "brute")

# The square of a larger radius would overflow; with the limit on coordinates, no distance is as large as this.
_LARGEST_RADIUS = 1e153


class _Search(Protocol):
    """Interface of a backend's module."""

    def nearest(self, clouds: Clouds, k: int) -> Tensor: ...

    def within(self, clouds: Clouds, r: float, cap: int | None) -> Pairs: ...


_SEARCHES: dict[str, _Search] = {"brute": brute, "scipy": trees, "torch_cluster": cluster}


def nearest(clouds: Clouds, k: int, backend: Backend = "auto") -> Tensor:
    """Find the k nearest sources of each target.

    Args:
        clouds: the positions.
        k: number of sources per target, from 1 to ``clouds.available``.
        backend: one of BACKENDS; the result does not depend on it.

    Returns:
        Source indices (M, k), ascending in each row.

    Raises:
        ImportError: if torch_cluster is asked for by name and not installed.
    """
    search, own = _chosen(clouds, backend)
    return search.nearest(own, k).to(clouds.source.device)


def within(clouds: Clouds, r: float, max_sources: int | None = None, backend: Backend = "auto") -> Pairs:
    """Find the sources within the distance r of each target, boundary included.

    Args:
        clouds: the positions.
        r: the distance, in length units.
        max_sources: largest number of sources per target, of which the nearest are returned; None for no limit.
        backend: one of BACKENDS; the result does not depend on it.

    Returns:
        Source indices (E,) and target indices (E,), in no particular order.

    Raises:
        ImportError: if torch_cluster is asked for by name and not installed.
    """
    cap = max_sources if max_sources is not None and max_sources < clouds.available else None
    search, own = _chosen(clouds, backend)
    sources, targets = search.within(own, min(r, _LARGEST_RADIUS), cap)
    return sources.to(clouds.source.device), targets.to(clouds.source.device)


def _chosen(clouds: Clouds, backend: Backend) -> tuple[_Search, Clouds]:
    """Return the search, and the positions where it takes place."""
    name = _choose(backend, clouds.source.device)
    return _SEARCHES[name], clouds.cpu() if name == "scipy" else clouds


def _choose(backend: str, device: torch.device) -> str:
    """Return the search for positions on a device; a tree on the CPU is faster than all lengths on an accelerator."""
    if backend != "auto":
        return backend
    if device.type == "cuda":  # torch_cluster has no kernels for other accelerators
        with contextlib.suppress(ImportError):
            cluster.package()
            return "torch_cluster"
    return "scipy"
