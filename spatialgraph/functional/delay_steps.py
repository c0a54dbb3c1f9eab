"""Delayed time series by tensor operations: one product for each whole number of steps after which spikes arrive."""

import math
from collections.abc import Iterator
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from spatialgraph.functional import composed
from spatialgraph.functional.compressed import sparse
from spatialgraph.functional.compressed_edges import CompressedEdges
from spatialgraph.tracing import is_observed, without_autocast

__all__ = ["delayed_all_to_all", "delayed_by_operations", "delayed_sparse", "line_length"]


def line_length(delay: Tensor) -> int:
    """Return how many past steps are needed for delays of up to the largest one, plus a margin of less than one step.

    Example:
        >>> line_length(torch.tensor([0.5, 2.0]))
        3
    """
    return math.floor(float(delay.detach().max())) + 1 if delay.numel() else 0


def delayed_by_operations(
    x: Tensor, weight: Tensor, delay: Tensor, edges: CompressedEdges | None, before: int
) -> Tensor:
    """Send time series by differentiable operations, one product of all synapses for each whole number of steps.

    Args:
        x: what the sources send, shape ``(T, batch, n)``.
        weight: weights, shape ``(m, n)``; with ``edges`` shape ``(E,)``.
        delay: delays in time steps, in the shape of ``weight``.
        edges: the compressed edges; None for all-to-all.
        before: number of first steps for which nothing is returned.
    """
    targets = weight.shape[0] if edges is None else edges.n_targets
    whole = delay.detach().floor()
    fraction = delay - whole
    y = x.new_zeros(x.shape[0] - before, x.shape[1], targets)
    for tap, read, write in _taps(delay, before, x.shape[0]):
        share = torch.where(whole == tap, 1 - fraction, torch.where(whole == tap - 1, fraction, 0.0))
        arriving = F.linear(x[read], weight * share) if edges is None else sparse(x[read], weight * share, edges)
        y = y + F.pad(arriving, (0, 0, 0, 0, write.start, 0))
    return y


def delayed_sparse(x: Tensor, weight: Tensor, delay: Tensor, edges: CompressedEdges, before: int) -> Tensor:
    """Send time series by one product for each whole number of steps, of the edges whose spikes arrive there only.

    Arguments are those of :func:`delayed_by_operations`.
    """
    sources, targets = edges.n_sources, edges.n_targets
    floor = delay.detach().floor()
    fraction = delay - floor
    y = x.new_zeros(x.shape[0] - before, x.shape[1], targets)
    for tap, read, write in _taps(delay, before, x.shape[0]):
        here = torch.nonzero((floor == tap) | (floor == tap - 1))[:, 0]
        if here.numel() == 0:
            continue
        share = torch.where(floor[here] == tap, 1 - fraction[here], fraction[here])
        listed = torch.stack([edges.sources[here].long(), edges.targets[here]])
        arriving = sparse(x[read], weight[here] * share, CompressedEdges.from_edges(listed, sources, targets))
        y = y + F.pad(arriving, (0, 0, 0, 0, write.start, 0))
    return y


def delayed_all_to_all(x: Tensor, weight: Tensor, delay: Tensor, before: int) -> Tensor:
    """Send time series from all sources to all targets; arguments as in :func:`delayed_by_operations`."""
    y: Tensor = _DelayedAllToAll.apply(x, weight, delay, before)
    return y


class _DelayedAllToAll(torch.autograd.Function):
    """One dense product for each tap; no tensor larger than the weight matrix is stored."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, delay: Tensor, before: int) -> Tensor:  # noqa: ANN401
        ctx.save_for_backward(x, weight, delay)
        ctx.before = before
        y = x.new_zeros(x.shape[0] - before, x.shape[1], weight.shape[0])
        for tap, read, write in _taps(delay, before, x.shape[0]):
            part = weight * _share(delay - tap)
            y[write].flatten(0, 1).addmm_(x[read].flatten(0, 1), part.t())
        return y

    @staticmethod
    def backward(ctx: Any, grad_y: Tensor) -> tuple[Tensor | None, ...]:  # noqa: ANN401
        x, weight, delay = ctx.saved_tensors
        if torch.is_grad_enabled():
            inputs, needed = (x, weight, delay, None, ctx.before), (*ctx.needs_input_grad[:3], False, False)
            with without_autocast(x.device.type):
                return composed.gradients(delayed_by_operations, inputs, needed, [grad_y])[:4]
        grad_x = torch.zeros_like(x, memory_format=torch.contiguous_format) if ctx.needs_input_grad[0] else None
        grad_weight, grad_delay = torch.zeros_like(weight), torch.zeros_like(delay)
        grad_y = grad_y.contiguous()
        for tap, read, write in _taps(delay, ctx.before, x.shape[0]):
            g = grad_y[write].flatten(0, 1)
            distance = delay - tap
            share = _share(distance)
            if grad_x is not None:
                grad_x[read].flatten(0, 1).addmm_(g, weight * share)
            product = g.t() @ x[read].flatten(0, 1)
            grad_weight.addcmul_(product, share)
            # At a whole number of steps the right-hand derivative is used, so that delays do not get stuck there.
            rising = ((distance >= -1) & (distance < 0)).to(weight.dtype)
            falling = ((distance >= 0) & (distance < 1)).to(weight.dtype)
            grad_delay.addcmul_(product, weight * (rising - falling))
        return grad_x, grad_weight, grad_delay, None


def _taps(delay: Tensor, before: int, total: int) -> Iterator[tuple[int, slice, slice]]:
    """Yield each tap with the input steps that it reads and the output steps that it adds to."""
    # A tracer has no values of the delays, so all taps within the run are included.
    last = total - 1 if is_observed(delay) else min(line_length(delay), total - 1)
    for tap in range(last + 1):
        first = max(0, tap - before)
        yield tap, slice(before + first - tap, total - tap), slice(first, total - before)


def _share(distance: Tensor) -> Tensor:
    """Return the share of a spike that arrives at a tap, given the delay minus the tap."""
    return (1 - distance.abs()).clamp_(min=0)
