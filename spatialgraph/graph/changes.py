"""Changes: how many synapses two networks of the same neurons have in common."""

import torch
from torch import Tensor

from spatialgraph.graph.topology import Topology

__all__ = ["shared_synapses"]


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
    none = first.listed_edges[:, :0]
    reach = torch.minimum(first.all_to_all, second.all_to_all)
    recurrent = first.all_recurrent & second.all_recurrent
    both = Topology(first.layer, first.is_input, first.is_output, first.anchored, reach, recurrent, none)
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
