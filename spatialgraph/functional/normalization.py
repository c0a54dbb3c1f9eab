"""Layer normalisation with a bias after it, fast for the memory layout of the outputs of sparse projections."""

from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor

from spatialgraph import checks
from spatialgraph.functional import composed
from spatialgraph.functional.fused import NORMALIZATION
from spatialgraph.kernels.registry import find

__all__ = ["normalised"]

# Added to variances, as torch.layer_norm does by default.
_EPSILON = 1e-5
# Inputs sample by sample from which fused kernels are faster than PyTorch's operations.
_WORTH_FUSING = 2**17


def normalised(total: Tensor, bias: Tensor, rectify: bool = False, among: Tensor | None = None) -> Tensor:
    r"""Normalise the inputs of each sample to mean 0 and variance 1, and add the bias.

    .. math:: y_{bj} = \frac{t_{bj} - \mu_b}{\sqrt{\sigma_b^2 + 10^{-5}}} + \beta_j

    This is `layer normalisation <https://arxiv.org/abs/1607.06450>`_ (Ba et al., 2016) with a bias and no gain. The
    outputs of a sparse projection are stored neuron by neuron; with Numba, fused kernels normalise them in that layout,
    and those of other projections sample by sample.

    Args:
        total: summed inputs, shape ``(..., n)``.
        bias: shape ``(n,)``.
        rectify: whether to set negative results to 0, as ``relu`` does.
        among: numbers of the neurons that mean and variance are those of, int64; None for all.

    Returns:
        Tensor of the shape of ``total``.

    Raises:
        TypeError: if ``total`` is not floating point.
        ValueError: if ``bias`` does not have shape ``(n,)``.

    Example:
        >>> normalised(torch.tensor([[1.0, 3.0]]), torch.tensor([0.0, 1.0]))
        tensor([[-1.0000,  2.0000]])
    """
    checks.same_device("total", checks.last_axis("total", total, checks.axes("bias", bias, 1).shape[0]), bias)
    if not total.is_floating_point():
        raise TypeError(f"total must be floating point, got {total.dtype}")
    if among is not None:
        return _normalised_among(total, bias, rectify, among)
    if total.dim() == 2 and total.dtype == bias.dtype and find(NORMALIZATION, total, bias) is not None:
        if total.is_contiguous() and total.numel() >= _WORTH_FUSING:
            by_sample: Tensor = _Normalised.apply(total, bias, rectify, 1)
            return by_sample
        if not total.is_contiguous() and total.t().is_contiguous():
            by_neuron: Tensor = _Normalised.apply(total.t(), bias, rectify, 0)
            return by_neuron.t()
    return _composed(total, bias, rectify)


def _normalised_among(total: Tensor, bias: Tensor, rectify: bool, among: Tensor) -> Tensor:
    variance, mean = torch.var_mean(total[..., among], dim=-1, correction=0, keepdim=True)
    y = (total - mean) * torch.rsqrt(variance + _EPSILON) + bias
    return F.relu(y) if rectify else y


def _composed(total: Tensor, bias: Tensor, rectify: bool) -> Tensor:
    # Added separately: second derivatives of layer_norm with a bias are wrong.
    y = torch.layer_norm(total, total.shape[-1:]) + bias
    return F.relu(y) if rectify else y


class _Normalised(torch.autograd.Function):
    """The fused kernels, on inputs of shape ``(n, batch)``, or ``(batch, n)`` where the axis of the neurons is 1."""

    @staticmethod
    def forward(ctx: Any, total: Tensor, bias: Tensor, rectify: bool, axis: int) -> Tensor:  # noqa: ANN401
        ctx.kernel = find(NORMALIZATION, total, bias)
        y, mean, scale = ctx.kernel.normalise(total, bias, rectify, axis)
        ctx.save_for_backward(total, bias, mean, scale)
        ctx.rectify, ctx.axis = rectify, axis
        return cast(Tensor, y)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:  # noqa: ANN401
        total, bias, mean, scale = ctx.saved_tensors
        if torch.is_grad_enabled():
            inputs = (total, bias, ctx.rectify, ctx.axis)
            return composed.gradients(_along, inputs, ctx.needs_input_grad, [grad])
        return (*ctx.kernel.gradients(total, bias, mean, scale, grad, ctx.rectify, ctx.axis), None, None)


def _along(total: Tensor, bias: Tensor, rectify: bool, axis: int) -> Tensor:
    return _composed(total, bias, rectify) if axis == 1 else _composed(total.t(), bias, rectify).t()
