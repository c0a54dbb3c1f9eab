"""Activations of perceptrons, by name or as functions."""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from spatialgraph import checks

__all__ = ["ACTIVATIONS", "Activation", "make_activation"]

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
        TypeError: if ``activation`` is neither a string nor a function.
        ValueError: if the name is unknown.

    Example:
        >>> make_activation("tanh")(torch.zeros(1))
        tensor([0.])
    """
    if callable(activation):
        return activation
    return ACTIVATIONS[checks.choice("activation", activation, list(ACTIVATIONS))]
