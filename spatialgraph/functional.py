r"""The numerical engines: how a batch of activations crosses a projection.

Both engines compute :math:`y_{bj} = \sum_i x_{bi}\, s_i\, w(|p_i - q_j|)`, where :math:`s_i` is the scale (polarity
times gain) of source :math:`i`. :func:`all_to_all` builds the weight matrix and multiplies; :func:`sparse` multiplies
by a matrix in compressed rows that holds existing edges only. No tensor of shape (sources, targets, dimensions) or
(edges, batch) is ever stored.
"""

from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from spatialgraph.laws import Law, softened_square
from spatialgraph.projections import CompressedEdges

__all__ = ["all_to_all", "edge_weight", "pairwise_weight", "sparse"]

# Elements of a weight matrix worked on at a time: on the CPU the block and its temporaries stay in the cache, which
# halves the time of the many elementwise passes; an accelerator wants few, large kernels.
_CPU_BLOCK = 2**18
_ACCELERATOR_BLOCK = 2**25


def pairwise_weight(source_pos: Tensor, target_pos: Tensor, law: Law) -> Tensor:
    r"""Return the unsigned weight of every target-source pair, :math:`W_{ji} = w(|p_i - q_j|)`.

    Args:
        source_pos: positions of the sources, shape ``(n, d)``, in length units.
        target_pos: positions of the targets, shape ``(m, d)``, in length units.
        law: the law from length to weight.

    Returns:
        Tensor of shape ``(m, n)``, the layout of ``nn.Linear``. It is not differentiable; :func:`all_to_all` is.

    Example:
        >>> from spatialgraph.laws import InverseDistance
        >>> pairwise_weight(torch.tensor([[0.0], [1.0]]), torch.tensor([[2.0]]), InverseDistance())
        tensor([[0.5000, 1.0000]])
    """
    weight = source_pos.new_empty(target_pos.shape[0], source_pos.shape[0])
    with torch.no_grad():
        blocks = _Blocks(source_pos, target_pos, law.softening)
        for number, rows in enumerate(weight.split(blocks.size)):
            law.from_square_(blocks.square(number, out=rows))
    return weight


def all_to_all(x: Tensor, source_pos: Tensor, target_pos: Tensor, scale: Tensor, law: Law) -> Tensor:
    r"""Send activations from every source to every target.

    .. math:: y_{bj} = \sum_i x_{bi}\, s_i\, w(|p_i - q_j|)

    The weight matrix is built once for the whole batch and multiplied; the backward pass is analytic and works through
    the matrix in blocks of rows that fit in the cache. Under ``torch.autocast`` lengths and weights stay in their own
    precision and only the matrix products are lowered.

    Args:
        x: activations of the sources, shape ``(..., n)``.
        source_pos: positions of the sources, shape ``(n, d)``, in length units.
        target_pos: positions of the targets, shape ``(m, d)``, in length units.
        scale: polarity times gain of each source, shape ``(n,)``.
        law: the law from length to weight.

    Returns:
        Inputs of the targets, shape ``(..., m)``.

    Example:
        >>> from spatialgraph.laws import InverseDistance
        >>> pos, target = torch.tensor([[0.0], [1.0]]), torch.tensor([[2.0]])
        >>> all_to_all(torch.tensor([[2.0, 3.0]]), pos, target, torch.tensor([1.0, -1.0]), InverseDistance())
        tensor([[-2.0000]])
    """
    x = x.to(_product_dtype(x))
    flat = x.reshape(-1, x.shape[-1])
    y: Tensor = _AllToAll.apply(flat, source_pos, target_pos, scale, law, *law.parameters())
    return y.view(*x.shape[:-1], target_pos.shape[0])


class _AllToAll(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,  # noqa: ANN401 - the context has no public type
        x: Tensor,
        source_pos: Tensor,
        target_pos: Tensor,
        scale: Tensor,
        law: Law,
        *law_parameters: Tensor,
    ) -> Tensor:
        weight = pairwise_weight(source_pos, target_pos, law)
        ctx.save_for_backward(x, source_pos, target_pos, scale, weight)
        ctx.law = law
        return _scaled_product(x, scale, weight)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_y: Tensor) -> tuple[Tensor | None, ...]:  # noqa: ANN401
        x, source_pos, target_pos, scale, weight = ctx.saved_tensors
        grad_x = None
        if ctx.needs_input_grad[0]:
            grad_x = grad_y @ _scaled_weight(scale, weight, grad_y.dtype)
        if not any(ctx.needs_input_grad[1:]):
            return (grad_x, *[None] * (len(ctx.needs_input_grad) - 1))
        grad_weight = (grad_y.t() @ x).to(weight.dtype)
        grad_source, grad_target, grad_scale, grad_law = _geometry_gradients(
            grad_weight, weight, source_pos, target_pos, scale, ctx.law
        )
        return (grad_x, grad_source, grad_target, grad_scale, None, *grad_law)


def _geometry_gradients(
    grad_weight: Tensor, weight: Tensor, source_pos: Tensor, target_pos: Tensor, scale: Tensor, law: Law
) -> tuple[Tensor, Tensor, Tensor, list[Tensor]]:
    """Carry the gradient of the unscaled weight matrix on to positions, scales and the law's parameters."""
    blocks = _Blocks(source_pos, target_pos, law.softening)
    grad_source = torch.zeros_like(source_pos.t(), memory_format=torch.contiguous_format)
    grad_target = torch.empty_like(target_pos.t(), memory_format=torch.contiguous_format)
    grad_scale = torch.zeros_like(scale)
    grad_law = [torch.zeros_like(p) for p in law.parameters()]
    rows_of_grad_target = [axis.split(blocks.size) for axis in grad_target.unbind()]
    ones = torch.ones_like(target_pos[: blocks.size, 0])
    # Many small operations a block: views are made by split and unbind, since indexing costs more than the arithmetic.
    for number, (w, g) in enumerate(zip(weight.split(blocks.size), grad_weight.split(blocks.size), strict=True)):
        one, product = ones[: len(w)], torch.mul(g, w, out=blocks.buffer[: len(w)])
        grad_scale.addmv_(product.t(), one)
        square = partial(blocks.square, number)
        for grad, slope in zip(grad_law, law.parameter_slopes(w, square), strict=True):
            grad += torch.mv(slope.mul_(g), scale).sum()
        pull = law.pull_(g, w, product, square)
        # d rho^2 / d q_j = 2 (q_j - p_i): differences once more, for the expansion would cancel for near neurons.
        for axis, grad in enumerate(grad_source.unbind()):
            component = blocks.difference(number, axis, times=pull)
            torch.mv(component, scale, out=rows_of_grad_target[axis][number])
            grad.addmv_(component.t(), one)
    for axis, flat in enumerate(blocks.flat):
        if flat is not None:
            grad_source[axis] *= flat
            grad_target[axis] *= flat
    return grad_source.mul_(scale).mul_(-2.0).t(), grad_target.mul_(2.0).t(), grad_scale, grad_law


class _Blocks:
    """Blocks of rows of the target-by-source matrix that share one work buffer.

    Along an axis where sources share a coordinate and targets do too, as layers do along the axis of their spacing,
    the difference is one number, and the passes over the matrix are saved.
    """

    def __init__(self, source_pos: Tensor, target_pos: Tensor, softening: float) -> None:
        rows, columns = target_pos.shape[0], source_pos.shape[0]
        elements = _CPU_BLOCK if source_pos.device.type == "cpu" else _ACCELERATOR_BLOCK
        self.size = rows if torch.compiler.is_compiling() else min(rows, max(1, elements // columns))
        self.shape = (self.size, columns)
        self.buffer = source_pos.new_empty(self.shape)
        self._columns = source_pos.t().contiguous().unbind()
        rows_by_axis = target_pos.t().contiguous()
        self._rows = [axis.split(self.size) for axis in rows_by_axis[:, :, None].unbind()]
        self.flat = [_flat(*axis) for axis in zip(rows_by_axis.unbind(), self._columns, strict=True)]
        self._constant = source_pos.new_tensor(softening**2)
        for difference in self.flat:
            if difference is not None:
                self._constant = self._constant + difference.square()

    def difference(self, number: int, axis: int, times: Tensor | None = None) -> Tensor:
        """Return target minus source coordinates of a block, in the work buffer, multiplied by ``times``.

        Along a flat axis the common factor is left out.
        """
        if times is not None and self.flat[axis] is not None:
            return times
        rows = self._rows[axis][number]
        difference = torch.sub(rows, self._columns[axis], out=self.buffer[: len(rows)])
        return difference if times is None else difference.mul_(times)

    def square(self, number: int, out: Tensor | None = None) -> Tensor:
        """Return the softened squared lengths of a block, in ``out`` or in new memory."""
        square = self._constant
        for axis, flat in enumerate(self.flat):
            if flat is None:
                difference = self.difference(number, axis)
                out = torch.empty_like(difference) if out is None else out
                square = torch.addcmul(square, difference, difference, out=out)
        if square.dim() == 0:  # flat along every axis
            shape = (len(self._rows[0][number]), self.shape[1])
            return square.expand(shape).clone() if out is None else out.copy_(square)
        return square


def _flat(rows: Tensor, columns: Tensor) -> Tensor | None:
    """Return the difference along an axis where rows share a coordinate and columns do, else None."""
    if rows.device.type != "cpu" or torch.compiler.is_compiling():  # not worth a synchronisation or a graph break
        return None
    flat = bool((rows == rows[0]).all()) and bool((columns == columns[0]).all())
    return rows[0] - columns[0] if flat else None


def _scaled_product(x: Tensor, scale: Tensor, weight: Tensor) -> Tensor:
    """Return ``(x * scale) @ weight.t()``, scaling the smaller of the two factors."""
    if weight.shape[0] < x.shape[0]:
        return x @ _scaled_weight(scale, weight, x.dtype).t()
    return (x * scale.to(x.dtype)) @ weight.to(x.dtype).t()


def _scaled_weight(scale: Tensor, weight: Tensor, dtype: torch.dtype) -> Tensor:
    return (weight * scale).to(dtype)


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

    Example:
        >>> from spatialgraph.laws import InverseDistance
        >>> edges = CompressedEdges.from_edges(torch.tensor([[0, 1], [0, 0]]), 2, 1)
        >>> pos, target = torch.tensor([[0.0], [1.0]]), torch.tensor([[2.0]])
        >>> edge_weight(pos, target, torch.tensor([1.0, -1.0]), InverseDistance(), edges)
        tensor([ 0.5000, -1.0000])
    """
    ends = source_pos.index_select(0, edges.sources), target_pos.index_select(0, edges.targets)
    return law.from_square(softened_square(*ends, law.softening)) * scale.index_select(0, edges.sources)


def sparse(x: Tensor, weight: Tensor, edges: CompressedEdges) -> Tensor:
    r"""Send activations along existing edges only, :math:`y_{bj} = \sum_{e = (i, j)} x_{bi}\, w_e`.

    The product is that of a matrix in compressed rows and a dense one; the gradient of the weights is a dense-dense
    product sampled at the edges.

    Args:
        x: activations of the sources, shape ``(..., n)``.
        weight: signed weight of each edge, shape ``(E,)``, in the order of ``edges``.
        edges: the compressed edges.

    Returns:
        Inputs of the targets, shape ``(..., m)``.

    Example:
        >>> edges = CompressedEdges.from_edges(torch.tensor([[0, 1], [0, 0]]), 2, 1)
        >>> sparse(torch.tensor([[2.0, 3.0]]), torch.tensor([1.0, -1.0]), edges)
        tensor([[-1.]])
    """
    flat = x.reshape(-1, x.shape[-1]).to(weight.dtype)
    y: Tensor = _SparseProduct.apply(flat.t(), weight, edges)
    return y.t().reshape(*x.shape[:-1], y.shape[0])


class _SparseProduct(torch.autograd.Function):
    """Matrix in compressed rows times a dense ``(n, batch)`` matrix."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, edges: CompressedEdges) -> Tensor:  # noqa: ANN401
        x = x.contiguous()
        ctx.save_for_backward(x, weight)
        ctx.edges = edges
        return edges.matrix(weight) @ x

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_y: Tensor) -> tuple[Tensor | None, ...]:  # noqa: ANN401
        x, weight = ctx.saved_tensors
        edges: CompressedEdges = ctx.edges
        grad_y = grad_y.contiguous()
        grad_x = grad_weight = None
        if ctx.needs_input_grad[0]:
            grad_x = edges.transposed_matrix(weight) @ grad_y
        if ctx.needs_input_grad[1]:
            pattern = edges.matrix(torch.zeros_like(weight))
            grad_weight = torch.sparse.sampled_addmm(pattern, grad_y, x.t(), beta=0.0).values()
        return grad_x, grad_weight, None


def _product_dtype(x: Tensor) -> torch.dtype:
    kind = x.device.type
    return torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else x.dtype
