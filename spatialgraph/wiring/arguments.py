"""Checks of the numbers that wirings are told."""

import math

from spatialgraph import checks

__all__ = ["check_density", "check_integer", "check_radius", "check_small_world"]


def check_integer(name: str, value: object, low: int | None = None) -> None:
    """Raises unless value is an int, no bool, and at least low."""
    if not checks.is_integer(value):
        raise TypeError(f"{name} must be an int, got {value!r} ({type(value).__name__})")
    if low is not None and int(value) < low:
        raise ValueError(f"{name} must be at least {low}, got {value}")


def _real(name: str, value: object) -> float:
    """Raises unless value is a real number, no bool; returns it as a float."""
    if not checks.is_real(value):
        raise TypeError(f"{name} must be a number, got {value!r} ({type(value).__name__})")
    return float(value)


def check_radius(r: object, max_sources: object) -> None:
    """Raises unless r is finite and positive and max_sources None or at least 1."""
    value = _real("r", r)
    if not (math.isfinite(value) and value > 0):
        raise ValueError(f"r must be finite and greater than 0, got {r}")
    if max_sources is not None:
        check_integer("max_sources", max_sources, 1)


def check_density(density: object) -> None:
    """Raises unless density is in (0, 1]."""
    if not 0 < _real("density", density) <= 1:
        raise ValueError(f"density must be greater than 0 and at most 1, got {density}")


def check_small_world(k: object, long_range: object, exponent: object) -> None:
    """Raises unless the numbers of a small world make sense whatever the positions are."""
    check_integer("k", k)
    check_integer("long_range", long_range, 0)
    value = _real("exponent", exponent)
    if not (math.isfinite(value) and value >= 0):
        raise ValueError(f"exponent must be finite and at least 0, got {exponent}")
