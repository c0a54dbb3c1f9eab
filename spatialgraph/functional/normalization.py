"""Layer normalisation of neurons' inputs with the bias after it, for the layout that sparse projections leave."""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from spatialgraph import checks
from spatialgraph.functional import composed
from spatialgraph.kernels import handover
from spatialgraph.kernels import normalization as normalisation_kernels

__all__ = ["normalised"]


def normalised(total: Tensor, bias: Tensor, rectify: bool = False) -> Tensor:
    r"""Bring the inputs of each sample to mean 0 and variance 1, and add the bias.

    .. math:: y_{bj} = \frac{t_{bj} - \mu_b}{\sqrt{\sigma_b^2 + 10^{-5}}} + \beta_j

    Inputs that a sparse projection computed lie in memory sample by sample; where Numba is installed, one pass over
    the cache serves them.

    Args:
        total: summed inputs, shape ``(..., n)``.
        bias: shape ``(n,)``.
        rectify: whether negative results become 0, as by ``relu``.

    Returns:
        Tensor of the shape of ``total``.

    Raises:
        ValueError: if the bias does not have a number for each input.

    Example:
        >>> normalised(torch.tensor([[1.0, 3.0]]), torch.tensor([0.0, 1.0]))
        tensor([[-1.0000,  2.0000]])
    """
    checks.beside("total", checks.last_axis("total", total, checks.axes("bias", bias, 1).shape[0]), bias)
    if not total.is_floating_point():
        raise TypeError(f"total must be floating point, got {total.dtype}")
    lies_by_neuron = total.dim() == 2 and not total.is_contiguous() and total.t().is_contiguous()
    if lies_by_neuron and total.dtype == bias.dtype and handover.available(total, bias):
        y: Tensor = _Normalised.apply(total.t(), bias, rectify)
        return y.t()
    return _composed(total, bias, rectify)


def _composed(total: Tensor, bias: Tensor, rectify: bool) -> Tensor:
    # A bias given to layer_norm has wrong second derivatives there.
    y = torch.layer_norm(total, total.shape[-1:]) + bias
    return F.relu(y) if rectify else y


class _Normalised(torch.autograd.Function):
    """The fused kernels, on inputs of shape ``(n, batch)``."""

    @staticmethod
    def forward(ctx: Any, total: Tensor, bias: Tensor, rectify: bool) -> Tensor:  # noqa: ANN401
        y, mean, scale = normalisation_kernels.normalise(total, bias, rectify)
        ctx.save_for_backward(total, bias, mean, scale)
        ctx.rectify = rectify
        return y

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:  # noqa: ANN401
        total, bias, mean, scale = ctx.saved_tensors
        if torch.is_grad_enabled():
            inputs = (total, bias, ctx.rectify)
            return composed.gradients(_by_neuron, inputs, ctx.needs_input_grad, [grad])
        return (*normalisation_kernels.gradients(total, bias, mean, scale, grad, ctx.rectify), None)


def _by_neuron(total: Tensor, bias: Tensor, rectify: bool) -> Tensor:
    return _composed(total.t(), bias, rectify).t()
