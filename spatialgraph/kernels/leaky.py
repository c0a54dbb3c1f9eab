"""Fused CPU kernels for leaky integration over time, compiled by Numba where it is installed.

They compute the same as the tensor operations in :mod:`spatialgraph.functional.leaky`, with the whole run of a neuron
in the cache. Spikes and potentials are identical to the bit.
"""

from typing import Any

import numpy as np
import torch
from torch import Tensor

from spatialgraph import checks
from spatialgraph.kernels.compilation import part_count
from spatialgraph.kernels.handover import array, constants

__all__ = ["check", "gradients", "run"]

# Minimum number of updates for which several threads are faster than one.
_WORTH_A_THREAD = 2**17


def run(
    current: Tensor,
    potential: Tensor,
    beta: float,
    threshold: float,
    reset: int,
    num_steps: int,
    shares: Tensor | None = None,
    spikes: bool = True,
    potentials: bool = True,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Advance leaky neurons by many time steps.

    Args:
        current: input of each step, shape ``(num_steps, ...)``; shape ``(1, ...)`` for a constant current.
        potential: potential to start from, shape ``(...)``.
        beta: fraction of the potential that remains after each step.
        threshold: the potential above which a neuron fires.
        reset: 0 to subtract the threshold, 1 to set the potential to 0, 2 for no reset.
        num_steps: number of time steps.
        shares: weights of the sum of the spikes over time, shape ``(num_steps,)``; None for no sum.
        spikes: whether to record spikes.
        potentials: whether to record potentials.

    Returns:
        Spikes and potentials, shape ``(num_steps, ...)`` each, without rows where they are not recorded; the weighted
        sum of the spikes and the last potential, shape ``(...)``.

    Example:
        >>> run(torch.tensor([[1.0]]), torch.zeros(1), 0.5, 1.0, reset=0, num_steps=3)[0][:, 0]
        tensor([0., 1., 0.])
    """
    from spatialgraph.kernels.loops import leaky as loops

    check(current, potential, reset, num_steps, shares)
    checks.for_kernel("current", current, potential.dim() + 1)
    fired = current.new_empty(num_steps if spikes else 0, *potential.shape)
    traced = current.new_empty(num_steps if potentials else 0, *potential.shape)
    summed = torch.zeros_like(potential, memory_format=torch.contiguous_format)
    last = potential.detach().clone(memory_format=torch.contiguous_format)
    loops.run(
        _rows(current),
        _flat(last),
        *constants(current, beta, threshold),
        reset,
        num_steps,
        _rows(fired),
        _rows(traced),
        _shares(current, shares),
        _flat(summed),
        _parts(last, num_steps),
    )
    return fired, traced, summed, last


def gradients(
    current: Tensor,
    potential: Tensor,
    beta: float,
    threshold: float,
    reset: int,
    slope: float,
    num_steps: int,
    by_spikes: Tensor | None = None,
    by_potentials: Tensor | None = None,
    by_sum: Tensor | None = None,
    by_last: Tensor | None = None,
    shares: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """Return the gradients of the current and the first potential, given those of the outputs of :func:`run`.

    The step function has the slope of a fast sigmoid; other arguments are those of :func:`run`.

    Example:
        >>> current, potential = torch.tensor([[1.0]]), torch.zeros(1)
        >>> gradients(current, potential, 0.5, 1.0, 0, slope=25.0, num_steps=2, by_last=torch.ones(1))
        (tensor([[1.5000]]), tensor([0.2500]))
    """
    from spatialgraph.kernels.loops import leaky as loops

    check(current, potential, reset, num_steps, shares)
    checks.for_kernel("current", current, potential.dim() + 1)
    run_shape = num_steps, *potential.shape
    for name, grad, expected in (
        ("by_spikes", by_spikes, run_shape),
        ("by_potentials", by_potentials, run_shape),
        ("by_sum", by_sum, potential.shape),
        ("by_last", by_last, potential.shape),
    ):
        if grad is not None:
            checks.operand(name, grad, expected, current)
    nothing = current.new_empty(0, *potential.shape)
    carried = torch.zeros_like(potential) if by_last is None else by_last.clone()
    carried = carried.contiguous()
    grad_current = torch.zeros_like(current, memory_format=torch.contiguous_format)
    loops.gradients(
        _rows(current),
        _flat(potential),
        *constants(current, beta, threshold),
        reset,
        *constants(current, slope),
        num_steps,
        _rows(nothing if by_spikes is None else by_spikes),
        _rows(nothing if by_potentials is None else by_potentials),
        _shares(current, None if by_sum is None else shares),
        _flat(nothing if by_sum is None else by_sum),
        _flat(carried),
        _rows(grad_current),
        _parts(carried, num_steps),
    )
    return grad_current, carried


def _shares(like: Tensor, shares: Tensor | None) -> Any:  # noqa: ANN401 - numpy arrays of either precision
    return _flat(like.new_empty(0) if shares is None else shares.to(like))


def _rows(values: Tensor) -> Any:  # noqa: ANN401
    return _flat(values).reshape(values.shape[0], -1) if values.numel() else np.empty((0, 0), _flat(values).dtype)


def _flat(values: Tensor) -> Any:  # noqa: ANN401
    return array(values).reshape(-1)


def _parts(values: Tensor, num_steps: int) -> int:
    return part_count(values.numel() * num_steps, _WORTH_A_THREAD)


def check(current: Tensor, potential: Tensor, reset: int, num_steps: int, shares: Tensor | None) -> None:
    """Check the operands of a run; arguments as there."""
    checks.axes("current", current, checks.tensor("potential", potential).dim() + 1)
    checks.operand("potential", potential, current.shape[1:], current)
    if current.shape[0] not in (1, checks.integer("num_steps", num_steps, minimum=0)):
        raise ValueError(f"current must have 1 or {num_steps} rows, one for each step, got {current.shape[0]}")
    if reset not in (0, 1, 2):
        raise ValueError(f"reset must be 0, 1 or 2, got {reset!r}")
    if shares is not None:
        checks.same_device("shares", checks.shape("shares", shares, (num_steps,)), current)
