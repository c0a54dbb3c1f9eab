"""Input coding: conversion of values to a time series."""

from typing import Any

import torch
from torch import Tensor

from spatialgraph import checks
from spatialgraph.functional.precision import in_single
from spatialgraph.tracing import is_observed

__all__ = ["CODINGS", "check_coding", "encode", "encode_without_waiting", "latency", "rate"]

CODINGS = ("current", "rate", "latency")


def check_coding(name: str, value: Any) -> str | None:  # noqa: ANN401 - any value is checked
    """Check the name of a coding, or None, and return it.

    Example:
        >>> check_coding("coding", "rate")
        'rate'
    """
    return None if value is None else checks.choice(name, value, CODINGS)


def encode(x: Tensor, coding: str | None, num_steps: int, generator: torch.Generator | None = None) -> Tensor:
    """Convert values to a time series.

    Args:
        x: values, shape ``(..., inputs)``; for ``None`` a time series, shape ``(num_steps, ..., inputs)``.
        coding: ``"current"`` (the values themselves, at every step), ``"rate"``, ``"latency"``, or None where ``x`` is
            a time series already.
        num_steps: number of time steps T.
        generator: random number generator for ``"rate"``.

    Returns:
        Shape ``(T, ..., inputs)``; shape ``(1, ..., inputs)`` for ``"current"``, which is constant.

    Raises:
        TypeError: if ``num_steps`` is not an integer.
        ValueError: if the coding is unknown, a value is not finite or out of range for it, or ``num_steps`` is below 1.

    Example:
        >>> encode(torch.tensor([0.2, 0.7]), "current", 25).shape
        torch.Size([1, 2])
    """
    check_coding("coding", coding)
    checks.integer("num_steps", num_steps, minimum=1)
    if not is_observed(x):
        checks.finite("x", x)
    if coding in ("rate", "latency"):
        _check_unit_interval(x, coding)
    return _encoded(x, coding, num_steps, generator)


def encode_without_waiting(
    x: Tensor, coding: str | None, num_steps: int, generator: torch.Generator | None = None
) -> tuple[Tensor, Tensor]:
    """Convert values to a time series as :func:`encode` does, without a look at values of an accelerator.

    Returns:
        The time series and a number to add to what follows from it, which is 0, or NaN where :func:`encode` refuses a
        value.

    Example:
        >>> encode_without_waiting(torch.tensor([0.5, 2.0]), "latency", 3)[1]
        tensor(nan)
    """
    given = x.detach()
    if coding in ("rate", "latency"):
        is_allowed = (given >= 0) & (given <= 1)
        x = torch.where(is_allowed, given, 0.0)
        mark = torch.where(is_allowed.all(), 0.0, torch.nan).to(x.dtype)
    else:
        mark = (0 * given).sum()
    return _encoded(x, coding, num_steps, generator), mark


def _encoded(x: Tensor, coding: str | None, num_steps: int, generator: torch.Generator | None) -> Tensor:
    if coding is None:
        return x
    if coding == "current":
        return x[None]
    return _rate(x, num_steps, generator) if coding == "rate" else _latency(x, num_steps)


def rate(x: Tensor, num_steps: int, generator: torch.Generator | None = None) -> Tensor:
    """Draw spikes: in every step, each input spikes with a probability equal to its value.

    Args:
        x: probabilities from 0 to 1, shape ``(..., inputs)``.
        num_steps: number of time steps T.
        generator: random number generator; None for PyTorch's default.

    Returns:
        Zeros and ones, shape ``(T, ..., inputs)``, without gradients.

    Raises:
        TypeError: if ``num_steps`` is not an integer.
        ValueError: if a value is not between 0 and 1, or ``num_steps`` below 1.

    Example:
        >>> rate(torch.tensor([0.0, 1.0]), 3).tolist()
        [[0.0, 1.0], [0.0, 1.0], [0.0, 1.0]]
    """
    checks.integer("num_steps", num_steps, minimum=1)
    _check_unit_interval(x, "rate")
    return _rate(x, num_steps, generator)


def _rate(x: Tensor, num_steps: int, generator: torch.Generator | None) -> Tensor:
    place = x.device if generator is None else generator.device
    return torch.bernoulli(x.detach().to(place).expand(num_steps, *x.shape), generator=generator).to(x.device)


def latency(x: Tensor, num_steps: int) -> Tensor:
    r"""Give each input one spike, earlier for larger values, at step :math:`\mathrm{round}((1 - x)(T - 1))`.

    Args:
        x: values from 0 to 1, shape ``(..., inputs)``.
        num_steps: number of time steps T.

    Returns:
        Zeros and ones, shape ``(T, ..., inputs)``, without gradients.

    Raises:
        TypeError: if ``num_steps`` is not an integer.
        ValueError: if a value is not between 0 and 1, or ``num_steps`` below 1.

    Example:
        >>> latency(torch.tensor([1.0, 0.0]), 3).tolist()
        [[1.0, 0.0], [0.0, 0.0], [0.0, 1.0]]
    """
    checks.integer("num_steps", num_steps, minimum=1)
    _check_unit_interval(x, "latency")
    return _latency(x, num_steps)


def _latency(x: Tensor, num_steps: int) -> Tensor:
    # In half precision the product would be rounded to other steps.
    moment = ((1 - in_single(x.detach())) * (num_steps - 1)).round().to(torch.int64)
    clock = torch.arange(num_steps, device=x.device).view(-1, *[1] * x.dim())
    return (clock == moment).to(x.dtype)


def _check_unit_interval(x: Tensor, coding: str) -> None:
    if is_observed(x) or x.numel() == 0:
        return
    low, high = (float(bound) for bound in torch.aminmax(x.detach()))
    if not (low >= 0.0 and high <= 1.0):
        raise ValueError(f"x must lie between 0 and 1 for coding={coding!r}, got values from {low:g} to {high:g}")
