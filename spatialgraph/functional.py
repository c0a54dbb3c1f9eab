r"""The numerical engines: how a batch of activations crosses a projection.

Both engines compute :math:`y_{bj} = \sum_i x_{bi}\, s_i\, w(|p_i - q_j|)`, where :math:`s_i` is the scale (polarity
times gain) of source :math:`i`. :func:`all_to_all` builds the weight matrix and multiplies; :func:`sparse` multiplies
by a matrix in compressed rows that holds existing edges only. No tensor of shape (sources, targets, dimensions) or
(edges, batch) is ever stored.
"""

from collections.abc import Iterator
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

from spatialgraph import checks, kernels, sparse_kernels
from spatialgraph.laws import Law, softened_square
from spatialgraph.projections import CompressedEdges
from spatialgraph.threshold import without_smallest

__all__ = ["all_to_all", "edge_weight", "pairwise_weight", "sparse"]

# Elements of a weight matrix worked on at a time where there is no fused kernel: on the CPU the block and its
# temporaries stay in the cache; an accelerator wants few, large kernels.
_CPU_BLOCK = 2**18
_ACCELERATOR_BLOCK = 2**25


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
        TypeError: if the dtypes differ where they must not.
        ValueError: if the shapes do not fit together.

    Example:
        >>> from spatialgraph.laws import InverseDistance
        >>> pos, target = torch.tensor([[0.0], [1.0]]), torch.tensor([[2.0]])
        >>> pairwise_weight(pos, target, torch.tensor([1.0, -1.0]), InverseDistance(softening=1e-6))
        tensor([[ 0.5000, -1.0000]])
    """
    _check_geometry(source_pos, target_pos, scale, law)
    weight: Tensor = _PairwiseWeight.apply(source_pos, target_pos, scale, law, *law.parameters())
    return weight


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
    @once_differentiable
    def backward(ctx: Any, grad_weight: Tensor) -> tuple[Tensor | None, ...]:  # noqa: ANN401
        source_pos, target_pos, scale, *_ = ctx.saved_tensors
        grads, grad_law = _geometry_gradients(grad_weight, source_pos, target_pos, scale, ctx.law)
        return (*grads, None, *grad_law)


def _build_weight(source_pos: Tensor, target_pos: Tensor, scale: Tensor, law: Law) -> Tensor:
    with torch.no_grad():
        if kernels.serves(law, source_pos):
            return kernels.weight(source_pos, target_pos, scale, law.softening)
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
    silent: int = 0,
) -> Tensor:
    r"""Send activations from every source to every target.

    .. math:: y_{bj} = \sum_i x_{bi}\, s_i\, w(|p_i - q_j|) + b_j

    The weight matrix is built once for the whole batch and multiplied; the backward pass is analytic. Under
    ``torch.autocast`` lengths and weights stay in their own precision and only the matrix products are lowered.

    Args:
        x: activations of the sources, shape ``(..., n)``.
        source_pos: positions of the sources, shape ``(n, d)``, in length units.
        target_pos: positions of the targets, shape ``(m, d)``, in length units.
        scale: polarity times gain of each source, shape ``(n,)``.
        law: the law from length to weight.
        bias: added to each target's input, shape ``(m,)``; None for nothing.
        mask: marks the pairs that have an edge, shape ``(m, n)``, bool; None for all.
        silent: how many edges, those of the smallest absolute weights, are left out of this pass; no gradient reaches
            them.

    Returns:
        Inputs of the targets, shape ``(..., m)``.

    Raises:
        TypeError: if the dtypes differ where they must not.
        ValueError: if the shapes do not fit together.

    Example:
        >>> from spatialgraph.laws import InverseDistance
        >>> pos, target = torch.tensor([[0.0], [1.0]]), torch.tensor([[2.0]])
        >>> all_to_all(torch.tensor([[2.0, 3.0]]), pos, target, torch.tensor([1.0, -1.0]), InverseDistance())
        tensor([[-2.0000]])
    """
    _check_geometry(source_pos, target_pos, scale, law)
    checks.beside("x", checks.last_axis("x", x, source_pos.shape[0]), source_pos)
    if bias is not None:
        checks.beside("bias", checks.shape("bias", bias, target_pos.shape[:1]), source_pos)
    if mask is not None and checks.shape("mask", mask, (target_pos.shape[0], source_pos.shape[0])).dtype != torch.bool:
        raise TypeError(f"mask must be bool, got {mask.dtype}")
    if mask is not None:
        checks.beside("mask", mask, source_pos)
    x = x.to(_product_dtype(x))
    flat = _two_axes(x)
    y: Tensor = _AllToAll.apply(flat, source_pos, target_pos, scale, bias, mask, silent, law, *law.parameters())
    return y.view(*x.shape[:-1], target_pos.shape[0])


class _AllToAll(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,  # noqa: ANN401
        x: Tensor,
        source_pos: Tensor,
        target_pos: Tensor,
        scale: Tensor,
        bias: Tensor | None,
        mask: Tensor | None,
        silent: int,
        law: Law,
        *law_parameters: Tensor,
    ) -> Tensor:
        weight = _build_weight(source_pos, target_pos, scale, law)
        if mask is not None:
            weight.mul_(mask)
        if silent:  # pairs without an edge are the smallest of all
            absent = 0 if mask is None else mask.numel() - int(mask.count_nonzero())
            mask = without_smallest(weight, absent + silent)
            weight.mul_(mask)
        weight = weight.to(x.dtype)
        kept = weight if ctx.needs_input_grad[0] else None
        # The law's parameters are saved for autograd's check that nothing changed them before the backward pass.
        ctx.save_for_backward(x, source_pos, target_pos, scale, kept, *law_parameters)
        ctx.law, ctx.mask = law, mask
        return F.linear(x, weight, None if bias is None else bias.to(x.dtype))

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_y: Tensor) -> tuple[Tensor | None, ...]:  # noqa: ANN401
        x, source_pos, target_pos, scale, weight, *_ = ctx.saved_tensors
        grad_x = grad_y @ weight if ctx.needs_input_grad[0] else None
        grad_bias = grad_y.sum(0).to(source_pos.dtype) if ctx.needs_input_grad[4] else None
        if not any(ctx.needs_input_grad[1:4] + ctx.needs_input_grad[8:]):
            return (grad_x, None, None, None, grad_bias, *[None] * (len(ctx.needs_input_grad) - 5))
        grad_weight = (grad_y.t() @ x).to(source_pos.dtype)
        if ctx.mask is not None:
            grad_weight.mul_(ctx.mask)
        grads, grad_law = _geometry_gradients(grad_weight, source_pos, target_pos, scale, ctx.law)
        return (grad_x, *grads, grad_bias, None, None, None, *grad_law)


Gradients = tuple[Tensor, Tensor, Tensor]
"""Gradients by source positions, target positions and scales."""


def _geometry_gradients(
    grad_weight: Tensor, source_pos: Tensor, target_pos: Tensor, scale: Tensor, law: Law
) -> tuple[Gradients, list[Tensor]]:
    """Carry the gradient of the signed weight matrix on to positions and scales, and to the law's parameters."""
    if kernels.serves(law, source_pos):
        return kernels.geometry_gradients(grad_weight, source_pos, target_pos, scale, law.softening), []
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
        # d rho^2 / d q_j = 2 (q_j - p_i): differences once more, for the expansion would cancel for near neurons.
        pull = law.slope(square, unsigned) * g * 2.0
        for axis in range(pos.shape[1]):
            component = torch.sub(pos[:, axis, None], source_pos[:, axis]).mul_(pull)
            grad_target[rows, axis] = torch.mv(component, scale)
            grad_source[:, axis] -= component.sum(0)
    return (grad_source * scale[:, None], grad_target, grad_scale), grad_law


def _row_blocks(matrix: Tensor) -> Iterator[slice]:
    rows, columns = matrix.shape
    elements = _CPU_BLOCK if matrix.device.type == "cpu" else _ACCELERATOR_BLOCK
    step = rows if torch.compiler.is_compiling() else max(1, elements // max(1, columns))
    for start in range(0, rows, step):
        yield slice(start, min(start + step, rows))


def _square(source_pos: Tensor, target_pos: Tensor, softening: float) -> Tensor:
    """Return the softened squared lengths of all pairs, without a tensor that has an axis for coordinates."""
    square = source_pos.new_full((target_pos.shape[0], source_pos.shape[0]), softening**2)
    for axis in range(source_pos.shape[1]):
        difference = torch.sub(target_pos[:, axis, None], source_pos[:, axis])
        square.addcmul_(difference, difference)
    return square


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
        TypeError: if the dtypes differ where they must not.
        ValueError: if the shapes do not fit together.

    Example:
        >>> from spatialgraph.laws import InverseDistance
        >>> edges = CompressedEdges.from_edges(torch.tensor([[0, 1], [0, 0]]), 2, 1)
        >>> pos, target = torch.tensor([[0.0], [1.0]]), torch.tensor([[2.0]])
        >>> edge_weight(pos, target, torch.tensor([1.0, -1.0]), InverseDistance(), edges)
        tensor([ 0.5000, -1.0000])
    """
    _check_geometry(source_pos, target_pos, scale, law)
    if (target_pos.shape[0], source_pos.shape[0]) != check_edges(edges):
        got = source_pos.shape[0], target_pos.shape[0]
        raise ValueError(f"source_pos and target_pos must have {edges.shape[::-1]} rows like the edges, got {got}")
    if kernels.serves(law, source_pos):
        weight: Tensor = _EdgeWeight.apply(source_pos, target_pos, scale, law.softening, edges)
        return weight
    ends = source_pos.index_select(0, edges.sources), target_pos.index_select(0, edges.targets)
    return law.from_square(softened_square(*ends, law.softening)) * scale.index_select(0, edges.sources)


class _EdgeWeight(torch.autograd.Function):
    """The fused kernels of the inverse distance."""

    @staticmethod
    def forward(
        ctx: Any,  # noqa: ANN401
        source_pos: Tensor,
        target_pos: Tensor,
        scale: Tensor,
        softening: float,
        edges: CompressedEdges,
    ) -> Tensor:
        ctx.save_for_backward(source_pos, target_pos, scale)
        ctx.softening, ctx.edges = softening, edges
        return sparse_kernels.weights(edges.target_pointer, edges.sources, source_pos, target_pos, scale, softening)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:  # noqa: ANN401
        edges: CompressedEdges = ctx.edges
        source_pos, target_pos, scale = ctx.saved_tensors
        grads = sparse_kernels.gradients(
            edges.target_pointer, edges.sources, source_pos, target_pos, scale, ctx.softening, grad
        )
        return (*grads, None, None)


def sparse(
    x: Tensor, weight: Tensor, edges: CompressedEdges, bias: Tensor | None = None, rectify: bool = False
) -> Tensor:
    r"""Send activations along existing edges only, :math:`y_{bj} = \sum_{e = (i, j)} x_{bi}\, w_e + b_j`.

    The product is that of a matrix in compressed rows and a dense one; the gradient of the weights is a dense-dense
    product sampled at the edges.

    Args:
        x: activations of the sources, shape ``(..., n)``.
        weight: signed weight of each edge, shape ``(E,)``, in the order of ``edges``.
        edges: the compressed edges.
        bias: added to each target's input, shape ``(m,)``; None for nothing.
        rectify: whether negative inputs become 0, as by ``relu``.

    Returns:
        Inputs of the targets, shape ``(..., m)``.

    Raises:
        TypeError: if the dtypes differ where they must not.
        ValueError: if the shapes do not fit together.

    Example:
        >>> edges = CompressedEdges.from_edges(torch.tensor([[0, 1], [0, 0]]), 2, 1)
        >>> sparse(torch.tensor([[2.0, 3.0]]), torch.tensor([1.0, -1.0]), edges)
        tensor([[-1.]])
    """
    targets, sources = check_edges(edges)
    checks.shape("weight", checks.axes("weight", weight, 1), edges.sources.shape)
    checks.beside("x", checks.last_axis("x", x, sources), weight)
    if bias is not None:
        checks.operand("bias", bias, (targets,), weight)
    flat = _two_axes(x).to(weight.dtype)
    y: Tensor = _SparseProduct.apply(flat.t(), weight, bias, edges, rectify)
    return y.t().reshape(*x.shape[:-1], y.shape[0])


class _SparseProduct(torch.autograd.Function):
    """Matrix in compressed rows times a dense ``(n, batch)`` matrix, plus a bias, rectified where asked for."""

    @staticmethod
    def forward(
        ctx: Any,  # noqa: ANN401
        x: Tensor,
        weight: Tensor,
        bias: Tensor | None,
        edges: CompressedEdges,
        rectify: bool,
    ) -> Tensor:
        if kernels.available(x):
            y = sparse_kernels.product(edges.target_pointer, edges.sources, weight, x, bias, rectify)
        else:
            with torch.autocast(x.device.type, enabled=False):  # no kernel multiplies compressed rows in bfloat16
                y = edges.matrix(weight) @ x.contiguous()
            if bias is not None:
                y += bias[:, None]
            if rectify:
                y.relu_()
        ctx.save_for_backward(x, weight, y if rectify else None)
        ctx.edges = edges
        return y

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_y: Tensor) -> tuple[Tensor | None, ...]:  # noqa: ANN401
        x, weight, active = ctx.saved_tensors
        edges: CompressedEdges = ctx.edges
        needs_x, needs_weight, needs_bias = ctx.needs_input_grad[:3]
        grad_y = grad_y.contiguous()
        if active is not None and (needs_x or not kernels.available(x)):
            grad_y, active = grad_y.masked_fill(active <= 0, 0.0), None
        grad_x = grad_weight = grad_bias = None
        if kernels.available(x):
            if needs_weight or needs_bias:
                grad_weight, grad_bias = sparse_kernels.sampled(edges.target_pointer, edges.sources, grad_y, x, active)
            if needs_x:
                order = edges.by_source
                grad_x = sparse_kernels.product(edges.source_pointer, edges.targets[order], weight[order], grad_y)
            return grad_x, grad_weight, grad_bias if needs_bias else None, None, None
        with torch.autocast(x.device.type, enabled=False):
            if needs_x:
                grad_x = edges.transposed_matrix(weight) @ grad_y
            if needs_weight:
                pattern = edges.matrix(torch.zeros_like(weight))
                grad_weight = torch.sparse.sampled_addmm(pattern, grad_y, x.t(), beta=0.0).values()
        return grad_x, grad_weight, grad_y.sum(1) if needs_bias else None, None, None


def check_edges(edges: CompressedEdges) -> tuple[int, int]:
    """Return the numbers of targets and sources of compressed edges."""
    if not isinstance(edges, CompressedEdges):
        raise TypeError(f"edges must be CompressedEdges, got {type(edges).__name__}")
    return edges.shape


def _check_geometry(source_pos: Tensor, target_pos: Tensor, scale: Tensor, law: Law) -> None:
    checks.geometry(source_pos, target_pos, scale)
    if not isinstance(law, Law):
        raise TypeError(f"law must be a Law, got {type(law).__name__}")


def _two_axes(x: Tensor) -> Tensor:
    """Bring activations to shape ``(batch, n)``; no size is left to infer, for n may be 0."""
    return x.flatten(0, -2) if x.dim() > 1 else x[None]


def _product_dtype(x: Tensor) -> torch.dtype:
    kind = x.device.type
    return torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else x.dtype
