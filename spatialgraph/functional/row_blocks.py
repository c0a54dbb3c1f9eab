"""Products with a matrix in compressed rows as dense products of blocks of its rows.

For devices that have no such matrices, see :data:`spatialgraph.devices.WITHOUT_COMPRESSED`. Sums over scattered edges
would depend on the order in which threads add; these do not.
"""

from collections.abc import Iterator

import torch
from torch import Tensor

from spatialgraph.functional.compressed_edges import CompressedEdges

__all__ = ["dense", "product", "sampled"]

# Numbers in a block: 256 MB in single precision.
_BLOCK = 2**26


def dense(weight: Tensor, edges: CompressedEdges) -> Tensor:
    """Return the ``(m, n)`` matrix whose entries are the weights of edges, shape ``(E,)``; differentiable.

    Example:
        >>> edges = CompressedEdges.from_edges(torch.tensor([[1, 0], [0, 1]]), 2, 2)
        >>> dense(torch.tensor([2.0, 3.0]), edges)
        tensor([[0., 2.],
                [3., 0.]])
    """
    return _scattered(weight, _places(edges), edges.n_targets, edges.n_sources)


def product(x: Tensor, weight: Tensor, edges: CompressedEdges) -> Tensor:
    """Return the matrix of the weights times a dense one of shape ``(n, batch)``.

    Example:
        >>> edges = CompressedEdges.from_edges(torch.tensor([[1, 0], [0, 1]]), 2, 2)
        >>> product(torch.tensor([[1.0], [10.0]]), torch.tensor([2.0, 3.0]), edges)
        tensor([[20.],
                [ 3.]])
    """
    places = _places(edges)
    parts = [
        _scattered(weight[own], places[own] - rows.start * edges.n_sources, rows.stop - rows.start, edges.n_sources) @ x
        for rows, own in _blocks(edges)
    ]
    return torch.cat(parts) if parts else x.new_zeros(0, x.shape[1])


def sampled(rows: Tensor, x: Tensor, edges: CompressedEdges) -> Tensor:
    """Return the dot product of the row of each edge's target and the one of its source, shape ``(E,)``.

    Args:
        rows: those of the targets, shape ``(m, batch)``.
        x: those of the sources, shape ``(n, batch)``.
        edges: the edges.

    Example:
        >>> edges = CompressedEdges.from_edges(torch.tensor([[1, 0], [0, 1]]), 2, 2)
        >>> sampled(torch.tensor([[1.0], [2.0]]), torch.tensor([[3.0], [5.0]]), edges)
        tensor([5., 6.])
    """
    places, found = _places(edges), rows.new_empty(edges.count)
    for block, own in _blocks(edges):
        products = (rows[block] @ x.t()).flatten()
        found[own] = products.index_select(0, places[own] - block.start * edges.n_sources)
    return found


def _places(edges: CompressedEdges) -> Tensor:
    """Return where each edge is in the matrix, whose rows lie one after the other."""
    return edges.targets * edges.n_sources + edges.sources


def _scattered(weight: Tensor, places: Tensor, n_rows: int, n_columns: int) -> Tensor:
    return weight.new_zeros(n_rows * n_columns).scatter_add(0, places, weight).view(n_rows, n_columns)


def _blocks(edges: CompressedEdges) -> Iterator[tuple[slice, slice]]:
    """Yield ranges of targets, and of the edges into them."""
    step = max(1, _BLOCK // max(1, edges.n_sources))
    starts = range(0, edges.n_targets, step)
    bounds = [0, edges.count]
    if len(starts) > 1:  # to read where they begin waits for the device
        bounds = [*edges.target_pointer[:-1:step].tolist(), edges.count]
    for number, first in enumerate(starts):
        yield slice(first, min(first + step, edges.n_targets)), slice(bounds[number], bounds[number + 1])
