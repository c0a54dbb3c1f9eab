"""Delayed spikes in Triton, which :mod:`spatialgraph.kernels.cuda.delays` launches.

Time series lie neuron by neuron, time step after time step, so that a delay of one step is a shift by the batch. Sums
are taken in the order of the edges, so that each run gives the same bits. Edges that name no neuron are left out.
"""

import triton
import triton.language as tl

__all__ = ["correlate", "gather"]


@triton.jit
def gather(
    series, pointer, other, order, weight, delay, out, neurons, others, edges, entries, others_entries, batch, offset,
    longest,
    IS_LISTED: tl.constexpr, IS_BACK: tl.constexpr, BE: tl.constexpr, BR: tl.constexpr,
):  # fmt: skip
    """Sum what a neuron receives over its edges: a target's delayed spikes or, back in time, a source's gradients.

    ``series`` has the shape (others, others_entries), ``out`` the shape (neurons, entries). Entry ``r`` of a target is
    entry ``r + offset`` of a source without delay.
    """
    parts = tl.cdiv(entries, BR)  # in one row with the neurons, for only the first axis of a grid may be long
    row = (tl.program_id(0) // parts).to(tl.int64)
    r = (tl.program_id(0) % parts).to(tl.int64) * BR + tl.arange(0, BR)
    begin, end = _edges_of(pointer, row, others, edges, IS_LISTED)
    total = tl.zeros((BR,), tl.float32)
    for start in range(begin, end, BE):
        e = start + tl.arange(0, BE)
        k, edge = _ends(other, order, e, end, row, begin, neurons, others, IS_LISTED, IS_BACK)
        is_there = (e < end) & (k >= 0) & (k < others) & (edge >= 0) & (edge < edges)
        w, whole, fraction = _synapses(weight, delay, edge, is_there, longest)
        shift = whole * batch - offset
        if IS_BACK:
            near, far = r[None, :] + shift[:, None], r[None, :] + (shift + batch)[:, None]
        else:
            near, far = r[None, :] - shift[:, None], r[None, :] - (shift + batch)[:, None]
        first = _read(series, k, near, is_there, others_entries)
        second = _read(series, k, far, is_there, others_entries)
        total += tl.sum((w * (1.0 - fraction))[:, None] * first + (w * fraction)[:, None] * second, 0)
    tl.store(out + row * entries + r, total, mask=r < entries)


@triton.jit
def correlate(
    series, grad, pointer, source, weight, delay, by_weight, by_delay, sources, targets, edges, entries, grad_entries,
    batch, offset, longest,
    IS_LISTED: tl.constexpr, BE: tl.constexpr, BR: tl.constexpr,
):  # fmt: skip
    """Write the gradients of the weights and delays of a target's edges.

    ``series`` has the shape (sources, entries), ``grad`` the shape (targets, grad_entries). At a whole number of steps
    the gradient of a delay is that to its right.
    """
    row = tl.program_id(0).to(tl.int64)
    begin, end = _edges_of(pointer, row, sources, edges, IS_LISTED)
    for start in range(begin + tl.program_id(1) * BE, end, tl.num_programs(1) * BE):
        e = start + tl.arange(0, BE)
        k, edge = _ends(source, source, e, end, row, begin, targets, sources, IS_LISTED, False)
        is_there = (e < end) & (k >= 0) & (k < sources)
        w, whole, fraction = _synapses(weight, delay, edge, is_there, longest)
        shift = whole * batch - offset
        near, far = tl.zeros((BE,), tl.float32), tl.zeros((BE,), tl.float32)
        for first in range(0, grad_entries, BR):
            r = first + tl.arange(0, BR).to(tl.int64)
            g = tl.load(grad + row * grad_entries + r, mask=r < grad_entries, other=0.0)[None, :]
            at = r[None, :] - shift[:, None]
            near += tl.sum(g * _read(series, k, at, is_there, entries), 1)
            far += tl.sum(g * _read(series, k, at - batch, is_there, entries), 1)
        tl.store(by_weight + edge, (1.0 - fraction) * near + fraction * far, mask=e < end)
        tl.store(by_delay + edge, w * (far - near), mask=e < end)


@triton.jit
def _edges_of(pointer, row, others, edges, IS_LISTED: tl.constexpr):
    """Return where the edges of a neuron begin and end; of all pairs, each neuron has one with every other."""
    if IS_LISTED:
        begin, end = tl.maximum(tl.load(pointer + row), 0), tl.minimum(tl.load(pointer + row + 1), edges)
        return begin.to(tl.int64), end.to(tl.int64)
    else:
        return row * 0, row * 0 + others


@triton.jit
def _ends(other, order, e, end, row, begin, neurons, others, IS_LISTED: tl.constexpr, IS_BACK: tl.constexpr):
    """Return the neurons at the other ends of edges, and where the weights of the edges are."""
    if IS_LISTED:
        k = tl.load(other + e, mask=e < end, other=0).to(tl.int64)
        if IS_BACK:
            return k, tl.load(order + e, mask=e < end, other=0).to(tl.int64)
        else:
            return k, e
    else:
        if IS_BACK:
            return e, e * neurons + row
        else:
            return e, row * others + e


@triton.jit
def _synapses(weight, delay, edge, is_there, longest):
    """Return weights, whole steps of delays and the rest; the weight is NaN where the delay is refused."""
    steps = tl.load(delay + edge, mask=is_there, other=0.0)
    w = tl.load(weight + edge, mask=is_there, other=0.0)
    w = tl.where((steps >= 0.0) & (steps <= 3.4028234663852886e38), w, float("nan"))
    capped = tl.where(steps < longest, steps, longest)
    whole = tl.floor(capped)
    return w, whole.to(tl.int64), capped - whole


@triton.jit
def _read(series, k, place, is_there, entries):
    """Return entries of the series of some neurons; 0 before the first and after the last one."""
    inside = is_there[:, None] & (place >= 0) & (place < entries)
    return tl.load(series + k[:, None] * entries + place, mask=inside, other=0.0)
