"""Fused CPU kernels for convolutions over channels, compiled by Numba where it is installed.

They compute the same as the tensor operations in :mod:`spatialgraph.functional.channels`. Each thread takes as many
edges and sums them separately, so for given inputs, results depend only on the number of threads.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from spatialgraph import checks
from spatialgraph.kernels.compilation import part_count
from spatialgraph.kernels.handover import array, columns_exist, constants

__all__ = ["ChannelKernels"]

# Minimum number of weights for which several threads are faster than one.
_WORTH_A_THREAD = 2**15


class ChannelKernels:
    """The kernels of pairs of channels for one formula.

    Args:
        formula: a name in ``spatialgraph.kernels.loops.formulas``.
    """

    def __init__(self, formula: str) -> None:
        self.formula = formula

    def convolve(
        self,
        x: Tensor,
        displacement: Tensor,
        offset: Tensor,
        edge_weight: Tensor,
        softening: float,
        edge_index: Tensor,
        n_targets: int,
        settings: Sequence[float | Tensor] = (),
    ) -> Tensor:
        """Return the channels of the targets, shape ``(m, C')``; arguments as for tensor operations.

        ``settings`` are the constants of the formula.

        Example:
            >>> kernels, edge = ChannelKernels("inverse_distance"), torch.tensor([[0], [0]])
            >>> kernels.convolve(torch.ones(1, 1), torch.ones(1, 1), torch.ones(1, 2, 1), torch.ones(1), 1e-6, edge, 1)
            tensor([[0.5000, 0.5000]])
        """
        from spatialgraph.kernels.loops import channels as loops

        operands, parts = _operands(x, displacement, offset, edge_weight, [softening**2, *settings], edge_index)
        y = x.new_zeros(parts, n_targets, offset.shape[1])
        convolve, _ = loops.by_formula(self.formula)
        _check(convolve(*operands, y.numpy(), parts), edge_index, x.shape[0], n_targets)
        return y.sum(0) if parts > 1 else y[0]

    def gradients(
        self,
        x: Tensor,
        displacement: Tensor,
        offset: Tensor,
        edge_weight: Tensor,
        softening: float,
        edge_index: Tensor,
        grad: Tensor,
        settings: Sequence[float | Tensor] = (),
    ) -> tuple[Tensor, Tensor, Tensor, Tensor, float]:
        """Return the gradients of the four tensors and of the formula's parameter.

        Arguments are those of :meth:`convolve`, with the gradient of the channels of the targets instead of their
        number. The last result is 0 for a formula without a parameter.
        """
        from spatialgraph.kernels.loops import channels as loops

        operands, parts = _operands(x, displacement, offset, edge_weight, [softening**2, *settings], edge_index)
        checks.operand("grad", grad, (checks.axes("grad", grad, 2).shape[0], offset.shape[1]), x)
        grad_x, grad_displacement = x.new_zeros(parts, *x.shape), displacement.new_empty(displacement.shape)
        grad_offset = offset.new_zeros(parts, offset.shape[2], offset.shape[:2].numel(), dtype=torch.float64)
        grad_edge, grad_parameter = edge_weight.new_empty(edge_weight.shape), np.zeros(parts)
        results = [values.numpy() for values in (grad_x, grad_displacement, grad_offset, grad_edge)]
        _, gradients = loops.by_formula(self.formula)
        fits = gradients(*operands, array(grad), *results, grad_parameter, parts)
        _check(fits, edge_index, x.shape[0], grad.shape[0])
        by_pair = grad_offset.sum(0).to(x.dtype).t().reshape(offset.shape)
        total = grad_x.sum(0) if parts > 1 else grad_x[0]
        return total, grad_displacement, by_pair, grad_edge, float(grad_parameter.sum())


def _operands(
    x: Tensor,
    displacement: Tensor,
    offset: Tensor,
    edge_weight: Tensor,
    settings: Sequence[float | Tensor],
    edge_index: Tensor,
) -> tuple[list[Any], int]:
    """Return the arguments as arrays, and the number of threads."""
    checks.for_kernel("x", x, 2)
    sources, targets = (checks.indices("edge_index", ends) for ends in edge_index)
    channels, out_channels, dim = checks.axes("offset", offset, 3).shape
    checks.operand("offset", offset, (x.shape[1], out_channels, dim), x)
    reached = min(dim, checks.axes("displacement", displacement, 2).shape[1])
    checks.operand("displacement", displacement, (len(sources), reached), x)
    checks.operand("edge_weight", edge_weight, (len(sources),), x)
    by_axis = offset.reshape(channels * out_channels, dim).t()
    numbers = [array(values) for values in (x, displacement, by_axis, edge_weight)]
    parts = part_count(len(sources) * channels * out_channels, _WORTH_A_THREAD)
    return [*numbers, tuple(constants(x, *settings)), array(sources), array(targets)], parts


def _check(fits: bool, edge_index: Tensor, n_sources: int, n_targets: int) -> None:
    columns_exist(fits, edge_index[0], n_sources, "edge_index[0]")
    columns_exist(fits, edge_index[1], n_targets, "edge_index[1]")
