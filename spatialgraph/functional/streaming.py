r"""The product with the weights of all pairs, of which only those of a few targets exist at a time."""

from collections.abc import Iterator
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from spatialgraph.functional import composed
from spatialgraph.functional.compressed import check_product, geometry_in_single
from spatialgraph.functional.pairs import build_weight, geometry_gradients
from spatialgraph.functional.precision import product_dtype
from spatialgraph.functional.tiled import is_tiled, tiled_all_to_all
from spatialgraph.laws import Law
from spatialgraph.tracing import is_observed

__all__ = ["checkpointed", "streamed"]

# Weights that exist at a time. Blocks must be large enough for fast products, and small enough to stay in the cache.
_CPU_BLOCK = 2**22
_ACCELERATOR_BLOCK = 2**26


def streamed(
    x: Tensor, source_pos: Tensor, target_pos: Tensor, scale: Tensor, law: Law, bias: Tensor | None = None
) -> Tensor:
    r"""Send activations from every source to every target without holding all weights.

    .. math:: y_{bj} = \sum_i x_{bi}\, s_i\, w(|p_i - q_j|) + b_j

    The weights of a block of targets are computed, multiplied and dropped, in the backward pass as well, on a GPU where
    they are multiplied: memory grows with the numbers of sources, targets and samples, and not with the number of
    pairs. Weights are computed twice in a
    training step in place of once. Under ``torch.autocast`` only the matrix products use the lower precision.

    Args:
        x: activations of the sources, shape ``(..., n)``; whole numbers are converted to the dtype of the positions.
        source_pos: positions of the sources, shape ``(n, d)``, in length units.
        target_pos: positions of the targets, shape ``(m, d)``, in length units.
        scale: polarity times gain of each source, shape ``(n,)``.
        law: the law from length to weight.
        bias: added to each target's input, shape ``(m,)``; None for nothing.

    Returns:
        Inputs of the targets, shape ``(..., m)``.

    Raises:
        TypeError: if an argument is not a tensor of the expected dtype.
        ValueError: if the shapes or devices do not match.

    Example:
        >>> from spatialgraph.laws import InverseDistance
        >>> pos, target = torch.tensor([[0.0], [1.0]]), torch.tensor([[2.0]])
        >>> streamed(torch.tensor([[2.0, 3.0]]), pos, target, torch.tensor([1.0, -1.0]), InverseDistance())
        tensor([[-2.0000]])
    """
    check_product(x, source_pos, target_pos, scale, law, bias)
    x = x.to(product_dtype(x, source_pos))
    geometry = geometry_in_single(source_pos, target_pos, scale)
    if is_observed(x, *geometry):
        return composed.all_to_all(x, *geometry, law, bias, None, 0, False)
    flat = x.reshape(x.shape[:-1].numel(), x.shape[-1])
    y: Tensor
    if is_tiled(flat, *geometry[:2], law):
        y = tiled_all_to_all(flat, *geometry, law, bias, False)
    else:
        y = _Streamed.apply(flat, *geometry, law, bias, *law.parameters())
    return y.view(*x.shape[:-1], target_pos.shape[0])


class _Streamed(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,  # noqa: ANN401 - the context has no public type
        x: Tensor,
        source_pos: Tensor,
        target_pos: Tensor,
        scale: Tensor,
        law: Law,
        bias: Tensor | None,
        *law_parameters: Tensor,
    ) -> Tensor:
        # Saving the law's parameters lets autograd detect a change before the backward pass.
        ctx.save_for_backward(x, source_pos, target_pos, scale, bias, *law_parameters)
        ctx.law = law
        y = x.new_empty(x.shape[0], target_pos.shape[0])
        for rows in _blocks(source_pos, target_pos):
            weight = build_weight(source_pos, target_pos[rows], scale, law).to(x.dtype)
            y[:, rows] = F.linear(x, weight, None if bias is None else bias[rows].to(x.dtype))
        return y

    @staticmethod
    def backward(ctx: Any, grad_y: Tensor) -> tuple[Tensor | None, ...]:  # noqa: ANN401
        x, source_pos, target_pos, scale, bias, *law_parameters = ctx.saved_tensors
        if composed.is_needed(ctx.law, law_parameters):
            inputs = (x, source_pos, target_pos, scale, ctx.law, bias, *law_parameters)
            return composed.gradients(checkpointed, inputs, ctx.needs_input_grad, [grad_y])
        geometry = source_pos, target_pos, scale
        grad_x = torch.zeros_like(x) if ctx.needs_input_grad[0] else None
        grad_bias = grad_y.sum(0).to(bias.dtype) if ctx.needs_input_grad[5] else None
        needs_geometry = any(ctx.needs_input_grad[1:4] + ctx.needs_input_grad[6:])
        grads = [torch.zeros_like(values) for values in (*geometry, *law_parameters)] if needs_geometry else []
        for rows in _blocks(source_pos, target_pos):
            to_rows, part = grad_y[:, rows], target_pos[rows]
            if grad_x is not None:
                grad_x.addmm_(to_rows, build_weight(source_pos, part, scale, ctx.law).to(x.dtype))
            if needs_geometry:
                grad_weight = (to_rows.t() @ x).to(source_pos.dtype)
                (of_source, of_target, of_scale), of_law = geometry_gradients(
                    grad_weight, source_pos, part, scale, ctx.law
                )
                for total, each in zip((grads[0], grads[2], *grads[3:]), (of_source, of_scale, *of_law), strict=True):
                    total += each
                grads[1][rows] = of_target
        if not needs_geometry:
            return grad_x, None, None, None, None, grad_bias, *[None] * len(law_parameters)
        return grad_x, *grads[:3], None, grad_bias, *grads[3:]


def checkpointed(
    x: Tensor,
    source_pos: Tensor,
    target_pos: Tensor,
    scale: Tensor,
    law: Law,
    bias: Tensor | None,
    *law_parameters: Tensor,
) -> Tensor:
    """Return what :func:`streamed` does by differentiable operations, which compute weights anew in each pass.

    Arguments as there; ``law_parameters`` are used in place of the law's own, in their order.
    """

    def part(target_pos: Tensor, bias: Tensor | None) -> Tensor:
        return composed.all_to_all(x, source_pos, target_pos, scale, law, bias, None, 0, False, *law_parameters)

    parts = [
        checkpoint(part, target_pos[rows], None if bias is None else bias[rows], use_reentrant=False)
        for rows in _blocks(source_pos, target_pos)
    ]
    return torch.cat(parts, -1)


def _blocks(source_pos: Tensor, target_pos: Tensor) -> Iterator[slice]:
    count = target_pos.shape[0]
    weights = _CPU_BLOCK if source_pos.device.type == "cpu" else _ACCELERATOR_BLOCK
    step = max(1, weights // max(1, source_pos.shape[0]))
    for start in range(0, count, step):
        yield slice(start, min(start + step, count))
