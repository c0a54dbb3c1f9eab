r"""Lengths and weights of all pairs of sources and targets, and the gradients of what they follow from.

No tensor of shape (sources, targets, dimensions) is ever stored. For positions in half precision, weights are computed
in single precision and rounded at the end.
"""

from collections.abc import Iterable, Iterator
from typing import Any

import torch
from torch import Tensor

from spatialgraph import checks
from spatialgraph.functional import composed
from spatialgraph.functional.compiled import calculate, is_compiled
from spatialgraph.functional.compressed import check_geometry, geometry_in_single
from spatialgraph.functional.fused import dense_law, parameter_gradients, settings_of
from spatialgraph.functional.precision import in_single
from spatialgraph.laws import Law
from spatialgraph.tracing import is_observed, without_autocast

__all__ = ["build_weight", "geometry_gradients", "pairwise_length", "pairwise_weight"]

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
        if grad.device.type != "cpu":
            return _distance_gradients(ends[0], ends[1], grad)
        with torch.enable_grad():
            own = [values.detach().requires_grad_() for values in ends]
            return torch.autograd.grad(_distances(*own), own, grad)


def _distances(source_pos: Tensor, target_pos: Tensor) -> Tensor:
    # From differences: the matrix expansion is inaccurate for short lengths.
    return torch.cdist(target_pos, source_pos, compute_mode="donot_use_mm_for_euclid_dist")


def _distance_gradients(source_pos: Tensor, target_pos: Tensor, grad: Tensor) -> tuple[Tensor, Tensor]:
    """Return the gradients of positions axis by axis: those of cdist hold all coordinates of all pairs on a GPU."""
    length = _distances(source_pos, target_pos)
    pull = torch.where(length != 0, grad / length, 0.0)  # NaN stays
    by_source, by_target = [], []
    for axis in range(source_pos.shape[1]):
        component = torch.sub(target_pos[:, axis, None], source_pos[:, axis]).mul_(pull)
        by_target.append(component.sum(1))
        by_source.append(-component.sum(0))
    return torch.stack(by_source, 1), torch.stack(by_target, 1)


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
        return build_weight(source_pos, target_pos, scale, law)

    @staticmethod
    def backward(ctx: Any, grad_weight: Tensor) -> tuple[Tensor | None, ...]:  # noqa: ANN401
        source_pos, target_pos, scale, *law_parameters = ctx.saved_tensors
        if composed.is_needed(ctx.law, law_parameters):
            inputs = (source_pos, target_pos, scale, ctx.law, *law_parameters)
            return composed.gradients(composed.pairwise_weight, inputs, ctx.needs_input_grad, [grad_weight])
        grads, grad_law = geometry_gradients(grad_weight, source_pos, target_pos, scale, ctx.law)
        return (*grads, None, *grad_law)


def build_weight(source_pos: Tensor, target_pos: Tensor, scale: Tensor, law: Law, out: Tensor | None = None) -> Tensor:
    """Return the weights of :func:`pairwise_weight`, without gradients; arguments as there.

    ``out`` is a tensor to write them to, shape ``(m, n)``, which may be of half precision; None for a new one.
    """
    with torch.no_grad():
        kernel = dense_law(law, source_pos)
        weight = source_pos.new_empty(target_pos.shape[0], source_pos.shape[0]) if out is None else out
        if kernel is not None:
            kernel.weight(source_pos, target_pos, scale, law.softening, settings_of(law), out=weight)
            return weight
        for rows in _row_blocks(weight):
            calculate(_weigh, law, source_pos, target_pos[rows], scale, weight[rows])
    return weight


Gradients = tuple[Tensor, Tensor, Tensor]
"""Gradients of source positions, target positions and scales."""


def geometry_gradients(
    grad_weight: Tensor, source_pos: Tensor, target_pos: Tensor, scale: Tensor, law: Law
) -> tuple[Gradients, list[Tensor]]:
    """Return the gradients of positions, scales and the law's parameters, given that of the signed weight matrix."""
    kernel = dense_law(law, source_pos)
    if kernel is not None:
        operands = grad_weight, source_pos, target_pos, scale, law.softening, settings_of(law)
        *grads, by_parameter = kernel.geometry_gradients(*operands)
        return tuple(grads), parameter_gradients(law, by_parameter)
    with without_autocast(grad_weight.device.type):  # which would round positions where a backward pass runs in it
        return _composed_gradients(grad_weight, source_pos, target_pos, scale, law)


def _composed_gradients(
    grad_weight: Tensor, source_pos: Tensor, target_pos: Tensor, scale: Tensor, law: Law
) -> tuple[Gradients, list[Tensor]]:
    grad_source, grad_target = torch.zeros_like(source_pos), torch.empty_like(target_pos)
    grad_scale = torch.zeros_like(scale)
    grad_law = [torch.zeros_like(p) for p in law.parameters()]
    operands = grad_weight, source_pos, target_pos, scale
    for rows, by_source, by_target, by_scale, *by_law in _pulls(law, *operands):
        grad_source -= by_source
        grad_target[rows] = by_target
        grad_scale += by_scale
        for grad, part in zip(grad_law, by_law, strict=True):
            grad += part
    return (grad_source * scale[:, None], grad_target, grad_scale), grad_law


def _weigh(law: Law, source_pos: Tensor, target_pos: Tensor, scale: Tensor, out: Tensor) -> None:
    square = _square(source_pos, target_pos, law.softening)
    torch.mul(law.from_square(square), scale, out=out)


def _pulls(
    law: Law, grad_weight: Tensor, source_pos: Tensor, target_pos: Tensor, scale: Tensor
) -> Iterator[tuple[Any, ...]]:
    """Yield some rows of weights after the other, and the parts of the gradients that follow from them."""
    blocks = _row_blocks(grad_weight)
    if not is_compiled(law, source_pos):
        yield from _blockwise(law, grad_weight, source_pos, target_pos, scale, blocks)
        return
    for rows in blocks:
        yield rows, *calculate(_pull, law, grad_weight[rows], source_pos, target_pos[rows], scale)


def _pull(law: Law, grad: Tensor, source_pos: Tensor, target_pos: Tensor, scale: Tensor) -> list[Tensor]:
    """Return the gradients that follow from all rows of weights."""
    ((_, *parts),) = _blockwise(law, grad, source_pos, target_pos, scale, [slice(None)])
    return parts


def _blockwise(
    law: Law, grad_weight: Tensor, source_pos: Tensor, target_pos: Tensor, scale: Tensor, blocks: Iterable[slice]
) -> Iterator[tuple[Any, ...]]:
    """Yield each block of rows and the gradients that follow from it.

    They are those of sources, without their scale and with the opposite sign, of targets, of scales, and of the law's
    parameters. What one block needed is dropped as that of the next one takes its place, for the system takes back
    memory that is free in between.
    """
    for rows in blocks:
        grad, pos = grad_weight[rows], target_pos[rows]
        square = _square(source_pos, pos, law.softening)
        unsigned = law.from_square(square)
        by_scale = (grad * unsigned).sum(0)
        by_law = [torch.mv(grad * slope, scale).sum() for slope in law.parameter_slopes(square, unsigned)]
        # d rho^2 / d q_j = 2 (q_j - p_i), from differences: an expansion would be inaccurate for near neurons.
        pairwise_gradient = law.slope(square, unsigned) * grad * 2.0
        by_source, by_target = torch.empty_like(source_pos), torch.empty_like(pos)
        for axis in range(pos.shape[1]):
            component = torch.sub(pos[:, axis, None], source_pos[:, axis]).mul_(pairwise_gradient)
            by_target[:, axis] = torch.mv(component, scale)
            by_source[:, axis] = component.sum(0)
        yield rows, by_source, by_target, by_scale, *by_law


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
