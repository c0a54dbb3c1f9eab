"""The operations that have kernels, and the kernels of the library for them."""

from typing import Any

from torch import Tensor

from spatialgraph.kernels import channels, compressed, delays, dense, handover, leaky, normalization
from spatialgraph.kernels.registry import find, register
from spatialgraph.laws import InverseDistance, Law

__all__ = ["COMPRESSED", "DELAYS", "LEAKY", "NORMALIZATION", "channel_law", "compressed_law", "dense_law"]

COMPRESSED = "product in compressed rows"
DELAYS = "delayed product"
LEAKY = "leaky integrate-and-fire"
NORMALIZATION = "layer normalization"


def _available(*values: Tensor) -> bool:
    return handover.available(*values)


register(COMPRESSED, compressed, _available)
register(DELAYS, delays, _available)
register(LEAKY, leaky, _available)
register(NORMALIZATION, normalization, _available)
register(("dense", InverseDistance), dense, _available)
register(("compressed", InverseDistance), compressed, _available)
register(("channels", InverseDistance), channels, _available)


def dense_law(law: Law, *values: Tensor) -> Any | None:  # noqa: ANN401
    """Return the kernels for weights of all pairs by a law, None where there are none for these tensors.

    Example:
        >>> import torch
        >>> dense_law(InverseDistance(), torch.zeros(1, 1, dtype=torch.float16)) is None
        True
    """
    return find(("dense", type(law)), *values)


def compressed_law(law: Law, *values: Tensor) -> Any | None:  # noqa: ANN401
    """Return the kernels for weights of listed edges by a law, None where there are none for these tensors."""
    return find(("compressed", type(law)), *values)


def channel_law(law: Law, *values: Tensor) -> Any | None:  # noqa: ANN401
    """Return the kernels for weights of pairs of channels by a law, None where there are none for these tensors."""
    return find(("channels", type(law)), *values)
