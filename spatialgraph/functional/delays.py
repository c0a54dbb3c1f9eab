r"""Projections whose synapses have delays, applied to time series of spikes.

.. math:: y_j[t] = \sum_i w_{ij} \left((1 - f_{ij})\, x_i[t - k_{ij}] + f_{ij}\, x_i[t - k_{ij} - 1]\right)

A delay of :math:`k + f` steps, :math:`k` whole and :math:`0 \le f < 1`, is split between the two neighbouring steps, so
that it has a gradient through :math:`f`: :math:`\partial y_j[t] / \partial d_{ij} =
w_{ij} (x_i[t - k - 1] - x_i[t - k])`. On the CPU, with Numba, a fused kernel adds the shifted spikes of each source to
the inputs of its targets. Otherwise the sum is computed for each :math:`k` in turn: all synapses whose spikes arrive
:math:`k` steps later form one product.
"""

import dataclasses
import math
from collections.abc import Iterator
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from spatialgraph import checks
from spatialgraph.functional import composed
from spatialgraph.functional.compressed import check_edges, sparse
from spatialgraph.functional.compressed_edges import CompressedEdges
from spatialgraph.functional.fused import DELAYS
from spatialgraph.functional.precision import in_single
from spatialgraph.kernels.registry import find
from spatialgraph.tracing import is_observed, without_autocast

__all__ = ["delayed", "line_length"]


def delayed(
    x: Tensor, weight: Tensor, delay: Tensor, edges: CompressedEdges | None = None, line: Tensor | None = None
) -> Tensor:
    """Send a time series through a projection with delays.

    Args:
        x: spikes of the sources, shape ``(T, ..., n)``.
        weight: signed weights, shape ``(m, n)``; with ``edges`` the weight of each edge, shape ``(E,)``.
        delay: delays in time steps, at least 0, in the shape of ``weight``.
        edges: the compressed edges; None for all-to-all.
        line: spikes of the sources in the ``L`` steps before ``x``, oldest first, shape ``(L, ..., n)``; None for no
            spikes.

    Returns:
        Inputs of the targets, shape ``(T, ..., m)``. Spikes that arrive after the last step are not included; pass
        the last steps of ``x`` as ``line`` of the next call to include them there.

    Raises:
        TypeError: if the dtypes differ.
        ValueError: if the shapes do not match, or a delay is negative or not finite.

    Example:
        >>> x = torch.tensor([[1.0], [0.0], [0.0]])
        >>> delayed(x, torch.tensor([[2.0]]), torch.tensor([[1.25]]))[:, 0].tolist()
        [0.0, 1.5, 0.5]
    """
    _check(x, weight, delay, edges, line)
    before = 0 if line is None else line.shape[0]
    whole = x if line is None else torch.cat([line, x])
    # No size is inferred by -1, because any size may be 0.
    flat = in_single(whole.flatten(1, -2) if whole.dim() > 2 else whole[:, None])
    weight, delay = in_single(weight), in_single(delay)
    y: Tensor
    if is_observed(flat, weight, delay):
        with without_autocast(x.device.type):
            y = _composed(flat, weight, delay, edges, before)
    elif find(DELAYS, flat) is not None:
        y = _Fused.apply(flat, weight, delay, edges, before)
    elif edges is None:
        y = _DelayedAllToAll.apply(flat, weight, delay, before)
    else:
        y = _delayed_sparse(flat, weight, delay, edges, before)
    return y.reshape(*x.shape[:-1], y.shape[-1]).to(x.dtype)


def _check(x: Tensor, weight: Tensor, delay: Tensor, edges: CompressedEdges | None, line: Tensor | None) -> None:
    if edges is None:
        sources = checks.axes("weight", weight, 2).shape[1]
    else:
        sources = check_edges(edges)[1]
        checks.shape("weight", checks.axes("weight", weight, 1), edges.sources.shape)
    checks.operand("delay", delay, weight.shape, weight)
    checks.operand("x", checks.last_axis("x", x, sources), x.shape, weight)
    if x.dim() < 2:
        raise ValueError(f"x must have shape (T, ..., {sources}), got {tuple(x.shape)}")
    if line is not None:
        checks.operand("line", line, (checks.last_axis("line", line, sources).shape[0], *x.shape[1:]), x)
    checks.delays("delay", delay)


def line_length(delay: Tensor) -> int:
    """Return how many past steps are needed for delays of up to the largest one, plus a margin of less than one step.

    Example:
        >>> line_length(torch.tensor([0.5, 2.0]))
        3
    """
    return math.floor(float(delay.detach().max())) + 1 if delay.numel() else 0


def _taps(delay: Tensor, before: int, total: int) -> Iterator[tuple[int, slice, slice]]:
    """Yield each tap with the input steps that it reads and the output steps that it adds to."""
    # A tracer has no values of the delays, so all taps within the run are included.
    last = total - 1 if is_observed(delay) else min(line_length(delay), total - 1)
    for tap in range(last + 1):
        first = max(0, tap - before)
        yield tap, slice(before + first - tap, total - tap), slice(first, total - before)


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
                return composed.gradients(_composed, inputs, needed, [grad_y])[:4]
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


@dataclasses.dataclass(frozen=True)
class _BySource:
    """The edges of a projection sorted by source, as the fused kernels require."""

    pointer: Tensor
    target: Tensor
    order: Tensor | None

    @classmethod
    def of(cls, weight: Tensor, edges: CompressedEdges | None) -> "_BySource":
        if edges is not None:
            return cls(edges.source_pointer, edges.targets_by_source, edges.by_source)
        targets, sources = weight.shape
        pointer = torch.arange(sources + 1, device=weight.device) * targets
        return cls(pointer, torch.arange(targets, device=weight.device).repeat(sources), None)

    def sort(self, values: Tensor) -> Tensor:
        """Permute values of edges into this order."""
        values = values.detach()
        return values.t().reshape(-1) if self.order is None else values[self.order]

    def unsort(self, values: Tensor, like: Tensor) -> Tensor:
        """Permute values back into the original order."""
        if self.order is None:
            return values.view(like.shape[1], like.shape[0]).t().contiguous()
        return torch.empty_like(like).index_copy_(0, self.order.long(), values)


class _Fused(torch.autograd.Function):
    """The fused kernels, in which time is the last axis."""

    @staticmethod
    def forward(
        ctx: Any,  # noqa: ANN401
        x: Tensor,
        weight: Tensor,
        delay: Tensor,
        edges: CompressedEdges | None,
        before: int,
    ) -> Tensor:
        by_source = _BySource.of(weight, edges)
        times = by_source.sort(delay).clamp(max=x.shape[0])  # later ones never arrive, and whole numbers have an end
        whole = times.floor()
        parts = whole.to(torch.int64), times - whole, by_source.sort(weight)
        sorted_edges = by_source.pointer, by_source.target, *parts
        ctx.save_for_backward(x, weight, delay)
        # Sorted once for the forward and the backward pass.
        ctx.edges, ctx.by_source, ctx.sorted_edges, ctx.before = edges, by_source, sorted_edges, before
        targets = weight.shape[0] if edges is None else edges.n_targets
        runs = x.permute(1, 2, 0)
        ctx.kernel = find(DELAYS, x)
        sent: Tensor = ctx.kernel.send(runs, *sorted_edges, targets, before)
        return sent.permute(2, 0, 1).contiguous()

    @staticmethod
    def backward(ctx: Any, grad_y: Tensor) -> tuple[Tensor | None, ...]:  # noqa: ANN401
        x, weight, delay = ctx.saved_tensors
        if torch.is_grad_enabled():
            inputs = (x, weight, delay, ctx.edges, ctx.before)
            with without_autocast(x.device.type):
                return composed.gradients(_composed, inputs, ctx.needs_input_grad, [grad_y])
        runs, by_target = x.permute(1, 2, 0), grad_y.permute(1, 2, 0)
        arguments = (runs, *ctx.sorted_edges, by_target, ctx.before, ctx.needs_input_grad[0])
        by_runs, *by_edges = ctx.kernel.gradients(*arguments)
        by_weight, by_delay = (ctx.by_source.unsort(values, weight) for values in by_edges)
        return None if by_runs is None else by_runs.permute(2, 0, 1), by_weight, by_delay, None, None


def _composed(x: Tensor, weight: Tensor, delay: Tensor, edges: CompressedEdges | None, before: int) -> Tensor:
    """One product of all synapses for each tap, by differentiable operations."""
    targets = weight.shape[0] if edges is None else edges.n_targets
    whole = delay.detach().floor()
    fraction = delay - whole
    y = x.new_zeros(x.shape[0] - before, x.shape[1], targets)
    for tap, read, write in _taps(delay, before, x.shape[0]):
        share = torch.where(whole == tap, 1 - fraction, torch.where(whole == tap - 1, fraction, 0.0))
        arriving = F.linear(x[read], weight * share) if edges is None else sparse(x[read], weight * share, edges)
        y = y + F.pad(arriving, (0, 0, 0, 0, write.start, 0))
    return y


def _share(distance: Tensor) -> Tensor:
    """Return the share of a spike that arrives at a tap, given the delay minus the tap."""
    return (1 - distance.abs()).clamp_(min=0)


def _delayed_sparse(x: Tensor, weight: Tensor, delay: Tensor, edges: CompressedEdges, before: int) -> Tensor:
    """One product in compressed rows for each tap, of the edges whose spikes arrive there only."""
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
