"""Fused kernels in Triton for layer normalisation with a bias after it, for tensors on a GPU.

They compute the same as the tensor operations in ``spatialgraph.functional.normalization``, on inputs with the batch as
their last axis or as their first.
"""

import torch
from torch import Tensor

from spatialgraph import checks
from spatialgraph.kernels.cuda.launching import launch, tiles

__all__ = ["gradients", "normalise"]

# Added to variances, as torch.layer_norm does by default.
_EPSILON = 1e-5
# Samples and neurons of a tile, by the axis of the neurons: along the last axis, memory is read in long pieces.
_ROWS = {0: (64, 16), 1: (4, 1024)}
_COLUMNS = {0: (64, 16), 1: (16, 64)}


def normalise(total: Tensor, bias: Tensor, rectify: bool = False, axis: int = 0) -> tuple[Tensor, Tensor, Tensor]:
    """Normalise the inputs of each sample and add the bias; arguments and results as for the kernels of the CPU."""
    from spatialgraph.kernels.cuda.loops import normalization as loops

    neurons, batch = _check(total, bias, axis)
    total = total.detach().contiguous()
    y, mean, scale = torch.empty_like(total), total.new_empty(batch), total.new_empty(batch)
    bb, bn = _ROWS[axis]
    launch(
        loops.forward, (tiles(batch, bb),),
        total, bias, y, mean, scale, batch, neurons, *_strides(total, axis), _EPSILON,
        RECTIFY=rectify, BB=bb, BN=bn,
    )  # fmt: skip
    return y, mean, scale


def gradients(
    total: Tensor, bias: Tensor, mean: Tensor, scale: Tensor, grad: Tensor, rectify: bool = False, axis: int = 0
) -> tuple[Tensor, Tensor]:
    """Return the gradients of inputs and biases, given that of the output of :func:`normalise`."""
    from spatialgraph.kernels.cuda.loops import normalization as loops

    neurons, batch = _check(total, bias, axis)
    for name, values in (("mean", mean), ("scale", scale)):
        checks.operand(name, values, (batch,), total)
    checks.operand("grad", grad, total.shape, total)
    total = total.detach().contiguous()
    grad_total, grad_bias = torch.empty_like(total), torch.zeros_like(bias) if batch == 0 else torch.empty_like(bias)
    given = total, bias, mean, scale, grad
    sizes = batch, neurons, *_strides(total, axis), *_strides(grad, axis)
    bb, bn = _ROWS[axis]
    launch(loops.backward, (tiles(batch, bb),), *given, grad_total, *sizes, RECTIFY=rectify, BB=bb, BN=bn)
    bb, bn = _COLUMNS[axis]
    launch(loops.bias_gradient, (tiles(neurons, bn),), *given, grad_bias, *sizes, RECTIFY=rectify, BB=bb, BN=bn)
    return grad_total, grad_bias


def _check(total: Tensor, bias: Tensor, axis: int) -> tuple[int, int]:
    """Check inputs and biases, and return the numbers of neurons and samples."""
    checks.axes("total", total, 2)
    if axis not in (0, 1):
        raise ValueError(f"axis must be 0 or 1, got {axis!r}")
    checks.operand("bias", bias, total.shape[axis : axis + 1], total)
    return total.shape[axis], total.shape[1 - axis]


def _strides(values: Tensor, axis: int) -> tuple[int, int]:
    """Return the strides of samples and of neurons."""
    return values.stride(1 - axis), values.stride(axis)
