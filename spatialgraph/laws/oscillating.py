r"""Laws that change their sign with the length, so that one neuron excites some targets and inhibits others."""

import math

import torch
from torch import Tensor, nn

from spatialgraph import checks
from spatialgraph.laws.law import LEAST_LENGTH, Law, constant

__all__ = ["Cosine", "CosineWave", "MexicanHat", "SineWave"]


# Coefficients of sin(x) / x and of its derivative by x^2, in powers of x^2.
_SINE = [(-1) ** n / math.factorial(2 * n + 1) for n in range(8)]
_SINE_SLOPE = [n * coefficient for n, coefficient in enumerate(_SINE)][1:]


def _series(coefficients: list[float], x: Tensor) -> Tensor:
    total = torch.zeros_like(x)
    for coefficient in reversed(coefficients):
        total = total * x + coefficient
    return total


class _Wave(Law):
    r"""Base class of laws with a wavenumber :math:`k`."""

    wavenumber: Tensor

    def __init__(self, wavenumber: float = 2.0, learnable: bool = False, softening: float = 1e-3) -> None:
        super().__init__(constant("softening", softening, minimum=LEAST_LENGTH))
        value = torch.tensor(constant("wavenumber", wavenumber, above=0.0))
        self.learnable = checks.flag("learnable", learnable)
        if self.learnable:
            self.wavenumber = nn.Parameter(value)
        else:
            self.register_buffer("wavenumber", value)

    def parameter_slopes(self, square: Tensor, weight: Tensor) -> tuple[Tensor, ...]:
        """Return the derivative of the weight by the wavenumber where it is learnable."""
        return (self._by_wavenumber(square),) if self.learnable else ()

    def _by_wavenumber(self, square: Tensor) -> Tensor:
        raise NotImplementedError

    def settings(self) -> dict[str, float | bool]:
        """Return the constructor's arguments for an equal law."""
        return {"wavenumber": self.wavenumber.item(), "learnable": self.learnable, "softening": self.softening}


def _split(square: Tensor) -> tuple[Tensor, Tensor]:
    """Return finite squares, and whether each has not overflowed: where it has, decaying laws weigh 0."""
    return square.clamp(max=torch.finfo(square.dtype).max), square != torch.inf


class Cosine(_Wave):
    r"""Weights that oscillate with the length, :math:`w = \cos k\rho`, where :math:`\rho^2 = r^2 + \varepsilon^2`.

    Args:
        wavenumber: :math:`k`, radians per length unit.
        learnable: whether the wavenumber is a parameter.
        softening: :math:`\varepsilon`, in length units, at least 1e-12.

    Raises:
        TypeError: if an argument is of the wrong type.
        ValueError: if ``wavenumber`` is not positive, or ``softening`` below 1e-12.

    Example:
        >>> Cosine(wavenumber=torch.pi)(torch.tensor([0.0, 0.5, 1.0])).round(decimals=4)
        tensor([ 1., -0., -1.])
    """

    def from_square(self, square: Tensor) -> Tensor:
        """Return the weight at a softened squared length."""
        return torch.cos(self.wavenumber * square.sqrt())

    def slope(self, square: Tensor, weight: Tensor) -> Tensor:
        """Return the derivative of the weight by the softened squared length."""
        rho = square.sqrt()
        return torch.sin(self.wavenumber * rho).div_(rho).mul_(-0.5 * self.wavenumber)

    def _by_wavenumber(self, square: Tensor) -> Tensor:
        rho = square.sqrt()
        return torch.sin(self.wavenumber * rho).mul_(-rho)


class SineWave(_Wave):
    r"""Weights of a spherical wave, :math:`w = \sin(k\rho) / \rho`, where :math:`\rho^2 = r^2 + \varepsilon^2`.

    It is the imaginary part of the wave :math:`e^{ik\rho} / \rho` that a point sends out, is :math:`k` at length 0, and
    decays as the inverse distance does. :class:`CosineWave` is the real part.

    Args:
        wavenumber: :math:`k`, radians per length unit.
        learnable: whether the wavenumber is a parameter.
        softening: :math:`\varepsilon`, in length units, at least 1e-12.

    Raises:
        TypeError: if an argument is of the wrong type.
        ValueError: if ``wavenumber`` is not positive, or ``softening`` below 1e-12.

    Example:
        >>> SineWave(wavenumber=torch.pi)(torch.tensor([0.0, 0.5, 1.0])).round(decimals=4)
        tensor([3.1416, 2.0000, -0.0000])
    """

    def from_square(self, square: Tensor) -> Tensor:
        """Return the weight at a softened squared length."""
        finite, is_finite = _split(square)
        k, rho = self.wavenumber, finite.sqrt()
        phase, exact = k * k * finite, torch.sin(k * rho) / rho
        # Automatic differentiation of the quotient subtracts nearly equal numbers where the phase is small.
        return torch.where(phase < 0.1, k * _series(_SINE, phase.clamp(max=0.1)), exact) * is_finite

    def slope(self, square: Tensor, weight: Tensor) -> Tensor:
        """Return the derivative of the weight by the softened squared length."""
        k, (square, is_finite) = self.wavenumber, _split(square)
        phase = k * k * square
        exact = (k * torch.cos(k * square.sqrt()) - weight) / square * (0.5 * is_finite)
        # The difference of two nearly equal numbers: below, a series is more accurate.
        return torch.where(phase < 0.1, k**3 * _series(_SINE_SLOPE, phase), exact)

    def _by_wavenumber(self, square: Tensor) -> Tensor:
        finite, is_finite = _split(square)
        return torch.cos(self.wavenumber * finite.sqrt()) * is_finite


class CosineWave(_Wave):
    r"""Weights of a spherical wave, :math:`w = \cos(k\rho) / \rho`, where :math:`\rho^2 = r^2 + \varepsilon^2`.

    For a small wavenumber it is the inverse distance.

    Args:
        wavenumber: :math:`k`, radians per length unit.
        learnable: whether the wavenumber is a parameter.
        softening: :math:`\varepsilon`, in length units, at least 1e-12.

    Raises:
        TypeError: if an argument is of the wrong type.
        ValueError: if ``wavenumber`` is not positive, or ``softening`` below 1e-12.

    Example:
        >>> CosineWave(wavenumber=torch.pi)(torch.tensor([0.25, 0.5, 1.0])).round(decimals=4)
        tensor([ 2.8284, -0.0000, -1.0000])
    """

    def from_square(self, square: Tensor) -> Tensor:
        """Return the weight at a softened squared length."""
        finite, is_finite = _split(square)
        rho = finite.sqrt()
        return torch.cos(self.wavenumber * rho) / rho * is_finite

    def slope(self, square: Tensor, weight: Tensor) -> Tensor:
        """Return the derivative of the weight by the softened squared length."""
        finite, is_finite = _split(square)
        sine = torch.sin(self.wavenumber * finite.sqrt())
        return (self.wavenumber * sine).add_(weight).div_(finite).mul_(-0.5 * is_finite)

    def _by_wavenumber(self, square: Tensor) -> Tensor:
        finite, is_finite = _split(square)
        return torch.sin(self.wavenumber * finite.sqrt()).mul_(-1.0 * is_finite)


class MexicanHat(Law):
    r"""Weights that are a difference of Gaussians, :math:`w = e^{-r^2 / 2\sigma^2} - a\, e^{-r^2 / 2 (b\sigma)^2}`.

    Near targets are excited and farther ones inhibited (:math:`0 < a < 1`, :math:`b > 1`), as by lateral inhibition:
    Rodieck (1965), `Quantitative analysis of cat retinal ganglion cell response
    <https://doi.org/10.1016/0042-6989(65)90033-7>`_.

    Args:
        sigma: width :math:`\sigma` of the center, in length units.
        surround: width of the surround :math:`b`, in widths of the center.
        strength: strength of the surround :math:`a`, in that of the center.
        learnable: whether the width is a parameter.

    Raises:
        TypeError: if an argument is of the wrong type.
        ValueError: if a number is not positive.

    Example:
        >>> MexicanHat(sigma=1.0, surround=2.0, strength=0.5)(torch.tensor([0.0, 1.0, 3.0]))
        tensor([ 0.5000,  0.1653, -0.1512])
    """

    sigma: Tensor

    def __init__(
        self, sigma: float = 1.0, surround: float = 2.0, strength: float = 0.5, learnable: bool = False
    ) -> None:
        super().__init__(softening=0.0)
        value = torch.tensor(constant("sigma", sigma, minimum=LEAST_LENGTH))
        self.surround = constant("surround", surround, above=0.0)
        self.strength = constant("strength", strength, above=0.0)
        self.learnable = checks.flag("learnable", learnable)
        if self.learnable:
            self.sigma = nn.Parameter(value)
        else:
            self.register_buffer("sigma", value)

    def from_square(self, square: Tensor) -> Tensor:
        """Return the weight at a softened squared length."""
        center, surround = self._gaussians(square)
        return center - self.strength * surround

    def slope(self, square: Tensor, weight: Tensor) -> Tensor:
        """Return the derivative of the weight by the softened squared length."""
        return self._by_exponent(square) * (-0.5 / self.sigma**2)

    def parameter_slopes(self, square: Tensor, weight: Tensor) -> tuple[Tensor, ...]:
        """Return the derivative of the weight by the width where it is learnable."""
        return (self._by_exponent(square) * _split(square)[0] / self.sigma**3,) if self.learnable else ()

    def _gaussians(self, square: Tensor) -> tuple[Tensor, Tensor]:
        exponent = _split(square)[0] * (-0.5 / self.sigma**2)
        return torch.exp(exponent), torch.exp(exponent / self.surround**2)

    def _by_exponent(self, square: Tensor) -> Tensor:
        center, surround = self._gaussians(square)
        return center - self.strength / self.surround**2 * surround

    def settings(self) -> dict[str, float | bool]:
        """Return the constructor's arguments for an equal law."""
        return {
            "sigma": self.sigma.item(),
            "surround": self.surround,
            "strength": self.strength,
            "learnable": self.learnable,
        }
