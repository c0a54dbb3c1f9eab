"""Sparse matrices as edges: ``adj_t`` of PyG, whose rows are targets, listed and in compressed rows."""

import torch
from torch import Tensor

from spatialgraph import checks
from spatialgraph.functional.compressed_edges import CompressedEdges
from spatialgraph.pyg import Adj, to_edge_index

__all__ = ["check_compressed", "compressed_edges", "listed_edges"]


def listed_edges(adj_t: Adj) -> tuple[Tensor, Tensor]:
    """Return targets and sources of the edges, shape ``(2, E)``, int64, and their values, shape ``(E,)``.

    Example:
        >>> index, values = listed_edges(torch.eye(2).to_sparse_csr())
        >>> index.tolist(), values.tolist()
        ([[0, 1], [0, 1]], [1.0, 1.0])
    """
    if not _is_csr(adj_t):
        index, values = to_edge_index(adj_t)
        return index, values
    sources = adj_t.col_indices().detach()
    # PyG's own conversion waits for an accelerator, to learn how many edges there are.
    targets = torch.repeat_interleave(adj_t.crow_indices().detach().diff(), output_size=sources.numel())
    return torch.stack([targets, sources]).long(), adj_t.values()


def compressed_edges(adj_t: Adj) -> tuple[CompressedEdges, Tensor | None]:
    """Return the edges by target and by source, and the order of the edges of ``adj_t`` in them; None for their own.

    Example:
        >>> edges, order = compressed_edges(torch.eye(2).to_sparse_csr())
        >>> edges.sources.tolist(), order
        ([0, 1], None)
    """
    (targets, sources), n_targets, n_sources = listed_edges(adj_t)[0], adj_t.size(0), adj_t.size(1)
    keys = targets * n_sources + sources
    # Sorting takes ten times as long as finding out; an accelerator, which sorts fast, would have to be waited for.
    if bool((keys[1:] >= keys[:-1]).all()) if keys.is_cpu else _is_csr(adj_t):
        order = None
    else:
        order = torch.argsort(keys)
        targets, sources = targets[order], sources[order]
    compress = CompressedEdges.from_edges if keys.is_cpu else CompressedEdges.from_checked
    return compress(torch.stack([sources, targets]), n_sources, n_targets), order


def check_compressed(adj_t: Adj) -> None:
    """Check the compressed indices of a sparse matrix, which PyTorch may not have checked.

    Accelerators check indices themselves; reading the values here would wait for them.
    """
    is_csr = _is_csr(adj_t)
    is_csc = isinstance(adj_t, Tensor) and adj_t.layout == torch.sparse_csc
    if not (is_csr or is_csc) or not adj_t.is_cpu or not checks.has_values(adj_t):
        return
    pointer, indices = (adj_t.crow_indices, adj_t.col_indices) if is_csr else (adj_t.ccol_indices, adj_t.row_indices)
    checks.pointer("crow_indices of adj_t" if is_csr else "ccol_indices of adj_t", pointer(), indices().numel())
    checks.within("col_indices of adj_t" if is_csr else "row_indices of adj_t", indices(), adj_t.shape[int(is_csr)])


def _is_csr(adj_t: Adj) -> bool:
    return isinstance(adj_t, Tensor) and adj_t.layout == torch.sparse_csr
