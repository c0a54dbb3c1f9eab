r"""The product between two planes by Fourier transforms: spread onto a grid, multiply by the law, gather."""

import dataclasses
import math
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor

from spatialgraph.functional import composed
from spatialgraph.functional.mesh_plan import Plan
from spatialgraph.functional.planes import gap_of
from spatialgraph.functional.splines import Grid
from spatialgraph.functional.streaming import checkpointed
from spatialgraph.laws import Law
from spatialgraph.tracing import without_autocast

__all__ = ["PlanarProduct"]

# Numbers that a block of points reads from the grid or adds to it at a time.
_BLOCK = 2**21


class PlanarProduct(torch.autograd.Function):
    """From charges ``(batch, n)`` in one plane to sums ``(batch, m)`` in another.

    Second derivatives are those of the sum over all pairs.
    """

    @staticmethod
    def forward(
        ctx: Any,  # noqa: ANN401 - the context has no public type
        charge: Tensor,
        source_pos: Tensor,
        target_pos: Tensor,
        law: Law,
        plan: Plan,
        *law_parameters: Tensor,
    ) -> Tensor:
        """Return the sums of charges times weights."""
        fields = _Fields(plan, law, gap_of(source_pos, target_pos), charge)
        sent = fields.transformed(charge, source_pos)
        ctx.save_for_backward(charge, source_pos, target_pos, sent, *law_parameters)
        ctx.law, ctx.plan = law, plan
        return _gather(plan.grid, fields.field(sent, fields.weight()), target_pos)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:  # noqa: ANN401
        """Return the gradients of charges, positions and the law's parameters."""
        with without_autocast(grad.device.type):
            return _gradients(ctx, grad)


def _gradients(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:  # noqa: ANN401
    charge, source_pos, target_pos, sent, *law_parameters = ctx.saved_tensors
    if torch.is_grad_enabled():
        inputs = (charge, source_pos, target_pos, ctx.law, ctx.plan, *law_parameters)
        return composed.gradients(_over_all_pairs, inputs, ctx.needs_input_grad, [grad])
    gap = gap_of(source_pos, target_pos)
    fields = _Fields(ctx.plan, ctx.law, gap, charge)
    weight, pulled = fields.weight(), fields.transformed(grad, target_pos)
    back = fields.field(pulled, weight)
    grads: list[Tensor | None] = [None] * 3
    if ctx.needs_input_grad[0]:
        grads[0] = _gather(ctx.plan.grid, back, source_pos)
    slope = fields.slope() if ctx.needs_input_grad[1] or ctx.needs_input_grad[2] else None
    for number, (pos, there, own, other, sign) in enumerate(
        (
            (source_pos, back, charge, pulled, -1.0),
            (target_pos, fields.field(sent, weight), grad, sent, 1.0),
        ),
        start=1,
    ):
        if slope is not None and ctx.needs_input_grad[number]:
            in_plane = _pull(ctx.plan.grid, there, own, pos)
            across = _gather(ctx.plan.grid, fields.field(other, slope), pos)
            depth = 2.0 * gap * sign * (own * across).sum(0)
            grads[number] = torch.cat([in_plane, depth[:, None]], 1)
    of_law = [fields.inner(pulled, sent, each) for each in fields.parameter_slopes()] if law_parameters else []
    return (*grads, None, None, *of_law)


def _over_all_pairs(
    charge: Tensor, source_pos: Tensor, target_pos: Tensor, law: Law, plan: Plan, *law_parameters: Tensor
) -> Tensor:
    scale = torch.ones_like(source_pos[:, 0])
    return checkpointed(charge, source_pos, target_pos, scale, law, None, *law_parameters)


@dataclasses.dataclass(frozen=True)
class _Fields:
    """The transforms of a plan for a law and a gap."""

    plan: Plan
    law: Law
    gap: float
    like: Tensor

    def weight(self) -> Tensor:
        """Return the transform of the law's weight."""
        return self._spectrum(self.law.from_square)

    def slope(self) -> Tensor:
        """Return that of its derivative by the squared length."""
        return self._spectrum(lambda square: self.law.slope(square, self.law.from_square(square)))

    def parameter_slopes(self) -> list[Tensor]:
        """Return those of its derivatives by the law's parameters."""

        def number(k: int) -> Callable[[Tensor], Tensor]:
            return lambda square: self.law.parameter_slopes(square, self.law.from_square(square))[k]

        return [self._spectrum(number(k)) for k in range(len(list(self.law.parameters())))]

    def transformed(self, charge: Tensor, pos: Tensor) -> Tensor:
        """Spread charges ``(batch, n)`` onto the grid, and transform it."""
        density = _spread(self.plan.grid, charge, pos)
        transformed: Tensor = torch.fft.rfftn(density, s=self.plan.transformed, dim=self._axes)
        return transformed

    def field(self, transformed: Tensor, spectrum: Tensor) -> Tensor:
        """Return what charges cause at the grid points, shape ``(batch, *grid)``."""
        field: Tensor = torch.fft.irfftn(transformed * spectrum, s=self.plan.transformed, dim=self._axes)
        return field[self._inside]

    def inner(self, left: Tensor, right: Tensor, spectrum: Tensor) -> Tensor:
        """Return the sum over all pairs of charges, of which both are transformed, with the weights of a spectrum."""
        density: Tensor = torch.fft.irfftn(left, s=self.plan.transformed, dim=self._axes)[self._inside]
        return (density * self.field(right, spectrum)).sum()

    @property
    def _inside(self) -> tuple[slice, ...]:
        return (slice(None), *(slice(count) for count in self.plan.grid.shape))

    @property
    def _axes(self) -> tuple[int, ...]:
        return tuple(range(1, 1 + len(self.plan.grid.shape)))

    def _spectrum(self, values: Callable[[Tensor], Tensor]) -> Tensor:
        softened = self.law.softening**2
        return self.plan.spectrum(lambda square: values(square + softened), self.like, self.gap)


def _blocks(grid: Grid, points: int, batch: int) -> Iterator[slice]:
    step = max(1, _BLOCK // (batch * grid.order ** len(grid.shape)))
    for start in range(0, points, step):
        yield slice(start, min(start + step, points))


def _spread(grid: Grid, charge: Tensor, pos: Tensor) -> Tensor:
    """Add charges ``(batch, n)`` to the grid points around each position."""
    batch = charge.shape[0]
    density = charge.new_zeros(math.prod(grid.shape), batch)
    for rows in _blocks(grid, len(pos), batch):
        numbers, weights = grid.stencils(pos[rows, :-1])
        parts = weights[:, :, None] * charge[:, rows].t()[:, None, :]
        density.index_add_(0, numbers.flatten(), parts.flatten(0, 1))
    return density.t().reshape(batch, *grid.shape)


def _gather(grid: Grid, field: Tensor, pos: Tensor) -> Tensor:
    """Return a field of shape ``(batch, *grid)`` at positions, shape ``(batch, n)``."""
    flat = field.flatten(1).t().contiguous()
    found = field.new_empty(len(pos), field.shape[0])
    for rows in _blocks(grid, len(pos), field.shape[0]):
        numbers, weights = grid.stencils(pos[rows, :-1])
        found[rows] = (weights[:, None, :] @ flat[numbers]).squeeze(1)
    return found.t()


def _pull(grid: Grid, field: Tensor, charge: Tensor, pos: Tensor) -> Tensor:
    """Return the gradient of the charges' sum over the field by their positions in the plane, shape ``(n, d - 1)``."""
    flat = field.flatten(1).t().contiguous()
    found = pos.new_empty(len(pos), pos.shape[1] - 1)
    for rows in _blocks(grid, len(pos), field.shape[0]):
        with torch.enable_grad():
            own = pos[rows, :-1].detach().requires_grad_()
            numbers, weights = grid.stencils(own)
            pull = (flat[numbers] @ charge[:, rows].t()[:, :, None]).squeeze(-1)
            (found[rows],) = torch.autograd.grad(weights, own, pull)
    return found
