"""Graph convolution over positions, as a PyG operator."""

from typing import Any

import torch
from torch import Tensor

from spatialgraph import checks
from spatialgraph.functional.compressed_edges import CompressedEdges
from spatialgraph.functional.dense import edge_weight, sparse
from spatialgraph.functional.precision import in_single
from spatialgraph.laws import Law, make_law, softened_square
from spatialgraph.pyg import (
    Adj,
    MessagePassing,
    OptPairTensor,
    OptTensor,
    PairTensor,
    Size,
    is_sparse,
    to_edge_index,
)
from spatialgraph.settings import Setting

__all__ = ["SpatialConv"]


class SpatialConv(MessagePassing):  # type: ignore[misc]  # PyG ships no type information
    r"""Graph convolution whose edge weights are a function of the lengths of the edges.

    .. math:: \mathbf{x}'_j = \gamma \sum_{i \in \mathcal{N}(j)} s_i\, w(|p_i - p_j|)\, \mathbf{x}_i

    A :class:`torch_geometric.nn.MessagePassing` operator that supports bipartite graphs as pairs, ``size``, ``flow``
    and other aggregations. If a sparse ``adj_t`` (``torch.sparse_csr``, rows are targets) is passed instead of an
    ``edge_index``, it multiplies by the sparse matrix and does not store a message for each edge.

    Args:
        law: from length to weight, a name or a :class:`~spatialgraph.laws.Law`.
        gain: constant factor :math:`\gamma`.
        decomposed_layers: number of groups of features that are processed one after the other, to save memory; has no
            effect with a sparse ``adj_t``.
        **kwargs: as in :class:`torch_geometric.nn.MessagePassing`; ``aggr`` defaults to ``"add"``.

    Raises:
        TypeError: if ``law`` is neither a name nor a law, or ``gain`` is not a number.
        ValueError: if the name of the law is unknown or ``gain`` is not finite.

    Example:
        >>> conv = SpatialConv()
        >>> pos = torch.tensor([[0.0], [2.0]])
        >>> conv(torch.tensor([[3.0], [5.0]]), pos, torch.tensor([[0], [1]]))
        tensor([[0.0000],
                [1.5000]])
    """

    gain = Setting(checks.number)

    def __init__(
        self,
        law: str | Law = "inverse_distance",
        gain: float = 1.0,
        *,
        decomposed_layers: int = 1,
        **kwargs: Any,  # noqa: ANN401
    ) -> None:
        kwargs.setdefault("aggr", "add")
        super().__init__(**kwargs)
        # PyG splits only x_j, and would compute all features for each group.
        self.groups = checks.integer("decomposed_layers", decomposed_layers, minimum=1)
        self.law = make_law(law)
        self.gain = gain
        self.fuse: bool = kwargs["aggr"] in ("add", "sum")  # the compressed product sums

    def forward(
        self,
        x: Tensor | PairTensor | OptPairTensor,
        pos: Tensor | PairTensor,
        edge_index: Adj,
        polarity: OptTensor = None,
        size: Size = None,
    ) -> Tensor:
        """Compute the convolution.

        Args:
            x: features, shape ``(N, F)``, or a pair for sources and targets; the features of the targets may be None.
            pos: positions, shape ``(N, d)``, or a pair, in length units.
            edge_index: edges, shape ``(2, E)``, or ``adj_t``, a sparse matrix of shape ``(targets, sources)``.
            polarity: factor on each source's output, shape ``(N,)``; None for 1.
            size: numbers of sources and targets of a bipartite graph.

        Returns:
            Features of the targets, shape ``(N, F)``.

        Raises:
            TypeError: if ``x`` or ``pos`` is not a tensor or a pair of tensors, or ``edge_index`` is not int64.
            ValueError: if the numbers of nodes of features, positions, polarities, ``size`` and edges differ.
        """
        places = _positions(pos)
        counts = places[0].shape[0], places[1].shape[0]
        sender = 0 if self.flow == "source_to_target" else 1
        features = _features(x, counts, sender)
        scale = places[sender].new_full((counts[sender],), self.gain)
        if polarity is not None:
            scale = self.gain * checks.shape("polarity", polarity, (counts[sender],))
        if size is not None and tuple(size) != counts:
            raise ValueError(f"size must be the numbers of positions {counts}, got {tuple(size)}")
        is_matrix = _check_edges(edge_index, counts, places[0])
        groups = 1 if self.explain or (is_matrix and self.fuse) else self.groups
        out = []
        for group in features.chunk(groups, -1):
            pair = (group, None) if sender == 0 else (None, group)
            out.append(self.propagate(edge_index, x=pair, pos=places, scale=scale, size=counts))
        return torch.cat(out, -1) if len(out) > 1 else out[0]

    def message(
        self, x: PairTensor, pos: PairTensor, scale: Tensor, edge_index_i: Tensor, edge_index_j: Tensor
    ) -> Tensor:
        """Multiply the features of each edge's source by the edge's weight."""
        # Gathered here, because for x_j PyG uses the first of a pair for either flow.
        sender = 0 if self.flow == "source_to_target" else 1
        source = in_single(pos[sender].index_select(0, edge_index_j))
        target = in_single(pos[1 - sender].index_select(0, edge_index_i))
        square = softened_square(source, target, self.law.softening)
        weight = in_single(scale).index_select(0, edge_index_j) * self.law.from_square(square)
        rounded = weight.to(torch.promote_types(scale.dtype, pos[0].dtype))
        messages: Tensor = rounded[:, None] * x[sender].index_select(0, edge_index_j)
        return messages

    def message_and_aggregate(self, edge_index: Adj, x: PairTensor, pos: PairTensor, scale: Tensor) -> Tensor:
        """Multiply by the sparse matrix of weights, if ``edge_index`` is an ``adj_t``."""
        targets, sources = to_edge_index(edge_index)[0]
        order = torch.argsort(targets * pos[0].shape[0] + sources)
        listed = torch.stack([sources[order], targets[order]])
        edges = CompressedEdges.from_edges(listed, pos[0].shape[0], pos[1].shape[0])
        weight = edge_weight(pos[0], pos[1], scale, self.law, edges)
        # Features and weights are promoted to the higher precision, as in message passing.
        return sparse(x[0].t(), weight.to(torch.promote_types(weight.dtype, x[0].dtype)), edges).t()

    def __repr__(self) -> str:
        """Show law, gain and settings that differ from their defaults."""
        settings = [repr(self.law), f"gain={self.gain:g}"]
        settings += [f"aggr={self.aggr!r}"] if self.aggr not in ("add", "sum") else []
        settings += [f"flow={self.flow!r}"] if self.flow != "source_to_target" else []
        settings += [f"decomposed_layers={self.groups}"] if self.groups > 1 else []
        return f"{type(self).__name__}({', '.join(settings)})"


def _positions(pos: Tensor | PairTensor) -> PairTensor:
    """Return positions of sources and targets, checked to have the same number of dimensions."""
    first, second = (_rows("pos", member) for member in _pair("pos", pos))
    checks.axes("pos", first, 2)
    checks.operand("pos", second, (second.shape[0], first.shape[1]), first)
    return first, second


def _features(x: Tensor | PairTensor | OptPairTensor, counts: tuple[int, int], sender: int) -> Tensor:
    """Return the features of the sources, after a check of the numbers of rows of both."""
    pair = _pair("x", x)
    for number, count in enumerate(counts):
        if (number == sender or pair[number] is not None) and (rows := _rows("x", pair[number]).shape[0]) != count:
            raise ValueError(f"x must have as many rows as pos ({count}), got {rows}")
    return _rows("x", pair[sender])


def _pair(name: str, value: Tensor | PairTensor | OptPairTensor) -> PairTensor:
    pair = value if isinstance(value, tuple) else (value, value)
    if len(pair) != 2:
        raise ValueError(f"{name} must be a tensor or a pair of tensors, got {len(pair)}")
    return pair


def _rows(name: str, value: Tensor | None) -> Tensor:
    member = checks.tensor(name, value)
    if member.dim() != 2:
        raise ValueError(f"{name} must have two axes, neurons first, got shape {tuple(member.shape)}")
    return member


def _check_compressed(adj_t: Adj) -> None:
    """Check the compressed indices of a sparse matrix, which PyTorch may not have checked."""
    is_csr = isinstance(adj_t, Tensor) and adj_t.layout == torch.sparse_csr
    is_csc = isinstance(adj_t, Tensor) and adj_t.layout == torch.sparse_csc
    if not (is_csr or is_csc) or not checks.has_values(adj_t):
        return
    pointer, indices = (adj_t.crow_indices, adj_t.col_indices) if is_csr else (adj_t.ccol_indices, adj_t.row_indices)
    checks.pointer("crow_indices of adj_t" if is_csr else "ccol_indices of adj_t", pointer(), indices().numel())
    checks.within("col_indices of adj_t" if is_csr else "row_indices of adj_t", indices(), adj_t.shape[int(is_csr)])


def _check_edges(edge_index: Adj, counts: tuple[int, int], pos: Tensor) -> bool:
    """Check that edges connect existing nodes, and return whether they are a sparse matrix."""
    if is_sparse(edge_index):
        shape = tuple(int(edge_index.size(axis)) for axis in (0, 1))
        if shape != counts[::-1]:
            raise ValueError(f"adj_t must have shape {counts[::-1]}, targets and sources, got {shape}")
        _check_compressed(edge_index)
        return True
    if checks.tensor("edge_index", edge_index).dim() != 2 or edge_index.shape[0] != 2:
        raise ValueError(f"edge_index must have shape (2, edges), got {tuple(edge_index.shape)}")
    if edge_index.dtype != torch.int64:
        raise TypeError(f"edge_index must be int64, got {edge_index.dtype}")
    checks.same_device("edge_index", edge_index, pos)
    # Accelerators check indices themselves; reading the values here would synchronise.
    if edge_index.device.type == "cpu" and checks.has_values(edge_index):
        for row, count in enumerate(counts):
            checks.within(f"edge_index[{row}]", edge_index[row], count)
    return False
