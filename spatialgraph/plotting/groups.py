"""The neurons and projections of a network in the groups that pictures tell apart, and their names."""

import torch
from torch import Tensor, nn

from spatialgraph import checks
from spatialgraph.graph.network import graph_of
from spatialgraph.graph.projections import Projection
from spatialgraph.graph.spatial_graph import SpatialGraph

__all__ = ["drawable", "groups", "projection_name"]


@torch.no_grad()
def drawable(network: nn.Module) -> SpatialGraph:
    """Return a graph, or the one of a model, whose numbers can be drawn.

    Raises:
        TypeError: if ``network`` is neither a graph nor a model that has one.
        ValueError: if a position or polarity is infinite or NaN.

    Example:
        >>> drawable(SpatialGraph.layered([3, 2]))
        SpatialGraph(neurons=5, synapses=6, dim=3, spacing='learned')
    """
    graph = graph_of(network)
    checks.positions("pos", graph.positions())
    checks.finite("polarity", graph.polarity)
    return graph


def groups(graph: SpatialGraph) -> dict[str, Tensor]:
    """Return the numbers of the neurons of each layer, or of inputs, hidden neurons and outputs; none is empty.

    Example:
        >>> groups(SpatialGraph.layered([2, 1]))
        {'layer 0 (inputs)': tensor([0, 1]), 'layer 1 (outputs)': tensor([2])}
    """
    layer, is_input, is_output = (each.cpu() for each in (graph.layer, graph.is_input, graph.is_output))
    if not graph.is_layered:
        marks = {"inputs": is_input, "hidden neurons": ~is_input & ~is_output, "outputs": is_output}
        return {name: torch.nonzero(mark)[:, 0] for name, mark in marks.items() if mark.any()}
    last = int(layer.max())
    roles = {0: " (inputs)", last: " (outputs)"}
    members = (torch.nonzero(layer == number)[:, 0] for number in range(last + 1))
    return {f"layer {number}{roles.get(number, '')}": each for number, each in enumerate(members)}


def projection_name(graph: SpatialGraph, projection: Projection) -> str:
    """Return what a picture calls a projection.

    Example:
        >>> graph = SpatialGraph.layered([2, 3, 1])
        >>> [projection_name(graph, projection) for projection in graph.projections]
        ['layer 0 to 1', 'layer 1 to 2']
    """
    if not graph.is_layered:
        return f"into generation {projection.blocks[-1] + 1}"
    layer = graph.connectivity.layer
    target, sources = int(layer[projection.targets[0]]), torch.unique(layer[projection.sources]).tolist()
    if projection.is_recurrent:
        return f"within layer {target}"
    return f"layer {' and '.join(map(str, sources))} to {target}"
