"""Scales of quantised numbers: whole numbers of few bits, the codes, times a scale."""

import dataclasses
from typing import Any

import torch
from torch import Tensor

from spatialgraph import checks

__all__ = ["Quantization", "best_scale", "check_bits", "largest_code", "round_to"]

BITS = (2, 8)
# Scales that are tried, as shares of the one at which the largest number is the largest code.
_SHARES = torch.linspace(1.0, 0.3, 71, dtype=torch.float64)


@dataclasses.dataclass(frozen=True)
class Quantization:
    r"""Scales of a network whose parameters are codes of few bits.

    A coordinate along axis :math:`a` is :math:`c\, k_a\, u` with a code :math:`c` between :math:`-(2^{b-1} - 1)` and
    :math:`2^{b-1} - 1`, a multiplier :math:`k_a` and a unit :math:`u`, so that positions are whole numbers of units.
    The codes of polarities and biases have a scale for each layer. The gaps between layers are no codes.

    Args:
        bits: number of bits :math:`b` of a code.
        unit: length unit :math:`u` of whole positions.
        multipliers: :math:`k_a` of each learnable axis.
        polarity_scales: scale of the polarities of each layer; 0 where there are none.
        bias_scales: scale of the biases of each layer; 0 where there are none.

    Example:
        >>> Quantization(8, 0.5, (1, 3), (0.0,), (0.0,)).axis_scales()
        tensor([0.5000, 1.5000], dtype=torch.float64)
    """

    bits: int
    unit: float
    multipliers: tuple[int, ...]
    polarity_scales: tuple[float, ...]
    bias_scales: tuple[float, ...]

    def __post_init__(self) -> None:
        """Check the fields."""
        check_bits(self.bits)
        checks.positive("unit", self.unit)
        for multiplier in self.multipliers:
            checks.integer("multipliers", multiplier, minimum=1)
        for name in ("polarity_scales", "bias_scales"):
            for scale in getattr(self, name):
                if checks.number(name, scale) < 0:
                    raise ValueError(f"{name} must not be negative, got {scale}")

    @property
    def largest(self) -> int:
        """Largest code."""
        return largest_code(self.bits)

    def axis_scales(self) -> Tensor:
        """Return the scale of the codes of each axis, in length units."""
        return torch.tensor(self.multipliers, dtype=torch.float64) * self.unit

    def to_settings(self) -> dict[str, Any]:
        """Return it as JSON holds it."""
        return {name: list(value) if isinstance(value, tuple) else value for name, value in vars(self).items()}

    @classmethod
    def from_settings(cls, found: Any) -> "Quantization":  # noqa: ANN401 - any value is checked
        """Return what :meth:`to_settings` described."""
        names = {field.name for field in dataclasses.fields(cls)}
        if not isinstance(found, dict) or found.keys() != names:
            raise ValueError(f"quantization must have {', '.join(sorted(names))}, got {found!r}")
        values: dict[str, Any] = {name: tuple(each) if isinstance(each, list) else each for name, each in found.items()}
        return cls(**values)


def check_bits(bits: object) -> int:
    """Return a number of bits that codes may have."""
    low, high = BITS
    number = checks.integer("bits", bits, minimum=low)
    if number > high:
        raise ValueError(f"bits must be at most {high}, got {number}")
    return number


def largest_code(bits: int) -> int:
    """Return the largest code of so many bits; the smallest is its negative.

    Example:
        >>> largest_code(8), largest_code(4)
        (127, 7)
    """
    return (1 << (bits - 1)) - 1


def best_scale(values: Tensor, bits: int) -> float:
    """Return the scale at which the codes of so many bits are nearest to some values; 0 for none or zeros.

    Example:
        >>> best_scale(torch.tensor([-7.0, 2.0, 7.0]), 4)
        1.0
    """
    if not values.any():
        return 0.0
    largest = largest_code(bits)
    scales = (_SHARES * float(values.abs().max()) / largest)[:, None]
    errors = (round_to(values[None], scales, largest) - values).square().sum(1)
    return float(scales[int(errors.argmin())])


def round_to(values: Tensor, scale: Tensor, largest: int) -> Tensor:
    """Return the nearest codes times their scale; 0 where the scale is 0."""
    divisor = torch.where(scale > 0, scale, 1.0)
    return (values / divisor).round().clamp(-largest, largest) * scale
