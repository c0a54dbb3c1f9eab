"""Formulas of a weight and its derivatives by the softened squared length, for use inside of loops.

A formula is two functions. ``weight(scale, square, constants, ...)`` returns ``scale`` times the weight.
``weight_gradients(grad, square, constants, ...)`` returns ``grad`` times the weight, the pull on the two ends, which is
-2 times ``grad`` times the derivative by the square, and ``grad`` times the derivative by ``constants[1]``, which is 0
where that is no parameter. ``constants[0]`` is the square of the softening, which ``square`` contains; the others are
those of the formula. ``zero`` and ``largest`` are the smallest and the largest square. All numbers have the same
precision; a constant in Python would be in double precision.

Squares that overflow give a weight and derivatives of 0, except for the cosine, which has no limit. NaN stays.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numba import njit

from spatialgraph.kernels.loops.elementary import cosine, exponential, like, series, sine, sine_and_cosine

__all__ = ["FORMULAS", "Formula", "compiled"]

_inline = njit(error_model="numpy", forceinline=True)


class Formula(NamedTuple):
    """The functions of a formula, and whether its first constant may be a parameter."""

    weight: Callable[..., Any]
    weight_gradients: Callable[..., Any]
    has_parameter: bool = False


def compiled(name, **options):
    """Return a formula whose functions are compiled with options of :func:`numba.njit`, as part of their callers."""
    formula = FORMULAS[name]
    compile_ = njit(inline="always", **options)
    return formula._replace(weight=compile_(formula.weight), weight_gradients=compile_(formula.weight_gradients))


@_inline
def _split(factor, square, zero, largest):
    """Return the factor, or 0 where the square overflows, and a finite square."""
    return (zero, largest) if square > largest else (factor, square)


# Inverse distance ----


def _inverse_distance(scale, square, constants, zero, largest):
    return zero if square > largest else scale / np.sqrt(square)


def _inverse_distance_gradients(grad, square, constants, zero, largest):
    one = like(1.0, square)
    w = zero if square > largest else one / np.sqrt(square)
    product = grad * w
    return product, product * w * w, zero


# Waves: constants[1] is the wavenumber ----


def _cosine(scale, square, constants, zero, largest):
    return scale * cosine(constants[1] * np.sqrt(square))


def _cosine_gradients(grad, square, constants, zero, largest):
    rho, k = np.sqrt(square), constants[1]
    s, c = sine_and_cosine(k * rho)
    s *= grad
    return grad * c, k * s / rho, -rho * s


def _sine_wave(scale, square, constants, zero, largest):
    scale, square = _split(scale, square, zero, largest)
    rho = np.sqrt(square)
    return scale * sine(constants[1] * rho) / rho


def _sine_wave_gradients(grad, square, constants, zero, largest):
    grad, square = _split(grad, square, zero, largest)
    rho, k = np.sqrt(square), constants[1]
    s, c = sine_and_cosine(k * rho)
    w, phase = s / rho, k * k * square
    # The exact pull is a difference of two nearly equal numbers where the phase is small.
    near = k * k * k * series("sine slope", phase)
    pull = -(near + near) if phase < like(0.1, square) else (w - k * c) / square
    return grad * w, grad * pull, grad * c


def _cosine_wave(scale, square, constants, zero, largest):
    scale, square = _split(scale, square, zero, largest)
    rho = np.sqrt(square)
    return scale * cosine(constants[1] * rho) / rho


def _cosine_wave_gradients(grad, square, constants, zero, largest):
    grad, square = _split(grad, square, zero, largest)
    rho, k = np.sqrt(square), constants[1]
    s, c = sine_and_cosine(k * rho)
    w = grad * c / rho
    return w, (k * grad * s + w) / square, -grad * s


# Gaussians: constants[1] is the width ----


@_inline
def _exponent(square, sigma):
    return square * (like(-0.5, square) / (sigma * sigma))


def _gaussian(scale, square, constants, zero, largest):
    return scale * exponential(_exponent(square, constants[1]))


def _gaussian_gradients(grad, square, constants, zero, largest):
    sigma = constants[1]
    w = grad * exponential(_exponent(square, sigma))
    return w, w * (like(1.0, square) / (sigma * sigma)), zero


def _mexican_hat(scale, square, constants, zero, largest):
    _, sigma, surround, strength = constants
    exponent = _exponent(square, sigma)
    return scale * (
        exponential(exponent) - strength * exponential(exponent * (like(1.0, square) / (surround * surround)))
    )


def _mexican_hat_gradients(grad, square, constants, zero, largest):
    _, sigma, surround, strength = constants
    exponent, one = _exponent(square, sigma), like(1.0, square)
    narrower = one / (surround * surround)
    center, outer = exponential(exponent), strength * exponential(exponent * narrower)
    pull = grad * (center - outer * narrower) * (one / (sigma * sigma))
    by_width = zero if pull == zero else pull * square * (one / sigma)  # the square may be infinite
    return grad * (center - outer), pull, by_width


# Finite or screened reach: constants[1] ----


def _yukawa(scale, square, constants, zero, largest):
    scale, square = _split(scale, square, zero, largest)
    rho = np.sqrt(square)
    return scale * exponential(rho * (like(-1.0, square) / constants[1])) / rho


def _yukawa_gradients(grad, square, constants, zero, largest):
    grad, square = _split(grad, square, zero, largest)
    rho, one = np.sqrt(square), like(1.0, square)
    inverse_rho, inverse_reach = one / rho, one / constants[1]
    w = grad * exponential(-rho * inverse_reach) * inverse_rho
    return w, (inverse_rho + inverse_reach) * inverse_rho * w, zero


@_inline
def _share_and_inside(square, radius):
    one = like(1.0, square)
    share = np.sqrt(square) * (one / radius)
    share = one if share > one else share
    return share, one - share


def _compact(scale, square, constants, zero, largest):
    share, inside = _share_and_inside(square, constants[1])
    fourth = inside * inside * inside * inside
    return scale * fourth * (like(4.0, square) * share + like(1.0, square))


def _compact_gradients(grad, square, constants, zero, largest):
    radius = constants[1]
    share, inside = _share_and_inside(square, radius)
    third = grad * inside * inside * inside
    w = third * inside * (like(4.0, square) * share + like(1.0, square))
    return w, third * (like(20.0, square) / (radius * radius)), zero


FORMULAS = {
    "inverse_distance": Formula(_inverse_distance, _inverse_distance_gradients),
    "cosine": Formula(_cosine, _cosine_gradients, has_parameter=True),
    "sine_wave": Formula(_sine_wave, _sine_wave_gradients, has_parameter=True),
    "cosine_wave": Formula(_cosine_wave, _cosine_wave_gradients, has_parameter=True),
    "mexican_hat": Formula(_mexican_hat, _mexican_hat_gradients, has_parameter=True),
    "gaussian": Formula(_gaussian, _gaussian_gradients),
    "yukawa": Formula(_yukawa, _yukawa_gradients),
    "compact": Formula(_compact, _compact_gradients),
}
