"""Receptive fields on the explorer's page: images of few bits."""

import math
from typing import Any

import numpy as np
import torch
from torch import nn

from spatialgraph import checks
from spatialgraph.connectome.receptive_fields import receptive_fields
from spatialgraph.graph.spatial_graph import SpatialGraph

__all__ = ["fields_of", "image_shape", "quantized"]

# Up to so many weights a page has 8 bits for each, up to so many 4; of more it has none.
_EIGHT_BITS, _FOUR_BITS = 2_500_000, 8_000_000
_SMALLEST_IMAGE = 64


def image_shape(graph: SpatialGraph, image: Any) -> tuple[int, int] | None:  # noqa: ANN401 - any value is checked
    """Return rows and columns of the image that the inputs are the pixels of; None where they are none.

    Raises:
        TypeError: if ``image`` is neither ``"auto"`` nor None nor a pair of ints.
        ValueError: if the pair does not fit the number of inputs.

    Example:
        >>> image_shape(SpatialGraph.layered([64, 2]), "auto"), image_shape(SpatialGraph.layered([6, 2]), (2, 3))
        ((8, 8), (2, 3))
    """
    pixels = int(graph.is_input.sum())
    if image is None:
        return None
    if isinstance(image, str):
        checks.choice("image", image, ["auto"])
        side = math.isqrt(pixels)
        return (side, side) if side * side == pixels and pixels >= _SMALLEST_IMAGE else None
    if not isinstance(image, tuple | list) or len(image) != 2:
        raise TypeError(f"image must be a pair of rows and columns, 'auto' or None, got {image!r}")
    rows, columns = (checks.integer(f"image[{place}]", size, minimum=1) for place, size in enumerate(image))
    if rows * columns != pixels:
        raise ValueError(f"image must have as many pixels as there are inputs ({pixels}), got {rows} x {columns}")
    return rows, columns


def fields_of(network: nn.Module, graph: SpatialGraph, image: tuple[int, int]) -> tuple[dict[str, Any], Any] | None:
    """Return receptive fields of all neurons but inputs: how to read them, and their arrays; None for too many.

    Example:
        >>> graph = SpatialGraph.layered([6, 2])
        >>> how, arrays = fields_of(graph, graph, (2, 3))
        >>> how, arrays["values"].shape
        ({'bits': 8, 'rows': 2, 'columns': 3}, (12,))
    """
    rows, columns = image
    neurons = torch.nonzero(~graph.is_input)[:, 0]
    weights = len(neurons) * rows * columns
    if not 0 < weights <= _FOUR_BITS:
        return None
    bits = 8 if weights <= _EIGHT_BITS else 4
    values, scale = quantized(receptive_fields(network, neurons).cpu().double().numpy(), bits)
    return {"bits": bits, "rows": rows, "columns": columns}, {"scale": scale, "values": values}


def quantized(fields: np.ndarray, bits: int) -> tuple[np.ndarray, np.ndarray]:
    """Return fields in whole numbers of 8 bits, or two of 4 bits in a byte, and the largest weight of each field.

    Those of 4 bits are 7 larger than what they stand for, and the first of the two has the lower bits.

    Example:
        >>> quantized(np.array([[1.0, -2.0, 0.0]]), 4)
        (array([11,  7], dtype=uint8), array([2.], dtype=float32))
    """
    largest = np.abs(fields).max(1)
    steps = 127 if bits == 8 else 7
    whole = np.rint(fields / np.where(largest > 0, largest, 1.0)[:, None] * steps).astype(np.int8).ravel()
    if bits == 4:
        halves = np.pad((whole + 7).astype(np.uint8), (0, whole.size % 2))
        whole = halves[0::2] | halves[1::2] << 4
    return whole, largest.astype(np.float32)
