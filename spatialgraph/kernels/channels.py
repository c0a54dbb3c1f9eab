"""Fused CPU kernels for convolutions over channels by inverse distances, compiled by Numba where it is installed.

They compute the same as the tensor operations in :mod:`spatialgraph.functional.channels`. Each thread takes as many
edges and sums them separately, so results depend on the number of threads only.
"""

from typing import Any

import torch
from torch import Tensor

from spatialgraph import checks
from spatialgraph.kernels.compilation import part_count
from spatialgraph.kernels.handover import array, columns_exist, constants

__all__ = ["convolve", "gradients"]

# Minimum number of weights for which several threads are faster than one.
_WORTH_A_THREAD = 2**15


def convolve(
    x: Tensor,
    displacement: Tensor,
    offset: Tensor,
    edge_weight: Tensor,
    softening: float,
    edge_index: Tensor,
    n_targets: int,
) -> Tensor:
    """Return the channels of the targets, shape ``(m, C')``; arguments as for tensor operations.

    Example:
        >>> edge = torch.tensor([[0], [0]])
        >>> convolve(torch.ones(1, 1), torch.ones(1, 1), torch.ones(1, 2, 1), torch.ones(1), 1e-6, edge, 1)
        tensor([[0.5000, 0.5000]])
    """
    from spatialgraph.kernels.loops import channels as loops

    operands, parts = _operands(x, displacement, offset, edge_weight, softening, edge_index)
    y = x.new_zeros(parts, n_targets, offset.shape[1])
    _check(loops.convolve(*operands, y.numpy(), parts), edge_index, x.shape[0], n_targets)
    return y.sum(0) if parts > 1 else y[0]


def gradients(
    x: Tensor,
    displacement: Tensor,
    offset: Tensor,
    edge_weight: Tensor,
    softening: float,
    edge_index: Tensor,
    grad: Tensor,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return the gradients of the four tensors, given that of the channels of the targets."""
    from spatialgraph.kernels.loops import channels as loops

    operands, parts = _operands(x, displacement, offset, edge_weight, softening, edge_index)
    checks.operand("grad", grad, (checks.axes("grad", grad, 2).shape[0], offset.shape[1]), x)
    grad_x, grad_displacement = x.new_zeros(parts, *x.shape), displacement.new_empty(displacement.shape)
    grad_offset = torch.zeros(parts, offset.shape[2], offset.shape[:2].numel(), dtype=torch.float64)
    grad_edge = edge_weight.new_empty(edge_weight.shape)
    results = [values.numpy() for values in (grad_x, grad_displacement, grad_offset, grad_edge)]
    _check(loops.gradients(*operands, array(grad), *results, parts), edge_index, x.shape[0], grad.shape[0])
    by_pair = grad_offset.sum(0).to(x.dtype).t().reshape(offset.shape)
    return grad_x.sum(0) if parts > 1 else grad_x[0], grad_displacement, by_pair, grad_edge


def _operands(
    x: Tensor, displacement: Tensor, offset: Tensor, edge_weight: Tensor, softening: float, edge_index: Tensor
) -> tuple[list[Any], int]:
    """Return the arguments as arrays, and the number of threads."""
    checks.for_kernel("x", x, 2)
    sources, targets = (checks.indices("edge_index", ends) for ends in edge_index)
    channels, out_channels, dim = checks.axes("offset", offset, 3).shape
    checks.operand("offset", offset, (x.shape[1], out_channels, dim), x)
    checks.operand("displacement", displacement, (len(sources), dim), x)
    checks.operand("edge_weight", edge_weight, (len(sources),), x)
    by_axis = offset.reshape(channels * out_channels, dim).t()
    numbers = [array(values) for values in (x, displacement, by_axis, edge_weight)]
    parts = part_count(len(sources) * channels * out_channels, _WORTH_A_THREAD)
    return [*numbers, *constants(x, softening**2), array(sources), array(targets)], parts


def _check(fits: bool, edge_index: Tensor, n_sources: int, n_targets: int) -> None:
    columns_exist(fits, edge_index[0], n_sources, "edge_index[0]")
    columns_exist(fits, edge_index[1], n_targets, "edge_index[1]")
