"""Fused CPU kernels for layer normalisation with a bias after it, compiled by Numba where it is installed.

They compute the same as the tensor operations in ``spatialgraph.functional.normalization``, on inputs with the batch
as their last axis or as their first.
"""

import math

import torch
from torch import Tensor

from spatialgraph import checks
from spatialgraph.kernels.compilation import part_count
from spatialgraph.kernels.handover import array, constants

__all__ = ["gradients", "normalise"]

# Minimum number of inputs for which several threads are faster than one.
_WORTH_A_THREAD = 2**16


def normalise(total: Tensor, bias: Tensor, rectify: bool = False, axis: int = 0) -> tuple[Tensor, Tensor, Tensor]:
    """Normalise the inputs of each sample to mean 0 and variance 1, and add the bias of each neuron.

    Args:
        total: inputs, shape ``(neurons, batch)``; or ``(batch, neurons)`` with axis 1.
        bias: shape ``(neurons,)``.
        rectify: whether to set negative results to 0.
        axis: that of the neurons, 0 or 1.

    Returns:
        The results, and the mean and reciprocal standard deviation of each sample.

    Example:
        >>> normalise(torch.tensor([[1.0], [3.0]]), torch.tensor([0.0, 1.0]))[0]
        tensor([[-1.0000],
                [ 2.0000]])
    """
    from spatialgraph.kernels.loops import normalization as loops

    batch = _check(total, bias, axis)
    total = total.detach().contiguous()
    parts = _parts(total, axis)
    y, mean, scale = torch.empty_like(total), total.new_empty(batch), total.new_empty(batch)
    results = [values.numpy() for values in (y, mean, scale)]
    given = total.numpy(), array(bias), *_floor(total, rectify)
    if axis == 1:
        loops.forward_by_sample(*given, *results, parts)
    else:
        loops.forward(*given, *results, _sums(total, parts).numpy(), parts)
    return y, mean, scale


def gradients(
    total: Tensor, bias: Tensor, mean: Tensor, scale: Tensor, grad: Tensor, rectify: bool = False, axis: int = 0
) -> tuple[Tensor, Tensor]:
    """Return the gradients of inputs and biases, given that of the output of :func:`normalise`.

    Example:
        >>> total, bias = torch.tensor([[1.0], [3.0]]), torch.tensor([0.0, 1.0])
        >>> _, mean, scale = normalise(total, bias)
        >>> gradients(total, bias, mean, scale, torch.ones(2, 1))[1]
        tensor([1., 1.])
    """
    from spatialgraph.kernels.loops import normalization as loops

    batch = _check(total, bias, axis)
    for name, values in (("mean", mean), ("scale", scale)):
        checks.operand(name, values, (batch,), total)
    checks.operand("grad", grad, total.shape, total)
    total = total.detach().contiguous()
    parts = _parts(total, axis)
    grad_total = torch.empty_like(total)
    given = total.numpy(), array(bias), *_floor(total, rectify), *(array(values) for values in (mean, scale, grad))
    if axis == 1:
        by_thread = total.new_zeros(parts, len(bias))
        loops.backward_by_sample(*given, grad_total.numpy(), by_thread.numpy(), parts)
        return grad_total, by_thread.sum(0)
    grad_bias = torch.empty_like(bias)
    loops.backward(*given, grad_total.numpy(), grad_bias.numpy(), _sums(total, parts).numpy(), parts)
    return grad_total, grad_bias


def _check(total: Tensor, bias: Tensor, axis: int) -> int:
    """Check inputs and biases, and return the number of samples."""
    checks.for_kernel("total", total, 2)
    if axis not in (0, 1):
        raise ValueError(f"axis must be 0 or 1, got {axis!r}")
    checks.operand("bias", bias, total.shape[axis : axis + 1], total)
    return total.shape[1 - axis]


def _sums(total: Tensor, parts: int) -> Tensor:
    """Return memory for two sums of each thread over its neurons, in double precision: there may be many neurons."""
    return total.new_empty(parts, 2, total.shape[1], dtype=torch.float64)


def _floor(total: Tensor, rectify: bool) -> list[float]:
    return constants(total, 0.0 if rectify else -math.inf)


def _parts(total: Tensor, axis: int) -> int:
    return part_count(total.numel(), _WORTH_A_THREAD, most=max(1, total.shape[0]) if axis == 1 else None)
