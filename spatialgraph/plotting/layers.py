"""Where the neurons of a network are."""

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from spatialgraph import checks
from spatialgraph.graph.network import graph_of
from spatialgraph.graph.spatial_graph import SpatialGraph
from spatialgraph.plotting.axes import given_or_new

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.cm import ScalarMappable

__all__ = ["draw_neurons", "layer", "polarity_colors"]

# So many outputs are drawn as their numbers, more as dots.
_NUMBERED = 20


def layer(network: nn.Module, number: int, ax: "Axes | None" = None) -> "Axes":
    """Draw the positions of a layer's neurons, coloured by polarity.

    The first two axes of space are shown; where there is one axis only, the second is 0. Outputs have no polarity and
    are drawn as their numbers, above 20 as grey dots. The scales of positions and colours are those of the whole
    network, so that figures of its layers can be compared.

    Args:
        network: a :class:`~spatialgraph.SpatialGraph` with layers, or a model that has one.
        number: the layer's number, from 0.
        ax: axes to draw on; None for new ones.

    Returns:
        The axes, in length units.

    Raises:
        TypeError: if ``network`` is no SpatialGraph and has none.
        ValueError: if there is no such layer.
        ImportError: if matplotlib is not installed.

    Example:
        >>> layer(SpatialGraph.layered([4, 2]), 0).get_title()
        'layer 0, 4 neurons'
    """
    graph = graph_of(network)
    checks.layer_number("number", number, graph.layer)
    ax = given_or_new(ax)
    draw_neurons(graph, number, ax)
    if not graph.is_output[graph.layer == number].all():
        ax.figure.colorbar(polarity_colors(graph), ax=ax, label="polarity", shrink=0.8)
    return ax


@torch.no_grad()
def draw_neurons(graph: SpatialGraph, number: int, ax: "Axes") -> None:
    """Draw a layer without a colour bar."""
    members = (graph.layer == number).cpu()
    pos = _in_plane(graph.pos)
    low, high = pos.amin(0), pos.amax(0)
    margin = 0.05 * float((high - low).max()) or 0.5
    (left, right), (bottom, top) = torch.stack([low - margin, high + margin], 1).tolist()
    ax.set(xlim=(left, right), ylim=(bottom, top), xlabel="x (length units)", ylabel="y (length units)")
    ax.set(title=f"layer {number}, {int(members.sum())} neurons", aspect="equal")
    if graph.is_output.cpu()[members].all():
        _draw_outputs(pos[members], ax)
    else:
        _draw_polarity(pos[members], graph.polarity.cpu()[members], polarity_colors(graph), ax)


@torch.no_grad()
def polarity_colors(graph: SpatialGraph) -> "ScalarMappable":
    """Return the colours of a network's polarities: the same for each layer, with 0 in the middle."""
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import Normalize

    polarity = graph.polarity[~graph.is_output].cpu().double()
    limit = max(1.0, float(polarity.abs().quantile(0.98)))
    return ScalarMappable(Normalize(-limit, limit), "PuOr")


def _in_plane(pos: Tensor) -> Tensor:
    """Return the first two coordinates."""
    pos = pos.cpu().double()
    return pos[:, :2] if pos.shape[1] > 1 else torch.cat([pos, torch.zeros_like(pos)], 1)


def _draw_outputs(pos: Tensor, ax: "Axes") -> None:
    if len(pos) > _NUMBERED:
        ax.scatter(pos[:, 0], pos[:, 1], s=_size(len(pos)), color="0.4")
        return
    for place, (x, y) in enumerate(pos.tolist()):
        ax.text(x, y, str(place), ha="center", va="center")


def _draw_polarity(pos: Tensor, polarity: Tensor, colors: "ScalarMappable", ax: "Axes") -> None:
    low, high = colors.get_clim()
    ax.scatter(
        pos[:, 0],
        pos[:, 1],
        c=polarity.double(),
        s=_size(len(pos)),
        cmap=colors.cmap,
        vmin=low,
        vmax=high,
        linewidths=0.3,
        edgecolors="0.5",
    )


def _size(count: int) -> float:
    """Return the area of a dot: the smaller, the more there are."""
    return min(40.0, max(4.0, 6000.0 / count))
