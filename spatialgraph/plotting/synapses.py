"""Distributions over the synapses of a network: their lengths, and their weights by length."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor, nn

from spatialgraph import checks
from spatialgraph.graph.projections import Projection
from spatialgraph.graph.spatial_graph import SpatialGraph
from spatialgraph.plotting.axes import EXCITATORY, INHIBITORY, colors_of, given_or_new
from spatialgraph.plotting.groups import drawable, projection_name

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["lengths", "weights"]

# Up to so many synapses are drawn one by one, more as a density.
_POINTS = 3000
# A share of the largest absolute weights, which the limits of the axes may leave out, and how many are looked at.
_OUTSIDE, _SAMPLE = 0.005, 200_000


@torch.no_grad()
def lengths(network: nn.Module, ax: "Axes | None" = None, *, bins: int = 80) -> "Axes":
    """Draw the distribution of the lengths of the synapses, for each projection.

    Args:
        network: a :class:`~spatialgraph.SpatialGraph`, or a model that has one.
        ax: axes to draw on; None for new ones.
        bins: number of bins between 0 and the longest synapse, the same for all projections.

    Returns:
        The axes, with lengths in length units and shares of the projections' synapses in percent.

    Raises:
        TypeError: if ``network`` is no SpatialGraph and has none, or ``bins`` is not an int.
        ValueError: if ``bins`` is not above 0, or a position is infinite or NaN.
        ImportError: if matplotlib is not installed.

    Example:
        >>> [text.get_text() for text in lengths(SpatialGraph.layered([4, 2])).get_legend().get_texts()]
        ['layer 0 to 1, 8 synapses']
    """
    graph = drawable(network)
    checks.integer("bins", bins, minimum=1)
    ax = given_or_new(ax)
    longest = max((float(length.max()) for _, length, _ in _measured(graph)), default=0.0) or 1.0
    edges = np.linspace(0.0, longest, bins + 1)
    colors = iter(colors_of(len(graph.projections)))
    for projection, length, _ in _measured(graph):
        color, count = next(colors), len(length)
        shares = 100.0 * np.histogram(length, edges)[0] / count
        ax.stairs(shares, edges, color=color, alpha=0.3, fill=True)
        label = f"{projection_name(graph, projection)}, {count:,} synapses"
        ax.stairs(shares, edges, color=color, label=label, linewidth=1.3)
    ax.set(xlabel="length (length units)", ylabel="share of the projection's synapses (%)", xlim=(0.0, longest))
    ax.set_ylim(bottom=0.0)
    ax.grid(alpha=0.3)
    if graph.synapses:
        ax.legend()
    return ax


@torch.no_grad()
def weights(network: nn.Module, ax: "Axes | None" = None, *, bins: int = 120) -> "Axes":
    """Draw the weights of the synapses over their lengths, and the law.

    Up to 3,000 synapses are points, red for excitatory and blue for inhibitory ones; more are a density. The curves are
    the law times the gain, at polarities of 1 and -1, where weights are not free. Of the weights the largest may lie
    outside the axes; the title says how many.

    Args:
        network: a :class:`~spatialgraph.SpatialGraph`, or a model that has one.
        ax: axes to draw on; None for new ones.
        bins: number of bins of the density along each axis.

    Returns:
        The axes, with lengths in length units and signed weights.

    Raises:
        TypeError: if ``network`` is no SpatialGraph and has none, or ``bins`` is not an int.
        ValueError: if ``bins`` is not above 0, or a position, polarity or weight is infinite or NaN.
        ImportError: if matplotlib is not installed.

    Example:
        >>> weights(SpatialGraph.layered([4, 2])).get_title()
        '8 synapses'
    """
    graph = drawable(network)
    checks.integer("bins", bins, minimum=1)
    ax = given_or_new(ax)
    longest, limit = _limits(graph)
    grid = np.linspace(0.0, longest, bins + 1), np.linspace(-limit, limit, bins + 1)
    outside = _draw_points(graph, ax) if graph.synapses <= _POINTS else _draw_density(graph, ax, grid)
    if graph.weight_mode != "free":
        _draw_law(graph, ax, longest)
        ax.legend(loc="upper right")
    title = f"{graph.synapses:,} synapses" + (f", {outside:,} of them outside the axes" if outside else "")
    ax.set(title=title, xlabel="length (length units)", ylabel="weight", xlim=(0.0, longest), ylim=(-limit, limit))
    return ax


def _measured(graph: SpatialGraph) -> Iterator[tuple[Projection, np.ndarray, np.ndarray]]:
    """Yield the projections that have synapses, with lengths and weights of shape ``(E,)``."""
    graph.connectivity.verify()
    transmission = graph.transmission()
    for number, projection in enumerate(graph.projections):
        if projection.synapses:
            weight = checks.finite(f"the weights of projection {number}", transmission.weight(number))
            yield projection, _array(transmission.length(number)), _array(weight)


def _array(values: Tensor) -> np.ndarray:
    array: np.ndarray = values.flatten().cpu().double().numpy()
    return array


def _limits(graph: SpatialGraph) -> tuple[float, float]:
    """Return the limits of lengths and of absolute weights."""
    longest, sizes = 0.0, [np.zeros(1)]
    for _, length, weight in _measured(graph):
        longest = max(longest, float(length.max()))
        size = np.abs(weight)
        sizes.append(size[:: max(1, graph.synapses // _SAMPLE)])
    size = np.concatenate(sizes)
    largest = float(size.max()) if graph.synapses <= _POINTS else float(np.quantile(size, 1.0 - _OUTSIDE))
    return 1.02 * longest or 1.0, 1.05 * largest or 1.0


def _draw_points(graph: SpatialGraph, ax: "Axes") -> int:
    for _, length, weight in _measured(graph):
        colors = np.where(weight > 0, EXCITATORY, INHIBITORY)
        ax.scatter(length, weight, s=6, c=colors, linewidths=0, alpha=0.7)
    return 0


def _draw_density(graph: SpatialGraph, ax: "Axes", grid: tuple[np.ndarray, np.ndarray]) -> int:
    """Draw how many synapses there are in each bin; return how many are in none."""
    from matplotlib.colors import LogNorm

    counts = np.zeros((len(grid[0]) - 1, len(grid[1]) - 1))
    for _, length, weight in _measured(graph):
        counts += np.histogram2d(length, weight, grid)[0]
    shown = np.where(counts.T > 0, counts.T, np.nan)
    mesh = ax.pcolormesh(*grid, shown, cmap="Greys", norm=LogNorm(vmin=0.5), rasterized=True)
    ax.figure.colorbar(mesh, ax=ax, label="synapses", shrink=0.8)
    return graph.synapses - int(counts.sum())


def _draw_law(graph: SpatialGraph, ax: "Axes", longest: float) -> None:
    like = graph.raw_bias
    length = torch.linspace(0.0, longest, 1001, device="cpu", dtype=torch.float64)[1:]
    weight = (graph.gain * graph.law(length.to(like))).cpu().double()
    for sign, color in ((1, EXCITATORY), (-1, INHIBITORY)):
        ax.plot(length.cpu(), sign * weight, color=color, linewidth=1.3, label=f"law at polarity {sign}")
