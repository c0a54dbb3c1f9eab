"""B-splines that spread points onto a regular grid and gather from it."""

import dataclasses
import math

import torch
from torch import Tensor

__all__ = ["Grid", "spline_filter", "spline_weights"]


def spline_weights(offset: Tensor, order: int) -> tuple[Tensor, Tensor]:
    r"""Return the cardinal B-spline of an order at the grid points around each offset.

    Weights follow from the recursion :math:`(k - 1)\, M_k(u) = u\, M_{k-1}(u) + (k - u)\, M_{k-1}(u - 1)`. They are
    differentiable, positive, and sum to 1.

    Args:
        offset: coordinates in grid units, shape ``(n,)``.
        order: number of grid points that each offset reaches along an axis, even.

    Returns:
        Numbers of the first grid points, shape ``(n,)``, int64, and weights, shape ``(n, order)``.

    Example:
        >>> first, weights = spline_weights(torch.tensor([2.0]), 4)
        >>> first.item(), (6 * weights).round().tolist()
        (1, [[1.0, 4.0, 1.0, 0.0]])
    """
    below = offset.detach().floor()
    share = offset - below
    weights = [torch.ones_like(share)]
    for k in range(2, order + 1):
        grown = [(share + j) * weight for j, weight in enumerate(weights)]
        moved = [(k - 1 - j - share) * weight for j, weight in enumerate(weights)]
        inner = [a + b for a, b in zip(grown[1:], moved, strict=False)]
        weights = [each / (k - 1) for each in (grown[0], *inner, moved[-1])]
    return below.long() - (order // 2 - 1), torch.stack(weights[::-1], -1)


def spline_filter(count: int, order: int) -> Tensor:
    r"""Return what undoes the smoothing of a spline in Fourier space, of least mean-squared error.

    .. math:: F(k) = \hat\varphi(k)\, /\, \textstyle\sum_m \hat\varphi(k + 2 \pi m)^2

    It is one factor of the optimal influence function for smooth kernels of Hockney and Eastwood (1988), `Computer
    Simulation Using Particles <https://doi.org/10.1201/9780367806934>`_.

    Args:
        count: number of grid points along the axis, which is periodic.
        order: order of the spline.

    Returns:
        Tensor of shape ``(count,)``, float64.
    """
    frequency = 2.0 * math.pi * torch.fft.fftfreq(count, dtype=torch.float64, device="cpu")
    spectrum = torch.sinc(frequency / (2.0 * math.pi)) ** order
    first, weights = spline_weights(torch.zeros(1, dtype=torch.float64, device="cpu"), 2 * order)
    points = first + torch.arange(2 * order, device="cpu")
    return spectrum / (torch.cos(frequency[:, None] * points) * weights).sum(1)


@dataclasses.dataclass(frozen=True)
class Grid:
    """A regular grid.

    Args:
        origin: its lowest corner, in length units.
        spacing: between grid points, in length units.
        shape: number of grid points along each axis.
        order: order of the splines.
    """

    origin: tuple[float, ...]
    spacing: float
    shape: tuple[int, ...]
    order: int

    def offsets(self, pos: Tensor) -> Tensor:
        """Return positions of shape ``(n, axes)`` in grid units, from the lowest corner."""
        return (pos - pos.new_tensor(self.origin)) / self.spacing

    def stencils(self, offset: Tensor) -> tuple[Tensor, Tensor]:
        """Return the grid points around each position in grid units, and weights, shapes ``(n, order ** axes)``."""
        numbers, weights = offset.new_zeros(len(offset), 1, dtype=torch.int64), offset.new_ones(len(offset), 1)
        for axis, size in enumerate(self.shape):
            first, along = spline_weights(offset[:, axis], self.order)
            reached = first[:, None] + torch.arange(self.order, device=offset.device)
            numbers = (numbers[:, :, None] * size + reached[:, None, :]).flatten(1)
            weights = (weights[:, :, None] * along[:, None, :]).flatten(1)
        return numbers, weights
