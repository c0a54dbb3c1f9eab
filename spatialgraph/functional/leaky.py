"""Leaky integration over time, for spiking neurons."""

import dataclasses
from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor

from spatialgraph import checks
from spatialgraph.functional import composed
from spatialgraph.functional.fused import LEAKY
from spatialgraph.kernels.registry import find
from spatialgraph.tracing import is_observed

__all__ = ["RESETS", "FastSigmoid", "Run", "check_rows", "leaky_run", "leaky_step"]

RESETS = ("subtract", "zero", "none")
RECORDS = ("spikes", "potentials")

Surrogate = Callable[[Tensor], Tensor]
"""A step function, 1 above 0 and else 0, whose backward pass uses the derivative of a smooth function."""


class FastSigmoid:
    r"""Step function with the surrogate gradient :math:`1 / (1 + k |u|)^2` of a fast sigmoid.

    The values are those of snnTorch's ``fast_sigmoid``; see `Zenke and Ganguli (2018)
    <https://arxiv.org/abs/1705.11146>`_.

    Args:
        slope: steepness k.

    Raises:
        TypeError: if ``slope`` is not a number.
        ValueError: if ``slope`` is not positive.

    Example:
        >>> u = torch.tensor([-0.04, 0.04], requires_grad=True)
        >>> FastSigmoid()(u).sum().backward()
        >>> u.grad
        tensor([0.2500, 0.2500])
    """

    def __init__(self, slope: float = 25.0) -> None:
        self.slope = checks.positive("slope", slope)

    def __call__(self, u: Tensor) -> Tensor:
        """Return 1 where ``u`` is above 0, else 0."""
        if is_observed(u):  # adds a value of 0 that has the gradient of the surrogate
            smooth = u / (1.0 + self.slope * u.abs())
            return (u > 0).to(u.dtype) + (smooth - smooth.detach())
        spikes: Tensor = _FastSigmoidStep.apply(u, self.slope)
        return spikes


class _FastSigmoidStep(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, u: Tensor, slope: float) -> Tensor:  # noqa: ANN401 - the context has no public type
        ctx.save_for_backward(u)
        ctx.slope = slope
        return (u > 0).to(u.dtype)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:  # noqa: ANN401
        (u,) = ctx.saved_tensors
        return grad / (ctx.slope * u.abs() + 1.0) ** 2, None


def leaky_step(
    current: Tensor, potential: Tensor, beta: float, threshold: float, reset_mechanism: str, spike_grad: Surrogate
) -> tuple[Tensor, Tensor]:
    r"""Advance leaky integrate-and-fire neurons by one time step.

    .. math:: v_t = \beta v_{t-1} + I_t - \theta\, s_{t-1}, \qquad s_t = [v_t > \theta]

    This is snnTorch's ``Leaky``: a spike lowers the potential one step later, and no gradient passes through the
    reset. With ``"zero"`` the potential is set to 0 instead; with ``"none"`` it is not reset.

    Args:
        current: input :math:`I_t`, any shape.
        potential: membrane potential :math:`v_{t-1}`, the same shape.
        beta: fraction of the potential that remains after each step.
        threshold: the potential above which a neuron fires, :math:`\theta`.
        reset_mechanism: ``"subtract"``, ``"zero"`` or ``"none"``.
        spike_grad: the step function.

    Returns:
        Spikes and potential of this time step.

    Raises:
        ValueError: if ``reset_mechanism`` is unknown.

    Example:
        >>> leaky_step(torch.tensor([0.3]), torch.tensor([1.5]), 0.9, 1.0, "subtract", FastSigmoid())
        (tensor([0.]), tensor([0.6500]))
    """
    checks.choice("reset_mechanism", reset_mechanism, RESETS)
    fired = (potential > threshold).to(potential.dtype)
    if reset_mechanism == "zero":
        after = beta * ((1 - fired) * potential) + current
    else:
        after = beta * potential + current
        after = after - fired * threshold if reset_mechanism == "subtract" else after
    return spike_grad(after - threshold).to(after.dtype), after  # surrogates of snnTorch return single precision


class Run(NamedTuple):
    """The recorded values of a run over many time steps; None for those that were not requested."""

    spikes: Tensor | None
    potentials: Tensor | None
    summed: Tensor | None
    last: Tensor


def leaky_run(
    current: Tensor,
    num_steps: int,
    potential: Tensor,
    *,
    beta: float,
    threshold: float,
    reset_mechanism: str,
    spike_grad: Surrogate,
    record: str = "spikes potentials",
    shares: Tensor | None = None,
) -> Run:
    """Advance leaky integrate-and-fire neurons by many time steps; arguments as in :func:`leaky_step`.

    On the CPU, with Numba and a :class:`FastSigmoid`, a fused kernel computes the whole run. Spikes and potentials are
    identical to the bit.

    Args:
        current: input of each step, shape ``(num_steps, ...)``; shape ``(1, ...)`` for a constant current.
        num_steps: number of time steps.
        potential: potential to start from, shape ``(...)``.
        beta: fraction of the potential that remains after each step.
        threshold: the potential above which a neuron fires.
        reset_mechanism: ``"subtract"``, ``"zero"`` or ``"none"``.
        spike_grad: the step function.
        record: which of ``"spikes"`` and ``"potentials"`` to return, shape ``(num_steps, ...)`` each, separated by a
            space; ``""`` for none.
        shares: weights of the sum of the spikes over time, shape ``(num_steps,)``, which is computed without storing
            the spikes; None for no sum.

    Returns:
        Spikes, potentials, the weighted sum of the spikes, shape ``(...)``, and the last potential.

    Raises:
        TypeError: if ``potential`` has another dtype than ``current``.
        ValueError: if ``current`` has neither 1 nor ``num_steps`` rows, ``potential`` has another shape than a row of
            it, ``reset_mechanism`` or a name in ``record`` is unknown, or ``shares`` does not have shape
            ``(num_steps,)``.

    Example:
        >>> options = dict(beta=0.5, threshold=1.0, reset_mechanism="subtract", spike_grad=FastSigmoid())
        >>> run = leaky_run(torch.tensor([[1.0]]), 3, torch.zeros(1), **options)
        >>> run.spikes[:, 0].tolist(), run.potentials[:, 0].tolist()
        ([0.0, 1.0, 0.0], [1.0, 1.5, 0.75])
    """
    _check(current, num_steps, potential, shares)
    checks.choice("reset_mechanism", reset_mechanism, RESETS)
    for recorded in record.split():
        checks.choice("record", recorded, RECORDS)
    for name, value in (("beta", beta), ("threshold", threshold)):
        checks.number(name, value)
    has_spikes, has_potentials = "spikes" in record, "potentials" in record
    settings = _Settings(num_steps, beta, threshold, reset_mechanism, has_spikes, has_potentials, shares)
    is_fused = type(spike_grad) is FastSigmoid and find(LEAKY, current) is not None
    advance = _Fused.apply if is_fused else _step_by_step
    spikes, potentials, summed, last = advance(current, potential, settings, spike_grad)
    return Run(
        spikes if has_spikes else None,
        potentials if has_potentials else None,
        None if shares is None else summed,
        last,
    )


@dataclasses.dataclass(frozen=True)
class _Settings:
    """The arguments of a run other than tensors with gradients and the step function."""

    num_steps: int
    beta: float
    threshold: float
    reset_mechanism: str
    has_spikes: bool
    has_potentials: bool
    shares: Tensor | None


def _check(current: Tensor, num_steps: int, potential: Tensor, shares: Tensor | None) -> None:
    checks.integer("num_steps", num_steps, minimum=0)
    check_rows(current, num_steps)
    checks.operand("potential", potential, current.shape[1:], current)
    if shares is not None:
        checks.same_device("shares", checks.shape("shares", shares, (num_steps,)), current)


def check_rows(current: Tensor, num_steps: int) -> None:
    """Check that there is a row of currents for each step, or one for all of them."""
    if checks.tensor("current", current).dim() == 0:
        raise ValueError("current must have an axis for steps, got shape ()")
    if current.shape[0] not in (1, num_steps):
        raise ValueError(f"current must have 1 or {num_steps} rows, one for each step, got {current.shape[0]}")


def _step_by_step(
    current: Tensor, potential: Tensor, settings: _Settings, spike_grad: Surrogate
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return spikes, potentials, the weighted sum of the spikes and the last potential, by tensor operations."""
    neuron = settings.beta, settings.threshold, settings.reset_mechanism, spike_grad
    spikes, potentials = [], []
    summed = torch.zeros_like(potential)
    for step in range(settings.num_steps):
        spike, potential = leaky_step(current[min(step, len(current) - 1)], potential, *neuron)
        if settings.has_spikes:
            spikes.append(spike)
        if settings.has_potentials:
            potentials.append(potential)
        if settings.shares is not None:
            summed = summed + settings.shares[step] * spike
    nothing = potential.new_zeros(0, *potential.shape)
    recorded = [torch.stack(rows) if rows else nothing for rows in (spikes, potentials)]
    return recorded[0], recorded[1], summed, potential


class _Fused(torch.autograd.Function):
    """The fused kernels, which return the same as :func:`_step_by_step`."""

    @staticmethod
    def forward(
        ctx: Any,  # noqa: ANN401
        current: Tensor,
        potential: Tensor,
        settings: _Settings,
        spike_grad: FastSigmoid,
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        ctx.save_for_backward(current, potential)
        ctx.settings, ctx.spike_grad = settings, spike_grad
        ctx.set_materialize_grads(False)
        ctx.kernel = find(LEAKY, current)
        recorded: tuple[Tensor, Tensor, Tensor, Tensor] = ctx.kernel.run(
            current,
            potential,
            settings.beta,
            settings.threshold,
            RESETS.index(settings.reset_mechanism),
            settings.num_steps,
            settings.shares,
            settings.has_spikes,
            settings.has_potentials,
        )
        return recorded

    @staticmethod
    def backward(ctx: Any, *grads: Tensor | None) -> tuple[Tensor | None, ...]:  # noqa: ANN401
        current, potential = ctx.saved_tensors
        settings: _Settings = ctx.settings
        if torch.is_grad_enabled():
            inputs = (current, potential, settings, ctx.spike_grad)
            return composed.gradients(_step_by_step, inputs, ctx.needs_input_grad, grads)
        by_current, by_first = ctx.kernel.gradients(
            current,
            potential,
            settings.beta,
            settings.threshold,
            RESETS.index(settings.reset_mechanism),
            ctx.spike_grad.slope,
            settings.num_steps,
            *grads,
            settings.shares,
        )
        return by_current, by_first, None, None
