"""Networks: what functions take that need a graph, which is a graph or a model that has one."""

from typing import TypeVar

from torch import nn

from spatialgraph.graph.spatial_graph import SpatialGraph

__all__ = ["Network", "graph_of", "graph_or_none"]

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
    graph = graph_or_none(network)
    if graph is None:
        raise TypeError(f"{name} must be a SpatialGraph or a model that has one as graph, got {type(network).__name__}")
    return graph


def graph_or_none(network: object) -> SpatialGraph | None:
    """Return a graph, or the one of a model; None where there is none.

    Example:
        >>> print(graph_or_none(nn.Linear(3, 2)))
        None
    """
    graph = network if isinstance(network, SpatialGraph) else getattr(network, "graph", None)
    return graph if isinstance(network, nn.Module) and isinstance(graph, SpatialGraph) else None
