"""Sine and cosine for tiles in Triton, without the slow path of CUDA's library, which spills registers.

As in :mod:`spatialgraph.kernels.loops.elementary`: multiples of pi are subtracted in three steps, and the Taylor series
of the rest is summed. Phases up to 1e4 have an error of a few rounding steps.
"""

import triton
import triton.language as tl

__all__ = ["sine_and_cosine", "sine_slope"]


@triton.jit
def sine_and_cosine(phase):
    """Return the sine and the cosine of phases; NaN for infinite ones."""
    # Adding this number rounds to an integer, which is then found in the lowest bits.
    periods = phase * 0.3183098861837907 + 12582912.0
    count = periods - 12582912.0
    rest = phase - count * 3.140625
    rest = rest - count * 0.0009675025939941406
    rest = rest - count * 1.5099579909783765e-07
    rest = tl.where(rest > 1.6, 1.6, tl.where(rest < -1.6, -1.6, rest))  # NaN stays
    sign = periods.to(tl.int32, bitcast=True) << 31
    square = rest * rest
    sine = rest * _sine_series(square)
    return _with_sign(sine, sign), _with_sign(_cosine_series(square), sign)


@triton.jit
def _with_sign(x, sign):
    return (x.to(tl.int32, bitcast=True) ^ sign).to(tl.float32, bitcast=True)


@triton.jit
def _sine_series(x):
    total = x * -2.505210838544172e-08 + 2.7557319223985893e-06
    total = total * x - 0.0001984126984126984
    total = total * x + 0.008333333333333333
    total = total * x - 0.16666666666666666
    return total * x + 1.0


@triton.jit
def _cosine_series(x):
    total = x * 2.08767569878681e-09 - 2.755731922398589e-07
    total = total * x + 2.48015873015873e-05
    total = total * x - 0.001388888888888889
    total = total * x + 0.041666666666666664
    total = total * x - 0.5
    return total * x + 1.0


@triton.jit
def sine_slope(x):
    """Return the derivative of sin(y) / y by x = y^2, for x below 0.1."""
    total = x * 9.635426302092969e-10 - 1.2526054192720860e-07
    total = total * x + 1.1022927689594356e-05
    total = total * x - 0.0005952380952380953
    total = total * x + 0.016666666666666666
    return total * x - 0.16666666666666666
