"""Formulas of a weight and its derivatives by the softened squared length, for tiles in Triton.

They are those of :mod:`spatialgraph.kernels.loops.formulas`, in single precision, and the power. ``first``, ``second``
and ``third`` are the numbers of a formula besides the softening, in the order of the law's arguments. Squares that
overflow give a weight and derivatives of 0, except for the cosine, which has no limit. NaN stays.
"""

import triton
import triton.language as tl

from spatialgraph.kernels.cuda.loops.elementary import sine_and_cosine, sine_slope

__all__ = ["differentiate", "number"]


@triton.jit
def differentiate(square, first, second, third, FORMULA: tl.constexpr):
    """Return weights, twice their derivatives by the square, and their derivatives by the first number.

    The compiler drops what is not used.
    """
    if FORMULA == "inverse_distance":
        return _inverse_distance(square)
    elif FORMULA == "inverse_power":
        return _inverse_power(square, first)
    elif FORMULA == "cosine":
        return _cosine(square, first)
    elif FORMULA == "sine_wave":
        return _sine_wave(square, first)
    elif FORMULA == "cosine_wave":
        return _cosine_wave(square, first)
    elif FORMULA == "mexican_hat":
        return _mexican_hat(square, first, second, third)
    elif FORMULA == "gaussian":
        return _gaussian(square, first)
    elif FORMULA == "yukawa":
        return _yukawa(square, first)
    else:
        tl.static_assert(FORMULA == "compact")
        return _compact(square, first)


@triton.jit
def number(value, IS_TENSOR: tl.constexpr):
    """Return a number that is given as such, or by the place of a tensor with one element."""
    if IS_TENSOR:
        return tl.load(value).to(tl.float32)
    else:
        return value


@triton.jit
def _finite(square):
    """Return the square, 1 where it overflows, and whether it does not."""
    is_finite = ~(square > 3.4028234663852886e38)
    return tl.where(is_finite, square, 1.0), is_finite


@triton.jit
def _inverse_distance(square):
    w = tl.rsqrt(square)
    return w, -w * w * w, w


@triton.jit
def _inverse_power(square, exponent):
    # The square at which the slope is the largest number to the power of 0.9.
    shortest = tl.exp(-159.70111029372305 / (tl.maximum(exponent, 0.0) + 2.0))
    finite, is_finite = _finite(square)
    clamped = tl.where(finite < shortest, shortest, finite)
    whole, rest = _binary_logarithm(clamped)
    # The power of the whole part is exact but for the last bits of the exponent: the first twelve bits of its half,
    # and the rest.
    half = -0.5 * exponent
    leading = (half + tl.zeros_like(square)).to(tl.int32, bitcast=True) & -4096
    leading = leading.to(tl.float32, bitcast=True)
    power = leading * whole
    shift = tl.floor(power)
    w = tl.exp2((power - shift) + ((half - leading) * whole + half * rest)) * tl.exp2(shift)
    w = tl.where(is_finite, w, 0.0)
    slope = -0.34657359027997264 * (whole + rest) * w
    return w, tl.where(square < shortest, 0.0, -exponent * w / clamped), slope


@triton.jit
def _binary_logarithm(x):
    """Return the whole part of the logarithm of positive numbers to base 2, and the rest; NaN stays in the rest."""
    bits = x.to(tl.int32, bitcast=True)
    whole = ((bits >> 23) - 127).to(tl.float32)
    fraction = ((bits & 8388607) | 1065353216).to(tl.float32, bitcast=True)
    return whole, tl.log2(fraction) + (x - x)


@triton.jit
def _cosine(square, wavenumber):
    rho = tl.sqrt_rn(square)
    sine, w = sine_and_cosine(wavenumber * rho)
    return w, -wavenumber * sine / rho, -rho * sine


@triton.jit
def _sine_wave(square, wavenumber):
    finite, is_finite = _finite(square)
    rho = tl.sqrt_rn(finite)
    sine, cosine = sine_and_cosine(wavenumber * rho)
    w = tl.where(is_finite, sine / rho, 0.0)
    phase = wavenumber * wavenumber * finite
    # The quotient is a difference of two nearly equal numbers where the phase is small.
    near = 2.0 * wavenumber * wavenumber * wavenumber * sine_slope(phase)
    slope = tl.where(phase < 0.1, near, (wavenumber * cosine - w) / finite)
    return w, tl.where(is_finite, slope, 0.0), tl.where(is_finite, cosine, 0.0)


@triton.jit
def _cosine_wave(square, wavenumber):
    finite, is_finite = _finite(square)
    rho = tl.sqrt_rn(finite)
    sine, cosine = sine_and_cosine(wavenumber * rho)
    w = tl.where(is_finite, cosine / rho, 0.0)
    slope = tl.where(is_finite, -(wavenumber * sine + w) / finite, 0.0)
    return w, slope, tl.where(is_finite, -sine, 0.0)


@triton.jit
def _mexican_hat(square, sigma, surround, strength):
    finite = tl.where(square > 3.4028234663852886e38, 3.4028234663852886e38, square)
    inverse, narrower = 1.0 / (sigma * sigma), 1.0 / (surround * surround)
    center = tl.exp(-0.5 * inverse * finite)
    outer = strength * tl.exp(-0.5 * inverse * narrower * finite)
    by_exponent = center - outer * narrower
    return center - outer, -by_exponent * inverse, by_exponent * finite * inverse / sigma


@triton.jit
def _gaussian(square, sigma):
    inverse = 1.0 / (sigma * sigma)
    w = tl.exp(-0.5 * inverse * square)
    return w, -w * inverse, w


@triton.jit
def _yukawa(square, screening):
    finite, is_finite = _finite(square)
    inverse = tl.rsqrt(finite)
    w = tl.where(is_finite, tl.exp(-finite * inverse / screening) * inverse, 0.0)
    return w, -(inverse + 1.0 / screening) * inverse * w, w


@triton.jit
def _compact(square, radius):
    share = tl.sqrt_rn(square) / radius
    share = tl.where(share > 1.0, 1.0, share)
    inside = 1.0 - share
    third = inside * inside * inside
    return third * inside * (4.0 * share + 1.0), -20.0 * third / (radius * radius), share
