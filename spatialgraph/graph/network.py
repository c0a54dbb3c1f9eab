"""Networks: what functions take that need a graph, which is a graph or a model that has one."""

from typing import TypeVar

from torch import nn

from spatialgraph.graph.spatial_graph import SpatialGraph

__all__ = ["Network", "graph_of"]

Network = TypeVar("Network", bound=nn.Module)
"""A :class:`~spatialgraph.SpatialGraph`, or a model that has one as its attribute ``graph``."""


def graph_of(network: object, name: str = "network") -> SpatialGraph:
    """Return a graph, or the one of a model.

    Args:
        network: the graph or the model.
        name: what a message calls it.

    Raises:
        TypeError: if it is neither a SpatialGraph nor a model that has one.

    Example:
        >>> from spatialgraph import SpatialMLP
        >>> graph_of(SpatialMLP([3, 2]))
        SpatialGraph(neurons=5, synapses=6, dim=3, spacing='learned')
    """
    graph = network if isinstance(network, SpatialGraph) else getattr(network, "graph", None)
    if not isinstance(network, nn.Module) or not isinstance(graph, SpatialGraph):
        raise TypeError(f"{name} must be a SpatialGraph or a model that has one as graph, got {type(network).__name__}")
    return graph
