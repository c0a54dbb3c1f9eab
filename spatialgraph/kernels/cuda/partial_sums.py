"""Sums of gradients over tiles of pairs, in a fixed order and in memory of a limited size."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from spatialgraph.kernels.cuda.launching import is_tensor, launch, three, tiles

__all__ = ["MOST_BYTES", "geometry_strides", "spread"]

MOST_BYTES = 2**28
"""Bytes of partial sums at a time; more targets than they take are computed in several launches."""


def spread(
    kernel: Any,  # noqa: ANN401
    grads: Callable[[slice], tuple[Any, ...]],
    source_pos: Tensor,
    target_pos: Tensor,
    scale: Tensor,
    formula: str,
    softening: float,
    settings: Sequence[float | Tensor],
    tile: tuple[int, int],
    **options: Any,  # noqa: ANN401
) -> tuple[Tensor, Tensor, Tensor, Tensor | float]:
    """Launch a kernel that spreads the gradient of the weights, and sum what its programs return.

    Args:
        kernel: a kernel that calls ``spread`` of :mod:`spatialgraph.kernels.cuda.loops.tiles`.
        grads: from some targets to the kernel's first arguments, which hold the gradient of their weights.
        source_pos: positions of the sources, shape ``(n, d)``.
        target_pos: positions of the targets, shape ``(m, d)``.
        scale: scales of the sources, shape ``(n,)``.
        formula: the name of a law.
        softening: that of the law.
        settings: the other numbers of the law.
        tile: targets and sources of a program.
        options: further constants of the kernel.

    Returns:
        Gradients of source positions, target positions, scales and the first number; 0 if that is not learnt.
    """
    bj, bi = tile
    sources, dim = source_pos.shape
    columns = tiles(sources, bi)
    is_learnt = is_tensor(settings) and settings[0].requires_grad  # type: ignore[union-attr]
    by_target, totals = [], list[Tensor]()
    for start in range(0, max(len(target_pos), 1), _targets_at_a_time(sources, dim, bj, bi)):
        block = slice(start, start + _targets_at_a_time(sources, dim, bj, bi))
        own = target_pos[block]
        rows = tiles(len(own), bj)
        parts = [
            source_pos.new_empty(rows, sources, dim + 1),
            source_pos.new_empty(columns, len(own), dim),
            source_pos.new_empty(rows if is_learnt else 0, columns),
        ]
        launch(
            kernel, (rows * columns,), *grads(block), source_pos, own, scale, *parts, sources, len(own),
            *geometry_strides(source_pos, own, scale), softening**2, *three(settings),
            FORMULA=formula, DIM=dim, FIRST_IS_TENSOR=is_tensor(settings), IS_LEARNT=is_learnt, BJ=bj, BI=bi, **options,
        )  # fmt: skip
        by_target.append(_summed(parts[1]))
        sums = [_summed(parts[0]), parts[2].sum()] if is_learnt else [_summed(parts[0])]
        totals = [total + own for total, own in zip(totals, sums, strict=True)] if totals else sums
    target = by_target[0] if len(by_target) == 1 else torch.cat(by_target)
    return totals[0][:, :dim], target, totals[0][:, dim], totals[1] if is_learnt else 0.0


def geometry_strides(source_pos: Tensor, target_pos: Tensor, scale: Tensor) -> tuple[int, ...]:
    """Return the strides of positions and scales, in the order in which kernels take them."""
    return (*source_pos.stride(), *target_pos.stride(), *scale.stride())


def _targets_at_a_time(sources: int, dim: int, bj: int, bi: int) -> int:
    """Return of how many targets, a multiple of those of a tile, the partial sums fit."""
    bytes_of_tile = 4 * (sources * (dim + 1) + tiles(sources, bi) * bj * dim)
    return bj * max(1, MOST_BYTES // max(1, bytes_of_tile))


def _summed(parts: Tensor) -> Tensor:
    """Sum over tiles in a fixed order."""
    return parts[0] if len(parts) == 1 else parts.sum(0)
