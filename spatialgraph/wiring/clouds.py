"""The positions of a neighbour search, and the lengths between them."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, TypeAlias, TypeVar

import numpy as np
import torch
from torch import Tensor

from spatialgraph import checks
from spatialgraph.devices import in_double

__all__ = ["Array", "Clouds", "Pairs", "blocks", "check_degree", "check_positions", "kind_of_sources", "prepare"]

Array: TypeAlias = "np.ndarray[Any, Any]"
Pairs: TypeAlias = "tuple[Tensor, Tensor]"

Rows = TypeVar("Rows", Tensor, Array)

# Elements of one temporary (rows, candidates) table: 32 MB in float64.
_TABLE = 2**22

_LARGEST_COORDINATE = 1e150  # the square of a larger one could overflow float64


@dataclass(frozen=True)
class Clouds:
    """Source and target positions of one search.

    Attributes:
        source: source positions (N, d), float64, finite, in length units.
        target: target positions (M, d), float64, finite, on the same device.
        own: index of each target among the sources (M,), which is excluded; None if targets are not sources.
    """

    source: Tensor
    target: Tensor
    own: Tensor | None = None

    @property
    def excluded(self) -> int:
        """Number of excluded sources per target, 0 or 1."""
        return 0 if self.own is None else 1

    @property
    def available(self) -> int:
        """Number of sources available to each target."""
        return len(self.source) - self.excluded

    def only(self, rows: Tensor) -> Clouds:
        """Return the same search for some of the targets."""
        return Clouds(self.source, self.target[rows], None if self.own is None else self.own[rows])

    def cpu(self) -> Clouds:
        """Return the same search on the CPU."""
        if self.source.is_cpu:
            return self
        source = self.source.cpu()
        target = source if self.target is self.source else self.target.cpu()
        return Clouds(source, target, None if self.own is None else self.own.cpu())

    def squared_lengths(self, sources: Tensor, targets: Tensor) -> Tensor:
        """Return canonical squared distances for source and target indices that broadcast together."""
        axes = zip(self.source.T, self.target.T, strict=True)
        # Squared in a separate step, because a fused multiply-add would round differently.
        squares = ((source[sources] - target[targets]).square_() for source, target in axes)
        total: Tensor = next(squares)
        for square in squares:
            total += square
        return total

    def tables(self) -> Iterator[Pairs]:
        """Yield squared distances to all sources, in blocks of targets to bound the memory.

        Yields:
            Target indices (rows,) and squared distances (rows, N), infinite for a target's own index.
        """
        everyone = torch.arange(len(self.source), device=self.source.device)[None]
        targets = torch.arange(len(self.target), device=self.source.device)
        for rows in blocks(targets, len(self.source)):
            table = self.squared_lengths(everyone, rows[:, None])
            if self.own is not None:
                table.scatter_(1, self.own[rows, None], math.inf)
            yield rows, table


def blocks(rows: Rows, width: int) -> Iterator[Rows]:
    """Split rows into blocks whose tables have a bounded size."""
    step = max(1, _TABLE // width)
    for begin in range(0, len(rows), step):
        yield rows[begin : begin + step]


def prepare(source_pos: Tensor, target_pos: Tensor | None) -> Clouds:
    """Check positions and convert them to float64, on the CPU if the device does not support float64."""
    check_positions("source_pos", source_pos)
    if target_pos is None:
        if len(source_pos) < 2:
            raise ValueError(f"source_pos must hold at least 2 neurons if target_pos is None, got {len(source_pos)}")
        source = _exact(source_pos)
        return Clouds(source, source, torch.arange(len(source), device=source.device))
    check_positions("target_pos", target_pos)
    both = "source_pos and target_pos must"
    if source_pos.shape[1] != target_pos.shape[1]:
        d = f"{source_pos.shape[1]} and {target_pos.shape[1]}"
        raise ValueError(f"{both} have the same number of dimensions d, got {d}")
    if source_pos.device != target_pos.device:
        raise ValueError(f"{both} be on the same device, got {source_pos.device} and {target_pos.device}")
    return Clouds(_exact(source_pos), _exact(target_pos))


def _exact(pos: Tensor) -> Tensor:
    return in_double(pos.detach())


def check_positions(name: str, pos: object) -> None:
    """Raise unless pos is a floating-point tensor (N, d), not empty, of finite coordinates."""
    if not isinstance(pos, Tensor) or not pos.is_floating_point():
        kind = str(pos.dtype) if isinstance(pos, Tensor) else type(pos).__name__
        raise TypeError(f"{name} must be a floating-point tensor, got {kind}")
    if pos.dim() != 2 or pos.shape[1] == 0:
        raise ValueError(f"{name} must have the shape (N, d) with d at least 1, got {tuple(pos.shape)}")
    if len(pos) == 0:
        raise ValueError(f"{name} must hold at least 1 neuron, got the shape {tuple(pos.shape)}")
    if pos.device.type == "meta":
        raise ValueError(f"{name} must have values, got a tensor on the device meta")
    largest = float(pos.detach().abs().max())
    if not math.isfinite(largest):
        raise ValueError(f"{name} must be finite, got NaN or infinite coordinates")
    if largest > _LARGEST_COORDINATE:
        raise ValueError(f"{name} must have coordinates of at most {_LARGEST_COORDINATE:g}, got {largest:g}")


def check_degree(name: str, degree: int, clouds: Clouds) -> None:
    """Raise unless each target has at least degree sources available."""
    checks.integer(name, degree)
    if not 1 <= degree <= clouds.available:
        allowed = f"between 1 and the number of {kind_of_sources(clouds)} ({clouds.available})"
        raise ValueError(f"{name} must be {allowed}, got {degree}")


def kind_of_sources(clouds: Clouds) -> str:
    """Return the name of the sources available to targets, for messages."""
    return "source neurons" if clouds.own is None else "other neurons"
