"""Distributions over the neurons of each layer: their depths, and their numbers of synapses."""

from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import nn

from spatialgraph import checks
from spatialgraph.graph.fields import axis_names
from spatialgraph.graph.spatial_graph import SpatialGraph
from spatialgraph.plotting.axes import colors_of, given_or_new
from spatialgraph.plotting.groups import drawable, groups

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["degrees", "depths"]


@torch.no_grad()
def depths(network: nn.Module, ax: "Axes | None" = None, *, bins: int = 40) -> "Axes":
    """Draw the distribution of the last coordinate for each layer, along which layers are spaced.

    As figure 4b of `Erb et al. (2025) <https://arxiv.org/abs/2506.13410>`_: with spacing ``"free"`` layers may overlap;
    otherwise the neurons of a layer share their last coordinate. In a network without layers, inputs, hidden neurons
    and outputs are the groups.

    Args:
        network: a :class:`~spatialgraph.SpatialGraph`, or a model that has one.
        ax: axes to draw on; None for new ones.
        bins: number of bins between the lowest and the highest neuron, the same for all layers.

    Returns:
        The axes, with the last coordinate in length units and shares of the layers' neurons in percent.

    Raises:
        TypeError: if ``network`` is no SpatialGraph and has none, or ``bins`` is not an int.
        ValueError: if ``bins`` is not above 0, or a position is infinite or NaN.
        ImportError: if matplotlib is not installed.

    Example:
        >>> depths(SpatialGraph.layered([4, 2], spacing="free")).get_xlabel()
        'z (length units)'
    """
    graph = drawable(network)
    checks.integer("bins", bins, minimum=1)
    ax = given_or_new(ax)
    last = graph.positions()[:, -1].cpu().double().numpy()
    low, high = float(last.min()), float(last.max())
    margin = 0.0 if high > low else 0.5
    edges = np.linspace(low - margin, high + margin, bins + 1)
    found = groups(graph)
    for (name, members), color in zip(found.items(), colors_of(len(found)), strict=True):
        values = last[members.numpy()]
        _draw_shares(values, edges, ax, color, f"{name}, {len(values):,} neurons", filled=True)
    name = axis_names(graph.dim)[-1]
    ax.set(xlabel=f"{name} (length units)", ylabel="share of the layer's neurons (%)")
    ax.set_xlim(2 * edges[0] - edges[1], 2 * edges[-1] - edges[-2])
    return _finish(ax)


@torch.no_grad()
def degrees(network: nn.Module, ax: "Axes | None" = None, *, bins: int = 40) -> "Axes":
    """Draw the distributions of in- and out-degrees for each layer: the numbers of synapses into and out of a neuron.

    In-degrees are solid lines, out-degrees dashed ones, in the colour of their layer. Layers without synapses in a
    direction have no line for it. Recurrent synapses count. Where degrees exceed the number of bins, the scale and the
    bins are logarithmic from 1 on.

    Args:
        network: a :class:`~spatialgraph.SpatialGraph`, or a model that has one.
        ax: axes to draw on; None for new ones.
        bins: largest number of bins between 0 and the largest degree.

    Returns:
        The axes, with degrees and shares of the layers' neurons in percent.

    Raises:
        TypeError: if ``network`` is no SpatialGraph and has none, or ``bins`` is not an int.
        ValueError: if ``bins`` is not above 0, or a position is infinite or NaN.
        ImportError: if matplotlib is not installed.

    Example:
        >>> [text.get_text() for text in degrees(SpatialGraph.layered([4, 2])).get_legend().get_texts()]
        ['layer 0 (inputs), out', 'layer 1 (outputs), in']
    """
    graph = drawable(network)
    checks.integer("bins", bins, minimum=1)
    ax = given_or_new(ax)
    degree = dict(zip(("in", "out"), _degrees(graph), strict=True))
    largest = max(int(each.max()) for each in degree.values())
    edges = _whole_bins(largest, bins)
    found = groups(graph)
    for (name, members), color in zip(found.items(), colors_of(len(found)), strict=True):
        for (direction, values), line in zip(degree.items(), ("-", "--"), strict=True):
            own = values[members.numpy()]
            if own.any():
                _draw_shares(own, edges, ax, color, f"{name}, {direction}", line=line)
    if largest >= bins:
        ax.set_xscale("symlog", linthresh=1.0, linscale=0.3, subs=range(2, 10))
        ax.xaxis.set_major_formatter("{x:,.0f}")
    ax.set(xlabel="synapses of a neuron", ylabel="share of the layer's neurons (%)", xlim=(edges[0], edges[-1]))
    return _finish(ax)


def _degrees(graph: SpatialGraph) -> tuple[np.ndarray, np.ndarray]:
    """Return the in- and out-degree of each neuron; complete projections are not listed."""
    received, sent = (np.zeros(graph.neurons, dtype=np.int64) for _ in range(2))
    for projection in graph.projections:
        if projection.is_complete:
            received[projection.targets.cpu().numpy()] += projection.n_sources - projection.is_recurrent
            sent[projection.sources.cpu().numpy()] += projection.n_targets - projection.is_recurrent
            continue
        source, target = projection.edge_index().cpu().numpy()
        received += np.bincount(target, minlength=graph.neurons)
        sent += np.bincount(source, minlength=graph.neurons)
    return received, sent


def _whole_bins(largest: int, bins: int) -> np.ndarray:
    """Return edges between whole numbers, of which each bin holds one, or many where there are more than bins.

    Example:
        >>> _whole_bins(2, 3).tolist(), _whole_bins(100, 4).tolist()
        ([-0.5, 0.5, 1.5, 2.5], [-0.5, 0.5, 4.5, 21.5, 100.5])
    """
    if largest < bins:
        return np.arange(largest + 2) - 0.5
    upper = np.ceil(np.geomspace(1.0, largest + 1.0, bins).round(9))
    return np.unique(np.concatenate([[0.0], upper])) - 0.5


def _draw_shares(
    values: np.ndarray, edges: np.ndarray, ax: "Axes", color: str, label: str, line: str = "-", filled: bool = False
) -> None:
    """Draw a histogram of shares in percent as steps."""
    counts, _ = np.histogram(values, edges)
    shares = 100.0 * counts / max(1, len(values))
    if filled:
        ax.stairs(shares, edges, color=color, alpha=0.3, fill=True)
    ax.stairs(shares, edges, color=color, label=label, linestyle=line, linewidth=1.3)


def _finish(ax: "Axes") -> "Axes":
    ax.set_ylim(bottom=0.0)
    ax.grid(alpha=0.3)
    if ax.get_legend_handles_labels()[0]:
        ax.legend()
    return ax
