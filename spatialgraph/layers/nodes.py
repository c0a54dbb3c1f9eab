"""Arguments of graph convolutions: positions, features and edges of one or two sets of nodes, checked."""

import torch
from torch import Tensor

from spatialgraph import checks
from spatialgraph.layers.matrices import check_compressed, listed_edges
from spatialgraph.pyg import Adj, OptPairTensor, OptTensor, PairTensor, is_sparse

__all__ = ["check_flow", "check_size", "edges_of", "features_of", "positions_of"]


def positions_of(pos: Tensor | PairTensor) -> PairTensor:
    """Return positions of sources and targets, checked to have the same number of dimensions.

    Example:
        >>> [len(rows) for rows in positions_of((torch.zeros(3, 2), torch.zeros(4, 2)))]
        [3, 4]
    """
    first, second = (checks.axes("pos", member, 2) for member in _pair("pos", pos))
    checks.operand("pos", second, (second.shape[0], first.shape[1]), first)
    return first, second


def features_of(x: Tensor | PairTensor | OptPairTensor, counts: tuple[int, int], sender: int) -> Tensor:
    """Return the features of the sources, shape ``(..., N, F)``, after a check of the numbers of rows of both.

    Args:
        x: features, or a pair of them, of which those of the targets may be None.
        counts: numbers of nodes of both sets.
        sender: which of the sets sends, 0 or 1.
    """
    pair = _pair("x", x)
    for number, count in enumerate(counts):
        if (number == sender or pair[number] is not None) and (rows := _features(pair[number]).shape[-2]) != count:
            raise ValueError(f"x must have as many rows as pos ({count}), got {rows}")
    return _features(pair[sender])


def edges_of(
    edge_index: Adj, edge_weight: OptTensor, counts: tuple[int, int], pos: Tensor
) -> tuple[Tensor, OptTensor, bool]:
    """Return edges as a list, their weights, and whether they were given as a sparse matrix.

    Args:
        edge_index: edges, shape ``(2, E)``, or a sparse matrix of shape ``(targets, sources)``, whose values are the
            weights of the edges.
        edge_weight: weights of the edges, shape ``(E,)``, if they are a list.
        counts: numbers of sources and targets.
        pos: positions, for their device.

    Raises:
        TypeError: if ``edge_index`` is not int64, or weights of edges are complex.
        ValueError: if edges lead beyond the nodes, or shapes are wrong.
    """
    if is_sparse(edge_index):
        edges, values = _listed(edge_index, edge_weight, counts, pos)
        _check_real("values of adj_t", values)
        return edges, values, True
    _check_list(edge_index, counts, pos)
    if edge_weight is not None:
        checks.shape("edge_weight", edge_weight, (edge_index.shape[1],))
        checks.same_device("edge_weight", edge_weight, pos)
        _check_real("edge_weight", edge_weight)
    return edge_index, edge_weight, False


def check_flow(flow: str, is_matrix: bool) -> None:
    """Refuse a sparse matrix for the flow from targets to sources, as PyG does."""
    if is_matrix and flow != "source_to_target":
        raise ValueError(f"flow must be 'source_to_target' with an adj_t, got {flow!r}")


def check_size(size: tuple[int, int] | None, counts: tuple[int, int]) -> None:
    """Check that ``size`` agrees with the numbers of positions."""
    if size is None:
        return
    if not isinstance(size, tuple | list):
        raise TypeError(f"size must be a pair of numbers of nodes, got {type(size).__name__}")
    if tuple(size) != counts:
        raise ValueError(f"size must be the numbers of positions {counts}, got {tuple(size)}")


def _pair(name: str, value: Tensor | PairTensor | OptPairTensor) -> PairTensor:
    pair = value if isinstance(value, tuple) else (value, value)
    if len(pair) != 2:
        raise ValueError(f"{name} must be a tensor or a pair of tensors, got {len(pair)}")
    return pair


def _features(value: Tensor | None) -> Tensor:
    member = checks.tensor("x", value)
    if member.dim() < 2:
        raise ValueError(f"x must have at least 2 axes, got shape {tuple(member.shape)}")
    return member


def _listed(adj_t: Adj, edge_weight: OptTensor, counts: tuple[int, int], pos: Tensor) -> tuple[Tensor, Tensor]:
    shape = tuple(int(adj_t.size(axis)) for axis in (0, 1))
    if shape != counts[::-1]:
        raise ValueError(f"adj_t must have shape {counts[::-1]}, targets and sources, got {shape}")
    if edge_weight is not None:
        raise ValueError("edge_weight must be None with an adj_t, whose values are the weights, got a tensor")
    check_compressed(adj_t)
    index, values = listed_edges(adj_t)
    values = values.clone()  # compilers fail at views of sparse matrices
    checks.shape("values of adj_t", values, (index.shape[1],))
    checks.same_device("adj_t", index, pos)
    _check_ends("adj_t", index.flip(0), counts)
    return index.flip(0), values


def _check_list(edge_index: Adj, counts: tuple[int, int], pos: Tensor) -> None:
    """Check that edges connect existing nodes."""
    if checks.tensor("edge_index", edge_index).dim() != 2 or edge_index.shape[0] != 2:
        raise ValueError(f"edge_index must have shape (2, edges), got {tuple(edge_index.shape)}")
    if edge_index.dtype != torch.int64:
        raise TypeError(f"edge_index must be int64, got {edge_index.dtype}")
    checks.same_device("edge_index", edge_index, pos)
    _check_ends("edge_index", edge_index, counts)


def _check_real(name: str, weights: Tensor) -> None:
    if weights.is_complex():  # features and positions are real, so the imaginary part would be lost
        raise TypeError(f"{name} must be real, got {weights.dtype}")


def _check_ends(name: str, edges: Tensor, counts: tuple[int, int]) -> None:
    """Check that sources and targets of edges are nodes."""
    # Accelerators check indices themselves; reading the values here would synchronise.
    if edges.device.type == "cpu" and checks.has_values(edges):
        for row, count in enumerate(counts):
            checks.within(f"{name}[{row}]", edges[row], count)
