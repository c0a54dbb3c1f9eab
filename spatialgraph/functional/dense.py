r"""The dense engine, and the functions of :mod:`spatialgraph.functional`.

Both engines compute :math:`y_{bj} = \sum_i x_{bi}\, s_i\, w(|p_i - q_j|)`, where :math:`s_i` is the scale (polarity
times gain) of source :math:`i`. :func:`all_to_all` builds the weight matrix and multiplies; :func:`sparse` multiplies
by a matrix in compressed rows that holds existing edges only. No tensor of shape (sources, targets, dimensions) or
(edges, batch) is ever stored.

Tracers, exporters, compilers, ``torch.func`` and double backward use the compositions of
:mod:`spatialgraph.functional.composed`. For positions in half precision, weights are computed in single precision and
rounded at the end.
"""

from collections.abc import Iterator
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from spatialgraph import checks
from spatialgraph.functional import composed
from spatialgraph.functional.compressed import check_geometry, edge_weight, geometry_in_single, sparse
from spatialgraph.functional.compressed_edges import CompressedEdges
from spatialgraph.functional.fused import dense_law, parameter_gradients, settings_of
from spatialgraph.functional.precision import in_single
from spatialgraph.functional.smallest import without_smallest
from spatialgraph.laws import Law
from spatialgraph.tracing import is_autocast, is_observed

__all__ = ["all_to_all", "edge_weight", "pairwise_length", "pairwise_weight", "sparse"]

# Elements of a weight matrix that are processed at a time without a fused kernel: on the CPU the block and its
# temporaries fit into the cache; accelerators are fastest with few, large kernels.
_CPU_BLOCK = 2**18
_ACCELERATOR_BLOCK = 2**25


def pairwise_length(source_pos: Tensor, target_pos: Tensor) -> Tensor:
    r"""Return the length of every target-source pair, :math:`|p_i - q_j|`, differentiable.

    The gradient is 0 where two neurons coincide.

    Args:
        source_pos: positions of the sources, shape ``(n, d)``, in length units.
        target_pos: positions of the targets, shape ``(m, d)``, in length units.

    Returns:
        Tensor of shape ``(m, n)``, in length units.

    Raises:
        TypeError: if an argument is not a tensor of the expected dtype.
        ValueError: if the shapes or devices do not match.

    Example:
        >>> pairwise_length(torch.tensor([[0.0, 0.0]]), torch.tensor([[3.0, 4.0]]))
        tensor([[5.]])
    """
    checks.ends(source_pos, target_pos)
    ends = in_single(source_pos), in_single(target_pos)
    lengths: Tensor = composed.pairwise_length(*ends) if is_observed(*ends) else _PairwiseLength.apply(*ends)
    return lengths.to(source_pos.dtype)


class _PairwiseLength(torch.autograd.Function):
    """Distances by ``torch.cdist``, which stores no tensor for each coordinate and has no second derivative."""

    @staticmethod
    def forward(ctx: Any, source_pos: Tensor, target_pos: Tensor) -> Tensor:  # noqa: ANN401
        ctx.save_for_backward(source_pos, target_pos)
        return _distances(source_pos, target_pos)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:  # noqa: ANN401
        ends = ctx.saved_tensors
        if torch.is_grad_enabled():
            return composed.gradients(composed.pairwise_length, ends, ctx.needs_input_grad, [grad])
        with torch.enable_grad():
            own = [values.detach().requires_grad_() for values in ends]
            return torch.autograd.grad(_distances(*own), own, grad)


def _distances(source_pos: Tensor, target_pos: Tensor) -> Tensor:
    # From differences: the matrix expansion is inaccurate for short lengths.
    return torch.cdist(target_pos, source_pos, compute_mode="donot_use_mm_for_euclid_dist")


def pairwise_weight(source_pos: Tensor, target_pos: Tensor, scale: Tensor, law: Law) -> Tensor:
    r"""Return the signed weight of every target-source pair, :math:`W_{ji} = s_i\, w(|p_i - q_j|)`.

    Args:
        source_pos: positions of the sources, shape ``(n, d)``, in length units.
        target_pos: positions of the targets, shape ``(m, d)``, in length units.
        scale: polarity times gain of each source, shape ``(n,)``.
        law: the law from length to weight.

    Returns:
        Tensor of shape ``(m, n)``, the layout of ``nn.Linear``, differentiable.

    Raises:
        TypeError: if an argument is not a tensor of the expected dtype.
        ValueError: if the shapes or devices do not match.

    Example:
        >>> from spatialgraph.laws import InverseDistance
        >>> pos, target = torch.tensor([[0.0], [1.0]]), torch.tensor([[2.0]])
        >>> pairwise_weight(pos, target, torch.tensor([1.0, -1.0]), InverseDistance(softening=1e-6))
        tensor([[ 0.5000, -1.0000]])
    """
    check_geometry(source_pos, target_pos, scale, law)
    geometry = geometry_in_single(source_pos, target_pos, scale)
    if is_observed(*geometry):
        weight = composed.pairwise_weight(*geometry, law)
    else:
        weight = _PairwiseWeight.apply(*geometry, law, *law.parameters())
    return weight.to(source_pos.dtype)


class _PairwiseWeight(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,  # noqa: ANN401 - the context has no public type
        source_pos: Tensor,
        target_pos: Tensor,
        scale: Tensor,
        law: Law,
        *law_parameters: Tensor,
    ) -> Tensor:
        ctx.save_for_backward(source_pos, target_pos, scale, *law_parameters)
        ctx.law = law
        return _build_weight(source_pos, target_pos, scale, law)

    @staticmethod
    def backward(ctx: Any, grad_weight: Tensor) -> tuple[Tensor | None, ...]:  # noqa: ANN401
        source_pos, target_pos, scale, *law_parameters = ctx.saved_tensors
        if torch.is_grad_enabled():
            inputs = (source_pos, target_pos, scale, ctx.law, *law_parameters)
            return composed.gradients(composed.pairwise_weight, inputs, ctx.needs_input_grad, [grad_weight])
        grads, grad_law = _geometry_gradients(grad_weight, source_pos, target_pos, scale, ctx.law)
        return (*grads, None, *grad_law)


def _build_weight(source_pos: Tensor, target_pos: Tensor, scale: Tensor, law: Law) -> Tensor:
    with torch.no_grad():
        kernel = dense_law(law, source_pos)
        if kernel is not None:
            fused: Tensor = kernel.weight(source_pos, target_pos, scale, law.softening, settings_of(law))
            return fused
        weight = source_pos.new_empty(target_pos.shape[0], source_pos.shape[0])
        for rows in _row_blocks(weight):
            square = _square(source_pos, target_pos[rows], law.softening)
            torch.mul(law.from_square(square), scale, out=weight[rows])
    return weight


def all_to_all(
    x: Tensor,
    source_pos: Tensor,
    target_pos: Tensor,
    scale: Tensor,
    law: Law,
    bias: Tensor | None = None,
    mask: Tensor | None = None,
    n_masked: int = 0,
) -> Tensor:
    r"""Send activations from every source to every target.

    .. math:: y_{bj} = \sum_i x_{bi}\, s_i\, w(|p_i - q_j|) + b_j

    The weight matrix is built once for the whole batch and multiplied; the backward pass is analytic. Under
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
    check_geometry(source_pos, target_pos, scale, law)
    checks.same_device("x", checks.last_axis("x", x, source_pos.shape[0]), source_pos)
    if bias is not None:
        checks.same_device("bias", checks.shape("bias", bias, target_pos.shape[:1]), source_pos)
    if mask is not None and checks.shape("mask", mask, (target_pos.shape[0], source_pos.shape[0])).dtype != torch.bool:
        raise TypeError(f"mask must be bool, got {mask.dtype}")
    if mask is not None:
        checks.same_device("mask", mask, source_pos)
    checks.integer("n_masked", n_masked, minimum=0)
    x = x.to(_product_dtype(x, source_pos))
    geometry = geometry_in_single(source_pos, target_pos, scale)
    if is_observed(x, *geometry):
        return composed.all_to_all(x, *geometry, law, bias, mask, n_masked)
    flat = x.reshape(x.shape[:-1].numel(), x.shape[-1])
    y: Tensor = _AllToAll.apply(flat, *geometry, law, bias, mask, n_masked, *law.parameters())
    return y.view(*x.shape[:-1], target_pos.shape[0])


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
        *law_parameters: Tensor,
    ) -> Tensor:
        weight = _build_weight(source_pos, target_pos, scale, law)
        if mask is not None:
            _cut(weight, mask)
        if n_masked:  # pairs without an edge weigh 0 and are counted first
            absent = 0 if mask is None else mask.numel() - int(mask.count_nonzero())
            remaining = without_smallest(weight, absent + n_masked)
            # Edges may weigh 0 too, and pairs without an edge must not remain with them.
            mask = remaining if mask is None else remaining & mask
            _cut(weight, mask)
        weight = weight.to(x.dtype)
        saved_weight = weight if ctx.needs_input_grad[0] else None
        # Saving the law's parameters lets autograd detect a change before the backward pass.
        ctx.save_for_backward(x, source_pos, target_pos, scale, bias, saved_weight, *law_parameters)
        ctx.law, ctx.mask = law, mask
        return _product(x, weight, mask, None if bias is None else bias.to(x.dtype), by_columns=_is_by_columns(x))

    @staticmethod
    def backward(ctx: Any, grad_y: Tensor) -> tuple[Tensor | None, ...]:  # noqa: ANN401
        x, source_pos, target_pos, scale, bias, weight, *law_parameters = ctx.saved_tensors
        if torch.is_grad_enabled():
            inputs = (x, source_pos, target_pos, scale, ctx.law, bias, ctx.mask, 0, *law_parameters)
            return composed.gradients(composed.all_to_all, inputs, ctx.needs_input_grad, [grad_y])
        transposed_mask = None if ctx.mask is None else ctx.mask.t()
        by_columns = _is_by_columns(x)
        grad_x = (
            _product(grad_y, weight.t(), transposed_mask, by_columns=by_columns) if ctx.needs_input_grad[0] else None
        )
        grad_bias = grad_y.sum(0).to(bias.dtype) if ctx.needs_input_grad[5] else None
        if not any(ctx.needs_input_grad[1:4] + ctx.needs_input_grad[8:]):
            return (grad_x, None, None, None, None, grad_bias, *[None] * (len(ctx.needs_input_grad) - 6))
        grad_weight = (grad_y.t() @ x).to(source_pos.dtype)
        geometry = source_pos, target_pos, scale, ctx.law
        if ctx.mask is not None:
            _cut(grad_weight, ctx.mask)
        grads, grad_law = _geometry_gradients(grad_weight, *geometry)
        if ctx.mask is not None and not torch.isfinite(grads[2]).all():  # 0 * inf is not 0
            grads, grad_law = _geometry_gradients(grad_weight.where(ctx.mask, 0.0), *geometry)
        return (grad_x, *grads, None, grad_bias, None, None, *grad_law)


def _product(
    x: Tensor, weight: Tensor, mask: Tensor | None, bias: Tensor | None = None, by_columns: bool = False
) -> Tensor:
    """Return ``x @ weight.t() + bias`` for the pairs in the mask, with the batch as last axis in memory or not."""
    if by_columns:
        y = (weight @ x.t() if bias is None else torch.addmm(bias[:, None], weight, x.t())).t()
    else:
        y = F.linear(x, weight, bias)
    # Pairs outside the mask weigh 0, but 0 * inf is NaN: an infinite input must not reach targets without an edge from
    # it. It reaches every column, so one column is enough to detect it.
    if mask is None or torch.isfinite(y[:, :1].sum()):
        return y
    return sparse(x, weight[mask], CompressedEdges.from_mask(mask), bias)


def _is_by_columns(x: Tensor) -> bool:
    """Tell whether the batch is the last axis in memory, as after a sparse projection.

    ``F.linear`` takes up to 60 times as long then (200,000 sources, 10 targets, batch 64).
    """
    return not x.is_contiguous() and x.t().is_contiguous()


def _cut(matrix: Tensor, mask: Tensor) -> None:
    """Set the finite entries of a matrix outside of a mask to 0."""
    matrix.mul_(mask.view(torch.uint8))  # twice as fast as with bool, four times as fast as where()


Gradients = tuple[Tensor, Tensor, Tensor]
"""Gradients of source positions, target positions and scales."""


def _geometry_gradients(
    grad_weight: Tensor, source_pos: Tensor, target_pos: Tensor, scale: Tensor, law: Law
) -> tuple[Gradients, list[Tensor]]:
    """Return the gradients of positions, scales and the law's parameters, given that of the signed weight matrix."""
    kernel = dense_law(law, source_pos)
    if kernel is not None:
        operands = grad_weight, source_pos, target_pos, scale, law.softening, settings_of(law)
        *grads, by_parameter = kernel.geometry_gradients(*operands)
        return tuple(grads), parameter_gradients(law, by_parameter)
    grad_source, grad_target = torch.zeros_like(source_pos), torch.empty_like(target_pos)
    grad_scale = torch.zeros_like(scale)
    grad_law = [torch.zeros_like(p) for p in law.parameters()]
    for rows in _row_blocks(grad_weight):
        g, pos = grad_weight[rows], target_pos[rows]
        square = _square(source_pos, pos, law.softening)
        unsigned = law.from_square(square)
        grad_scale += (g * unsigned).sum(0)
        for grad, slope in zip(grad_law, law.parameter_slopes(square, unsigned), strict=True):
            grad += torch.mv(g * slope, scale).sum()
        # d rho^2 / d q_j = 2 (q_j - p_i), from differences: an expansion would be inaccurate for near neurons.
        pairwise_gradient = law.slope(square, unsigned) * g * 2.0
        for axis in range(pos.shape[1]):
            component = torch.sub(pos[:, axis, None], source_pos[:, axis]).mul_(pairwise_gradient)
            grad_target[rows, axis] = torch.mv(component, scale)
            grad_source[:, axis] -= component.sum(0)
    return (grad_source * scale[:, None], grad_target, grad_scale), grad_law


def _row_blocks(matrix: Tensor) -> Iterator[slice]:
    rows, columns = matrix.shape
    elements = _CPU_BLOCK if matrix.device.type == "cpu" else _ACCELERATOR_BLOCK
    step = max(1, elements // max(1, columns))
    for start in range(0, rows, step):
        yield slice(start, min(start + step, rows))


def _square(source_pos: Tensor, target_pos: Tensor, softening: float) -> Tensor:
    """Return the softened squared lengths of all pairs, without a tensor that has an axis for coordinates."""
    square = source_pos.new_full((target_pos.shape[0], source_pos.shape[0]), softening**2)
    for axis in range(source_pos.shape[1]):
        difference = torch.sub(target_pos[:, axis, None], source_pos[:, axis])
        square.addcmul_(difference, difference)
    return square


def _product_dtype(x: Tensor, like: Tensor) -> torch.dtype:
    """Return the dtype of a product with ``x``; for whole numbers that of another tensor."""
    kind = x.device.type
    if is_autocast(kind):
        return torch.get_autocast_dtype(kind)
    return x.dtype if x.is_floating_point() else like.dtype
