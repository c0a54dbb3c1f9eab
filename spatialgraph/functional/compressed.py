"""The sparse engine: weights of listed edges, and the product of a matrix in compressed rows with a batch."""

from typing import Any

import torch
from torch import Tensor

from spatialgraph import checks
from spatialgraph.devices import has_compressed
from spatialgraph.functional import composed, row_blocks
from spatialgraph.functional.compiled import calculate, is_compiled
from spatialgraph.functional.compressed_edges import CompressedEdges
from spatialgraph.functional.fused import COMPRESSED, compressed_law, parameter_gradients, settings_of
from spatialgraph.functional.precision import in_single
from spatialgraph.kernels.registry import find
from spatialgraph.laws import Law, softened_square
from spatialgraph.tracing import is_observed, without_autocast

__all__ = ["check_edges", "check_geometry", "check_product", "edge_weight", "geometry_in_single", "sparse"]


def edge_weight(source_pos: Tensor, target_pos: Tensor, scale: Tensor, law: Law, edges: CompressedEdges) -> Tensor:
    r"""Return the signed weight of each listed edge, :math:`w_e = s_i\, w(|p_i - q_j|)`.

    Args:
        source_pos: positions of the sources, shape ``(n, d)``, in length units.
        target_pos: positions of the targets, shape ``(m, d)``, in length units.
        scale: polarity times gain of each source, shape ``(n,)``.
        law: the law from length to weight.
        edges: the compressed edges.

    Returns:
        Tensor of shape ``(E,)``, differentiable.

    Raises:
        TypeError: if an argument is not a tensor of the expected dtype.
        ValueError: if the shapes or devices do not match.

    Example:
        >>> from spatialgraph.laws import InverseDistance
        >>> edges = CompressedEdges.from_edges(torch.tensor([[0, 1], [0, 0]]), 2, 1)
        >>> pos, target = torch.tensor([[0.0], [1.0]]), torch.tensor([[2.0]])
        >>> edge_weight(pos, target, torch.tensor([1.0, -1.0]), InverseDistance(), edges)
        tensor([ 0.5000, -1.0000])
    """
    check_geometry(source_pos, target_pos, scale, law)
    if (target_pos.shape[0], source_pos.shape[0]) != check_edges(edges):
        got = source_pos.shape[0], target_pos.shape[0]
        raise ValueError(f"source_pos and target_pos must have {edges.shape[::-1]} rows like the edges, got {got}")
    geometry = geometry_in_single(source_pos, target_pos, scale)
    if compressed_law(law, *geometry) is not None:
        weight: Tensor = _EdgeWeight.apply(*geometry, law, edges, *law.parameters())
    elif is_compiled(law, *geometry):
        weight = _CompiledEdgeWeight.apply(*geometry, law, edges, *law.parameters())
    else:
        weight = composed.edge_weight(*geometry, law, edges)
    return weight.to(source_pos.dtype)


class _EdgeWeight(torch.autograd.Function):
    """The fused kernels of a law."""

    @staticmethod
    def forward(
        ctx: Any,  # noqa: ANN401
        source_pos: Tensor,
        target_pos: Tensor,
        scale: Tensor,
        law: Law,
        edges: CompressedEdges,
        *law_parameters: Tensor,
    ) -> Tensor:
        ctx.save_for_backward(source_pos, target_pos, scale, *law_parameters)
        ctx.law, ctx.edges = law, edges
        kernel: Any = compressed_law(law, source_pos, target_pos, scale)
        weight: Tensor = kernel.weights(
            edges.target_pointer, edges.sources, source_pos, target_pos, scale, law.softening, settings_of(law)
        )
        return weight

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:  # noqa: ANN401
        edges: CompressedEdges = ctx.edges
        source_pos, target_pos, scale, *law_parameters = ctx.saved_tensors
        law = ctx.law
        if composed.is_needed(law, law_parameters):
            inputs = (source_pos, target_pos, scale, law, edges, *law_parameters)
            return composed.gradients(composed.edge_weight, inputs, ctx.needs_input_grad, [grad])
        kernel: Any = compressed_law(law, source_pos, target_pos, scale)
        geometry = edges.target_pointer, edges.sources, source_pos, target_pos, scale, law.softening
        by_source = edges.source_pointer, edges.by_source, edges.targets_by_source
        *grads, by_parameter = kernel.gradients(*geometry, grad, settings_of(law), by_source)
        return (*grads, None, None, *parameter_gradients(law, by_parameter))


class _CompiledEdgeWeight(torch.autograd.Function):
    """Tensor operations, fused by a compiler; sums over edges are taken in their order, not as they come."""

    @staticmethod
    def forward(
        ctx: Any,  # noqa: ANN401
        source_pos: Tensor,
        target_pos: Tensor,
        scale: Tensor,
        law: Law,
        edges: CompressedEdges,
        *law_parameters: Tensor,
    ) -> Tensor:
        targets = edges.targets
        ctx.save_for_backward(source_pos, target_pos, scale, targets, *law_parameters)
        ctx.law, ctx.edges = law, edges
        weight: Tensor = calculate(_weigh, law, source_pos, target_pos, scale, edges.sources, targets)
        return weight

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:  # noqa: ANN401
        edges: CompressedEdges = ctx.edges
        source_pos, target_pos, scale, targets, *law_parameters = ctx.saved_tensors
        if composed.is_needed(ctx.law, law_parameters):
            inputs = (source_pos, target_pos, scale, ctx.law, edges, *law_parameters)
            return composed.gradients(composed.edge_weight, inputs, ctx.needs_input_grad, [grad])
        operands = source_pos, target_pos, scale, edges.sources, targets, grad
        pull, by_scale, *by_law = calculate(_pull, ctx.law, *operands)
        by_target = _sums(pull, edges.target_pointer)
        by_source = -_sums(pull.index_select(0, edges.by_source), edges.source_pointer)
        of_scale = _sums(by_scale.index_select(0, edges.by_source), edges.source_pointer)
        by_law = [grad.reshape(each.shape) for grad, each in zip(by_law, law_parameters, strict=True)]
        return by_source, by_target, of_scale, None, None, *by_law


def _weigh(law: Law, source_pos: Tensor, target_pos: Tensor, scale: Tensor, sources: Tensor, targets: Tensor) -> Tensor:
    square = softened_square(source_pos[sources], target_pos[targets], law.softening)
    return law.from_square(square) * scale[sources]


def _pull(
    law: Law,
    source_pos: Tensor,
    target_pos: Tensor,
    scale: Tensor,
    sources: Tensor,
    targets: Tensor,
    grad: Tensor,
) -> tuple[Tensor, ...]:
    """Return the gradients of each edge's target and of its source's scale, and those of the law's parameters."""
    source, target, factor = source_pos[sources], target_pos[targets], scale[sources]
    square = softened_square(source, target, law.softening)
    unsigned = law.from_square(square)
    by_law = [(grad * factor * slope).sum() for slope in law.parameter_slopes(square, unsigned)]
    along = law.slope(square, unsigned) * grad * factor * 2.0
    return along[:, None] * (target - source), grad * unsigned, *by_law


def _sums(values: Tensor, pointer: Tensor) -> Tensor:
    """Sum the values of each row of compressed rows, in their order."""
    return torch.segment_reduce(values, "sum", offsets=pointer, axis=0, initial=0, unsafe=True)  # checks would wait


def sparse(
    x: Tensor, weight: Tensor, edges: CompressedEdges, bias: Tensor | None = None, rectify: bool = False
) -> Tensor:
    r"""Send activations along existing edges only, :math:`y_{bj} = \sum_{e = (i, j)} x_{bi}\, w_e + b_j`.

    The weights form a matrix in compressed rows, which is multiplied by a dense one; the gradient of the weights is a
    dense-dense product sampled at the edges.

    Args:
        x: activations of the sources, shape ``(..., n)``, converted to the dtype of ``weight``.
        weight: signed weight of each edge, shape ``(E,)``, in the order of ``edges``.
        edges: the compressed edges.
        bias: added to each target's input, shape ``(m,)``; None for nothing.
        rectify: whether to set negative results to 0, as ``relu`` does.

    Returns:
        Inputs of the targets, shape ``(..., m)``.

    Raises:
        TypeError: if an argument is not a tensor of the expected dtype.
        ValueError: if the shapes or devices do not match.

    Example:
        >>> edges = CompressedEdges.from_edges(torch.tensor([[0, 1], [0, 0]]), 2, 1)
        >>> sparse(torch.tensor([[2.0, 3.0]]), torch.tensor([1.0, -1.0]), edges)
        tensor([[-1.]])
    """
    targets, sources = check_edges(edges)
    checks.shape("weight", checks.axes("weight", weight, 1), edges.sources.shape)
    checks.same_device("x", checks.last_axis("x", x, sources), weight)
    if bias is not None:
        checks.operand("bias", bias, (targets,), weight)
    dtype = weight.dtype
    if x.dtype == torch.float64 != dtype:
        raise TypeError(f"x must not be more precise than weight ({dtype}), got {x.dtype}")
    x, weight = in_single(x.to(dtype)), in_single(weight)
    bias = None if bias is None else bias.to(weight.dtype)
    if is_observed(x, weight):
        return composed.sparse(x, weight, edges, bias, rectify).to(dtype)
    y: Tensor = _SparseProduct.apply(x.reshape(x.shape[:-1].numel(), x.shape[-1]).t(), weight, bias, edges, rectify)
    return y.t().reshape(*x.shape[:-1], y.shape[0]).to(dtype)


class _SparseProduct(torch.autograd.Function):
    """Matrix in compressed rows times a dense ``(n, batch)`` matrix, plus a bias, optionally rectified."""

    @staticmethod
    def forward(
        ctx: Any,  # noqa: ANN401
        x: Tensor,
        weight: Tensor,
        bias: Tensor | None,
        edges: CompressedEdges,
        rectify: bool,
    ) -> Tensor:
        kernel = find(COMPRESSED, x)
        if kernel is not None:
            y: Tensor = kernel.product(edges.target_pointer, edges.sources, weight, x, bias, rectify)
        else:
            with without_autocast(x.device.type):  # products of compressed rows do not support bfloat16
                y = _product(x.contiguous(), weight, edges)
            if bias is not None:
                y += bias[:, None]
            if rectify:
                y.relu_()
        ctx.save_for_backward(x, weight, y if rectify else None)
        ctx.edges = edges
        return y

    @staticmethod
    def backward(ctx: Any, grad_y: Tensor) -> tuple[Tensor | None, ...]:  # noqa: ANN401
        x, weight, active = ctx.saved_tensors
        edges: CompressedEdges = ctx.edges
        needs_x, needs_weight, needs_bias = ctx.needs_input_grad[:3]
        kernel: Any = None if torch.is_grad_enabled() else find(COMPRESSED, x)
        is_fused = kernel is not None
        grad_y = grad_y.contiguous()
        if active is not None and (needs_x or not is_fused):
            grad_y, active = grad_y.masked_fill(active <= 0, 0.0), None
        grad_x = grad_weight = grad_bias = None
        if needs_x:
            order = edges.by_source
            if is_fused:
                grad_x = kernel.product(edges.source_pointer, edges.targets_by_source, weight[order], grad_y)
            else:
                grad_x = _SparseProduct.apply(grad_y, weight[order], None, edges.turned(), False)
        if is_fused and (needs_weight or needs_bias):
            grad_weight, grad_bias = kernel.sampled(edges.target_pointer, edges.sources, grad_y, x, active)
        elif needs_weight:
            grad_weight = _SampledProduct.apply(grad_y, x, edges)
        if needs_bias and grad_bias is None:
            grad_bias = grad_y.sum(1)
        return grad_x, grad_weight, grad_bias if needs_bias else None, None, None


class _SampledProduct(torch.autograd.Function):
    """Dot product, for each edge, of its target's row of one matrix and its source's row of another."""

    @staticmethod
    def forward(ctx: Any, rows: Tensor, x: Tensor, edges: CompressedEdges) -> Tensor:  # noqa: ANN401
        ctx.save_for_backward(rows, x)
        ctx.edges = edges
        kernel = find(COMPRESSED, x)
        if kernel is not None:
            products: Tensor = kernel.sampled(edges.target_pointer, edges.sources, rows, x)[0]
            return products
        with without_autocast(x.device.type):
            if not has_compressed(x.device):
                return row_blocks.sampled(rows, x, edges)
            pattern = edges.matrix(x.new_zeros(edges.count))
            products = torch.sparse.sampled_addmm(pattern, rows.contiguous(), x.t(), beta=0.0)
        values: Tensor = products.values()
        return values

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, Tensor | None, None]:  # noqa: ANN401
        rows, x = ctx.saved_tensors
        edges: CompressedEdges = ctx.edges
        needs_rows, needs_x, _ = ctx.needs_input_grad
        grad_rows = _SparseProduct.apply(x, grad, None, edges, False) if needs_rows else None
        grad_x = _SparseProduct.apply(rows, grad[edges.by_source], None, edges.turned(), False) if needs_x else None
        return grad_rows, grad_x, None


def _product(x: Tensor, weight: Tensor, edges: CompressedEdges) -> Tensor:
    return edges.matrix(weight) @ x if has_compressed(x.device) else row_blocks.product(x, weight, edges)


def check_edges(edges: CompressedEdges) -> tuple[int, int]:
    """Return the numbers of targets and sources of compressed edges."""
    if not isinstance(edges, CompressedEdges):
        raise TypeError(f"edges must be CompressedEdges, got {type(edges).__name__}")
    return edges.shape


def check_product(
    x: Tensor, source_pos: Tensor, target_pos: Tensor, scale: Tensor, law: Law, bias: Tensor | None
) -> None:
    """Check the operands of a product with the weights of all pairs.

    Raises:
        TypeError: if an argument is not a tensor of the expected dtype.
        ValueError: if the shapes or devices do not match.
    """
    check_geometry(source_pos, target_pos, scale, law)
    checks.same_device("x", checks.last_axis("x", x, source_pos.shape[0]), source_pos)
    if bias is not None:
        checks.same_device("bias", checks.shape("bias", bias, target_pos.shape[:1]), source_pos)


def check_geometry(source_pos: Tensor, target_pos: Tensor, scale: Tensor, law: Law) -> None:
    """Check the shapes of positions and scales, and that the law is a :class:`~spatialgraph.laws.Law`."""
    checks.geometry(source_pos, target_pos, scale)
    if not isinstance(law, Law):
        raise TypeError(f"law must be a Law, got {type(law).__name__}")


def geometry_in_single(source_pos: Tensor, target_pos: Tensor, scale: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return positions and scales, converted from half to single precision."""
    return in_single(source_pos), in_single(target_pos), in_single(scale)
