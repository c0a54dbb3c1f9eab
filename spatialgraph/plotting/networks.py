"""A network in space: its neurons and its strongest synapses."""

from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import nn

from spatialgraph.connectome.strongest import strongest_synapses
from spatialgraph.graph.fields import axis_names
from spatialgraph.graph.spatial_graph import SpatialGraph
from spatialgraph.plotting.axes import EXCITATORY, INHIBITORY, NEUTRAL, given_or_new_3d
from spatialgraph.plotting.groups import drawable

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["network"]

# So many synapses of each projection are drawn by default, and so many outputs as their numbers, more as dots.
_TOP = 400
_NUMBERED = 20


@torch.no_grad()
def network(
    network: nn.Module,
    ax: "Axes | None" = None,
    *,
    top: int | None = None,
    fraction: float | None = None,
    min_weight: float | None = None,
    scope: str = "projection",
) -> "Axes":
    """Draw a network in three dimensions: its neurons, and its strongest synapses as lines.

    Excitatory neurons and synapses are red, inhibitory ones blue, inputs grey, and so are neurons without a polarity.
    Outputs are drawn as their numbers, above 20 as black dots. Lines are the wider, the larger the absolute weights.

    The scale of each axis is its own. Of more than three axes of space, the first two and the last are drawn. Where
    there are fewer, the last axis of a network of layers is vertical, and the missing ones are 0.

    Args:
        network: a :class:`~spatialgraph.SpatialGraph`, or a model that has one.
        ax: three-dimensional axes to draw on; None for new ones.
        top: draw so many synapses, those of the largest absolute weights; 400 where none of the three is given.
        fraction: draw this share of the synapses, those of the largest absolute weights.
        min_weight: draw the synapses of at least this absolute weight.
        scope: ``"projection"`` to choose ``top`` or ``fraction`` of each projection, ``"global"`` to choose from all
            synapses together.

    Returns:
        The axes, in length units.

    Raises:
        TypeError: if ``network`` is no SpatialGraph and has none, or ``ax`` has two dimensions.
        ValueError: if more than one of the three is given, or one is out of range, or ``scope`` is unknown; or if a
            position, polarity or weight is infinite or NaN.
        ImportError: if matplotlib is not installed.

    Example:
        >>> network(SpatialGraph.layered([4, 3, 2]), top=5).get_title()
        '9 neurons, 10 strongest of 18 synapses'
    """
    graph = drawable(network)
    if top is fraction is min_weight is None:
        top = _TOP
    edges, weight = strongest_synapses(graph, top=top, fraction=fraction, min_weight=min_weight, scope=scope)
    ax = given_or_new_3d(ax)
    place, names = _in_space(graph)
    _draw_synapses(place[edges.cpu().numpy().T], weight.cpu().double().numpy(), ax)
    _draw_neurons(graph, place, ax)
    _label(ax, place, names)
    drawn = "" if len(weight) == graph.synapses else f"{len(weight):,} strongest of "
    ax.set_title(f"{graph.neurons:,} neurons, {drawn}{graph.synapses:,} synapses")
    return ax


def _in_space(graph: SpatialGraph) -> tuple[np.ndarray, list[str]]:
    """Return three coordinates of each neuron, shape ``(N, 3)``, and their names, empty for those that are missing."""
    pos: np.ndarray = graph.positions().cpu().double().numpy()
    names = axis_names(graph.dim)
    if graph.dim >= 3:
        chosen = [0, 1, graph.dim - 1]
        return pos[:, chosen], [names[axis] for axis in chosen]
    place, shown = np.zeros((len(pos), 3)), ["", "", ""]
    to = [*range(graph.dim - 1), 2] if graph.is_layered else list(range(graph.dim))
    for axis, name in enumerate(names):
        place[:, to[axis]], shown[to[axis]] = pos[:, axis], name
    return place, shown


def _draw_synapses(ends: np.ndarray, weight: np.ndarray, ax: "Axes") -> None:
    """Draw lines between ends of shape ``(K, 2, 3)``, the strongest last."""
    from matplotlib.colors import to_rgba_array
    from mpl_toolkits.mplot3d.art3d import Line3DCollection

    if not len(weight):
        return
    strength = np.sqrt(np.abs(weight) / (np.abs(weight).max() or 1.0))
    order = np.argsort(strength, kind="stable")
    colors = to_rgba_array([EXCITATORY if value > 0 else INHIBITORY for value in weight])
    # The more lines, the thinner: a hundred are read one by one, thousands as a whole.
    crowd = min(1.0, (100.0 / len(weight)) ** 0.4)
    colors[:, 3] = (0.25 + 0.65 * strength) * max(0.35, crowd)
    widths = (0.4 + 2.2 * strength) * max(0.25, crowd)
    ax.add_collection(Line3DCollection(ends[order], colors=colors[order], linewidths=widths[order]))


def _draw_neurons(graph: SpatialGraph, place: np.ndarray, ax: "Axes") -> None:
    is_input, is_output = graph.is_input.cpu().numpy(), graph.is_output.cpu().numpy()
    polarity = graph.polarity.cpu().double().numpy()
    is_known = ~is_input & ~is_output & (graph.weight_mode != "free")
    groups = (
        (is_input & ~is_output, NEUTRAL, 0.5),
        (~is_input & ~is_output & ~is_known, NEUTRAL, 1.0),
        (is_known & (polarity < 0), INHIBITORY, 1.0),
        (is_known & (polarity >= 0), EXCITATORY, 1.0),
    )
    for members, color, size in groups:
        if members.any():
            _scatter(place[members], color, size * _size(len(place)), ax)
    outputs = place[is_output]
    if len(outputs) > _NUMBERED:
        _scatter(outputs, "black", _size(len(place)), ax)
        return
    box = {"boxstyle": "circle,pad=0.15", "facecolor": "white", "edgecolor": "black", "linewidth": 0.7}
    for number, (x, y, z) in enumerate(outputs):
        ax.text(x, y, z, str(number), ha="center", va="center", fontsize=8, bbox=box, zorder=10)  # type: ignore[arg-type]


def _scatter(place: np.ndarray, color: str, size: float, ax: "Axes") -> None:
    x, y, z = place.T
    ax.scatter(x, y, z, s=size, color=color, linewidths=0, alpha=0.8, depthshade=False)  # type: ignore[misc]


def _size(count: int) -> float:
    return min(36.0, max(3.0, 6000.0 / count))


def _label(ax: "Axes", place: np.ndarray, names: list[str]) -> None:
    for axis, name in enumerate(names):
        low, high = place[:, axis].min(), place[:, axis].max()
        margin = 0.02 * (high - low) or 0.5
        letter = "xyz"[axis]
        ax.set(**{f"{letter}lim": (low - margin, high + margin), f"{letter}label": f"{name} (length units)"})
        if not name:
            ax.set(**{f"{letter}label": "", f"{letter}ticks": []})
    ax.view_init(elev=18.0, azim=-60.0)  # type: ignore[attr-defined]
