"""The Yin-Yang task: classification of points in a disc as yin, yang or dot."""

import torch
from torch import Tensor

from spatialgraph.devices import on_cpu

__all__ = ["yin_yang"]

RADIUS = 0.5
DOT_RADIUS = 0.1


@on_cpu
def yin_yang(count: int, seed: int) -> tuple[Tensor, Tensor]:
    r"""Draw points of the Yin-Yang symbol and their classes, each class a third of the points on average.

    The symbol is a disc of radius 0.5 around (0.5, 0.5). Two discs of radius 0.1 around (0.25, 0.5) and (0.75, 0.5) are
    the dots. The task is that of `Kriener et al. (2022) <https://arxiv.org/abs/2102.08211>`_; the points differ from
    those of its published code.

    Args:
        count: number of points.
        seed: seed of the random numbers.

    Returns:
        Points :math:`(x, y, 1 - x, 1 - y)` of shape ``(count, 4)``, all between 0 and 1, and classes of shape
        ``(count,)``: 0 for yin, 1 for yang, 2 for dot.

    Raises:
        ValueError: if ``count`` is below 1.

    Example:
        >>> points, classes = yin_yang(5, seed=0)
        >>> points.shape, classes.shape
        (torch.Size([5, 4]), torch.Size([5]))
    """
    if count < 1:
        raise ValueError(f"count must be at least 1, got {count}")
    generator = torch.Generator().manual_seed(seed)
    wanted = torch.randint(3, (count,), generator=generator)
    points = torch.empty(count, 2)
    waiting = torch.arange(count)
    while waiting.numel():  # redraw points that are not of the wanted class
        drawn = torch.rand(waiting.numel(), 2, generator=generator)
        fits = classify(drawn) == wanted[waiting]
        points[waiting[fits]] = drawn[fits]
        waiting = waiting[~fits]
    return torch.cat([points, 1 - points], dim=1), wanted


def classify(points: Tensor) -> Tensor:
    """Return the class of points ``(x, y)`` of shape ``(n, 2)``; -1 outside the disc.

    Example:
        >>> classify(torch.tensor([[0.5, 0.9], [0.5, 0.1], [0.25, 0.5], [0.0, 0.0]]))
        tensor([ 0,  1,  2, -1])
    """
    centre, left, right = (points.new_tensor([x, RADIUS]) for x in (RADIUS, 0.5 * RADIUS, 1.5 * RADIUS))
    to_left, to_right = (torch.linalg.vector_norm(points - dot, dim=1) for dot in (left, right))
    upper = (points[:, 1] > RADIUS) & (to_right > 0.5 * RADIUS)
    kind: Tensor = (~((to_left <= 0.5 * RADIUS) | upper)).long()
    kind[(to_left < DOT_RADIUS) | (to_right < DOT_RADIUS)] = 2
    kind[torch.linalg.vector_norm(points - centre, dim=1) > RADIUS] = -1
    return kind
