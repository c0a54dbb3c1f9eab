r"""The product between two planes in a time that grows with the neurons, and not with the pairs."""

import functools
from collections.abc import Callable

import torch
from torch import Tensor

from spatialgraph import checks
from spatialgraph.devices import in_double, on_cpu
from spatialgraph.functional.charges import of_charges
from spatialgraph.functional.dense import all_to_all
from spatialgraph.functional.mesh_plan import CHOICES, Plan, candidates, most_points
from spatialgraph.functional.planar_product import PlanarProduct
from spatialgraph.functional.planes import gap_of, is_planar
from spatialgraph.functional.precision import in_single
from spatialgraph.functional.streaming import streamed
from spatialgraph.laws import Law
from spatialgraph.laws.law import law_on
from spatialgraph.tracing import is_observed

__all__ = ["DIMENSIONS", "NoGridError", "Planner", "TooFineError", "check_tolerance", "meshed", "summed"]

DIMENSIONS = (2, 3)
"""Dimensions of space for which there is a grid; one axis is that of the gap."""

# Sources and targets whose sums on a grid are compared with exact ones.
_SOURCES, _TARGETS = 4096, 64
# How far geometry and law may change until a grid is chosen anew.
_DRIFT = 0.05
# Errors of gradients, in those of sums, that are allowed: splines have one order less in their derivatives.
_OF_GRADIENTS = 10.0
# Errors at some targets are estimates of those at all.
_SAFETY = 0.75


def meshed(
    x: Tensor,
    source_pos: Tensor,
    target_pos: Tensor,
    scale: Tensor,
    law: Law,
    bias: Tensor | None = None,
    tolerance: float = 1e-3,
) -> Tensor:
    r"""Send activations from every source to every target of another plane, by Fourier transforms on a grid.

    .. math:: y_{bj} = \sum_i x_{bi}\, s_i\, w(|p_i - q_j|) + b_j

    Sources are spread onto a grid by splines, the grid is multiplied by the law in Fourier space, and targets gather
    from it. Time and memory grow with the numbers of sources, targets and grid points; the spacing of the grid follows
    from the gap between the planes and the law. A grid is used if the error of a sum with random signs is below the
    tolerance, which is measured at some targets; and those of gradients below ten times of it. Second
    derivatives, and the transforms of ``torch.func``, compute the sum over all pairs.

    Args:
        x: activations of the sources, shape ``(..., n)``.
        source_pos: positions of the sources, shape ``(n, d)``, d = 2 or 3, all with the same last coordinate.
        target_pos: positions of the targets, shape ``(m, d)``, likewise.
        scale: polarity times gain of each source, shape ``(n,)``.
        law: the law from length to weight.
        bias: added to each target's input, shape ``(m,)``; None for nothing.
        tolerance: the largest error of a sum with random signs, relative to such a sum, from 1e-6 to 0.1.

    Returns:
        Inputs of the targets, shape ``(..., m)``.

    Raises:
        TypeError: if an argument is not a tensor of the expected dtype.
        ValueError: if shapes do not match, neurons are not in planes, positions are not finite, or no grid reaches the
            tolerance.

    Example:
        >>> from spatialgraph.laws import InverseDistance
        >>> pos, target = torch.tensor([[0.0, 0.0], [1.0, 0.0]]), torch.tensor([[0.0, 1.0], [0.5, 1.0]])
        >>> meshed(torch.ones(1, 2), pos, target, torch.ones(2), InverseDistance()).round(decimals=2)
        tensor([[1.7100, 1.7900]])
    """
    check_tolerance(tolerance)
    if is_observed(x, source_pos, target_pos, scale):
        return streamed(x, source_pos, target_pos, scale, law, bias)
    plan = Planner().plan(in_single(source_pos), in_single(target_pos), law, tolerance)
    return summed(x, source_pos, target_pos, scale, law, bias, plan)


def summed(
    x: Tensor, source_pos: Tensor, target_pos: Tensor, scale: Tensor, law: Law, bias: Tensor | None, plan: Plan
) -> Tensor:
    """Return what :func:`meshed` does on a grid that was chosen; arguments as there."""
    return of_charges(functools.partial(_product, law=law, plan=plan), x, source_pos, target_pos, scale, law, bias)


class NoGridError(ValueError):
    """No grid reaches the tolerance."""


class TooFineError(NoGridError):
    """No grid of as many points as are worthwhile reaches the tolerance."""


def check_tolerance(tolerance: float) -> float:
    """Check a tolerance.

    Raises:
        TypeError: if it is not a number.
        ValueError: if it is not between 1e-6 and 0.1.

    Example:
        >>> check_tolerance(0.001)
        0.001
    """
    return checks.between("tolerance", tolerance, 1e-6, 0.1)


class Planner:
    """Chooses a grid for two planes, and keeps the choice until geometry or law have changed much.

    Example:
        >>> from spatialgraph.laws import InverseDistance
        >>> pos = torch.rand(9, 3) * torch.tensor([1.0, 1.0, 0.0])
        >>> Planner().plan(pos, pos + 1.0, InverseDistance(), tolerance=1e-3).grid.order
        4
    """

    def __init__(self) -> None:
        self._signature: list[float] = []
        self._choice = 0
        self._refusal: tuple[type[NoGridError], str] | None = None

    def plan(
        self, source_pos: Tensor, target_pos: Tensor, law: Law, tolerance: float, worthwhile: int | None = None
    ) -> Plan:
        """Return the coarsest grid that reaches a tolerance.

        Args:
            source_pos: as in :func:`meshed`, as are the next ones.
            target_pos: positions of the targets.
            law: the law from length to weight.
            tolerance: the largest error.
            worthwhile: number of grid points above which another way is faster; None for no such number.

        Raises:
            TooFineError: if the grid would need more points than are worthwhile.
            NoGridError: if there is none; the message says why.
            ValueError: if positions are not finite.
        """
        _check_planes(source_pos, target_pos)
        most = most_points(len(source_pos), len(target_pos))
        is_limited = worthwhile is not None and worthwhile < most
        most = min(most, worthwhile) if worthwhile is not None else most
        signature = [tolerance, most, *_signature(source_pos, target_pos, law)]
        if _is_near(signature, self._signature):
            if self._refusal is not None:
                kind, message = self._refusal
                raise kind(message)  # a new one: an error keeps the tensors of where it was raised
            for number, plan in enumerate(candidates(source_pos, target_pos, law, most)):
                if number == self._choice:
                    return plan
        self._signature, self._refusal = signature, None
        try:
            self._choice, plan = _choose(source_pos, target_pos, law, tolerance, most, is_limited)
        except NoGridError as error:
            self._refusal = type(error), str(error)
            raise
        return plan


def _check_planes(source_pos: Tensor, target_pos: Tensor) -> None:
    for name, pos in (("source_pos", source_pos), ("target_pos", target_pos)):
        if pos.shape[1] not in DIMENSIONS:
            raise NoGridError(f"{name} must have 2 or 3 axes for a grid, got {pos.shape[1]}")
        checks.finite(name, pos)
        if not is_planar(pos):
            raise NoGridError(f"{name} must be in a plane across the last axis, got different last coordinates")


def _signature(source_pos: Tensor, target_pos: Tensor, law: Law) -> list[float]:
    """Return what the choice of a grid depends on."""
    spreads = [end.std(0, correction=0) for end in (source_pos.detach()[:, :-1], target_pos.detach()[:, :-1])]
    settings = [float(value) for value in law.settings().values()]
    return [len(source_pos), len(target_pos), gap_of(source_pos, target_pos), *torch.cat(spreads).tolist(), *settings]


def _is_near(values: list[float], before: list[float]) -> bool:
    pairs_of = zip(values, before, strict=False)
    return len(values) == len(before) and all(abs(now - then) <= _DRIFT * abs(then) for now, then in pairs_of)


@on_cpu
def _choose(
    source_pos: Tensor, target_pos: Tensor, law: Law, tolerance: float, most: int, is_limited: bool
) -> tuple[int, Plan]:
    """Compare grids with exact sums and their gradients at some targets, from coarse to fine."""
    generator = torch.Generator().manual_seed(0)
    source, some = (
        pos.detach()[torch.randperm(len(pos), generator=generator)[:count].to(pos.device)]
        for pos, count in ((source_pos, _SOURCES), (target_pos, _TARGETS))
    )
    charge = (torch.randint(2, (1, len(source)), generator=generator) * 2 - 1).to(source)
    double = [in_double(each) for each in (charge, source, some)]
    ones, own_law = double[0][0].abs(), law_on(law, double[0].device)
    exact = _with_gradient(lambda x, sources, targets: all_to_all(x, sources, targets, ones, own_law), *double)
    found, number = None, -1
    for number, plan in enumerate(candidates(source_pos, target_pos, law, most)):
        own = _with_gradient(functools.partial(_product, law=law, plan=plan), charge, source, some)
        found = [float((in_double(each) - right).norm() / right.norm()) for each, right in zip(own, exact, strict=True)]
        if found[0] <= _SAFETY * tolerance and found[1] <= _SAFETY * _OF_GRADIENTS * tolerance:
            return number, plan
    reason = "grids would be too large"
    if found is not None:
        reason = f"the finest grid has an error of {found[0]:.0e}, and of {found[1]:.0e} in gradients"
    kind = TooFineError if is_limited and number < len(CHOICES) - 1 else NoGridError
    raise kind(
        f"tolerance must be within reach of a grid, got {tolerance:g} for {type(law).__name__} at a gap of "
        f"{gap_of(source_pos, target_pos):g}: {reason}"
    )


def _with_gradient(product: Callable[..., Tensor], charge: Tensor, source: Tensor, some: Tensor) -> tuple[Tensor, ...]:
    """Return sums at some targets, and their gradients by the places of these in the plane."""
    with torch.enable_grad():
        own = some.clone().requires_grad_()
        y = product(charge, source, own)
        (gradient,) = torch.autograd.grad(y.sum(), own)
    return y.detach(), gradient[:, :-1]


def _product(charge: Tensor, source_pos: Tensor, target_pos: Tensor, law: Law, plan: Plan) -> Tensor:
    y: Tensor = PlanarProduct.apply(charge, source_pos, target_pos, law, plan, *law.parameters())
    return y
