"""Where the neurons of a network are, and how active."""

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from spatialgraph import checks
from spatialgraph.graph.spatial_graph import SpatialGraph
from spatialgraph.plotting.axes import NEUTRAL, SIGNED, given_or_new
from spatialgraph.plotting.groups import drawable

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.cm import ScalarMappable

__all__ = ["draw_neurons", "draw_numbers", "in_plane", "layer", "limits", "polarity_colors"]

# So many outputs are drawn as their numbers, more as dots.
_NUMBERED = 20
# Area of a dot behind a number.
_BEHIND = 300.0


def layer(network: nn.Module, number: int, ax: "Axes | None" = None, activations: Tensor | None = None) -> "Axes":
    """Draw the positions of a layer's neurons, coloured by polarity or by activation.

    The first two axes of space are shown; where there is one axis only, the second is 0. The positions of the outputs
    are written on every layer as their numbers, above 20 as grey dots on their own layer only. The scales of positions
    and of polarities are those of the whole network, so that figures of its layers can be compared.

    Excitatory neurons are red, inhibitory ones blue. With activations, the colour is the deeper, the larger the
    activation is beside the largest of the layer: as in figure 6 of `Erb et al. (2025)
    <https://arxiv.org/abs/2506.13410>`_. It follows what a neuron sends: an excitatory neuron with a negative
    activation inhibits and is blue. Neurons without a polarity, such as outputs, are green, purple if negative.

    Args:
        network: a :class:`~spatialgraph.SpatialGraph` with layers, or a model that has one.
        number: the layer's number, from 0.
        ax: axes to draw on; None for new ones.
        activations: an activation for each neuron of the network, shape ``(N,)``, of one image or a mean of many; None
            to draw polarities.

    Returns:
        The axes, in length units.

    Raises:
        TypeError: if ``network`` is no SpatialGraph and has none, or ``activations`` is not a tensor.
        ValueError: if there is no such layer, ``activations`` is of another shape, or a number is infinite or NaN.
        ImportError: if matplotlib is not installed.

    Example:
        >>> graph = SpatialGraph.layered([4, 2])
        >>> layer(graph, 0).get_title()
        'layer 0, 4 neurons'
        >>> layer(graph, 0, activations=torch.rand(6)).get_title()
        'layer 0, 4 neurons'
    """
    graph = drawable(network)
    checks.layer_number("number", number, graph.layer)
    if activations is not None:
        checks.finite("activations", checks.shape("activations", activations, (graph.neurons,)))
    ax = given_or_new(ax)
    draw_neurons(graph, number, ax, activations)
    if activations is not None:
        mapped = _activation_colors(graph, number, activations)
        label = "activation" if mapped.cmap.name != SIGNED else "activation (blue: inhibits)"
        ax.figure.colorbar(mapped, ax=ax, label=label, shrink=0.8)
    elif not graph.is_output[graph.layer == number].all():
        ax.figure.colorbar(polarity_colors(graph), ax=ax, label="polarity", shrink=0.8)
    return ax


@torch.no_grad()
def draw_neurons(graph: SpatialGraph, number: int, ax: "Axes", activations: Tensor | None = None) -> None:
    """Draw a layer without a colour bar."""
    members, outputs = (graph.layer == number).cpu(), graph.is_output.cpu()
    pos = in_plane(graph.positions())
    horizontal, vertical = limits(pos)
    ax.set(xlim=horizontal, ylim=vertical, xlabel="x (length units)", ylabel="y (length units)")
    ax.set(title=f"layer {number}, {int(members.sum())} neurons", aspect="equal")
    is_last = bool(outputs[members].all())
    if activations is not None:
        sent = _sent(graph, activations)[members]
        order = sent.abs().argsort(stable=True)  # strong colours lie on top of pale ones
        size = _BEHIND if is_last and len(order) <= _NUMBERED else _size(len(order))
        _draw_dots(pos[members][order], sent[order], _activation_colors(graph, number, activations), ax, size)
    elif not is_last:
        size = _size(int(members.sum()))
        _draw_dots(pos[members], graph.polarity.cpu().double()[members], polarity_colors(graph), ax, size)
    elif len(pos[outputs]) > _NUMBERED:
        ax.scatter(pos[outputs, 0], pos[outputs, 1], s=_size(len(pos[outputs])), color=NEUTRAL)
    draw_numbers(pos[outputs], ax)


@torch.no_grad()
def polarity_colors(graph: SpatialGraph) -> "ScalarMappable":
    """Return the colours of a network's polarities: the same for each layer, with 0 in the middle."""
    polarity = graph.polarity[~graph.is_output].cpu().double()
    return _signed(max(1.0, float(polarity.abs().quantile(0.98))), SIGNED)


def in_plane(pos: Tensor) -> Tensor:
    """Return the first two coordinates, shape ``(N, 2)``; the second is 0 where there is one axis only.

    Example:
        >>> in_plane(torch.ones(1, 1))
        tensor([[1., 0.]], dtype=torch.float64)
    """
    pos = pos.detach().cpu().double()
    return pos[:, :2] if pos.shape[1] > 1 else torch.cat([pos, torch.zeros_like(pos)], 1)


def limits(pos: Tensor) -> list[tuple[float, float]]:
    """Return the limits of axes that show all positions, shape ``(..., 2)``, with a margin.

    Example:
        >>> limits(torch.tensor([[0.0, 2.0], [10.0, 2.0]]))
        [(-0.5, 10.5), (1.5, 2.5)]
    """
    low, high = pos.reshape(-1, 2).amin(0), pos.reshape(-1, 2).amax(0)
    margin = 0.05 * float((high - low).max()) or 0.5
    return [(first - margin, last + margin) for first, last in zip(low.tolist(), high.tolist(), strict=True)]


def draw_numbers(pos: Tensor, ax: "Axes") -> None:
    """Write numbers at the positions of outputs, unless there are too many."""
    from matplotlib.patheffects import withStroke

    if len(pos) > _NUMBERED:
        return
    outline = [withStroke(linewidth=2.5, foreground="white")]
    for place, (x, y) in enumerate(pos.tolist()):
        style = {"ha": "center", "va": "center", "weight": "bold", "path_effects": outline, "zorder": 5}
        ax.text(x, y, str(place), **style)  # type: ignore[arg-type]


def _sent(graph: SpatialGraph, activations: Tensor) -> Tensor:
    """Return activations, with the other sign where the neuron is inhibitory."""
    sent = activations.detach().cpu().double()
    return torch.where(graph.polarity.cpu() < 0, -sent, sent)


def _activation_colors(graph: SpatialGraph, number: int, activations: Tensor) -> "ScalarMappable":
    members = graph.layer == number
    has_polarity = graph.weight_mode != "free" and not bool(graph.is_output[members].all())
    largest = float(activations.detach()[members.to(activations.device)].abs().max())
    return _signed(largest or 1.0, SIGNED if has_polarity else "PRGn")


def _signed(limit: float, colors: str) -> "ScalarMappable":
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import Normalize

    return ScalarMappable(Normalize(-limit, limit), colors)


def _draw_dots(pos: Tensor, values: Tensor, colors: "ScalarMappable", ax: "Axes", size: float) -> None:
    low, high = colors.get_clim()
    ax.scatter(
        pos[:, 0],
        pos[:, 1],
        c=values,
        s=size,
        cmap=colors.cmap,
        vmin=low,
        vmax=high,
        linewidths=0.3,
        edgecolors="0.5",
    )


def _size(count: int) -> float:
    """Return the area of a dot: the smaller, the more there are."""
    return min(40.0, max(4.0, 6000.0 / count))
