"""Fused kernels in Triton for leaky integration over time, for tensors on a GPU.

They compute the same as the tensor operations in :mod:`spatialgraph.functional.leaky`; multiplications and additions
are not fused, so that spikes and potentials are identical to the bit.
"""

import torch
from torch import Tensor

from spatialgraph.kernels.cuda.launching import launch, tiles
from spatialgraph.kernels.leaky import check

__all__ = ["gradients", "run"]

_BLOCK = 512


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
    """Advance leaky neurons by many time steps; arguments and results as for the kernels of the CPU."""
    from spatialgraph.kernels.cuda.loops import leaky as loops

    check(current, potential, reset, num_steps, shares)
    fired = current.new_empty(num_steps if spikes else 0, *potential.shape)
    traced = current.new_empty(num_steps if potentials else 0, *potential.shape)
    start, drive = potential.detach().contiguous(), current.detach().contiguous()
    summed, last = torch.empty_like(start), torch.empty_like(start)
    weights = _shares(current, shares)
    launch(
        loops.forward, (tiles(start.numel(), _BLOCK),), drive, start, fired, traced, weights, summed, last,
        float(beta), float(threshold), start.numel(), num_steps, len(current),
        RESET=reset, HAS_SPIKES=spikes, HAS_POTENTIALS=potentials, HAS_SHARES=shares is not None, BLOCK=_BLOCK,
        enable_fp_fusion=False,
    )  # fmt: skip
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
    """Return the gradients of the current and the first potential; arguments as for the kernels of the CPU."""
    from spatialgraph.kernels.cuda.loops import leaky as loops

    check(current, potential, reset, num_steps, shares)
    _, history, _, _ = run(current, potential, beta, threshold, reset, num_steps, spikes=False)
    start = potential.detach().contiguous()
    grad_current = torch.zeros_like(current, memory_format=torch.contiguous_format)  # there may be no step
    grad_potential = torch.empty_like(start)
    given = [start if grad is None else grad.contiguous() for grad in (by_spikes, by_potentials, by_sum, by_last)]
    launch(
        loops.backward, (tiles(start.numel(), _BLOCK),),
        start, history, *given[:2], _shares(current, shares), *given[2:], grad_current, grad_potential,
        float(beta), float(threshold), float(slope), start.numel(), num_steps, len(current),
        RESET=reset, HAS_SPIKES=by_spikes is not None, HAS_POTENTIALS=by_potentials is not None,
        HAS_SUM=by_sum is not None, HAS_LAST=by_last is not None, BLOCK=_BLOCK,
    )  # fmt: skip
    return grad_current, grad_potential


def _shares(like: Tensor, shares: Tensor | None) -> Tensor:
    """Return the weights of the sum of spikes; some tensor where there is no sum."""
    return like if shares is None else shares.to(like).contiguous()
