"""Sine, cosine and exponential function without branches, so that loops over them become vector instructions.

The functions of the C library take one number at a time. These subtract multiples of pi or log 2 from the argument and
sum the Taylor series of the rest, in the precision of the argument. Phases up to 1e4 and all exponents have an error of
a few rounding steps; of larger phases, the error is that of a phase with a few rounding steps more or less.
"""

import math

from llvmlite import ir
from numba import njit, types
from numba.extending import intrinsic

# Sums must not be reordered: that would undo the reduction of the argument.
_inline = njit(error_model="numpy", fastmath={"contract"}, forceinline=True)
_FUSE = ["contract"]  # allows fused multiply-adds

# Bits of the fraction and bias of the exponent, by the width of a number.
_FRACTION = {32: 23, 64: 52}
_BIAS = {32: 127, 64: 1023}

# The period of each reduction as a sum. The first summands have few bits, so that their products with the number of
# periods are exact.
_PERIOD = {
    "pi": {
        32: [3.140625, 0.0009675025939941406, 1.5099579909783765e-07],
        64: [3.1415926534682512, 1.2154201012607932e-10, 4.044532497591901e-21],
    },
    "log 2": {32: [0.693145751953125, 1.4286068203094173e-06], 64: [0.6931471804855391, 7.440617110012397e-11]},
}

# Taylor coefficients by ascending powers, enough of them for half a period: sin(x) / x and cos(x) in powers of x^2.
_SERIES = {
    "sine": {32: [(-1) ** n / math.factorial(2 * n + 1) for n in range(6)]},
    "cosine": {32: [(-1) ** n / math.factorial(2 * n) for n in range(7)]},
    "exponential": {32: [1 / math.factorial(n) for n in range(8)]},
    # The derivative of sin(x) / x by x^2, for x^2 < 0.1.
    "sine slope": {32: [(-1) ** n * n / math.factorial(2 * n + 1) for n in range(1, 7)]},
}
_SERIES["sine"][64] = [(-1) ** n / math.factorial(2 * n + 1) for n in range(11)]
_SERIES["cosine"][64] = [(-1) ** n / math.factorial(2 * n) for n in range(12)]
_SERIES["exponential"][64] = [1 / math.factorial(n) for n in range(14)]
_SERIES["sine slope"][64] = _SERIES["sine slope"][32]


@_inline
def sine(x):
    """Return the sine of a phase; NaN for an infinite one."""
    rest, periods = reduced("pi", x)
    return _sine_of_rest(rest, periods)


@_inline
def cosine(x):
    """Return the cosine of a phase; NaN for an infinite one."""
    rest, periods = reduced("pi", x)
    return _cosine_of_rest(rest, periods)


@_inline
def sine_and_cosine(x):
    """Return the sine and the cosine of a phase; NaN for an infinite one."""
    rest, periods = reduced("pi", x)
    return _sine_of_rest(rest, periods), _cosine_of_rest(rest, periods)


@_inline
def exponential(x):
    """Return the exponential function of a number that is not positive; 0 where it has no normal representation."""
    rest, periods = reduced("log 2", x)
    zero, scale = like(0.0, x), power_of_two(periods)
    return zero if scale == zero else series("exponential", rest) * scale  # the rest of an infinite number is NaN


@_inline
def _sine_of_rest(rest, periods):
    return with_sign_of(periods, rest * series("sine", rest * rest))


@_inline
def _cosine_of_rest(rest, periods):
    return with_sign_of(periods, series("cosine", rest * rest))


@intrinsic
def like(typing, value, x):
    """Return a number in the precision of another; arithmetic with constants would be in double precision."""

    def codegen(context, builder, signature, args):
        return context.cast(builder, args[0], signature.args[0], x)

    return x(value, x), codegen


@intrinsic(prefer_literal=True)
def reduced(typing, period, x):
    """Return a number less the nearest multiple of a period, and the number of periods.

    The latter is the integer in the lowest bits of a float. The former is at most 1.6: very large numbers have no
    accurate rest.
    """
    width = x.bitwidth
    summands = _PERIOD[period.literal_value][width]

    def codegen(context, builder, signature, args):
        rest = args[1]
        kind = rest.type
        rounding = ir.Constant(kind, _rounding(width))
        scaled = builder.fmul(rest, ir.Constant(kind, 1 / sum(summands)), flags=_FUSE)
        periods = builder.fadd(scaled, rounding, flags=_FUSE)
        count = builder.fsub(periods, rounding)
        for summand in summands:
            rest = builder.fsub(rest, builder.fmul(count, ir.Constant(kind, summand), flags=_FUSE), flags=_FUSE)
        for limit, sign in ((1.6, ">"), (-1.6, "<")):  # NaN stays
            bound = ir.Constant(kind, limit)
            rest = builder.select(builder.fcmp_ordered(sign, rest, bound), bound, rest)
        return context.make_tuple(builder, signature.return_type, (rest, periods))

    return types.UniTuple(x, 2)(period, x), codegen


@intrinsic(prefer_literal=True)
def series(typing, name, x):
    """Return the sum of a series at a number."""
    coefficients = _SERIES[name.literal_value][x.bitwidth]

    def codegen(context, builder, signature, args):
        total = ir.Constant(args[1].type, coefficients[-1])
        for coefficient in reversed(coefficients[:-1]):
            product = builder.fmul(total, args[1], flags=_FUSE)
            total = builder.fadd(product, ir.Constant(args[1].type, coefficient), flags=_FUSE)
        return total

    return x(name, x), codegen


@intrinsic
def with_sign_of(typing, periods, x):
    """Return ``x``, negated if the number of periods is odd."""

    def codegen(context, builder, signature, args):
        kind = ir.IntType(x.bitwidth)
        sign = builder.shl(builder.bitcast(args[0], kind), ir.Constant(kind, x.bitwidth - 1))
        return builder.bitcast(builder.xor(builder.bitcast(args[1], kind), sign), args[1].type)

    return x(periods, x), codegen


@intrinsic
def power_of_two(typing, periods):
    """Return 2 to the power of the number of periods, which is not positive; 0 where that is no normal number."""
    width = periods.bitwidth
    fraction, bias = _FRACTION[width], _BIAS[width]

    def codegen(context, builder, signature, args):
        kind, whole = args[0].type, ir.IntType(width)
        lowest = ir.Constant(kind, _rounding(width) + 1 - bias)
        biased = builder.add(builder.bitcast(args[0], whole), ir.Constant(whole, bias))
        power = builder.bitcast(builder.shl(biased, ir.Constant(whole, fraction)), kind)
        return builder.select(builder.fcmp_ordered("<", args[0], lowest), ir.Constant(kind, 0.0), power)

    return periods(periods), codegen


def _rounding(width):
    """Return the number whose addition rounds to an integer, which is then found in the lowest bits."""
    return 1.5 * 2.0 ** _FRACTION[width]
