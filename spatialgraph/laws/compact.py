"""Laws of finite reach: beyond a radius the weight is 0, so that positions decide which synapses matter."""

import torch
from torch import Tensor

from spatialgraph.laws.law import LEAST_LENGTH, Law, constant

__all__ = ["Compact"]


class Compact(Law):
    r"""Weights that reach 0 at a radius, :math:`w = (1 - q)_+^4\, (4q + 1)` with :math:`q = \rho / R`.

    Weight and slope are continuous everywhere, so that a synapse fades in and out as its neurons move. With the wiring
    :class:`Radius(R) <spatialgraph.wiring.Radius>` every synapse that weighs something exists, and a sparse network
    computes what the all-to-all one does. The function is that of `Wendland (1995)
    <https://doi.org/10.1007/BF02123482>`_ for up to three dimensions; in more it is a law like others.

    Args:
        radius: the radius :math:`R`, in length units.
        softening: :math:`\varepsilon` in :math:`\rho^2 = r^2 + \varepsilon^2`, in length units, from 1e-12 to below
            the radius.

    Raises:
        TypeError: if an argument is of the wrong type.
        ValueError: if ``radius`` is not positive, or ``softening`` is below 1e-12 or not below it.

    Example:
        >>> import torch
        >>> Compact(radius=2.0)(torch.tensor([0.0, 1.0, 2.0, 3.0]))
        tensor([1.0000, 0.1875, 0.0000, 0.0000])
    """

    def __init__(self, radius: float = 1.0, softening: float = 1e-3) -> None:
        super().__init__(constant("softening", softening, minimum=LEAST_LENGTH))
        self.radius = constant("radius", radius, above=0.0)
        if softening >= radius:
            raise ValueError(f"softening must be below the radius ({radius}), got {softening}")

    def from_square(self, square: Tensor) -> Tensor:
        """Return the weight at a softened squared length."""
        share = (square.sqrt() / self.radius).clamp(max=1.0)
        # The same polynomial twice: each is accurate, also when differentiated, where it is used.
        near = 1.0 - share * share * (10.0 - share * (20.0 - share * (15.0 - 4.0 * share)))
        return torch.where(share < 0.5, near, (1.0 - share).pow(4) * (4.0 * share + 1.0))

    def slope(self, square: Tensor, weight: Tensor) -> Tensor:
        """Return the derivative of the weight by the softened squared length."""
        inside = (1.0 - square.sqrt() / self.radius).clamp(min=0.0)
        return inside.pow(3) * (-10.0 / self.radius**2)

    def settings(self) -> dict[str, float | bool]:
        """Return the constructor's arguments for an equal law."""
        return {"radius": self.radius, "softening": self.softening}
