"""The sums of a projection within a tolerance, in a time that grows with the neurons and not with the synapses."""

import functools
import warnings

from torch import Tensor

from spatialgraph.functional import multipole
from spatialgraph.functional.charges import of_charges
from spatialgraph.functional.engine import Synapses
from spatialgraph.functional.mesh import NoGridError, Planner, TooFineError, summed
from spatialgraph.functional.mesh_plan import Plan, worthwhile_points
from spatialgraph.functional.precision import in_single
from spatialgraph.tracing import is_observed

__all__ = ["FastSums"]

# Pairs whose sums take so long that a warning is due where a tolerance is of no use.
_SLOW = 10**8


class FastSums:
    """Computes the sums of a projection on a grid, or by the multipole method, where one of them reaches the tolerance.

    It keeps the grid as long as the geometry changes little, and warns once where large layers have to be summed over
    all pairs. Where sums over all pairs take less time, as in small layers, it computes nothing.

    Example:
        >>> import torch
        >>> from spatialgraph.laws import InverseDistance
        >>> pos = torch.rand(9, 3) * torch.tensor([1.0, 1.0, 0.0])
        >>> synapses = Synapses(pos, pos + 1.0, torch.ones(9), InverseDistance(), tolerance=1e-3)
        >>> FastSums().send(torch.ones(2, 9), synapses) is None
        True
    """

    def __init__(self) -> None:
        self._planner = Planner()
        self._has_warned = False

    def send(self, x: Tensor, synapses: Synapses, bias: Tensor | None = None) -> Tensor | None:
        """Return the inputs of the targets; None where no tolerance is given, or all pairs are to be summed.

        Args:
            x: activations of the sources, shape ``(..., n)``.
            synapses: the quantities that determine the weights, and the tolerance.
            bias: added to the inputs of the targets, shape ``(m,)``; None for nothing.

        Raises:
            ValueError: if positions are not finite.
        """
        tolerance = _tolerance(synapses)
        if tolerance is None:
            return None
        try:
            plan = self._plan(synapses, tolerance)
        except TooFineError:
            return None
        except NoGridError as error:
            has_multipoles = _has_multipoles(synapses, samples=x.shape[:-1].numel())
            y = _by_multipoles(x, synapses, bias, tolerance) if has_multipoles else None
            if y is None:
                self._warn(synapses, error)
            return y
        return summed(x, *synapses.geometry, bias, plan)

    def serves(self, synapses: Synapses) -> bool:
        """Tell whether a tolerance is given, and sums over all pairs can be avoided, at least for few samples."""
        tolerance = _tolerance(synapses)
        if tolerance is None:
            return False
        try:
            self._plan(synapses, tolerance)
        except TooFineError:
            return False
        except NoGridError as error:
            if not _has_multipoles(synapses, samples=1):
                self._warn(synapses, error)
                return False
        return True

    def _plan(self, synapses: Synapses, tolerance: float) -> Plan:
        source, target = in_single(synapses.source_pos), in_single(synapses.target_pos)
        worthwhile = worthwhile_points(len(source), len(target))
        return self._planner.plan(source, target, synapses.law, tolerance, worthwhile)

    def _warn(self, synapses: Synapses, error: NoGridError) -> None:
        if len(synapses.source_pos) * len(synapses.target_pos) >= _SLOW and not self._has_warned:
            self._has_warned = True
            warnings.warn(f"{error}; sums over all pairs are computed in its place", stacklevel=2)


def _tolerance(synapses: Synapses) -> float | None:
    """Return the tolerance of sums that follow from positions alone; None where they are to be exact."""
    if synapses.factor is not None or synapses.has_masked or is_observed(synapses.source_pos, synapses.target_pos):
        return None
    return synapses.tolerance


def _has_multipoles(synapses: Synapses, samples: int) -> bool:
    source, target = synapses.source_pos, synapses.target_pos
    return multipole.serves(source, target, synapses.law) and multipole.is_worthwhile(len(source), len(target), samples)


def _by_multipoles(x: Tensor, synapses: Synapses, bias: Tensor | None, tolerance: float) -> Tensor | None:
    """Return the inputs of the targets; None where too many neurons are near each other."""
    near = multipole.near_pairs(synapses.source_pos, synapses.target_pos, synapses.law, tolerance)
    if near is None:
        return None
    product = functools.partial(multipole.multipole, law=synapses.law, tolerance=tolerance, near=near)
    return of_charges(product, x, *synapses.geometry, bias)
