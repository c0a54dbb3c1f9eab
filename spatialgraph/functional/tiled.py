"""The product with the weights of all pairs on a GPU, which are computed where they are used and never stored."""

from typing import Any

import torch
from torch import Tensor

from spatialgraph.functional import composed
from spatialgraph.functional.fused import parameter_gradients, product_law, settings_of
from spatialgraph.laws import Law

__all__ = ["is_tiled", "tiled_all_to_all"]


def is_tiled(x: Tensor, source_pos: Tensor, target_pos: Tensor, law: Law) -> bool:
    """Tell whether there are kernels for these tensors that compute weights where they are used, and they pay.

    Example:
        >>> from spatialgraph.laws import InverseDistance
        >>> is_tiled(torch.zeros(2, 3), torch.zeros(3, 1), torch.zeros(4, 1), InverseDistance())
        False
    """
    kernel = product_law(law, source_pos)
    return kernel is not None and kernel.is_worthwhile(x, len(target_pos))


def tiled_all_to_all(
    x: Tensor, source_pos: Tensor, target_pos: Tensor, scale: Tensor, law: Law, bias: Tensor | None, rectify: bool
) -> Tensor:
    """Send activations as :func:`spatialgraph.functional.all_to_all` does, without memory for weights.

    Args:
        x: activations of the sources, shape ``(batch, n)``, for which :func:`is_tiled` is true.
        source_pos: as there.
        target_pos: as there.
        scale: as there.
        law: as there.
        bias: as there.
        rectify: as there.
    """
    y: Tensor = _TiledAllToAll.apply(x, source_pos, target_pos, scale, law, bias, rectify, *law.parameters())
    return y


class _TiledAllToAll(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,  # noqa: ANN401
        x: Tensor,
        source_pos: Tensor,
        target_pos: Tensor,
        scale: Tensor,
        law: Law,
        bias: Tensor | None,
        rectify: bool,
        *law_parameters: Tensor,
    ) -> Tensor:
        geometry, numbers = (source_pos, target_pos, scale), (law.softening, settings_of(law))
        kernel: Any = product_law(law, source_pos)
        y: Tensor = kernel.multiply(x, *geometry, *numbers, bias, rectify)
        # Saving the law's parameters lets autograd detect a change before the backward pass.
        ctx.save_for_backward(x, *geometry, bias, y if rectify else None, *law_parameters)
        ctx.law, ctx.kernel = law, kernel
        return y

    @staticmethod
    def backward(ctx: Any, grad_y: Tensor) -> tuple[Tensor | None, ...]:  # noqa: ANN401
        x, source_pos, target_pos, scale, bias, y, *law_parameters = ctx.saved_tensors
        geometry, law = (source_pos, target_pos, scale), ctx.law
        if composed.is_needed(law, law_parameters):
            inputs = (x, *geometry, law, bias, None, 0, y is not None, *law_parameters)
            needed = (*ctx.needs_input_grad[:6], False, False, False, *ctx.needs_input_grad[7:])
            grads = composed.gradients(composed.all_to_all, inputs, needed, [grad_y])
            return (*grads[:6], None, *grads[9:])
        if y is not None:
            grad_y = torch.ops.aten.threshold_backward(grad_y, y, 0)
        kernel, numbers = ctx.kernel, (law.softening, settings_of(law))
        grad_x = kernel.multiply(grad_y, *geometry, *numbers, is_back=True) if ctx.needs_input_grad[0] else None
        grad_bias = grad_y.sum(0).to(bias.dtype) if ctx.needs_input_grad[5] else None
        if not any(ctx.needs_input_grad[1:4] + ctx.needs_input_grad[7:]):
            return (grad_x, None, None, None, None, grad_bias, *[None] * (len(ctx.needs_input_grad) - 6))
        *grads, by_parameter = kernel.geometry_gradients(grad_y, x, *geometry, *numbers)
        return (grad_x, *grads, None, grad_bias, None, *parameter_gradients(law, by_parameter))
