"""Delayed time series by fused kernels: those of the CPU scatter spikes, those of a GPU gather them."""

import dataclasses
from typing import Any

import torch
from torch import Tensor

from spatialgraph.functional import composed
from spatialgraph.functional.compressed_edges import CompressedEdges
from spatialgraph.functional.delay_steps import delayed_by_operations
from spatialgraph.functional.fused import DELAYS, GATHERED_DELAYS
from spatialgraph.kernels.registry import find
from spatialgraph.tracing import without_autocast

__all__ = ["gathered", "scattered"]


def scattered(x: Tensor, weight: Tensor, delay: Tensor, edges: CompressedEdges | None, before: int) -> Tensor:
    """Add the delayed time series of each source to its targets, by the kernels of the CPU.

    Args:
        x: what the sources send, shape ``(T, batch, n)``.
        weight: weights, shape ``(m, n)``; with ``edges`` shape ``(E,)``.
        delay: delays in time steps, in the shape of ``weight``.
        edges: the compressed edges; None for all-to-all.
        before: number of first steps for which nothing is returned.
    """
    y: Tensor = _Scattered.apply(x, weight, delay, edges, before)
    return y


def gathered(x: Tensor, weight: Tensor, delay: Tensor, edges: CompressedEdges | None, before: int) -> Tensor:
    """Sum the delayed time series of all sources at each target, by the kernels of a GPU.

    Arguments are those of :func:`scattered`.
    """
    y: Tensor = _Gathered.apply(x, weight, delay, edges, before)
    return y


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


class _Scattered(torch.autograd.Function):
    """Kernels that add the spikes of each source to its targets; time is the last axis."""

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
            return _differentiable(ctx, x, weight, delay, grad_y)
        runs, by_target = x.permute(1, 2, 0), grad_y.permute(1, 2, 0)
        arguments = (runs, *ctx.sorted_edges, by_target, ctx.before, ctx.needs_input_grad[0])
        by_runs, *by_edges = ctx.kernel.gradients(*arguments)
        by_weight, by_delay = (ctx.by_source.unsort(values, weight) for values in by_edges)
        return None if by_runs is None else by_runs.permute(2, 0, 1), by_weight, by_delay, None, None


class _Gathered(torch.autograd.Function):
    """Kernels that sum the spikes of all sources at each target."""

    @staticmethod
    def forward(
        ctx: Any,  # noqa: ANN401
        x: Tensor,
        weight: Tensor,
        delay: Tensor,
        edges: CompressedEdges | None,
        before: int,
    ) -> Tensor:
        ctx.save_for_backward(x, weight, delay)
        ctx.edges, ctx.before = edges, before
        ctx.kernel = find(GATHERED_DELAYS, x)
        ctx.listed = (
            None if edges is None else ctx.kernel.Edges(*(getattr(edges, name) for name in ctx.kernel.Edges._fields))
        )
        y: Tensor = ctx.kernel.send(x, weight, delay, ctx.listed, before)
        return y

    @staticmethod
    def backward(ctx: Any, grad_y: Tensor) -> tuple[Tensor | None, ...]:  # noqa: ANN401
        x, weight, delay = ctx.saved_tensors
        if torch.is_grad_enabled():
            return _differentiable(ctx, x, weight, delay, grad_y)
        by_x = by_weight = by_delay = None
        if ctx.needs_input_grad[0]:
            by_x = ctx.kernel.send(grad_y, weight, delay, ctx.listed, ctx.before, back_to=x.shape[-1])
        if any(ctx.needs_input_grad[1:3]):
            by_weight, by_delay = ctx.kernel.gradients(x, weight, delay, grad_y, ctx.listed, ctx.before)
        return by_x, by_weight, by_delay, None, None


def _differentiable(ctx: Any, x: Tensor, weight: Tensor, delay: Tensor, grad_y: Tensor) -> tuple[Tensor | None, ...]:  # noqa: ANN401
    """Return the gradients of either function as functions of its inputs, for double backward."""
    inputs = (x, weight, delay, ctx.edges, ctx.before)
    with without_autocast(x.device.type):
        return composed.gradients(delayed_by_operations, inputs, ctx.needs_input_grad, [grad_y])
