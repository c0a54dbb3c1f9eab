"""Fused kernels in Triton for projections with delays, for tensors on a GPU.

They compute the same as the tensor operations in :mod:`spatialgraph.functional.delay_steps`, in one launch each, in
single precision. To look at delays would wait for the GPU: a delay that is negative or not finite makes what it reaches
NaN. Edges were checked when they were made; what is out of range is left out.
"""

from typing import NamedTuple

import torch
from torch import Tensor

from spatialgraph import checks
from spatialgraph.kernels.cuda.launching import MOST_ROWS, launch, tiles

__all__ = ["Edges", "gradients", "send"]

# Edges and entries that a program takes at a time.
_GATHER = 4, 256
_CORRELATE = 8, 128


class Edges(NamedTuple):
    """The edges of a projection, by target and by source; see the class ``CompressedEdges``."""

    target_pointer: Tensor
    sources: Tensor
    source_pointer: Tensor
    by_source: Tensor
    targets_by_source: Tensor


def send(
    x: Tensor, weight: Tensor, delay: Tensor, edges: Edges | None = None, before: int = 0, back_to: int | None = None
) -> Tensor:
    """Sum the weighted and delayed spikes of all sources at their targets, or the gradients of targets at sources.

    Args:
        x: spikes of the sources, shape ``(T, batch, n)``; the gradients of the targets with ``back_to``.
        weight: weights, shape ``(m, n)``; with ``edges`` the weight of each edge, shape ``(E,)``.
        delay: delays in time steps, in the shape of ``weight``.
        edges: the edges; None for all-to-all.
        before: number of initial steps of the sources that are past input; no output is returned for them.
        back_to: number of sources, with which gradients go back in time; None for spikes.

    Returns:
        What the targets receive, shape ``(T - before, batch, m)``; or the sources, shape ``(T + before, batch, n)``.
    """
    from spatialgraph.kernels.cuda.loops import delays as loops

    is_back = back_to is not None
    steps, batch, others = checks.axes("x", x, 3).shape
    targets = weight.shape[0] if edges is None else len(edges.target_pointer) - 1
    sources = weight.shape[1] if edges is None else len(edges.source_pointer) - 1
    checks.last_axis("x", x, targets if is_back else sources)
    neurons, out_steps = (sources, steps + before) if is_back else (targets, steps - before)
    out = x.new_empty(neurons, out_steps * batch)
    rows = (weight, weight, weight) if edges is None else _rows(edges, is_back)
    be, br = _GATHER
    launch(
        loops.gather, (neurons * tiles(out_steps * batch, br),),
        _by_neuron(x), *rows, weight.contiguous(), delay.contiguous(), out,
        neurons, others, weight.numel(), out_steps * batch, steps * batch, batch, before * batch,
        float(max(steps, out_steps)), IS_LISTED=edges is not None, IS_BACK=is_back, BE=be, BR=br,
    )  # fmt: skip
    # A copy: autograd forbids to change views in place.
    return out.t().view(out_steps, batch, neurons).clone(memory_format=torch.contiguous_format)


def gradients(
    x: Tensor, weight: Tensor, delay: Tensor, grad: Tensor, edges: Edges | None = None, before: int = 0
) -> tuple[Tensor, Tensor]:
    """Return the gradients of weights and delays, given that of the output of :func:`send`; arguments as there."""
    from spatialgraph.kernels.cuda.loops import delays as loops

    steps, batch, sources = checks.axes("x", x, 3).shape
    targets = checks.shape("grad", grad, (steps - before, batch, grad.shape[-1])).shape[-1]
    by_weight, by_delay = (values.new_empty(values.shape) for values in (weight, delay))
    rows = (weight, weight) if edges is None else (edges.target_pointer, edges.sources)
    be, br = _CORRELATE
    # As many programs for a target as its share of the edges needs; to know more would wait for the GPU.
    launch(
        loops.correlate, (targets, min(MOST_ROWS, tiles(weight.numel(), be * max(targets, 1)))),
        _by_neuron(x), _by_neuron(grad), *rows, weight.contiguous(), delay.contiguous(), by_weight, by_delay,
        sources, targets, weight.numel(), steps * batch, (steps - before) * batch, batch, before * batch, float(steps),
        IS_LISTED=edges is not None, BE=be, BR=br,
    )  # fmt: skip
    return by_weight, by_delay


def _by_neuron(x: Tensor) -> Tensor:
    """Return time series neuron by neuron, shape ``(n, T * batch)``."""
    return x.detach().flatten(0, 1).t().contiguous()


def _rows(edges: Edges, is_back: bool) -> tuple[Tensor, Tensor, Tensor]:
    """Return where each neuron's edges begin, the neurons at their other ends, and the edges' numbers."""
    if is_back:
        return edges.source_pointer, edges.targets_by_source, edges.by_source
    return edges.target_pointer, edges.sources, edges.sources
