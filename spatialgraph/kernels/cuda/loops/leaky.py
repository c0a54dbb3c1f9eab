"""Leaky integration over time in Triton, which :mod:`spatialgraph.kernels.cuda.leaky` launches.

Arrays of whole runs have shape (steps, count), those of one step (count,). A current of one row is constant. A program
takes some neurons of some samples through the whole run.
"""

import triton
import triton.language as tl

__all__ = ["backward", "forward"]

SUBTRACT, ZERO, NONE = 0, 1, 2


@triton.jit
def forward(
    current, potential, spikes, potentials, shares, summed, last, beta, threshold, count, steps, rows,
    RESET: tl.constexpr, HAS_SPIKES: tl.constexpr, HAS_POTENTIALS: tl.constexpr, HAS_SHARES: tl.constexpr,
    BLOCK: tl.constexpr,
):  # fmt: skip
    """Write the requested spikes, potentials and weighted sum of spikes, and the last potentials."""
    i = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    inside = i < count
    v = tl.load(potential + i, mask=inside, other=0.0)
    total = tl.zeros_like(v)
    for t in range(steps):
        drive = tl.load(current + min(t, rows - 1) * count + i, mask=inside, other=0.0)
        has_fired = v > threshold
        if RESET == 0:
            v = (beta * v + drive) - tl.where(has_fired, threshold, 0.0)
        elif RESET == 1:
            v = beta * tl.where(has_fired, 0.0, v) + drive
        else:
            v = beta * v + drive
        if HAS_SPIKES:
            tl.store(spikes + t * count + i, tl.where(v > threshold, 1.0, 0.0), mask=inside)
        if HAS_POTENTIALS:
            tl.store(potentials + t * count + i, v, mask=inside)
        if HAS_SHARES:
            total += tl.where(v > threshold, tl.load(shares + t), 0.0)
    tl.store(last + i, v, mask=inside)
    tl.store(summed + i, total, mask=inside)


@triton.jit
def backward(
    potential, potentials, by_spikes, by_potentials, shares, by_sum, by_last, grad_current, grad_potential,
    beta, threshold, slope, count, steps, rows,
    RESET: tl.constexpr, HAS_SPIKES: tl.constexpr, HAS_POTENTIALS: tl.constexpr, HAS_SUM: tl.constexpr,
    HAS_LAST: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """Write the gradients of the current and of the first potentials, given the potentials of all steps."""
    i = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    inside = i < count
    g = tl.zeros((BLOCK,), tl.float32)
    if HAS_LAST:
        g += tl.load(by_last + i, mask=inside, other=0.0)
    if HAS_SUM:
        from_sum = tl.load(by_sum + i, mask=inside, other=0.0)
    constant = tl.zeros((BLOCK,), tl.float32)
    for back in range(steps):
        t = steps - 1 - back
        v = tl.load(potentials + t * count + i, mask=inside, other=0.0)
        steepness = slope * tl.abs(v - threshold) + 1.0
        if HAS_POTENTIALS:
            g += tl.load(by_potentials + t * count + i, mask=inside, other=0.0)
        if HAS_SPIKES:
            g += tl.load(by_spikes + t * count + i, mask=inside, other=0.0) / (steepness * steepness)
        if HAS_SUM:
            g += tl.load(shares + t) * from_sum / (steepness * steepness)
        if rows > 1:
            tl.store(grad_current + t * count + i, g, mask=inside)
        constant += g
        if RESET == 1:
            before = tl.load(potential + i, mask=inside, other=0.0)
            if t > 0:
                before = tl.load(potentials + (t - 1) * count + i, mask=inside, other=0.0)
            g = tl.where(before > threshold, 0.0, g * beta)
        else:
            g = g * beta
    if rows == 1:
        tl.store(grad_current + i, constant, mask=inside)
    tl.store(grad_potential + i, g, mask=inside)
