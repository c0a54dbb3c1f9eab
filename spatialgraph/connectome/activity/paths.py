"""Paths: where to divide a path into steps."""

import heapq
import itertools
from collections.abc import Callable

from torch import Tensor

from spatialgraph.functional.precision import in_single

__all__ = ["spread"]


def spread(value: Callable[[float], Tensor], steps: int) -> list[float]:
    """Return where steps between 0 and 1 start and end, which are shorter where a value bends.

    A quarter of the steps divide the path evenly. Then the step is halved, again and again, whose middle has the value
    farthest from the mean of its ends, times the root of its length, lest all steps gather at a jump. A normalised
    layer makes this necessary: near a baseline of 0 it brings inputs of any size to the same variance, so that nearly
    all changes within a thousandth of the path.

    Args:
        value: from a place on the path to a value of any shape.
        steps: number of steps.

    Returns:
        ``steps + 1`` places in their order.

    Example:
        >>> import torch
        >>> spread(lambda place: torch.tensor(place < 0.3).float(), 4)
        [0.0, 0.25, 0.375, 0.5, 1.0]
    """
    even = max(1, steps // 4)
    ends = [number / even for number in range(even + 1)]
    if even == steps:
        return ends
    known: dict[float, Tensor] = {}

    def at(place: float) -> Tensor:
        if place not in known:
            known[place] = in_single(value(place))
        return known[place]

    def entry(start: float, end: float) -> tuple[float, float, float]:
        bend = (at(start) - 2.0 * at((start + end) / 2.0) + at(end)).abs().sum()
        return -float(bend) * (end - start) ** 0.5, start, end

    queue = [entry(*pair) for pair in itertools.pairwise(ends)]
    heapq.heapify(queue)
    while len(queue) < steps:
        _, start, end = heapq.heappop(queue)
        middle = (start + end) / 2.0
        heapq.heappush(queue, entry(start, middle))
        heapq.heappush(queue, entry(middle, end))
    return sorted({0.0, *(end for _, _, end in queue)})
