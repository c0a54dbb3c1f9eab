"""The adjacency matrix of a network."""

from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import nn

from spatialgraph import checks
from spatialgraph.connectome.modules import find_modules
from spatialgraph.connectome.weighted_edges import WeightedEdges
from spatialgraph.graph.spatial_graph import SpatialGraph
from spatialgraph.plotting.axes import SIGNED, given_or_new
from spatialgraph.plotting.groups import drawable, groups

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["adjacency"]

_ORDERS = ("layer", "module")
# Groups with a smaller share of the neurons have no name beside the matrix, where it would cover others.
_NAMED = 0.04


@torch.no_grad()
def adjacency(
    network: nn.Module, ax: "Axes | None" = None, *, order: str = "layer", pixels: int = 500, seed: int = 0
) -> "Axes":
    """Draw the adjacency matrix: the weight from each source (row) to each target (column), red or blue by its sign.

    Where there are more neurons than ``pixels``, a pixel is the mean weight of all its pairs of neurons; pairs without
    a synapse count as 0. The scale is symmetric about 0; its limit is the 99th percentile of the absolute values other
    than 0. Lines part the groups.

    Args:
        network: a :class:`~spatialgraph.SpatialGraph`, or a model that has one.
        ax: axes to draw on; None for new ones.
        order: ``"layer"`` to sort the neurons by layer (without layers by inputs, hidden neurons, outputs), or
            ``"module"`` to sort them by module, largest first, and within by layer (see
            :func:`~spatialgraph.connectome.modules.find_modules`).
        pixels: largest number of pixels along an axis.
        seed: seed of the search for modules.

    Returns:
        The axes; neurons count from 0 in their order.

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
    matrix = _binned(graph, np.concatenate(list(found.values())), min(pixels, graph.neurons))
    sizes = np.abs(matrix[matrix != 0])
    limit = float(np.quantile(sizes, 0.99)) if sizes.size else 1.0
    count = graph.neurons
    image = ax.imshow(
        matrix,
        cmap=SIGNED,
        vmin=-limit,
        vmax=limit,
        interpolation="nearest",
        extent=(-0.5, count - 0.5, count - 0.5, -0.5),
    )
    label = "weight" if count <= pixels else "mean weight"
    ax.figure.colorbar(image, ax=ax, label=label, shrink=0.8, extend="both")
    _draw_groups(found, ax)
    ax.set(title=f"{count:,} neurons by {order}", xlabel="target", ylabel="source")
    return ax


def _layers(graph: SpatialGraph) -> dict[str, np.ndarray]:
    return {name.partition(" (")[0]: members.numpy() for name, members in groups(graph).items()}


def _modules(graph: SpatialGraph, seed: int) -> dict[str, np.ndarray]:
    """Return the neurons of each module, by layer."""
    module, _ = find_modules(WeightedEdges.of(graph), seed)
    by_layer = np.concatenate(list(_layers(graph).values()))
    return {f"module {number}": by_layer[module[by_layer] == number] for number in range(int(module.max()) + 1)}


def _binned(graph: SpatialGraph, order: np.ndarray, pixels: int) -> np.ndarray:
    """Return the mean weights between neurons in a given order, from sources (rows) to targets (columns)."""
    graph.connectivity.verify()
    pixel = np.empty(len(order), dtype=np.int64)
    pixel[order] = np.arange(len(order)) * pixels // len(order)
    total = np.zeros(pixels * pixels)
    transmission = graph.transmission()
    for number, projection in enumerate(graph.projections):
        weight = transmission.weight(number)
        checks.finite(f"the weights of projection {number}", weight)
        source, target = pixel[projection.edge_index().cpu().numpy()]
        total += np.bincount(source * pixels + target, weight.flatten().cpu().double().numpy(), pixels * pixels)
    members = np.bincount(pixel, minlength=pixels)
    result: np.ndarray = total.reshape(pixels, pixels) / np.outer(members, members)
    return result


def _draw_groups(found: dict[str, np.ndarray], ax: "Axes") -> None:
    """Part the groups by lines, and name those that are large enough."""
    ends = np.cumsum([len(members) for members in found.values()])
    for end in ends[:-1]:
        ax.axhline(end - 0.5, color="black", linewidth=0.6)
        ax.axvline(end - 0.5, color="black", linewidth=0.6)
    names = {
        float(end - len(members) / 2 - 0.5): name
        for end, (name, members) in zip(ends, found.items(), strict=True)
        if len(members) >= _NAMED * ends[-1]
    }
    ax.set_yticks(list(names), list(names.values()))
    ax.set_xticks(list(names), list(names.values()), rotation=30, ha="right", rotation_mode="anchor")
    ax.tick_params(length=0)
