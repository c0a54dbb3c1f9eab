"""The loops that Numba compiles for :mod:`spatialgraph.functional.delays`, on plain arrays.

Time is the last axis: ``x`` has shape ``(batch, sources, steps)``, ``y`` ``(batch, targets, steps - before)``. Edges
are sorted by source: those of source ``i`` are ``pointer[i]`` to ``pointer[i + 1]``, each with its target, the whole
steps and the fraction of its delay, and its weight. A synapse adds its source's whole run to its target's, shifted;
silence before the first and after the last spike is passed over. The loops return whether all targets exist; where one
does not, nothing is computed.
"""

from numba import njit, prange

from spatialgraph.kernels.compilation import kernel
from spatialgraph.kernels.loops.checks import lie_inside

# Sums may be reordered, so that they are vectorised; infinities and NaN stay.
_options = {"error_model": "numpy", "fastmath": {"reassoc", "contract", "nsz"}}
_inline = njit(**_options)
_compile = kernel(**_options)


@_inline
def active(run):
    """Return the steps from the first to behind the last that is not 0."""
    first, behind = 0, run.size
    while first < behind and run[first] == 0:
        first += 1
    while behind > first and run[behind - 1] == 0:
        behind -= 1
    return first, behind


@_inline
def overlap(first, behind, shift, steps):
    """Cut a range of steps down to those that lie within a run of ``steps`` once they are shifted."""
    return max(first, -shift), min(behind, steps - shift)


@_inline
def add(source, factor, shift, first, behind, target):
    """Add a range of a run times a factor to another run, ``shift`` steps later."""
    low, high = overlap(first, behind, shift, target.size)
    if high > low:
        read, write = source[low:high], target[low + shift : high + shift]
        for t in range(read.size):
            write[t] += factor * read[t]


@_inline
def correlate(source, other, shift, first, behind):
    """Return the scalar product of a range of a run with another run ``shift`` steps later."""
    low, high = overlap(first, behind, shift, other.size)
    total = source.dtype.type(0)
    if high > low:
        one, two = source[low:high], other[low + shift : high + shift]
        for t in range(one.size):
            total += one[t] * two[t]
    return total


@_compile
def send(x, before, pointer, target, whole, fraction, weight, y, parts):
    """Add the delayed runs of all sources to those of their targets."""
    one = x.dtype.type(1)
    batch = x.shape[0]
    if not lie_inside(target, 0, target.size, y.shape[1]):
        return False
    for part in prange(parts):
        for b in range(batch * part // parts, batch * (part + 1) // parts):
            for i in range(x.shape[1]):
                run = x[b, i]
                first, behind = active(run)
                if first == behind:
                    continue
                for e in range(pointer[i], pointer[i + 1]):
                    shift = whole[e] - before
                    heard = y[b, target[e]]
                    add(run, weight[e] * (one - fraction[e]), shift, first, behind, heard)
                    add(run, weight[e] * fraction[e], shift + 1, first, behind, heard)
    return True


@_compile
def pull(x, before, pointer, target, whole, fraction, weight, grad_y, grad_x, grad_weight, grad_delay, parts):
    """Add up the gradients by weights and delays, a row for each thread, and by ``x`` where it has room for them."""
    one = x.dtype.type(1)
    batch = x.shape[0]
    if not lie_inside(target, 0, target.size, grad_y.shape[1]):
        return False
    for part in prange(parts):
        for b in range(batch * part // parts, batch * (part + 1) // parts):
            for i in range(x.shape[1]):
                run = x[b, i]
                first, behind = active(run)
                for e in range(pointer[i], pointer[i + 1]):
                    shift = whole[e] - before
                    by_target = grad_y[b, target[e]]
                    if behind > first:
                        early = correlate(run, by_target, shift, first, behind)
                        late = correlate(run, by_target, shift + 1, first, behind)
                        grad_weight[part, e] += (one - fraction[e]) * early + fraction[e] * late
                        grad_delay[part, e] += weight[e] * (late - early)
                    if grad_x.size:
                        by_source = grad_x[b, i]
                        add(by_target, weight[e] * (one - fraction[e]), -shift, 0, by_target.size, by_source)
                        add(by_target, weight[e] * fraction[e], -shift - 1, 0, by_target.size, by_source)
    return True
