"""Networks with cycles are put in layers: which neurons come first, which belong together, and which are last."""

import numpy as np
import scipy.sparse
import torch
from scipy.sparse.csgraph import connected_components
from torch import Tensor

from spatialgraph import checks
from spatialgraph.graph.projections import generations
from spatialgraph.graph.reach import is_reached

__all__ = ["cyclic_layers"]


def cyclic_layers(edge_index: Tensor, neurons: int) -> Tensor | None:
    """Return a layer for each neuron of a network with cycles; None for a network without cycles.

    Layer 0 holds the neurons without incoming edges, the last layer the others without outgoing ones. All neurons of a
    cycle, or of cycles that share neurons, are in the same layer; all other edges lead to later layers.

    Args:
        edge_index: directed edges, shape ``(2, E)``.
        neurons: number of neurons N.

    Returns:
        Tensor of shape ``(N,)``, int64.

    Raises:
        ValueError: if an edge leads from a neuron to itself; or if there is a cycle, but no neuron without incoming
            edges, none without outgoing ones, or no path from one of the former to one of the latter.

    Example:
        >>> cyclic_layers(torch.tensor([[0, 1, 2, 2], [1, 2, 1, 3]]), 4)
        tensor([0, 1, 1, 2])
    """
    source, target = edge_index.cpu().numpy()
    group = _groups(source, target, neurons)
    checks.no_loops(edge_index)
    is_within = group[source] == group[target]
    if not is_within.any():
        return None
    is_input, is_output = (torch.from_numpy(np.bincount(ends, minlength=neurons) == 0) for ends in (target, source))
    is_output &= ~is_input
    for role, ends, marked in (("input", "incoming", is_input), ("output", "outgoing", is_output)):
        if not marked.any():
            raise ValueError(f"edge_index with a cycle must have an {role}, a neuron without {ends} edges, got none")
    missing = torch.nonzero(is_output & ~is_reached(edge_index, is_input))[:, 0]
    if len(missing):
        raise ValueError(
            f"edge_index with a cycle must lead from an input to every output, got no path to neuron {int(missing[0])}"
        )
    pairs = np.unique(np.stack([group[source], group[target]])[:, ~is_within], axis=1)
    numbers = torch.from_numpy(group.astype(np.int64))
    is_input_group = torch.zeros(int(numbers.max()) + 1, dtype=torch.bool).index_fill(0, numbers[is_input], True)
    layer = generations(torch.from_numpy(pairs.astype(np.int64)), is_input_group)[numbers]
    return torch.where(is_output, layer[~is_output].max() + 1, layer)


def _groups(source: np.ndarray, target: np.ndarray, neurons: int) -> np.ndarray:
    """Return a number for each neuron, the same for neurons on a common cycle."""
    edges = scipy.sparse.coo_array((np.ones(len(source), np.int8), (source, target)), (neurons, neurons))
    group: np.ndarray = connected_components(edges, directed=True, connection="strong")[1]
    return group
