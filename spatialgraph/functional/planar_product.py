r"""The product between two planes by Fourier transforms: spread onto a grid, multiply by the law, gather."""

import dataclasses
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from spatialgraph.functional import composed
from spatialgraph.functional.mesh_plan import Plan
from spatialgraph.functional.planes import gap_of
from spatialgraph.functional.stencils import Stencils
from spatialgraph.functional.streaming import checkpointed
from spatialgraph.laws import Law
from spatialgraph.tracing import without_autocast

__all__ = ["PlanarProduct"]


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
        sources, targets = (Stencils(plan.grid, pos[:, :-1]) for pos in (source_pos, target_pos))
        sent = fields.transformed(sources.spread(charge))
        ctx.save_for_backward(charge, source_pos, target_pos, sent, *law_parameters)
        ctx.law, ctx.plan = law, plan
        return targets.gather(fields.field(sent, fields.weight()))

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:  # noqa: ANN401
        """Return the gradients of charges, positions and the law's parameters."""
        with without_autocast(grad.device.type):
            return _gradients(ctx, grad)


def _gradients(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:  # noqa: ANN401
    charge, source_pos, target_pos, sent, *law_parameters = ctx.saved_tensors
    if composed.is_needed(ctx.law, law_parameters):
        inputs = (charge, source_pos, target_pos, ctx.law, ctx.plan, *law_parameters)
        return composed.gradients(_over_all_pairs, inputs, ctx.needs_input_grad, [grad])
    gap = gap_of(source_pos, target_pos)
    fields = _Fields(ctx.plan, ctx.law, gap, charge)
    sources, targets = (Stencils(ctx.plan.grid, pos[:, :-1]) for pos in (source_pos, target_pos))
    weight, pulled = fields.weight(), fields.transformed(targets.spread(grad))
    slopes = fields.slope() if any(ctx.needs_input_grad[1:3]) else weight

    def of_position(stencils: Stencils, own: Tensor, other: Tensor, depth: float) -> Tensor:
        across, _ = stencils.pull(fields.field(other, slopes), own)
        _, along = stencils.pull(fields.field(other, weight), own)
        return torch.cat([along, 2.0 * depth * across[:, None]], 1)

    of_charge = sources.gather(fields.field(pulled, weight)) if ctx.needs_input_grad[0] else None
    of_source = of_position(sources, charge, pulled, -gap) if ctx.needs_input_grad[1] else None
    of_target = of_position(targets, grad, sent, gap) if ctx.needs_input_grad[2] else None
    of_law = [fields.inner(pulled, sent, each) for each in fields.parameter_slopes()] if law_parameters else []
    return of_charge, of_source, of_target, None, None, *of_law


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

    def transformed(self, density: Tensor) -> Tensor:
        """Return the transform of densities at the grid points, shape ``(batch, *grid)``."""
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
