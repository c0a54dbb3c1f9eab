"""Loops that Numba compiles for :mod:`spatialgraph.functional.leaky`, on plain arrays.

Arrays of whole runs have shape ``(steps, count)``, those of one step ``(count,)``. A current of one row is constant.
Neurons are processed in chunks whose whole run fits into the cache. Sums are not reordered, so that results are
identical to the bit to those of single steps in PyTorch.
"""

import numpy as np
from numba import njit, prange

from spatialgraph.kernels.compilation import kernel

SUBTRACT, ZERO, NONE = 0, 1, 2
CHUNK = 512

_inline = njit(error_model="numpy")
_compile = kernel(error_model="numpy")


@_inline
def copy(values, to):
    """Copy values in a loop, which is vectorised; an assignment to a slice is not."""
    for i in range(to.size):
        to[i] = values[i]


@_inline
def advance(current, before, after, beta, threshold, reset):
    """Compute the potentials of the next step."""
    nothing = before.dtype.type(0)
    if reset == SUBTRACT:
        for i in range(before.size):
            v = before[i]
            after[i] = (beta * v + current[i]) - (threshold if v > threshold else nothing)
    elif reset == ZERO:
        for i in range(before.size):
            v = before[i]
            after[i] = beta * (nothing if v > threshold else v) + current[i]
    else:
        for i in range(before.size):
            after[i] = beta * before[i] + current[i]


@_compile
def run(current, potential, beta, threshold, reset, steps, spikes, potentials, shares, summed, parts):
    """Write the requested spikes, potentials and weighted sum of spikes, and the last potentials to ``potential``."""
    one = potential.dtype.type(1)
    nothing = potential.dtype.type(0)
    count = potential.size
    for part in prange(parts):
        # Two alternating rows: a loop that reads and writes the same array is not vectorised.
        rows = np.empty((2, CHUNK), potential.dtype)
        for start in range(count * part // parts, count * (part + 1) // parts, CHUNK):
            stop = min(start + CHUNK, count * (part + 1) // parts)
            size = stop - start
            copy(potential[start:stop], rows[0, :size])
            for t in range(steps):
                before, v = rows[t % 2, :size], rows[(t + 1) % 2, :size]
                advance(current[min(t, current.shape[0] - 1), start:stop], before, v, beta, threshold, reset)
                if spikes.shape[0]:
                    fired = spikes[t, start:stop]
                    for i in range(v.size):
                        fired[i] = one if v[i] > threshold else nothing
                if potentials.shape[0]:
                    copy(v, potentials[t, start:stop])
                if shares.size:
                    total, share = summed[start:stop], shares[t]
                    for i in range(v.size):
                        total[i] += share if v[i] > threshold else nothing
            copy(rows[steps % 2, :size], potential[start:stop])


@_compile
def gradients(
    current,
    potential,
    beta,
    threshold,
    reset,
    slope,
    steps,
    grad_spikes,
    grad_potentials,
    shares,
    grad_summed,
    grad_last,
    grad_current,
    parts,
):
    """Write the gradient of the current, and replace that of the last potentials by that of the first ones.

    The potentials are recomputed, which is faster than reading them from memory.
    """
    one = potential.dtype.type(1)
    nothing = potential.dtype.type(0)
    count = potential.size
    for part in prange(parts):
        history = np.empty((steps + 1, CHUNK), potential.dtype)
        for start in range(count * part // parts, count * (part + 1) // parts, CHUNK):
            stop = min(start + CHUNK, count * (part + 1) // parts)
            size = stop - start
            copy(potential[start:stop], history[0, :size])
            for t in range(steps):
                drive = current[min(t, current.shape[0] - 1), start:stop]
                advance(drive, history[t, :size], history[t + 1, :size], beta, threshold, reset)
            g = grad_last[start:stop]
            for t in range(steps - 1, -1, -1):
                v = history[t + 1]
                if grad_potentials.shape[0]:
                    direct = grad_potentials[t, start:stop]
                    for i in range(size):
                        g[i] += direct[i]
                if grad_spikes.shape[0]:
                    by_spike = grad_spikes[t, start:stop]
                    for i in range(size):
                        steepness = slope * abs(v[i] - threshold) + one
                        g[i] += by_spike[i] / (steepness * steepness)
                if shares.size:
                    by_sum, share = grad_summed[start:stop], shares[t]
                    for i in range(size):
                        steepness = slope * abs(v[i] - threshold) + one
                        g[i] += share * by_sum[i] / (steepness * steepness)
                out = grad_current[min(t, grad_current.shape[0] - 1), start:stop]
                for i in range(size):
                    out[i] += g[i]
                if reset == ZERO:
                    before = history[t]
                    for i in range(size):
                        g[i] *= nothing if before[i] > threshold else beta
                else:
                    for i in range(size):
                        g[i] *= beta
