"""Convolution over channels at offsets from their nodes, computed for blocks of edges."""

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from spatialgraph import checks
from spatialgraph.functional import composed
from spatialgraph.functional.fused import channel_law, parameter_gradients, settings_of
from spatialgraph.functional.ordered import add_
from spatialgraph.functional.precision import in_single
from spatialgraph.laws import Compact, Gaussian, InverseDistance, InversePower, Law, Yukawa
from spatialgraph.tracing import is_observed, without_autocast

__all__ = ["Absolute", "absolute", "channel_convolution"]

# Weights that are held at once: few enough for the caches of a CPU, enough to occupy an accelerator.
_CPU_BLOCK, _ACCELERATOR_BLOCK = 2**17, 2**26

_POSITIVE = (Compact, Gaussian, InverseDistance, InversePower, Yukawa)


def channel_convolution(
    x: Tensor, displacement: Tensor, offset: Tensor, edge_weight: Tensor, law: Law, edge_index: Tensor, n_targets: int
) -> Tensor:
    r"""Send the channels of the sources to those of the targets.

    .. math:: y_{vc'} = \sum_{e = (u, v)} e_{uv} \sum_c w(|D_e + o_{cc'}|)\, x_{uc}

    The weights of a block of edges are computed, used and discarded; the backward pass computes them again. Second
    derivatives hold all of them. A batch of features on the same edges shares the weights.

    Args:
        x: channels of the sources, shape ``(..., n, C)``.
        displacement: position of each edge's source relative to its target, in length units, shape ``(E, d)``, or
            ``(E, p)`` with p < d where it is 0 in the other dimensions.
        offset: offset of each channel of the sources relative to each of the targets, shape ``(C, C', d)``, in length
            units.
        edge_weight: factor on each edge, shape ``(E,)``.
        law: from length to weight.
        edge_index: sources and targets of the edges, shape ``(2, E)``, int64.
        n_targets: number of targets m.

    Returns:
        Tensor of shape ``(..., m, C')``, differentiable.

    Raises:
        TypeError: if a tensor is of the wrong dtype.
        ValueError: if shapes or devices do not agree.

    Example:
        >>> offset = torch.tensor([[[1.0], [3.0]]])  # one channel to two
        >>> edge = torch.tensor([[0], [0]])
        >>> channel_convolution(
        ...     torch.ones(1, 1), torch.ones(1, 1), offset, torch.ones(1), InverseDistance(), edge, 1
        ... )
        tensor([[0.5000, 0.2500]])
    """
    _check(x, displacement, offset, edge_weight, law, edge_index, n_targets)
    dtype, batch = x.dtype, x.shape[:-2]
    x = x.reshape(batch.numel(), *x.shape[-2:]).transpose(0, 1)  # nodes first
    x, displacement, offset, edge_weight = (in_single(values) for values in (x, displacement, offset, edge_weight))
    with without_autocast(x.device.type):  # sums over edges keep their precision
        if is_observed(x, displacement, offset, edge_weight):
            y = composed.channel_convolution(x, displacement, offset, edge_weight, law, edge_index, n_targets)
        else:
            y = _ChannelConvolution.apply(
                x, displacement, offset, edge_weight, law, edge_index, n_targets, *law.parameters()
            )
    return y.transpose(0, 1).unflatten(0, batch).to(dtype) if batch else y[:, 0].to(dtype)


def _check(
    x: Tensor,
    displacement: Tensor,
    offset: Tensor,
    edge_weight: Tensor,
    law: Law,
    edge_index: Tensor,
    n_targets: int,
) -> None:
    if not isinstance(law, Law):
        raise TypeError(f"law must be a Law, got {type(law).__name__}")
    if checks.tensor("x", x).dim() < 2:
        raise ValueError(f"x must have at least 2 axes, got shape {tuple(x.shape)}")
    if checks.tensor("edge_index", edge_index).dim() != 2 or edge_index.shape[0] != 2:
        raise ValueError(f"edge_index must have shape (2, edges), got {tuple(edge_index.shape)}")
    checks.same_device("edge_index", edge_index, x)
    checks.integer("n_targets", n_targets, minimum=0)
    for number, (ends, nodes) in enumerate(zip(edge_index, (x.shape[-2], n_targets), strict=True)):
        name = f"edge_index[{number}]"
        is_readable = checks.has_values(checks.indices(name, ends)) and ends.device.type == "cpu"
        if is_readable:  # an accelerator checks indices itself; to read them here would make it wait
            checks.within(name, ends, nodes)
    _, out_channels, dim = checks.axes("offset", offset, 3).shape
    checks.operand("offset", offset, (x.shape[-1], out_channels, dim), x)
    reached = min(dim, checks.axes("displacement", displacement, 2).shape[1])
    checks.operand("displacement", displacement, (edge_index.shape[1], reached), x)
    checks.operand("edge_weight", edge_weight, (edge_index.shape[1],), x)


class _ChannelConvolution(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,  # noqa: ANN401 - the context has no public type
        x: Tensor,
        displacement: Tensor,
        offset: Tensor,
        edge_weight: Tensor,
        law: Law,
        edge_index: Tensor,
        n_targets: int,
        *law_parameters: Tensor,
    ) -> Tensor:
        ctx.save_for_backward(x, displacement, offset, edge_weight, edge_index, *law_parameters)
        ctx.law, ctx.n_targets = law, n_targets
        kernel = _kernel(law, x)
        if kernel is not None:
            operands = x[:, 0], displacement, offset, edge_weight, law.softening, edge_index, n_targets
            fused: Tensor = kernel.convolve(*operands, settings_of(law))
            return fused[:, None]
        y = x.new_zeros(n_targets, x.shape[1], offset.shape[1])
        for block in _blocks(x, displacement, offset):
            sources, targets = edge_index[:, block]
            sent = x[sources] * edge_weight[block, None, None]
            weight = law.from_square(_square(displacement[block], offset, law.softening))
            add_(y, targets, torch.bmm(sent, weight))
        return y

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:  # noqa: ANN401
        x, displacement, offset, edge_weight, edge_index, *law_parameters = ctx.saved_tensors
        if composed.is_needed(ctx.law, law_parameters):
            inputs = (x, displacement, offset, edge_weight, ctx.law, edge_index, ctx.n_targets, *law_parameters)
            with without_autocast(x.device.type):
                return composed.gradients(composed.channel_convolution, inputs, ctx.needs_input_grad, [grad])
        operands = x, displacement, offset, edge_weight, ctx.law, edge_index
        kernel = _kernel(ctx.law, x)
        if kernel is not None:
            softening, settings = ctx.law.softening, settings_of(ctx.law)
            tensors = x[:, 0], displacement, offset, edge_weight
            grad_x, *fused, by_parameter = kernel.gradients(*tensors, softening, edge_index, grad[:, 0], settings)
            return (grad_x[:, None], *fused, None, None, None, *parameter_gradients(ctx.law, by_parameter))
        with without_autocast(x.device.type):
            grads, grad_law = _gradients(*operands, grad)
        return (*grads, None, None, None, *grad_law)


def _gradients(
    x: Tensor,
    displacement: Tensor,
    offset: Tensor,
    edge_weight: Tensor,
    law: Law,
    edge_index: Tensor,
    grad: Tensor,
) -> tuple[list[Tensor], list[Tensor]]:
    """Return the gradients of the four tensors and of the law's parameters."""
    grads = grad_x, grad_displacement, grad_offset, grad_edge = [
        torch.zeros_like(values) for values in (x, displacement, offset, edge_weight)
    ]
    grad_law = [torch.zeros_like(parameter) for parameter in law.parameters()]
    for block in _blocks(x, displacement, offset):
        sources, targets = edge_index[:, block]
        received, features, factor = grad[targets], x[sources], edge_weight[block, None, None]
        square = _square(displacement[block], offset, law.softening)
        weight = law.from_square(square)
        returned = torch.bmm(received, weight.mT)
        add_(grad_x, sources, returned * factor)
        grad_edge[block] = (returned * features).sum((1, 2))
        grad_weight = torch.bmm((features * factor).mT, received)
        for total, slope in zip(grad_law, law.parameter_slopes(square, weight), strict=True):
            total += (slope * grad_weight).sum()
        pairwise_gradient = law.slope(square, weight).mul_(grad_weight).mul_(2.0)  # d rho^2 / d D = 2 (D + o)
        reached = displacement.shape[1]
        for axis in range(reached):
            component = (displacement[block, axis, None, None] + offset[:, :, axis]).mul_(pairwise_gradient)
            grad_displacement[block, axis] = component.sum((1, 2))
            grad_offset[:, :, axis] += component.sum(0)
        grad_offset[:, :, reached:] += pairwise_gradient.sum(0)[:, :, None] * offset[:, :, reached:]
    return grads, grad_law


def _kernel(law: Law, x: Tensor) -> Any | None:  # noqa: ANN401 - kernels have no common type
    """Return the fused kernels of a law for features without a batch; a batch shares weights that tensors hold."""
    return channel_law(law, x) if x.shape[1] == 1 else None


def _blocks(x: Tensor, displacement: Tensor, offset: Tensor) -> Iterator[slice]:
    elements = _CPU_BLOCK if offset.device.type == "cpu" else _ACCELERATOR_BLOCK
    channels, out_channels, _ = offset.shape
    of_each_edge = max(channels * out_channels, x.shape[1] * max(channels, out_channels), 1)
    edges, step = displacement.shape[0], max(1, elements // of_each_edge)
    for start in range(0, edges, step):
        yield slice(start, min(start + step, edges))


def _square(displacement: Tensor, offset: Tensor, softening: float) -> Tensor:
    """Return the softened squared lengths of all pairs of channels, shape ``(E, C, C')``, axis by axis."""
    common = offset[:, :, displacement.shape[1] :].square().sum(2) + softening**2
    square = common.repeat(displacement.shape[0], 1, 1)
    for axis in range(displacement.shape[1]):
        difference = displacement[:, axis, None, None] + offset[:, :, axis]
        square.addcmul_(difference, difference)
    return square


class Absolute(Law):
    """The absolute values of another law's weights, by which they are normalised."""

    def __init__(self, law: Law) -> None:
        super().__init__(law.softening)
        self.law = law

    def from_square(self, square: Tensor) -> Tensor:
        """Return the absolute weight at a softened squared length."""
        return self.law.from_square(square).abs()

    def slope(self, square: Tensor, weight: Tensor) -> Tensor:
        """Return the derivative of the absolute weight by the softened squared length."""
        signed = self.law.from_square(square)
        return self.law.slope(square, signed) * signed.sign()

    def parameter_slopes(self, square: Tensor, weight: Tensor) -> tuple[Tensor, ...]:
        """Return the derivative of the absolute weight by each of the law's parameters."""
        signed = self.law.from_square(square)
        return tuple(slope * signed.sign() for slope in self.law.parameter_slopes(square, signed))


def absolute(law: Law) -> Law:
    """Return a law whose weights are the absolute values of a law's; the law itself where its weights are positive.

    Example:
        >>> absolute(Gaussian())
        Gaussian(sigma=1.0)
    """
    return law if type(law) in _POSITIVE else Absolute(law)
