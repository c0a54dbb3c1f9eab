"""The sums of a projection between planes within a tolerance, on a grid that is kept between passes."""

import warnings

from torch import Tensor

from spatialgraph.functional.engine import Synapses
from spatialgraph.functional.mesh import NoGridError, Planner, TooFineError, summed
from spatialgraph.functional.mesh_plan import Plan, worthwhile_points
from spatialgraph.functional.precision import in_single
from spatialgraph.tracing import is_observed

__all__ = ["MeshSums"]


class MeshSums:
    """Computes the sums of a projection on a grid, where one reaches the tolerance.

    It keeps the grid as long as the geometry changes little, and warns once where no grid serves. Where sums over all
    pairs take less time than on a grid, as in small layers, there is none.

    Example:
        >>> import torch
        >>> from spatialgraph.laws import InverseDistance
        >>> pos = torch.rand(9, 3) * torch.tensor([1.0, 1.0, 0.0])
        >>> synapses = Synapses(pos, pos + 1.0, torch.ones(9), InverseDistance(), tolerance=1e-3)
        >>> MeshSums().send(torch.ones(2, 9), synapses) is None
        True
    """

    def __init__(self) -> None:
        self._planner = Planner()
        self._has_warned = False

    def send(self, x: Tensor, synapses: Synapses, bias: Tensor | None = None) -> Tensor | None:
        """Return the inputs of the targets; None where no tolerance is given, or no worthwhile grid reaches it.

        Args:
            x: activations of the sources, shape ``(..., n)``.
            synapses: the quantities that determine the weights, and the tolerance.
            bias: added to the inputs of the targets, shape ``(m,)``; None for nothing.

        Raises:
            ValueError: if positions are not finite.
        """
        plan = self._plan(synapses)
        return None if plan is None else summed(x, *synapses.geometry, bias, plan)

    def serves(self, synapses: Synapses) -> bool:
        """Tell whether a tolerance is given, and a worthwhile grid reaches it."""
        return self._plan(synapses) is not None

    def _plan(self, synapses: Synapses) -> Plan | None:
        if synapses.tolerance is None or synapses.factor is not None or synapses.masked:
            return None
        ends = in_single(synapses.source_pos), in_single(synapses.target_pos)
        if is_observed(*ends):
            return None
        try:
            return self._planner.plan(*ends, synapses.law, synapses.tolerance, worthwhile_points(*map(len, ends)))
        except TooFineError:
            return None
        except NoGridError as error:
            self._warn(error)
            return None

    def _warn(self, error: NoGridError) -> None:
        if not self._has_warned:
            self._has_warned = True
            warnings.warn(f"{error}; sums over all pairs are computed in its place", stacklevel=2)
