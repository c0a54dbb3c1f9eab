"""The loops that Numba compiles for :mod:`spatialgraph.delays`, on plain arrays; imported where they are first called.

Work is done spike by spike, for most entries of a spike train are 0. ``x`` has shape ``(steps, batch, sources)``, the
outputs begin ``before`` steps later. Edges are sorted by source: those of source ``i`` are ``pointer[i]`` to
``pointer[i + 1]``, each with its target, the whole steps and the fraction of its delay, and its weight.
"""

import numpy as np
from numba import njit, prange

_compile = njit(nogil=True, cache=True, parallel=True, error_model="numpy")


@_compile
def scatter(x, before, pointer, target, whole, fraction, weight, y, parts):
    """Add every spike to the inputs of its targets, shared between the two steps next to its arrival."""
    one = x.dtype.type(1)
    steps, batch, sources = x.shape
    for part in prange(parts):
        for b in range(batch * part // parts, batch * (part + 1) // parts):
            for t in range(steps):
                for i in range(sources):
                    value = x[t, b, i]
                    if value == 0:
                        continue
                    for e in range(pointer[i], pointer[i + 1]):
                        arrival = t + whole[e] - before
                        charge = value * weight[e]
                        if 0 <= arrival < y.shape[0]:
                            y[arrival, b, target[e]] += charge * (one - fraction[e])
                        if 0 <= arrival + 1 < y.shape[0]:
                            y[arrival + 1, b, target[e]] += charge * fraction[e]


@_compile
def gather(x, before, pointer, target, whole, fraction, weight, grad_y, grad_x, grad_weight, grad_delay):
    """Add up the gradients by weights and delays, a row for each thread, and by ``x`` where it has room for them."""
    one = x.dtype.type(1)
    nothing = x.dtype.type(0)
    steps, batch, sources = x.shape
    parts = grad_weight.shape[0]
    for part in prange(parts):
        for b in range(batch * part // parts, batch * (part + 1) // parts):
            for t in range(steps):
                for i in range(sources):
                    value = x[t, b, i]
                    if value == 0 and grad_x.size == 0:
                        continue
                    total = nothing
                    for e in range(pointer[i], pointer[i + 1]):
                        arrival = t + whole[e] - before
                        early = grad_y[arrival, b, target[e]] if 0 <= arrival < grad_y.shape[0] else nothing
                        late = grad_y[arrival + 1, b, target[e]] if 0 <= arrival + 1 < grad_y.shape[0] else nothing
                        mixed = (one - fraction[e]) * early + fraction[e] * late
                        total += weight[e] * mixed
                        if value != 0:
                            grad_weight[part, e] += value * mixed
                            grad_delay[part, e] += value * weight[e] * (late - early)
                    if grad_x.size:
                        grad_x[t, b, i] = total
