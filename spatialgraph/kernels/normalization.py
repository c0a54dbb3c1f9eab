"""Fused CPU kernels for layer normalisation with a bias after it, compiled by Numba where it is installed.

They compute the same as the tensor operations in ``spatialgraph.functional.normalization``, on inputs with the batch
as their last axis.
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


def normalise(total: Tensor, bias: Tensor, rectify: bool = False) -> tuple[Tensor, Tensor, Tensor]:
    """Normalise each column of ``(neurons, batch)`` to mean 0 and variance 1, and add the bias of each row.

    If ``rectify`` is true, negative results are set to 0.

    Returns:
        The results, and the mean and reciprocal standard deviation of each column.

    Example:
        >>> normalise(torch.tensor([[1.0], [3.0]]), torch.tensor([0.0, 1.0]))[0]
        tensor([[-1.0000],
                [ 2.0000]])
    """
    from spatialgraph.kernels.loops import normalization as loops

    _check(total, bias)
    total = total.detach().contiguous()
    parts = _parts(total)
    y, mean, scale = torch.empty_like(total), total.new_empty(total.shape[1]), total.new_empty(total.shape[1])
    results = [values.numpy() for values in (y, mean, scale, _sums(total, parts))]
    loops.forward(total.numpy(), array(bias), *_floor(total, rectify), *results, parts)
    return y, mean, scale


def gradients(
    total: Tensor, bias: Tensor, mean: Tensor, scale: Tensor, grad: Tensor, rectify: bool = False
) -> tuple[Tensor, Tensor]:
    """Return the gradients of inputs and biases, given that of the output of :func:`normalise`.

    Example:
        >>> total, bias = torch.tensor([[1.0], [3.0]]), torch.tensor([0.0, 1.0])
        >>> _, mean, scale = normalise(total, bias)
        >>> gradients(total, bias, mean, scale, torch.ones(2, 1))[1]
        tensor([1., 1.])
    """
    from spatialgraph.kernels.loops import normalization as loops

    _check(total, bias)
    for name, values in (("mean", mean), ("scale", scale)):
        checks.operand(name, values, total.shape[1:], total)
    checks.operand("grad", grad, total.shape, total)
    total = total.detach().contiguous()
    parts = _parts(total)
    grad_total, grad_bias = torch.empty_like(total), total.new_empty(len(total))
    arrays = [array(values) for values in (mean, scale, grad)]
    results = [values.numpy() for values in (grad_total, grad_bias, _sums(total, parts))]
    loops.backward(total.numpy(), array(bias), *_floor(total, rectify), *arrays, *results, parts)
    return grad_total, grad_bias


def _check(total: Tensor, bias: Tensor) -> None:
    checks.for_kernel("total", total, 2)
    checks.operand("bias", bias, total.shape[:1], total)


def _sums(total: Tensor, parts: int) -> Tensor:
    """Return memory for two sums of each thread over its neurons, in double precision: there may be many neurons."""
    return total.new_empty(parts, 2, total.shape[1], dtype=torch.float64)


def _floor(total: Tensor, rectify: bool) -> list[float]:
    return constants(total, 0.0 if rectify else -math.inf)


def _parts(total: Tensor) -> int:
    return part_count(total.numel(), _WORTH_A_THREAD)
