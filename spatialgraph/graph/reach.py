"""Reach: which neurons signals of the inputs arrive at."""

import numpy as np
import scipy.sparse
import torch
from scipy.sparse.csgraph import breadth_first_order
from torch import Tensor

from spatialgraph.graph.topology import Topology

__all__ = ["check_outputs", "is_reached", "shortened"]


def is_reached(edge_index: Tensor, is_input: Tensor) -> Tensor:
    """Mark the neurons that are inputs or that a path from an input leads to.

    Args:
        edge_index: directed edges, shape ``(2, E)``.
        is_input: marks the inputs, shape ``(N,)``.

    Returns:
        Tensor of shape ``(N,)``, bool.

    Example:
        >>> is_reached(torch.tensor([[0, 2], [1, 3]]), torch.tensor([True, False, False, False]))
        tensor([ True,  True, False, False])
    """
    count = is_input.numel()
    inputs = torch.nonzero(is_input)[:, 0]
    # One more node, which leads to all inputs, so that a single search finds all paths.
    ends = torch.cat([edge_index, torch.stack([torch.full_like(inputs, count), inputs])], dim=1).cpu().numpy()
    graph = scipy.sparse.coo_array((np.ones(ends.shape[1], np.int8), tuple(ends)), (count + 1, count + 1))
    found = breadth_first_order(graph.tocsr(), count, return_predecessors=False)
    marked = torch.zeros(count + 1, dtype=torch.bool)
    marked[torch.from_numpy(found.astype(np.int64))] = True
    return marked[:count]


def shortened(topology: Topology) -> Tensor:
    """List edges between the same neurons and further nodes that lead where those of a network of layers lead.

    Layers that are all-to-all have a node that all their sources lead to, and that leads to all their targets: their
    edges need not be listed.

    Args:
        topology: the network; with L layers its further nodes are numbered ``N`` to ``N + 2 L - 1``.

    Returns:
        Tensor of shape ``(2, E')``, int64.

    Example:
        >>> from spatialgraph.graph.connectivity import Connectivity
        >>> from spatialgraph.wiring.wirings import AllToAll
        >>> layer = torch.tensor([0, 0, 1, 1])
        >>> shortened(Connectivity(torch.zeros(4, 2), AllToAll(), layer, None).topology)
        tensor([[0, 1, 5, 5],
                [5, 5, 2, 3]])
    """
    layer, neurons = topology.layer, torch.arange(topology.layer.numel())
    depth = int(layer.max()) + 1
    parts = [topology.listed_edges.long()]

    def through(node: int, sources: Tensor, targets: Tensor) -> None:
        for ends, side in ((sources, 0), (targets, 1)):
            row = torch.full((int(ends.sum()),), len(neurons) + node)
            parts.append(torch.stack([neurons[ends], row] if side == 0 else [row, neurons[ends]]))

    for number, reach in enumerate(topology.all_to_all.tolist(), start=1):
        if reach:
            through(number, (layer >= number - reach) & (layer < number), layer == number)
    for number in torch.nonzero(topology.all_recurrent)[:, 0].tolist():
        through(depth + number, layer == number, layer == number)
    return torch.cat(parts, dim=1)


def check_outputs(name: str, topology: Topology) -> Topology:
    """Return a network of layers in which a path from an input leads to an output.

    Single outputs may be left out, as by chance in a random wiring, or after pruning.

    Args:
        name: what messages call that which chose the edges.
        topology: the network.

    Raises:
        ValueError: if there is no such path.
    """
    further = torch.zeros(2 * (int(topology.layer.max()) + 1), dtype=torch.bool)
    reached = is_reached(shortened(topology), torch.cat([topology.is_input, further]))[: topology.layer.numel()]
    if not (topology.is_output & reached).any():
        raise ValueError(f"{name} must lead from inputs to outputs, got no path to any of the outputs")
    return topology
