"""Changes of edges: which networks can be rewired, and how many synapses two networks have in common."""

import torch
from torch import Tensor, nn

from spatialgraph.graph.spatial_graph import SpatialGraph
from spatialgraph.graph.topology import Topology
from spatialgraph.wiring.wirings import AllToAll, Random, Wiring

__all__ = ["rewirable", "shared_synapses"]


def rewirable(module: nn.Module) -> list[SpatialGraph]:
    """Return the networks of a module whose edges follow positions.

    Args:
        module: any module; networks of its submodules count.

    Raises:
        ValueError: if no wiring depends on positions, or one is a :class:`~spatialgraph.wiring.Random`, which would
            draw all edges anew.

    Example:
        >>> from spatialgraph import SpatialMLP
        >>> from spatialgraph.wiring import KNN
        >>> model = SpatialMLP([8, 4, 2], wiring=KNN(k=2))
        >>> rewirable(nn.Sequential(nn.Identity(), model)) == [model.graph]
        True
    """
    graphs = [part for part in module.modules() if isinstance(part, SpatialGraph) and part.wiring is not None]
    wirings = [each for graph in graphs for each in _wirings(graph)]
    if drawn := [each for each in wirings if isinstance(each, Random)]:
        reason = "which draws all edges anew" if drawn[0].seed is None else "whose edges follow from its seed"
        raise ValueError(f"wirings must depend on positions, got {drawn[0]!r}, {reason}")
    following = [graph for graph in graphs if any(type(each) is not AllToAll for each in _wirings(graph))]
    if not following:
        found = ", ".join(dict.fromkeys(map(repr, wirings))) or "listed edges"
        raise ValueError(f"module must have a network whose wiring depends on positions, such as KNN, got {found}")
    return following


def _wirings(graph: SpatialGraph) -> list[Wiring]:
    """Return all wirings of a network, those within layers too."""
    chosen = [graph.wiring] if isinstance(graph.wiring, Wiring) else list(graph.wiring or ())
    return chosen + [each for each in graph.connectivity.recurrence if each is not None]


def shared_synapses(first: Topology, second: Topology) -> int:
    """Return the number of synapses that two topologies of the same neurons share; all-to-all layers are not listed.

    Example:
        >>> from spatialgraph import SpatialGraph
        >>> from spatialgraph.wiring import KNN
        >>> graph = SpatialGraph.layered([8, 4, 2])
        >>> before = graph.connectivity.topology
        >>> shared_synapses(before, graph.rewire_(KNN(k=2)).connectivity.topology)
        12
    """
    listed = int(torch.isin(_keys(first), _keys(second), assume_unique=True).sum())
    crossed = int(_covered(first.listed_edges, second).sum() + _covered(second.listed_edges, first).sum())
    none = first.listed_sources[:0], torch.zeros_like(first.listed_pointer)
    reach = torch.minimum(first.all_to_all, second.all_to_all)
    recurrent = first.all_recurrent & second.all_recurrent
    both = Topology(first.layer, first.is_input, first.is_output, first.anchored, reach, recurrent, *none)
    return listed + crossed + both.synapses


def _keys(topology: Topology) -> Tensor:
    sources, targets = topology.listed_edges.long().unbind()
    return targets * topology.layer.numel() + sources


def _covered(edges: Tensor, topology: Topology) -> Tensor:
    """Mark the edges that belong to an all-to-all layer of a topology, shape ``(E,)``, bool."""
    if not topology.is_layered:
        return torch.zeros(edges.shape[1], dtype=torch.bool)
    source, target = topology.layer[edges.long()].unbind()
    covered = (source < target) & (target - source <= topology.all_to_all[target - 1])
    if topology.is_recurrent:
        covered |= (source == target) & (edges[0] != edges[1]) & topology.all_recurrent[target]
    return covered
