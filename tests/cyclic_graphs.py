"""Networks with cycles."""

import torch

from spatialgraph import SpatialGraph


def cyclic_graph(seed, neurons=8, extra=10, **options):
    """A random network with cycles, in float64: a path of cycles from an input to an output, and random edges."""
    draw = torch.Generator().manual_seed(seed)
    chain = torch.stack([torch.arange(neurons - 1), torch.arange(1, neurons)])
    back = torch.tensor([[3, 5], [2, 4]])
    ends = torch.randint(0, neurons, (2, extra), generator=draw)
    is_allowed = (ends[1] != 0) & (ends[0] != neurons - 1) & (ends[0] != ends[1])
    edges = torch.unique(torch.cat([chain, back, ends[:, is_allowed]], dim=1), dim=1)
    pos = torch.randn(neurons, 2, generator=draw, dtype=torch.float64)
    graph = SpatialGraph(pos, edges, generator=draw, **options)
    with torch.no_grad():
        graph.raw_bias.normal_(generator=draw)
    return graph


def within(graph):
    """Edges within a layer."""
    return graph.edge_index[:, is_within(graph)]


def is_within(graph):
    """Mark the edges within a layer."""
    source, target = graph.layer[graph.edge_index]
    return source == target
