"""Positions of the neurons of a network."""

from typing import TYPE_CHECKING

import torch

from spatialgraph import checks
from spatialgraph.graph.spatial_graph import SpatialGraph
from spatialgraph.plotting.axes import given_or_new

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["layer"]


def layer(graph: SpatialGraph, number: int, ax: "Axes | None" = None) -> "Axes":
    """Draw the positions of a layer's neurons, coloured by polarity.

    Shows the first two dimensions; in one dimension, the second coordinate is 0. Outputs have no polarity and are grey.

    Args:
        graph: a network with layers.
        number: the layer's number, from 0.
        ax: axes to draw on; None for new ones.

    Returns:
        The axes, in length units.

    Raises:
        ValueError: if there is no such layer.
        ImportError: if matplotlib is not installed.

    Example:
        >>> layer(SpatialGraph.layered([4, 2]), 0).get_title()
        'layer 0, 4 neurons'
    """
    checks.layer_number("number", number, graph.layer)
    ax = given_or_new(ax)
    with torch.no_grad():
        members = graph.layer == number
        pos, polarity = graph.pos[members].cpu().double(), graph.polarity[members].cpu().double()
        outputs = bool(graph.is_output[members].all())
    x = pos[:, 0]
    y = pos[:, 1] if pos.shape[1] > 1 else torch.zeros_like(x)
    size = min(40.0, max(4.0, 6000.0 / len(x)))
    if outputs:
        ax.scatter(x, y, s=size, color="0.4")
    else:
        limit = max(1.0, float(polarity.abs().quantile(0.98)))
        dots = ax.scatter(x, y, c=polarity, s=size, cmap="coolwarm", vmin=-limit, vmax=limit, linewidths=0)
        ax.figure.colorbar(dots, ax=ax, label="polarity", shrink=0.8)
    ax.set(title=f"layer {number}, {len(x)} neurons", xlabel="x (length units)", ylabel="y (length units)")
    ax.set_aspect("equal", adjustable="datalim")
    return ax
