"""Receptive fields as images."""

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor, nn

from spatialgraph import checks
from spatialgraph.connectome.receptive_fields import receptive_fields as fields_of
from spatialgraph.graph.positions import neuron_numbers
from spatialgraph.graph.spatial_graph import SpatialGraph
from spatialgraph.plotting.axes import SIGNED, given_or_new
from spatialgraph.plotting.groups import drawable

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["receptive_fields"]

# So many neurons are drawn by default.
_SHOWN = 24


@torch.no_grad()
def receptive_fields(
    network: nn.Module,
    shape: Sequence[int] = (28, 28),
    ax: "Axes | None" = None,
    *,
    neurons: int | Tensor | None = None,
) -> "Axes":
    """Draw the receptive fields of neurons as a grid of images, red where an input excites and blue where it inhibits.

    See :func:`spatialgraph.receptive_fields`. All images have the same scale, symmetric about 0; its limit is the 99th
    percentile of the absolute weights. Each image bears the number of its neuron; outputs count from 0.

    Args:
        network: a :class:`~spatialgraph.SpatialGraph`, or a model that has one.
        shape: rows and columns of an image whose pixels, row by row, are the inputs.
        ax: axes to draw on; None for new ones.
        neurons: a layer's number, neuron numbers or a boolean mask of shape ``(N,)``, drawn row by row in this order;
            None for the 24 hidden neurons whose outgoing synapses have the largest sums of absolute weights, strongest
            first, and for the outputs where there are no hidden neurons.

    Returns:
        The axes.

    Raises:
        TypeError: if an argument is of the wrong type.
        ValueError: if ``shape`` has not as many pixels as there are inputs, there is no such layer or neuron, or none
            at all, or a position, polarity or weight is infinite or NaN.
        ImportError: if matplotlib is not installed.

    Example:
        >>> receptive_fields(SpatialGraph.layered([6, 4, 2]), (2, 3)).get_title()
        'receptive fields of 4 neurons'
    """
    graph = drawable(network)
    rows, columns = _checked(shape, len(graph.inputs))
    numbers = _strongest(graph) if neurons is None else neuron_numbers(neurons, graph.connectivity.layer)
    if not len(numbers):
        raise ValueError("neurons must name at least one, got none")
    fields = fields_of(graph, numbers).cpu().double().numpy()
    ax = given_or_new(ax)
    limit = float(np.quantile(np.abs(fields), 0.99)) or float(np.abs(fields).max()) or 1.0
    mosaic, corners = _mosaic(fields.reshape(-1, rows, columns))
    image = ax.imshow(mosaic, cmap=SIGNED, vmin=-limit, vmax=limit, interpolation="nearest")
    outputs = {number: f"output {place}" for place, number in enumerate(graph.outputs.tolist())}
    for number, (x, y) in zip(numbers.tolist(), corners, strict=True):
        ax.text(x, y, outputs.get(number, str(number)), fontsize=6, ha="left", va="bottom")
    ax.figure.colorbar(image, ax=ax, label="weight", shrink=0.8, extend="both")
    ax.set(title=f"receptive fields of {len(numbers)} neurons")
    ax.set_axis_off()
    return ax


def _checked(shape: Sequence[int], inputs: int) -> tuple[int, int]:
    if isinstance(shape, str) or not isinstance(shape, Sequence) or len(shape) != 2:
        raise TypeError(f"shape must be the rows and columns of an image, got {shape!r}")
    rows, columns = (checks.integer(f"shape[{place}]", size, minimum=1) for place, size in enumerate(shape))
    if rows * columns != inputs:
        raise ValueError(f"shape must have as many pixels as there are inputs ({inputs}), got {tuple(shape)}")
    return rows, columns


def _strongest(graph: SpatialGraph) -> Tensor:
    """Return the hidden neurons with the largest sums of outgoing weights; the outputs where there are none."""
    transmission = graph.transmission()
    total = torch.zeros(graph.neurons, dtype=torch.float64, device="cpu")
    for number, projection in enumerate(graph.projections):
        weight = transmission.weight(number).cpu().abs().double()
        if projection.is_complete and not projection.is_recurrent:
            total[projection.sources.cpu()] += weight.view(projection.n_targets, projection.n_sources).sum(0)
        else:
            total.index_add_(0, projection.edge_index()[0].cpu(), weight.flatten())
    hidden = torch.nonzero(~graph.is_input & ~graph.is_output)[:, 0].cpu()
    if not len(hidden):
        return graph.outputs
    return hidden[torch.sort(total[hidden], descending=True, stable=True).indices[:_SHOWN]]


def _mosaic(images: np.ndarray) -> tuple[np.ndarray, list[tuple[float, float]]]:
    """Lay images out in a grid with empty pixels between them; return it and where the label of each begins."""
    count, height, width = images.shape
    across = _across(count, height / width)
    gap = max(1, round(0.2 * height))
    result = np.full((-(-count // across) * (height + gap), across * (width + gap) - gap), np.nan)
    corners = []
    for place, image in enumerate(images):
        top, left = place // across * (height + gap) + gap, place % across * (width + gap)
        result[top : top + height, left : left + width] = image
        corners.append((left - 0.5, top - 0.5))
    return result, corners


def _across(count: int, slope: float) -> int:
    """Return how many images stand side by side in a wide grid with few empty places.

    Example:
        >>> [_across(count, 1.0) for count in (1, 7, 10, 24)]
        [1, 4, 5, 6]
    """
    best = math.sqrt(1.5 * count * slope)
    candidates = range(max(1, math.ceil(best / 1.3)), math.floor(best * 1.3) + 1)
    choices = [min(count, each) for each in candidates] or [count]
    return min(choices, key=lambda across: (-count % across, abs(across - best)))
