"""Laws that decay with the length: inverse distance, inverse power, Gaussian, Yukawa."""

import math

import torch
from torch import Tensor, nn

from spatialgraph import checks
from spatialgraph.laws.law import LEAST_LENGTH, Law, constant

__all__ = ["Gaussian", "InverseDistance", "InversePower", "Yukawa"]


class InverseDistance(Law):
    r"""Weights that are the inverse of the length, :math:`w = 1 / \sqrt{r^2 + \varepsilon^2}` (the default).

    This is Eq. 1 of `Training Neural Networks by Optimizing Neuron Positions <https://arxiv.org/abs/2506.13410>`_
    (Erb et al., 2025), softened so that it is finite where two neurons coincide.

    Args:
        softening: :math:`\varepsilon`, in length units, at least 1e-12.

    Raises:
        ValueError: if ``softening`` is below 1e-12.

    Example:
        >>> InverseDistance()(torch.tensor([4.0]))
        tensor([0.2500])
    """

    def __init__(self, softening: float = 1e-3) -> None:
        super().__init__(constant("softening", softening, minimum=LEAST_LENGTH))

    def from_square(self, square: Tensor) -> Tensor:
        """Return the weight at a softened squared length."""
        return square.rsqrt()

    def slope(self, square: Tensor, weight: Tensor) -> Tensor:
        """Return the derivative of the weight by the softened squared length, ``-w**3 / 2``."""
        return weight.pow(3).mul_(-0.5)


class InversePower(Law):
    r"""Weights that decay as a power of the length, :math:`w = (r^2 + \varepsilon^2)^{-\alpha / 2}`.

    Softened lengths are clamped from below so that weight and slope do not overflow. With the default softening this
    affects exponents above 9 in single precision and above 80 in double precision.

    Args:
        exponent: :math:`\alpha`; 1 gives :class:`InverseDistance`.
        learnable: whether the exponent is a parameter.
        softening: :math:`\varepsilon`, in length units, at least 1e-12.

    Raises:
        ValueError: if ``exponent`` is not positive, or ``softening`` below 1e-12.

    Example:
        >>> InversePower(exponent=2.0)(torch.tensor([2.0]))
        tensor([0.2500])
    """

    exponent: Tensor

    def __init__(self, exponent: float = 2.0, learnable: bool = False, softening: float = 1e-3) -> None:
        super().__init__(constant("softening", softening, minimum=LEAST_LENGTH))
        value = torch.tensor(constant("exponent", exponent, above=0.0))
        self.learnable = checks.flag("learnable", learnable)
        if self.learnable:
            self.exponent = nn.Parameter(value)
        else:
            self.register_buffer("exponent", value)

    def from_square(self, square: Tensor) -> Tensor:
        """Return the weight at a softened squared length."""
        return square.clamp(min=self._shortest(square)).pow(-0.5 * self.exponent)

    def slope(self, square: Tensor, weight: Tensor) -> Tensor:
        """Return the derivative of the weight by the softened squared length."""
        shortest = self._shortest(square)
        return (weight / square.clamp(min=shortest)).mul_(-0.5 * self.exponent).mul_(square >= shortest)

    def parameter_slopes(self, square: Tensor, weight: Tensor) -> tuple[Tensor, ...]:
        """Return the derivative of the weight by the exponent where it is learnable."""
        if not isinstance(self.exponent, nn.Parameter):
            return ()
        return (square.clamp(min=self._shortest(square)).log().mul_(weight).mul_(-0.5),)

    def _shortest(self, square: Tensor) -> Tensor:
        r"""Return the square at which :math:`\rho^{-\alpha - 2}` is the largest number to the power of 0.9."""
        largest = math.log(torch.finfo(square.dtype).max)
        return torch.exp(-1.8 * largest / (self.exponent.detach().to(square.dtype).clamp(min=0.0) + 2.0))

    def settings(self) -> dict[str, float | bool]:
        """Return the constructor's arguments for an equal law."""
        return {"exponent": self.exponent.item(), "learnable": self.learnable, "softening": self.softening}


class Gaussian(Law):
    r"""Weights that decay as a Gaussian of the length, :math:`w = \exp(-r^2 / 2 \sigma^2)`.

    Args:
        sigma: the width :math:`\sigma`, in length units.

    Raises:
        ValueError: if ``sigma`` is not positive.

    Example:
        >>> Gaussian(sigma=1.0)(torch.tensor([0.0, 1.0]))
        tensor([1.0000, 0.6065])
    """

    def __init__(self, sigma: float = 1.0) -> None:
        super().__init__(softening=0.0)
        self.sigma = constant("sigma", sigma, minimum=LEAST_LENGTH)

    def from_square(self, square: Tensor) -> Tensor:
        """Return the weight at a softened squared length."""
        return torch.exp(square * (-0.5 / self.sigma**2))

    def slope(self, square: Tensor, weight: Tensor) -> Tensor:
        """Return the derivative of the weight by the softened squared length."""
        return weight * (-0.5 / self.sigma**2)

    def settings(self) -> dict[str, float | bool]:
        """Return the constructor's arguments for an equal law."""
        return {"sigma": self.sigma}


class Yukawa(Law):
    r"""Weights of an inverse distance that is screened beyond a range, :math:`w = e^{-\rho / \lambda} / \rho`.

    Here :math:`\rho = \sqrt{r^2 + \varepsilon^2}`. The law is that of the screened potential of Yukawa (1935), `On the
    Interaction of Elementary Particles <https://doi.org/10.11429/ppmsj1919.17.0_48>`_.

    Args:
        screening: the range :math:`\lambda`, in length units.
        softening: :math:`\varepsilon`, in length units, at least 1e-12.

    Raises:
        ValueError: if ``screening`` is not positive, or ``softening`` below 1e-12.

    Example:
        >>> Yukawa(screening=2.0)(torch.tensor([2.0]))
        tensor([0.1839])
    """

    def __init__(self, screening: float = 1.0, softening: float = 1e-3) -> None:
        super().__init__(constant("softening", softening, minimum=LEAST_LENGTH))
        self.screening = constant("screening", screening, above=0.0)

    def from_square(self, square: Tensor) -> Tensor:
        """Return the weight at a softened squared length."""
        rho = square.sqrt()
        return torch.exp(rho * (-1.0 / self.screening)) / rho

    def slope(self, square: Tensor, weight: Tensor) -> Tensor:
        """Return the derivative of the weight by the softened squared length."""
        inverse_rho = square.rsqrt()
        return (inverse_rho + 1.0 / self.screening).mul_(inverse_rho).mul_(weight).mul_(-0.5)

    def settings(self) -> dict[str, float | bool]:
        """Return the constructor's arguments for an equal law."""
        return {"screening": self.screening, "softening": self.softening}
