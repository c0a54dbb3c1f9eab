"""The engines as compositions of differentiable tensor operations.

They support tracers, exporters, compilers and the transforms of ``torch.func``, and have derivatives of every order.
The engines of :mod:`spatialgraph.functional` and the fused kernels compute the same in less time and memory.
"""

import operator
from collections.abc import Callable, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from spatialgraph.functional.compressed_edges import CompressedEdges
from spatialgraph.functional.ordered import taken
from spatialgraph.laws import Law, softened_square

__all__ = [
    "all_to_all",
    "channel_convolution",
    "edge_length",
    "edge_weight",
    "gradients",
    "is_needed",
    "pairwise_length",
    "pairwise_weight",
    "sparse",
]

# Batch size above which a dense matrix takes less memory than a message for each edge and sample.
_BATCH = 64


def gradients(
    compute: Callable[..., Tensor | tuple[Tensor, ...]],
    inputs: Sequence[Any],
    needed: Sequence[bool],
    grad_outputs: Sequence[Tensor | None],
) -> tuple[Tensor | None, ...]:
    """Return gradients that are differentiable functions of the inputs, for double backward.

    Args:
        compute: a composition of differentiable operations.
        inputs: its arguments.
        needed: whether each input needs a gradient; only tensors may.
        grad_outputs: gradients of the results; None for those without.

    Returns:
        A gradient for each input, None where none is needed.

    Example:
        >>> x = torch.tensor(2.0, requires_grad=True)
        >>> (slope,) = gradients(lambda x: x**3, [x], [True], [torch.tensor(1.0)])
        >>> slope.backward()
        >>> slope.item(), x.grad.item()
        (12.0, 12.0)
    """
    with torch.enable_grad():
        # Views: one input may have been computed from another, and that path is not part of this function.
        own = [value.view_as(value) if need else value for value, need in zip(inputs, needed, strict=True)]
        results = compute(*own)
        results = (results,) if isinstance(results, Tensor) else results
        pairs = zip(results, grad_outputs, strict=True)
        given = [(result, grad) for result, grad in pairs if grad is not None and result.requires_grad]
        wanted = [value for value, need in zip(own, needed, strict=True) if need]
        outputs, grads = [result for result, _ in given], [grad for _, grad in given]
        found = iter(torch.autograd.grad(outputs, wanted, grads, create_graph=True, allow_unused=True))
    return tuple(next(found) if need else None for need in needed)


def is_needed(law: Law, law_parameters: Sequence[Tensor]) -> bool:
    """Tell whether a backward pass needs a composition.

    It does where derivatives of it are asked for, and where the law holds other parameters than in the forward pass, as
    after ``torch.func.functional_call``.

    Args:
        law: the law.
        law_parameters: its parameters in the forward pass.

    Example:
        >>> from spatialgraph.laws import Gaussian
        >>> with torch.no_grad():
        ...     is_needed(Gaussian(), [])
        False
    """
    held = list(law.parameters())
    others = len(held) != len(law_parameters) or any(map(operator.is_not, held, law_parameters))
    return torch.is_grad_enabled() or others


def pairwise_weight(source_pos: Tensor, target_pos: Tensor, scale: Tensor, law: Law, *law_parameters: Tensor) -> Tensor:
    """Return the weights of :func:`spatialgraph.functional.pairwise_weight`.

    Args:
        source_pos: positions of the sources, shape ``(n, d)``.
        target_pos: positions of the targets, shape ``(m, d)``.
        scale: polarity times gain of each source, shape ``(n,)``.
        law: the law from length to weight.
        *law_parameters: used in place of the law's own parameters, in their order; none to use its own.
    """
    return _from_square(law, _square(source_pos, target_pos, law.softening**2), law_parameters) * scale


def pairwise_length(source_pos: Tensor, target_pos: Tensor) -> Tensor:
    """Return the lengths of :func:`spatialgraph.functional.pairwise_length`; arguments as there."""
    return _root(_square(source_pos, target_pos, 0.0))


def edge_length(source_pos: Tensor, target_pos: Tensor, edges: CompressedEdges) -> Tensor:
    """Return the length of each listed edge, shape ``(E,)``; its derivatives are 0 where two neurons coincide."""
    return _root(softened_square(*_ends(source_pos, target_pos, edges), 0.0))


def all_to_all(
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
    """Send activations as :func:`spatialgraph.functional.all_to_all` does; ``law_parameters`` as above."""
    weight = pairwise_weight(source_pos, target_pos, scale, law, *law_parameters)
    if n_masked:
        mask = _without_smallest(weight.detach(), mask, n_masked)
    if mask is not None:
        weight = torch.where(mask, weight, 0.0)
    y = F.linear(x, weight.to(x.dtype), None if bias is None else bias.to(x.dtype))
    return F.relu(y) if rectify else y


def edge_weight(
    source_pos: Tensor, target_pos: Tensor, scale: Tensor, law: Law, edges: CompressedEdges, *law_parameters: Tensor
) -> Tensor:
    """Return the weights of :func:`spatialgraph.functional.edge_weight`; ``law_parameters`` as above."""
    square = softened_square(*_ends(source_pos, target_pos, edges), law.softening)
    return _from_square(law, square, law_parameters) * taken(scale, edges.sources)


def sparse(x: Tensor, weight: Tensor, edges: CompressedEdges, bias: Tensor | None, rectify: bool) -> Tensor:
    """Send activations as :func:`spatialgraph.functional.sparse` does; arguments as there.

    Exporters do not support products of matrices in compressed rows, so the matrix is made dense or, if there are few
    edges, a message is sent along each edge.
    """
    sources, targets = edges.n_sources, edges.n_targets
    if sources * targets <= _BATCH * edges.length:
        places = edges.targets * sources + edges.sources
        matrix = weight.new_zeros(targets * sources).scatter(0, places, weight).view(targets, sources)
        y = F.linear(x, matrix)
    else:
        messages = x.index_select(-1, edges.sources) * weight
        places = edges.targets.expand_as(messages)
        y = messages.new_zeros(*x.shape[:-1], targets).scatter_add(-1, places, messages)
    y = y if bias is None else y + bias
    return F.relu(y) if rectify else y


def channel_convolution(
    x: Tensor,
    displacement: Tensor,
    offset: Tensor,
    edge_weight: Tensor,
    law: Law,
    edge_index: Tensor,
    n_targets: int,
    *law_parameters: Tensor,
) -> Tensor:
    """Send channels as :func:`spatialgraph.functional.channels.channel_convolution` does; arguments as there.

    Channels have the shape ``(n, batch, C)``. All weights of all edges are held at once.
    """
    sources, targets = edge_index
    reached = displacement.shape[1]
    square = offset[:, :, reached:].square().sum(2) + law.softening**2
    for axis in range(reached):
        square = square + (displacement[:, axis, None, None] + offset[:, :, axis]).square()
    sent = x.index_select(0, sources) * edge_weight[:, None, None]
    messages = torch.einsum("ebc,eco->ebo", sent, _from_square(law, square, law_parameters))
    return messages.new_zeros(n_targets, *messages.shape[1:]).index_add(0, targets, messages)


def _ends(source_pos: Tensor, target_pos: Tensor, edges: CompressedEdges) -> tuple[Tensor, Tensor]:
    """Return the positions of each edge's source and target."""
    return taken(source_pos, edges.sources), taken(target_pos, edges.targets)


def _root(square: Tensor) -> Tensor:
    """Return the square root, with derivatives of 0 at 0."""
    is_apart = square != 0  # also of NaN
    return torch.where(is_apart, square, 1.0).sqrt() * is_apart


def _square(source_pos: Tensor, target_pos: Tensor, constant: float) -> Tensor:
    """Return the squared lengths of all pairs plus a constant, computed from coordinate differences."""
    square = source_pos.new_full((target_pos.shape[0], source_pos.shape[0]), constant)
    for axis in range(source_pos.shape[1]):
        square = square + (target_pos[:, axis, None] - source_pos[:, axis]).square()
    return square


def _without_smallest(weight: Tensor, mask: Tensor | None, n_masked: int) -> Tensor:
    """Mark all edges except those with the smallest absolute weights."""
    magnitude = weight.abs()
    if mask is not None:
        magnitude = magnitude.masked_fill(~mask, torch.inf)  # not counted
    if n_masked >= weight.numel():
        return torch.zeros_like(weight, dtype=torch.bool)
    smallest = torch.topk(magnitude.flatten(), n_masked + 1, largest=False, sorted=False).values
    mask_of_rest = ~(magnitude < smallest.max())
    return mask_of_rest if mask is None else mask_of_rest & mask


def _from_square(law: Law, square: Tensor, parameters: Sequence[Tensor]) -> Tensor:
    """Return the law's weights, with the given tensors in place of its parameters."""
    if not parameters:
        return law.from_square(square)
    names = [f"law.{name}" for name, _ in law.named_parameters()]
    given = dict(zip(names, parameters, strict=True))
    weight: Tensor = torch.func.functional_call(_FromSquare(law), given, (square,))
    return weight


class _FromSquare(nn.Module):
    """A module whose forward pass is :meth:`Law.from_square <spatialgraph.laws.Law.from_square>`."""

    def __init__(self, law: Law) -> None:
        super().__init__()
        self.law = law

    def forward(self, square: Tensor) -> Tensor:
        return self.law.from_square(square)
