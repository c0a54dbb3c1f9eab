"""Fused CPU kernels for projections with delays, compiled by Numba where it is installed.

They compute the same as the tensor operations in :mod:`spatialgraph.functional.delays`. Time is the last axis. Edges
are sorted by source: those of source ``i`` are ``pointer[i]`` to ``pointer[i + 1]``, each with its target, the whole
steps and the fraction of its delay, and its weight.
"""

from typing import Any

import torch
from torch import Tensor

from spatialgraph import checks
from spatialgraph.kernels.compilation import part_count
from spatialgraph.kernels.handover import array, columns_exist, compressed_rows

__all__ = ["gradients", "send"]

# Minimum product of the numbers of inputs and weights for which several threads are faster than one.
_WORTH_A_THREAD = 2**20

# Longest delay in steps, chosen so that sums of delays do not overflow.
_LONGEST = 2**60


def send(
    runs: Tensor,
    pointer: Tensor,
    target: Tensor,
    whole: Tensor,
    fraction: Tensor,
    weight: Tensor,
    targets: int,
    before: int = 0,
) -> Tensor:
    """Sum the weighted and delayed spikes of all sources at their targets.

    Args:
        runs: spikes of the sources, shape ``(batch, sources, steps)``.
        pointer: where each source's edges begin, shape ``(sources + 1,)``.
        target: target of each edge, shape ``(E,)``.
        whole: whole steps of each edge's delay, shape ``(E,)``, int64.
        fraction: the rest of each edge's delay, shape ``(E,)``.
        weight: weight of each edge, shape ``(E,)``.
        targets: number of targets.
        before: number of initial steps that are past input; no output is returned for them.

    Returns:
        Inputs of the targets, shape ``(batch, targets, steps - before)``.

    Example:
        >>> pointer, target = torch.tensor([0, 1]), torch.tensor([0])
        >>> runs, whole = torch.tensor([[[1.0, 0.0, 0.0]]]), torch.tensor([1])
        >>> send(runs, pointer, target, whole, torch.tensor([0.25]), torch.tensor([2.0]), targets=1)
        tensor([[[0.0000, 1.5000, 0.5000]]])
    """
    from spatialgraph.kernels.loops import delays as loops

    operands = _operands(runs, pointer, target, whole, fraction, weight, targets, before)
    y = runs.new_zeros(runs.shape[0], targets, runs.shape[2] - before)
    fits = loops.send(*operands, y.numpy(), _parts(runs, weight))
    columns_exist(fits, target, targets, "target")
    return y


def gradients(
    runs: Tensor,
    pointer: Tensor,
    target: Tensor,
    whole: Tensor,
    fraction: Tensor,
    weight: Tensor,
    grad: Tensor,
    before: int = 0,
    by_runs: bool = True,
) -> tuple[Tensor | None, Tensor, Tensor]:
    """Return the gradients of spikes, weights and delays, given that of the output of :func:`send`; arguments as there.

    Returns:
        The gradients, in the order of the given edges; None for that of the spikes unless ``by_runs`` is true.

    Example:
        >>> pointer, target = torch.tensor([0, 1]), torch.tensor([0])
        >>> runs, grad = torch.tensor([[[1.0, 0.0, 0.0]]]), torch.tensor([[[1.0, 2.0, 4.0]]])
        >>> edges = pointer, target, torch.tensor([1]), torch.tensor([0.25]), torch.tensor([2.0])
        >>> gradients(runs, *edges, grad)
        (tensor([[[5., 6., 0.]]]), tensor([2.5000]), tensor([4.]))
    """
    from spatialgraph.kernels.loops import delays as loops

    targets = checks.for_kernel("grad", grad, 3).shape[1]
    operands = _operands(runs, pointer, target, whole, fraction, weight, targets, before)
    checks.operand("grad", grad, (runs.shape[0], targets, runs.shape[2] - before), runs)
    grad_runs = torch.zeros_like(runs, memory_format=torch.contiguous_format) if by_runs else runs.new_empty(0, 0, 0)
    parts = _parts(runs, weight)
    sums = runs.new_zeros(2, parts, weight.numel()).numpy()
    fits = loops.gradients(*operands, array(grad), grad_runs.numpy(), *sums, parts)
    columns_exist(fits, target, targets, "target")
    by_weight, by_delay = (torch.from_numpy(part.sum(0)) for part in sums)
    return grad_runs if by_runs else None, by_weight, by_delay


def _operands(
    runs: Tensor,
    pointer: Tensor,
    target: Tensor,
    whole: Tensor,
    fraction: Tensor,
    weight: Tensor,
    targets: int,
    before: int,
) -> list[Any]:
    """Return spikes and edges as arrays."""
    _, sources, steps = checks.for_kernel("runs", runs, 3).shape
    if checks.integer("before", before, minimum=0) > steps:
        raise ValueError(f"before must be at most the number of steps ({steps}), got {before}")
    checks.indices("pointer", pointer, sources + 1)
    checks.integer("targets", targets, minimum=0)
    edges = compressed_rows(pointer, target, "target")
    checks.indices("whole", whole, target.shape[0])
    for name, values in (("fraction", fraction), ("weight", weight)):
        checks.operand(name, values, target.shape, runs)
    shifts = array(whole)
    if shifts.size and not 0 <= shifts.min() <= shifts.max() <= _LONGEST:
        raise ValueError(f"whole must lie between 0 and {_LONGEST}, got {shifts.min()} to {shifts.max()}")
    return [array(runs), before, *edges, shifts, array(fraction), array(weight)]


def _parts(runs: Tensor, weight: Tensor) -> int:
    return part_count(runs.numel() * weight.numel(), _WORTH_A_THREAD, most=runs.shape[0])
