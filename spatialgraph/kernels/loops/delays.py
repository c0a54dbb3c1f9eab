"""Loops that Numba compiles for :mod:`spatialgraph.functional.delays`, on plain arrays.

Time is the last axis: ``x`` has shape ``(batch, sources, steps)``, ``y`` ``(batch, targets, steps - before)``. Edges
are sorted by source: those of source ``i`` are ``pointer[i]`` to ``pointer[i + 1]``, each with its target, the whole
steps and the fraction of its delay, and its weight. A synapse adds the shifted spikes of its source to the input of its
target; steps before the first and after the last spike are skipped. The loops return whether all targets are in range;
if not, nothing is computed.
"""

from numba import njit, prange

from spatialgraph.kernels.compilation import kernel
from spatialgraph.kernels.loops.checks import lie_inside

# Sums may be reordered for vectorisation; infinities and NaN are preserved.
_options = {"error_model": "numpy", "fastmath": {"reassoc", "contract", "nsz"}}
_inline = njit(**_options)
_compile = kernel(**_options)


@_inline
def active(run):
    """Return the range of steps from the first to the last that is not 0; its end is exclusive."""
    first, stop = 0, run.size
    while first < stop and run[first] == 0:
        first += 1
    while stop > first and run[stop - 1] == 0:
        stop -= 1
    return first, stop


@_inline
def overlap(first, stop, shift, steps):
    """Restrict a range of steps to those that are within a run of ``steps`` after the shift."""
    return max(first, -shift), min(stop, steps - shift)


@_inline
def add(source, factor, shift, first, stop, target):
    """Add a range of a run, times a factor, to another run, ``shift`` steps later."""
    low, high = overlap(first, stop, shift, target.size)
    if high > low:
        read, write = source[low:high], target[low + shift : high + shift]
        for t in range(read.size):
            write[t] += factor * read[t]


@_inline
def correlate(source, other, shift, first, stop):
    """Return the dot product of a range of a run and another run ``shift`` steps later."""
    low, high = overlap(first, stop, shift, other.size)
    total = source.dtype.type(0)
    if high > low:
        one, two = source[low:high], other[low + shift : high + shift]
        for t in range(one.size):
            total += one[t] * two[t]
    return total


@_compile
def send(x, before, pointer, target, whole, fraction, weight, y, parts):
    """Sum the weighted and delayed spikes of all sources at their targets."""
    one = x.dtype.type(1)
    batch = x.shape[0]
    if not lie_inside(target, 0, target.size, y.shape[1]):
        return False
    for part in prange(parts):
        for b in range(batch * part // parts, batch * (part + 1) // parts):
            for i in range(x.shape[1]):
                run = x[b, i]
                first, stop = active(run)
                if first == stop:
                    continue
                for e in range(pointer[i], pointer[i + 1]):
                    shift = whole[e] - before
                    received = y[b, target[e]]
                    add(run, weight[e] * (one - fraction[e]), shift, first, stop, received)
                    add(run, weight[e] * fraction[e], shift + 1, first, stop, received)
    return True


@_compile
def gradients(x, before, pointer, target, whole, fraction, weight, grad_y, grad_x, grad_weight, grad_delay, parts):
    """Sum the gradients of weights and delays, in one row for each thread, and of ``x`` unless ``grad_x`` is empty."""
    one = x.dtype.type(1)
    batch = x.shape[0]
    if not lie_inside(target, 0, target.size, grad_y.shape[1]):
        return False
    for part in prange(parts):
        for b in range(batch * part // parts, batch * (part + 1) // parts):
            for i in range(x.shape[1]):
                run = x[b, i]
                first, stop = active(run)
                for e in range(pointer[i], pointer[i + 1]):
                    shift = whole[e] - before
                    by_target = grad_y[b, target[e]]
                    if stop > first:
                        early = correlate(run, by_target, shift, first, stop)
                        late = correlate(run, by_target, shift + 1, first, stop)
                        grad_weight[part, e] += (one - fraction[e]) * early + fraction[e] * late
                        grad_delay[part, e] += weight[e] * (late - early)
                    if grad_x.size:
                        by_source = grad_x[b, i]
                        add(by_target, weight[e] * (one - fraction[e]), -shift, 0, by_target.size, by_source)
                        add(by_target, weight[e] * fraction[e], -shift - 1, 0, by_target.size, by_source)
    return True
