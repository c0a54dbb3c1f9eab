"""Checks that a loss, parameters, gradients and optimiser states are finite during training."""

import math
from collections.abc import Iterable

import torch
from torch import Tensor, nn

__all__ = ["check_loss", "check_model"]

_CAUSES = (
    "Likely causes: a learning rate that is too high; a custom penalty, law or layer without a finite value "
    "or gradient; numbers too large for their type. The checkpoint of the last full epoch, if any, is kept"
)


def check_loss(name: str, loss: float, epoch: int, step: int) -> None:
    """Check a loss.

    Args:
        name: name of the loss, for the message.
        loss: the loss.
        epoch: the epoch, counted from 1.
        step: the step in this epoch, counted from 1.

    Raises:
        FloatingPointError: if it is NaN or infinite.

    Example:
        >>> check_loss("train loss", float("nan"), epoch=3, step=7)
        Traceback (most recent call last):
            ...
        FloatingPointError: train loss must be finite, got nan in epoch 3, step 7. Likely causes: ...
    """
    if not math.isfinite(loss):
        raise FloatingPointError(f"{name} must be finite, got {loss} in epoch {epoch}, step {step}. {_CAUSES}")


def check_model(
    model: nn.Module, optimizers: Iterable[torch.optim.Optimizer], when: str, with_gradients: bool = True
) -> None:
    """Check the parameters of a model, their gradients, and the state of optimisers.

    Args:
        model: the model.
        optimizers: the optimisers.
        when: time of the check, for the message.
        with_gradients: whether gradients are checked; scaled ones of 16-bit training may overflow, and are then not
            used.

    Raises:
        FloatingPointError: if a value is NaN or infinite.

    Example:
        >>> model = nn.Linear(2, 1)
        >>> nn.init.constant_(model.bias, float("inf"))
        Parameter containing:
        tensor([inf], requires_grad=True)
        >>> check_model(model, [], "before training")
        Traceback (most recent call last):
            ...
        FloatingPointError: the parameter 'bias' must be finite, got inf before training. Likely causes: ...
    """
    for name, parameter in model.named_parameters():
        _check(f"the parameter {name!r}", parameter, when)
        if with_gradients and parameter.grad is not None:
            _check(f"the gradient of the parameter {name!r}", parameter.grad, when)
        for optimizer in optimizers:
            for kind, state in optimizer.state.get(parameter, {}).items():
                if isinstance(state, Tensor):
                    _check(f"{kind} of the parameter {name!r} in the optimiser", state, when)


def _check(name: str, values: Tensor, when: str) -> None:
    bad = ~torch.isfinite(values.detach())
    if bad.any():
        value = values.detach()[bad][0].item()
        raise FloatingPointError(f"{name} must be finite, got {value} {when}. {_CAUSES}")
