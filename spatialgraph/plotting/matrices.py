"""The adjacency matrix of a network."""

from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor, nn

from spatialgraph import checks
from spatialgraph.connectome.analysis.modules import find_modules
from spatialgraph.connectome.analysis.weighted_edges import WeightedEdges
from spatialgraph.graph.projections import Projection
from spatialgraph.graph.spatial_graph import SpatialGraph
from spatialgraph.plotting.axes import SIGNED, given_or_new
from spatialgraph.plotting.groups import drawable, groups

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["adjacency"]

_ORDERS = ("layer", "module")
# The least share of a side that a group gets, so that ten outputs show beside thousands of hidden neurons. With many
# groups it is less; the names of narrow ones would cover others.
_LEAST = 0.05
# So many rows of a dense matrix are summed at a time.
_ROWS = 256


@torch.no_grad()
def adjacency(
    network: nn.Module, ax: "Axes | None" = None, *, order: str = "layer", pixels: int = 500, seed: int = 0
) -> "Axes":
    """Draw the adjacency matrix: the weight from each source (row) to each target (column), red or blue by its sign.

    Lines part the groups. Small groups are drawn larger, with 5 % of the side at least where there are up to ten. Where
    a group has more neurons than pixels, a pixel is the mean weight of all its pairs of neurons; pairs without a
    synapse count as 0. The scale is symmetric about 0; its limit is the 99th percentile of the absolute values other
    than 0.

    Args:
        network: a :class:`~spatialgraph.SpatialGraph`, or a model that has one.
        ax: axes to draw on; None for new ones.
        order: ``"layer"`` to sort the neurons by layer (without layers by inputs, hidden neurons, outputs), or
            ``"module"`` to sort them by module, largest first, and within by layer (see
            :func:`~spatialgraph.connectome.analysis.modules.find_modules`).
        pixels: number of pixels along an axis, at least one for each group.
        seed: seed of the search for modules.

    Returns:
        The axes; each side is 1 long.

    Raises:
        TypeError: if ``network`` is no SpatialGraph and has none, or ``pixels`` or ``seed`` is not an int.
        ValueError: if ``order`` is unknown, ``pixels`` not above 0, or a position, polarity or weight infinite or NaN.
        ImportError: if matplotlib is not installed, or for modules igraph.

    Example:
        >>> adjacency(SpatialGraph.layered([4, 2])).get_title()
        '6 neurons by layer'
    """
    graph = drawable(network)
    checks.choice("order", order, _ORDERS)
    checks.integer("pixels", pixels, minimum=1)
    found = _modules(graph, checks.integer("seed", seed, minimum=0)) if order == "module" else _layers(graph)
    ax = given_or_new(ax)
    widths = _widths(found)
    sizes = [len(members) for members in found.values()]
    bins = [min(size, max(1, round(pixels * width))) for size, width in zip(sizes, widths, strict=True)]
    matrix = _binned(graph, list(found.values()), bins)
    values = np.abs(matrix[matrix != 0])
    limit = float(np.quantile(values, 0.99)) if values.size else 1.0
    ends = np.concatenate([[0.0], np.cumsum(widths)])
    edges = np.concatenate([*map(np.linspace, ends[:-1], ends[1:], bins, [False] * len(bins)), ends[-1:]])
    mesh = ax.pcolormesh(edges, edges, matrix, cmap=SIGNED, vmin=-limit, vmax=limit, rasterized=True)
    label = "weight" if sum(bins) == graph.neurons else "mean weight"
    ax.figure.colorbar(mesh, ax=ax, label=label, shrink=0.8, extend="both")
    _draw_groups(list(found), ends, ax)
    ax.set(title=f"{graph.neurons:,} neurons by {order}", xlabel="target", ylabel="source", aspect="equal")
    ax.set(xlim=(0.0, 1.0), ylim=(1.0, 0.0))
    return ax


def _layers(graph: SpatialGraph) -> dict[str, np.ndarray]:
    return {name.partition(" (")[0]: members.numpy() for name, members in groups(graph).items()}


def _modules(graph: SpatialGraph, seed: int) -> dict[str, np.ndarray]:
    """Return the neurons of each module, by layer."""
    module, _ = find_modules(WeightedEdges.of(graph), seed)
    by_layer = np.concatenate(list(_layers(graph).values()))
    return {f"module {number}": by_layer[module[by_layer] == number] for number in range(int(module.max()) + 1)}


def _widths(found: dict[str, np.ndarray]) -> np.ndarray:
    """Return the share of a side that each group gets: that of its neurons, but no less than a least one."""
    counts = np.array([len(members) for members in found.values()], dtype=np.float64)
    shares = np.maximum(counts / counts.sum(), min(_LEAST, 0.5 / len(counts)))
    result: np.ndarray = shares / shares.sum()
    return result


def _binned(graph: SpatialGraph, found: list[np.ndarray], bins: list[int]) -> np.ndarray:
    """Return the mean weights between neurons in bins of each group, from sources (rows) to targets (columns)."""
    graph.connectivity.verify()
    count, first = sum(bins), 0
    bin_of = np.empty(graph.neurons, dtype=np.int64)
    for members, own in zip(found, bins, strict=True):
        bin_of[members] = first + np.arange(len(members)) * own // len(members)
        first += own
    total = np.zeros((count, count))
    transmission = graph.transmission()
    for number, projection in enumerate(graph.projections):
        weight = checks.finite(f"the weights of projection {number}", transmission.weight(number)).cpu()
        total += _summed(projection, weight, torch.from_numpy(bin_of), count).numpy()
    members_of = np.bincount(bin_of, minlength=count)
    result: np.ndarray = total / np.outer(members_of, members_of)
    return result


def _summed(projection: Projection, weight: Tensor, bin_of: Tensor, count: int) -> Tensor:
    """Return the sums of a projection's weights in each pixel, shape ``(count, count)``, float64."""
    if projection.is_complete and not projection.is_recurrent:  # then there is no need to list the synapses
        targets, sources = bin_of[projection.targets.cpu()], bin_of[projection.sources.cpu()]
        rows = weight.new_zeros(count, projection.n_sources, dtype=torch.float64)
        matrix = weight.view(projection.n_targets, projection.n_sources)
        for some, bins in zip(matrix.split(_ROWS), targets.split(_ROWS), strict=True):
            rows.index_add_(0, bins, some.double())
        return rows.new_zeros(count, count).index_add_(0, sources, rows.t())
    source, target = bin_of[projection.edge_index().cpu()]
    total = torch.zeros(count * count, dtype=torch.float64)
    return total.index_add_(0, source * count + target, weight.flatten().double()).view(count, count)


def _draw_groups(names: list[str], ends: np.ndarray, ax: "Axes") -> None:
    """Part the groups by lines, and name those that are large enough."""
    for end in ends[1:-1]:
        ax.axhline(end, color="black", linewidth=0.6)
        ax.axvline(end, color="black", linewidth=0.6)
    middles = (ends[:-1] + ends[1:]) / 2
    is_wide = np.diff(ends) > 0.6 * _LEAST
    shown = {middle: name for middle, name, wide in zip(middles, names, is_wide, strict=True) if wide}
    ax.set_yticks(list(shown), list(shown.values()))
    ax.set_xticks(list(shown), list(shown.values()), rotation=30, ha="right", rotation_mode="anchor")
    ax.tick_params(length=0)
