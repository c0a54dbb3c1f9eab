"""Checks of the arguments of wirings."""

import math

from spatialgraph import checks

__all__ = ["check_density", "check_radius", "check_seed", "check_small_world"]


def check_radius(r: object, max_sources: object) -> None:
    """Raise unless r is finite and positive and max_sources None or at least 1."""
    value = checks.real("r", r)
    if not (math.isfinite(value) and value > 0):
        raise ValueError(f"r must be finite and greater than 0, got {r}")
    if max_sources is not None:
        checks.integer("max_sources", max_sources, minimum=1)


def check_density(density: object) -> None:
    """Raise unless density is in (0, 1]."""
    if not 0 < checks.real("density", density) <= 1:
        raise ValueError(f"density must be greater than 0 and at most 1, got {density}")


def check_seed(seed: object) -> None:
    """Raise unless seed is None or a number of 32 bits."""
    if seed is not None and checks.integer("seed", seed, minimum=0) >= 2**32:
        raise ValueError(f"seed must be below 2**32, got {seed}")


def check_small_world(k: object, long_range: object, exponent: object) -> None:
    """Raise unless k and long_range are ints, long_range at least 0, and exponent finite and at least 0."""
    checks.integer("k", k)
    checks.integer("long_range", long_range, minimum=0)
    value = checks.real("exponent", exponent)
    if not (math.isfinite(value) and value >= 0):
        raise ValueError(f"exponent must be finite and at least 0, got {exponent}")
