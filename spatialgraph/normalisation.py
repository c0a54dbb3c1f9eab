"""Layer normalisation of neurons' inputs with the bias after it, for the layout that sparse projections leave."""

import math
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

from spatialgraph import kernels

__all__ = ["normalised"]

# Below this number of inputs a hand-over to another thread costs more than it saves.
_WORTH_A_THREAD = 2**16


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

    Example:
        >>> normalised(torch.tensor([[1.0, 3.0]]), torch.tensor([0.0, 1.0]))
        tensor([[-1.0000,  2.0000]])
    """
    lies_by_neuron = total.dim() == 2 and total.t().is_contiguous() and not total.is_contiguous()
    if lies_by_neuron and total.dtype == bias.dtype and kernels.available(total):
        y: Tensor = _Normalised.apply(total.t(), bias, rectify)
        return y.t()
    y = F.layer_norm(total, total.shape[-1:]) + bias
    return F.relu(y) if rectify else y


class _Normalised(torch.autograd.Function):
    """The fused kernels, on inputs of shape ``(n, batch)``."""

    @staticmethod
    def forward(ctx: Any, total: Tensor, bias: Tensor, rectify: bool) -> Tensor:  # noqa: ANN401
        from spatialgraph import compiled_normalisation

        y, mean, scale = torch.empty_like(total), total.new_empty(total.shape[1]), total.new_empty(total.shape[1])
        arrays = total.detach().numpy(), bias.detach().contiguous().numpy()
        ctx.floor = arrays[0].dtype.type(0.0 if rectify else -math.inf)
        parts = _parts(total)
        with kernels.threads(parts):
            compiled_normalisation.forward(*arrays, ctx.floor, y.numpy(), mean.numpy(), scale.numpy(), parts)
        ctx.save_for_backward(total, bias, mean, scale)
        return y

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor, None]:  # noqa: ANN401
        from spatialgraph import compiled_normalisation

        total, bias, mean, scale = ctx.saved_tensors
        parts = _parts(total)
        grad_total, grad_bias = torch.empty_like(total), total.new_zeros(parts, len(total))
        arrays = [values.detach().contiguous().numpy() for values in (mean, scale, grad)]
        with kernels.threads(parts):
            compiled_normalisation.backward(
                total.numpy(), bias.contiguous().numpy(), ctx.floor, *arrays, grad_total.numpy(), grad_bias.numpy()
            )
        return grad_total, grad_bias.sum(0), None


def _parts(total: Tensor) -> int:
    return 1 if total.numel() < _WORTH_A_THREAD else torch.get_num_threads()
