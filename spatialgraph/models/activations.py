"""Activations of perceptrons, by name or as functions."""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from spatialgraph import checks

__all__ = ["ACTIVATIONS", "Activation", "activation_name", "make_activation"]

Activation = Callable[[Tensor], Tensor]

ACTIVATIONS: dict[str, Activation] = {
    "relu": F.relu,
    "leaky_relu": F.leaky_relu,
    "elu": F.elu,
    "gelu": F.gelu,
    "silu": F.silu,
    "tanh": torch.tanh,
    "sigmoid": torch.sigmoid,
}


def make_activation(activation: str | Activation) -> Activation:
    """Return the activation of a name; a function is returned as it is.

    Raises:
        ValueError: if ``activation`` is neither a function nor one of the names.

    Example:
        >>> make_activation("tanh")(torch.zeros(1))
        tensor([0.])
    """
    if callable(activation):
        return activation
    return ACTIVATIONS[checks.choice("activation", activation, list(ACTIVATIONS))]


def activation_name(activation: Activation) -> str:
    """Return the name of an activation.

    Raises:
        ValueError: if it has none here.

    Example:
        >>> activation_name(torch.tanh)
        'tanh'
    """
    for name, function in ACTIVATIONS.items():
        if activation is function:
            return name
    raise ValueError(f"activation must be one of {', '.join(ACTIVATIONS)} to be saved, got {activation!r}")
