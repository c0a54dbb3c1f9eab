"""The choice of a grid for the product by Fourier transforms, and the law's weights on it."""

import dataclasses
import math
from collections.abc import Callable, Iterator

import torch
from torch import Tensor

from spatialgraph.devices import exact_dtype, in_double
from spatialgraph.functional.planes import gap_of
from spatialgraph.functional.splines import Grid, spline_filter
from spatialgraph.laws import Law
from spatialgraph.laws.law import law_on

__all__ = ["CHOICES", "Plan", "candidates", "most_points", "smoothness", "worthwhile_points"]

# Order of the splines, and grid spacings in the length over which the weight varies, from coarse to fine.
CHOICES = ((4, 2.0), (4, 3.0), (4, 4.5), (6, 4.0), (6, 6.0), (8, 6.0), (8, 9.0))
# Grid points for each neuron, and at least, above which a grid takes too much memory.
_POINTS_PER_NEURON, _POINTS = 16, 2**22
# Pairs whose sum takes as much time as transforms of a grid point: from 50 for one sample to 2000 for a hundred.
_PAIRS_PER_POINT = 1000
# Points between the farthest pair and the next period, over which the filter of the splines fades, by their order.
_MARGINS = {4: 24, 6: 72, 8: 72}
_SAMPLES = 512


@dataclasses.dataclass(frozen=True)
class Plan:
    """A grid that covers two planes, and the transform that multiplies it by a law's weights.

    Args:
        grid: the grid.
        transformed: number of points of the transform along each axis, so many that sums do not wrap around.
    """

    grid: Grid
    transformed: tuple[int, ...]

    @property
    def points(self) -> int:
        """Number of points of the transform."""
        return math.prod(self.transformed)

    def spectrum(self, weight: Callable[[Tensor], Tensor], like: Tensor, gap: float) -> Tensor:
        """Return the Fourier transform of a function of the squared length, for the product on the grid.

        Args:
            weight: from squared lengths to values.
            like: a tensor of the precision and device of the result.
            gap: distance of the planes.
        """
        axes = len(self.transformed)
        square = torch.full([1] * axes, gap**2, dtype=torch.float64, device="cpu")
        for axis, count in enumerate(self.transformed):
            along = self.grid.spacing * torch.fft.fftfreq(count, 1.0 / count, dtype=torch.float64, device="cpu")
            square = square + along.square().view(_along(axis, axes))
        exact = exact_dtype(like.device)
        spectrum = torch.fft.rfftn(weight(square.to(like.device, exact)))
        for axis, count in enumerate(self.transformed):
            factor = spline_filter(count, self.grid.order).square()[: spectrum.shape[axis]].to(like.device, exact)
            spectrum = spectrum * factor.view(_along(axis, axes))
        # Weights are even functions, and so their transform is real.
        even: Tensor = spectrum.real.to(like.dtype)
        return even


def _along(axis: int, axes: int) -> list[int]:
    return [-1 if each == axis else 1 for each in range(axes)]


@torch.no_grad()
def smoothness(law: Law, gap: float, extent: float) -> float:
    r"""Return the length over which a law's weight varies in a plane, :math:`\sqrt{\max |w| / \max |w''|}`.

    Args:
        law: the law.
        gap: distance of the planes.
        extent: the largest distance in the planes.

    Example:
        >>> from spatialgraph.laws import InverseDistance
        >>> round(smoothness(InverseDistance(), gap=0.5, extent=4.0), 2)
        0.5
    """
    floor = max(abs(gap), law.softening, 1e-6 * extent)
    lengths = torch.logspace(math.log10(floor) - 2, math.log10(extent), _SAMPLES, device="cpu")
    along = torch.cat([lengths.new_zeros(1), lengths]).double()
    square = along.square() + gap**2 + law.softening**2
    law = law_on(law, square.device)
    weight = law.from_square(square)
    first = 2.0 * along * law.slope(square, weight)
    second = torch.gradient(first, spacing=(along,))[0]
    return float((weight.abs().max() / second.abs().max().clamp_min(1e-300)).sqrt())


def most_points(n_sources: int, n_targets: int) -> int:
    """Return the number of grid points that a plan may have at most.

    Example:
        >>> most_points(10**6, 10**6)
        32000000
    """
    return max(_POINTS, _POINTS_PER_NEURON * (n_sources + n_targets))


def worthwhile_points(n_sources: int, n_targets: int) -> int:
    """Return the number of grid points above which sums over all pairs take less time.

    Example:
        >>> worthwhile_points(784, 2048), worthwhile_points(10**5, 10**5)
        (1605, 10000000)
    """
    return int(n_sources * n_targets / _PAIRS_PER_POINT)


def candidates(source_pos: Tensor, target_pos: Tensor, law: Law, most: int) -> Iterator[Plan]:
    """Yield plans for two planes, from coarse to fine, as long as grids are not too large.

    Args:
        source_pos: positions of the sources in their plane, shape ``(n, d)``.
        target_pos: positions of the targets in theirs, shape ``(m, d)``.
        law: the law.
        most: number of grid points that a plan may have.
    """
    ends = [in_double(pos.detach()[:, :-1]) for pos in (source_pos, target_pos)]
    low = torch.minimum(*(end.amin(0) for end in ends))
    extents = (torch.maximum(*(end.amax(0) for end in ends)) - low).tolist()
    width = smoothness(law, gap_of(source_pos, target_pos), max(math.hypot(*extents), 1e-30))
    for order, fineness in CHOICES:
        spacing = width / fineness
        shape = tuple(math.ceil(extent / spacing) + order + 3 for extent in extents)
        whole = [2 * count + _MARGINS[order] for count in shape]
        if math.prod(whole) > most:
            return
        origin = tuple((low - spacing * (order // 2 + 1)).tolist())
        yield Plan(Grid(origin, spacing, shape, order), tuple(map(_fast_size, whole)))


def _fast_size(count: int) -> int:
    """Return the next number without prime factors above 5, for which transforms are fast."""
    while True:
        rest = count
        for prime in (2, 3, 5):
            while rest % prime == 0:
                rest //= prime
        if rest == 1:
            return count
        count += 1
