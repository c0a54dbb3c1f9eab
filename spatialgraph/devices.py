"""Where tensors are made, and what devices cannot do: the default device, the CPU for structures, double precision."""

import functools
from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar

import torch
from torch import Tensor

__all__ = [
    "WITHOUT_COMPRESSED",
    "WITHOUT_DOUBLE",
    "default_device",
    "draw",
    "exact_dtype",
    "has_compressed",
    "in_double",
    "on_cpu",
]

Arguments = ParamSpec("Arguments")
Result = TypeVar("Result")

WITHOUT_DOUBLE = {"mps"}
"""Kinds of devices that have no double precision."""

WITHOUT_COMPRESSED = {"mps"}
"""Kinds of devices that have no matrices in compressed rows."""


def default_device(device: torch.device | str | None) -> torch.device:
    """Return a device, or where PyTorch makes new tensors if it is None.

    Example:
        >>> default_device(None), default_device("meta")
        (device(type='cpu'), device(type='meta'))
    """
    return torch.get_default_device() if device is None else torch.device(device)


def has_compressed(device: torch.device) -> bool:
    """Tell whether a device multiplies matrices in compressed rows.

    Example:
        >>> has_compressed(torch.device("cpu")), has_compressed(torch.device("mps"))
        (True, False)
    """
    return device.type not in WITHOUT_COMPRESSED


def exact_dtype(device: torch.device) -> torch.dtype:
    """Return the most precise dtype of a device.

    Example:
        >>> exact_dtype(torch.device("cpu")), exact_dtype(torch.device("mps"))
        (torch.float64, torch.float32)
    """
    return torch.float32 if device.type in WITHOUT_DOUBLE else torch.float64


def in_double(values: Tensor) -> Tensor:
    """Convert to double precision; to the CPU too, where the device has none.

    Example:
        >>> in_double(torch.zeros(1)).dtype
        torch.float64
    """
    return (values.cpu() if values.device.type in WITHOUT_DOUBLE else values).double()


def draw(
    sample: Callable[..., Tensor],
    *sizes: Any,  # noqa: ANN401 - as the function takes them
    generator: torch.Generator | None,
    device: torch.device | str = "cpu",
    **options: Any,  # noqa: ANN401
) -> Tensor:
    """Draw random numbers where the generator is, on the CPU without one, and bring them to a device.

    So the same generator draws the same numbers for a network on any device.

    Args:
        sample: a function of PyTorch, such as ``torch.randn``.
        *sizes: its arguments.
        generator: source of random numbers; None for PyTorch's own on the CPU.
        device: where the numbers are needed.
        **options: its other options.

    Example:
        >>> draw(torch.rand, 2, generator=torch.Generator().manual_seed(0), device="meta").shape
        torch.Size([2])
    """
    drawn_on = "cpu" if generator is None else generator.device
    return sample(*sizes, generator=generator, device=drawn_on, **options).to(device)


def on_cpu(function: Callable[Arguments, Result]) -> Callable[Arguments, Result]:
    """Let a function make its new tensors on the CPU, unless it says where, whatever the default device is.

    Example:
        >>> with torch.device("meta"):
        ...     print(on_cpu(torch.zeros)(2))
        tensor([0., 0.])
    """

    @functools.wraps(function)
    def run(*args: Arguments.args, **kwargs: Arguments.kwargs) -> Result:
        if torch.get_default_device().type == "cpu":
            return function(*args, **kwargs)
        with torch.device("cpu"):
            return function(*args, **kwargs)

    return run
