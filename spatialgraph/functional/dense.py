r"""The product with the weights of all pairs, :math:`y_{bj} = \sum_i x_{bi}\, s_i\, w(|p_i - q_j|)`.

Here :math:`s_i` is the scale (polarity times gain) of source :math:`i`. The weight matrix is built and multiplied; no
tensor of shape (sources, targets, dimensions) is ever stored. Tracers, exporters, compilers, ``torch.func`` and double
backward use the compositions of :mod:`spatialgraph.functional.composed`. For positions in half precision, weights are
computed in single precision and rounded at the end.
"""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from spatialgraph import checks
from spatialgraph.functional import composed
from spatialgraph.functional.compressed import check_product, geometry_in_single, sparse
from spatialgraph.functional.compressed_edges import CompressedEdges
from spatialgraph.functional.pairs import build_weight, geometry_gradients
from spatialgraph.functional.precision import product_dtype
from spatialgraph.functional.scratch import scratch
from spatialgraph.functional.smallest import without_smallest
from spatialgraph.functional.tiled import is_tiled, tiled_all_to_all
from spatialgraph.laws import Law
from spatialgraph.tracing import is_autocast, is_observed

__all__ = ["all_to_all"]


def all_to_all(
    x: Tensor,
    source_pos: Tensor,
    target_pos: Tensor,
    scale: Tensor,
    law: Law,
    bias: Tensor | None = None,
    mask: Tensor | None = None,
    n_masked: int = 0,
    rectify: bool = False,
) -> Tensor:
    r"""Send activations from every source to every target.

    .. math:: y_{bj} = \sum_i x_{bi}\, s_i\, w(|p_i - q_j|) + b_j

    The weight matrix is built once for the whole batch and multiplied; on a GPU, few activations are multiplied by
    weights that are not stored. The backward pass is analytic. Under
    ``torch.autocast`` lengths and weights keep their precision, and only the matrix products use the lower one.

    Args:
        x: activations of the sources, shape ``(..., n)``; whole numbers are converted to the dtype of the positions.
        source_pos: positions of the sources, shape ``(n, d)``, in length units.
        target_pos: positions of the targets, shape ``(m, d)``, in length units.
        scale: polarity times gain of each source, shape ``(n,)``.
        law: the law from length to weight.
        bias: added to each target's input, shape ``(m,)``; None for nothing.
        mask: which pairs have an edge, shape ``(m, n)``, bool; None for all.
        n_masked: number of edges to mask in this pass, those with the smallest absolute weights; they weigh 0 and get
            no gradient.
        rectify: whether to set negative results to 0, as ``relu`` does.

    Returns:
        Inputs of the targets, shape ``(..., m)``.

    Raises:
        TypeError: if an argument is not a tensor of the expected dtype.
        ValueError: if the shapes or devices do not match.

    Example:
        >>> from spatialgraph.laws import InverseDistance
        >>> pos, target = torch.tensor([[0.0], [1.0]]), torch.tensor([[2.0]])
        >>> all_to_all(torch.tensor([[2.0, 3.0]]), pos, target, torch.tensor([1.0, -1.0]), InverseDistance())
        tensor([[-2.0000]])
    """
    check_product(x, source_pos, target_pos, scale, law, bias)
    if mask is not None and checks.shape("mask", mask, (target_pos.shape[0], source_pos.shape[0])).dtype != torch.bool:
        raise TypeError(f"mask must be bool, got {mask.dtype}")
    if mask is not None:
        checks.same_device("mask", mask, source_pos)
    checks.integer("n_masked", n_masked, minimum=0)
    x = x.to(product_dtype(x, source_pos))
    geometry = geometry_in_single(source_pos, target_pos, scale)
    if is_observed(x, *geometry):
        return composed.all_to_all(x, *geometry, law, bias, mask, n_masked, rectify)
    flat = x if x.dim() == 2 else x.reshape(x.shape[:-1].numel(), x.shape[-1])
    if mask is None and not n_masked and is_tiled(flat, *geometry[:2], law):
        y = tiled_all_to_all(flat, *geometry, law, bias, rectify)
    elif rectify and x.device.type != "cpu":
        # Apart, for what its backward pass holds is free again when the gradient of the weights needs memory.
        y = F.relu(_AllToAll.apply(flat, *geometry, law, bias, mask, n_masked, False, *law.parameters()))
    else:
        y = _AllToAll.apply(flat, *geometry, law, bias, mask, n_masked, rectify, *law.parameters())
    return y if x.dim() == 2 else y.view(*x.shape[:-1], target_pos.shape[0])


class _AllToAll(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,  # noqa: ANN401
        x: Tensor,
        source_pos: Tensor,
        target_pos: Tensor,
        scale: Tensor,
        law: Law,
        bias: Tensor | None,
        mask: Tensor | None,
        n_masked: int,
        rectify: bool,
        *law_parameters: Tensor,
    ) -> Tensor:
        is_kept = ctx.needs_input_grad[0] and x.dtype == source_pos.dtype
        shape = target_pos.shape[0], source_pos.shape[0]
        if x.device.type != "cpu" and not n_masked:  # in the precision of the product at once
            out: Tensor | None = x.new_empty(shape)
        else:
            out = None if is_kept else scratch("weights", shape, source_pos)
        weight = build_weight(source_pos, target_pos, scale, law, out)
        if mask is not None:
            _cut(weight, mask)
        if n_masked:
            mask = _remaining(weight, mask, n_masked)
            _cut(weight, mask)
        weight = weight.to(x.dtype)
        saved_weight = weight if ctx.needs_input_grad[0] else None
        y = _product(x, weight, mask, None if bias is None else bias.to(x.dtype), by_columns=_is_by_columns(x))
        if rectify:
            y.relu_()
        # Saving the law's parameters lets autograd detect a change before the backward pass.
        saved_y = y if rectify else None
        ctx.save_for_backward(x, source_pos, target_pos, scale, bias, saved_weight, saved_y, *law_parameters)
        ctx.law, ctx.mask = law, mask
        return y

    @staticmethod
    def backward(ctx: Any, grad_y: Tensor) -> tuple[Tensor | None, ...]:  # noqa: ANN401
        x, source_pos, target_pos, scale, bias, weight, y, *law_parameters = ctx.saved_tensors
        if composed.is_needed(ctx.law, law_parameters):
            inputs = (x, source_pos, target_pos, scale, ctx.law, bias, ctx.mask, 0, y is not None, *law_parameters)
            return composed.gradients(composed.all_to_all, inputs, ctx.needs_input_grad, [grad_y])
        if y is not None:
            grad_y = _rectified(grad_y, y)
        transposed_mask = None if ctx.mask is None else ctx.mask.t()
        by_columns = _is_by_columns(x)
        grad_x = (
            _product(grad_y, weight.t(), transposed_mask, by_columns=by_columns) if ctx.needs_input_grad[0] else None
        )
        grad_bias = grad_y.sum(0).to(bias.dtype) if ctx.needs_input_grad[5] else None
        if not any(ctx.needs_input_grad[1:4] + ctx.needs_input_grad[9:]):
            return (grad_x, None, None, None, None, grad_bias, *[None] * (len(ctx.needs_input_grad) - 6))
        grad_weight = _outer(grad_y, x, source_pos)
        geometry = source_pos, target_pos, scale, ctx.law
        if ctx.mask is not None:
            _cut(grad_weight, ctx.mask)
        grads, grad_law = geometry_gradients(grad_weight, *geometry)
        if ctx.mask is not None and _has_infinity(grads[2]):  # 0 * inf is not 0
            grads, grad_law = geometry_gradients(grad_weight.where(ctx.mask, 0.0), *geometry)
        return (grad_x, *grads, None, grad_bias, None, None, None, *grad_law)


def _rectified(grad_y: Tensor, y: Tensor) -> Tensor:
    """Return the gradient before ``relu`` from that after it, in memory that is used again."""
    is_by_columns = _is_by_columns(y)
    shape = y.t().shape if is_by_columns else y.shape
    out = scratch("rectified", shape, y)
    grad: Tensor = torch.ops.aten.threshold_backward(grad_y, y, 0, grad_input=out.t() if is_by_columns else out)
    return grad


def _outer(grad_y: Tensor, x: Tensor, like: Tensor) -> Tensor:
    """Return the gradient of the weights, in the precision of another tensor."""
    if not grad_y.dtype == x.dtype == like.dtype or is_autocast(x.device.type):
        return (grad_y.t() @ x).to(like.dtype)
    return torch.mm(grad_y.t(), x, out=scratch("gradients", (grad_y.shape[1], x.shape[1]), like))


def _product(
    x: Tensor, weight: Tensor, mask: Tensor | None, bias: Tensor | None = None, by_columns: bool = False
) -> Tensor:
    """Return ``x @ weight.t() + bias`` for the pairs in the mask, with the batch as last axis in memory or not."""
    if by_columns:
        # Not a view of a transposed result: autograd forbids to change views in place.
        y = x.new_empty_strided((len(x), len(weight)), (1, max(1, len(x))))
        if bias is None:
            torch.mm(weight, x.t(), out=y.t())
        else:
            torch.addmm(bias[:, None], weight, x.t(), out=y.t())
    else:
        y = F.linear(x, weight, bias)
    # Pairs outside the mask weigh 0, but 0 * inf is NaN: an infinite input must not reach targets without an edge from
    # it. It reaches every column, so one column is enough to detect it.
    if mask is None or not _has_infinity(y[:, :1]):
        return y
    return sparse(x, weight[mask], CompressedEdges.from_mask(mask), bias)


def _is_by_columns(x: Tensor) -> bool:
    """Tell whether the batch is the last axis in memory, as after a sparse projection.

    ``F.linear`` takes up to 60 times as long then (200,000 sources, 10 targets, batch 64).
    """
    return not x.is_contiguous() and x.t().is_contiguous()


def _cut(matrix: Tensor, mask: Tensor) -> None:
    """Set the finite entries of a matrix outside of a mask to 0; on an accelerator all of them."""
    if matrix.device.type == "cpu":
        matrix.mul_(mask.view(torch.uint8))  # twice as fast as with bool, four times as fast as where()
    else:
        matrix.masked_fill_(mask.logical_not(), 0.0)


def _remaining(weight: Tensor, mask: Tensor | None, n_masked: int) -> Tensor:
    """Mark the edges that are left without those of the smallest weights; pairs without an edge weigh 0."""
    if mask is None:
        return without_smallest(weight, n_masked)
    if weight.is_cpu:  # pairs without an edge are counted first
        remaining = without_smallest(weight, mask.numel() - int(mask.count_nonzero()) + n_masked)
    else:  # to count them would wait for the device: they are put last
        remaining = without_smallest(weight.masked_fill(mask.logical_not(), torch.inf), n_masked)
    return remaining & mask  # edges may weigh 0 too, and pairs without an edge must not remain with them


def _has_infinity(values: Tensor) -> bool:
    """Tell whether values on the CPU are not all finite; those of an accelerator would have to be waited for."""
    return values.device.type == "cpu" and not bool(torch.isfinite(values.sum()))
