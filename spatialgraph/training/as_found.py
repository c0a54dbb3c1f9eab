"""What a training or an evaluation changes of a model for a while, and gives back."""

import contextlib
from collections.abc import Iterator
from typing import Any

import torch
from torch import nn

__all__ = ["as_found", "device_of", "evaluating"]

# Where PyTorch keeps the hooks of a module and of a parameter.
_HOOKS = (
    "_forward_pre_hooks",
    "_forward_hooks",
    "_backward_pre_hooks",
    "_backward_hooks",
    "_state_dict_pre_hooks",
    "_state_dict_hooks",
    "_load_state_dict_pre_hooks",
    "_load_state_dict_post_hooks",
    "_post_accumulate_grad_hooks",
)


@contextlib.contextmanager
def as_found(model: nn.Module) -> Iterator[None]:
    """Train a model; afterwards its device, modes and ``requires_grad`` flags are as before, and new hooks are gone.

    A model in ``eval()`` is trained in ``train()``. Of a model in ``train()``, parts in ``eval()`` stay so.

    Example:
        >>> model = nn.Linear(2, 1).eval()
        >>> with as_found(model):
        ...     model.training
        True
        >>> model.training
        False
    """
    device = device_of(model)
    flags = [(parameter, parameter.requires_grad) for parameter in model.parameters()]
    hooks = [(owner, name, set(_hooks(owner, name))) for owner in _owners(model) for name in _HOOKS]
    try:
        with _modes_kept(model):
            if not model.training:
                model.train()
            yield
    finally:
        if device_of(model) != device:
            model.to(device)
        for parameter, flag in flags:
            parameter.requires_grad_(flag)
        for owner, name, before in hooks:
            table = _hooks(owner, name)
            for key in set(table) - before:
                del table[key]


@contextlib.contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """Put a model into ``eval()``, and restore the mode of every module.

    Example:
        >>> model = nn.Linear(2, 1)
        >>> with evaluating(model):
        ...     model.training
        False
        >>> model.training
        True
    """
    with _modes_kept(model):
        model.eval()
        yield


def device_of(model: nn.Module) -> torch.device:
    """Return the device of a model's first parameter; the CPU for a model without parameters.

    Example:
        >>> device_of(nn.Linear(2, 1))
        device(type='cpu')
    """
    return next((parameter.device for parameter in model.parameters()), torch.device("cpu"))


@contextlib.contextmanager
def _modes_kept(model: nn.Module) -> Iterator[None]:
    modes = {module: module.training for module in model.modules()}
    try:
        yield
    finally:
        model.train(modes[model])  # a model may do more than set the flag
        for module, mode in modes.items():
            module.training = mode


def _owners(model: nn.Module) -> list[nn.Module | nn.Parameter]:
    return [*model.modules(), *model.parameters()]


def _hooks(owner: nn.Module | nn.Parameter, name: str) -> dict[int, Any]:
    """Return a table of hooks; a parameter has none before its first hook."""
    return getattr(owner, name, None) or {}
