"""Recurrent populations with a dense matrix of weights: all time steps in one function with analytic gradients.

It computes what :mod:`spatialgraph.functional.recurrence` computes step by step, in less time: no step is recorded, and
the gradient of the weights is one product over all time steps.
"""

from collections.abc import Callable, Sequence
from typing import Any, cast

import torch
from torch import Tensor

from spatialgraph.functional import composed

__all__ = ["recurrent_through_time"]

_EPS = 1e-5


def recurrent_through_time(
    inputs: Tensor,
    state: Tensor,
    weight: Tensor,
    bias: Tensor,
    rate: Tensor | None,
    nonlinearity: str,
    normalize: bool,
    step_by_step: Callable[..., Tensor],
) -> Tensor:
    """Return the states of plain or leaky neurons in all time steps.

    Args:
        inputs: what other neurons send, shape ``(T, B, n)``.
        state: the state before the first step, shape ``(B, n)``.
        weight: weights, targets first, shape ``(n, n)``.
        bias: biases, shape ``(n,)``.
        rate: the neurons' rates, shape ``(n,)``; None for 1.
        nonlinearity: ``"tanh"`` or ``"relu"``.
        normalize: whether summed inputs are normalised before the biases are added.
        step_by_step: a function of the other seven arguments that returns the same states by differentiable operations;
            used for derivatives of higher order.

    Returns:
        States, shape ``(T, B, n)``.

    Example:
        >>> one = torch.ones(1)
        >>> operands = one.view(1, 1, 1), one[None], one[None], 0 * one, 0.5 * one
        >>> recurrent_through_time(*operands, "relu", False, lambda *_: one)
        tensor([[[1.5000]]])
    """
    states: Tensor = _Recurrent.apply(inputs, state, weight, bias, rate, nonlinearity, normalize, step_by_step)
    return states


class _Recurrent(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,  # noqa: ANN401 - the context has no public type
        inputs: Tensor,
        state: Tensor,
        weight: Tensor,
        bias: Tensor,
        rate: Tensor | None,
        nonlinearity: str,
        normalize: bool,
        step_by_step: Callable[..., Tensor],
    ) -> Tensor:
        states = inputs.new_empty(len(inputs) + 1, *state.shape)
        states[0] = state
        totals, columns, moments = torch.empty_like(inputs), weight.t(), []
        reached = states[1:] if rate is None else torch.empty_like(inputs)
        before, *after = states.unbind(0)
        for entering, total, goal, now in zip(inputs, totals, reached, after, strict=True):
            torch.addmm(entering, before, columns, out=total)
            if normalize:
                y, *own = torch.native_layer_norm(total, bias.shape, None, None, _EPS)
                moments += own
                y += bias
            else:
                y = total + bias
            torch.tanh(y, out=goal) if nonlinearity == "tanh" else torch.clamp_min(y, 0.0, out=goal)
            before = now if rate is None else torch.lerp(before, goal, rate, out=now)
        ctx.save_for_backward(inputs, state, weight, bias, rate, states, totals, reached, *moments)
        ctx.settings, ctx.step_by_step = (nonlinearity, normalize), step_by_step
        return states[1:]

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:  # noqa: ANN401
        inputs, state, weight, bias, rate, states, totals, reached, *moments = ctx.saved_tensors
        nonlinearity, normalize = ctx.settings
        if torch.is_grad_enabled():
            given = (inputs, state, weight, bias, rate, *ctx.settings)
            return *composed.gradients(ctx.step_by_step, given, ctx.needs_input_grad[:7], [grad]), None
        _, _, needs_weight, needs_bias, needs_rate, *_ = ctx.needs_input_grad
        arriving, later = torch.empty_like(inputs), torch.zeros_like(state)
        grad_bias = torch.zeros_like(bias) if needs_bias else None
        grad_rate = torch.zeros_like(rate) if needs_rate else None
        steps = zip(grad, states, totals, reached, arriving, strict=False)  # states has a row more, the first state
        for step, (own, before, total, goal, into) in reversed(list(enumerate(steps))):
            toward = slope = later.add_(own)
            if grad_rate is not None:
                grad_rate += (goal - before).mul_(toward).sum(0)
            if rate is not None:
                slope = toward * rate
                toward -= slope
            slope = _through(nonlinearity, slope, goal)
            if grad_bias is not None:
                grad_bias += slope.sum(0)
            into.copy_(_unnormalised(slope, total, moments[2 * step : 2 * step + 2]) if normalize else slope)
            later = into @ weight if rate is None else toward.addmm_(into, weight)
        grad_weight = arriving.flatten(0, 1).t() @ states[:-1].flatten(0, 1) if needs_weight else None
        return arriving, later, grad_weight, grad_bias, grad_rate, None, None, None


def _unnormalised(grad: Tensor, total: Tensor, moments: Sequence[Tensor]) -> Tensor:
    """Return the gradient of summed inputs, given that of the normalised ones."""
    backward, mask = torch.ops.aten.native_layer_norm_backward, [True, False, False]
    return cast(Tensor, backward(grad, total, total.shape[-1:], *moments, None, None, mask)[0])


def _through(nonlinearity: str, grad: Tensor, y: Tensor) -> Tensor:
    """Return the gradient of what a nonlinearity made ``y`` of."""
    if nonlinearity == "relu":
        # Passes the gradient on where y is NaN, as F.relu does.
        return cast(Tensor, torch.ops.aten.threshold_backward(grad, y, 0))
    return cast(Tensor, torch.ops.aten.tanh_backward(grad, y))
