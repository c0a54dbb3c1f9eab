"""Polarity: the factor on a source neuron's output."""

import math
from typing import Any

import torch
from torch import Tensor

from spatialgraph import checks
from spatialgraph.devices import in_double

__all__ = ["POLARITIES", "check_polarity", "polarity_of", "raw_of"]

POLARITIES = ("binary", "graded")

# Steepness k of the binary polarity tanh(k v / 2). With values drawn from N(0, 1), three neurons in four start within
# 10 % of -1 or 1; the others have gradients large enough to change their sign.
STEEPNESS = 10.0


def check_polarity(name: str, value: Any) -> str:  # noqa: ANN401 - any value is checked
    """Check that a value is a kind of polarity, and return it.

    Example:
        >>> check_polarity("polarity_mode", "binary")
        'binary'
    """
    return checks.choice(name, value, POLARITIES)


def polarity_of(raw: Tensor, kind: str) -> Tensor:
    r"""Return the polarity for a neuron's learnable parameter.

    A graded polarity is the parameter itself; a binary one is the steep sigmoid
    :math:`2\,\sigma(k v) - 1 = \tanh(k v / 2)` with :math:`k = 10`, as in `Erb et al. (2025)
    <https://arxiv.org/abs/2506.13410>`_.

    Args:
        raw: learnable parameters, any shape.
        kind: ``"binary"`` or ``"graded"``.

    Returns:
        Tensor of the same shape.

    Raises:
        ValueError: if ``kind`` is unknown.

    Example:
        >>> polarity_of(torch.tensor([-2.0, 0.0, 2.0]), "binary").tolist()
        [-1.0, 0.0, 1.0]
    """
    return torch.tanh(0.5 * STEEPNESS * raw) if check_polarity("kind", kind) == "binary" else raw


def raw_of(polarity: Tensor, kind: str) -> Tensor:
    r"""Return the learnable parameter for a neuron's polarity, the inverse of :func:`polarity_of`.

    For a binary polarity of exactly -1 or 1, the result is the value at which the sigmoid rounds to it.

    Args:
        polarity: polarities, any shape, between -1 and 1 where binary.
        kind: ``"binary"`` or ``"graded"``.

    Returns:
        Tensor of the same shape.

    Raises:
        ValueError: if ``kind`` is unknown.

    Example:
        >>> raw_of(torch.tensor([-0.5, 0.0, 0.5]), "binary")
        tensor([-0.1099,  0.0000,  0.1099])
    """
    if check_polarity("kind", kind) != "binary":
        return polarity
    missing = torch.finfo(polarity.dtype).eps / 16  # to a polarity that rounds to 1, also where raw numbers are rounded
    exact = in_double(polarity).clamp(-1.0, 1.0)
    largest = 0.5 * math.log((2.0 - missing) / missing)  # atanh of 1 - missing, which rounds to 1
    raw = torch.atanh(exact).clamp(-largest, largest)
    return (raw / (0.5 * STEEPNESS)).to(polarity)
