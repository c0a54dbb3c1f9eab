"""Convolution over positions: the PyG operator."""

from typing import Any

import torch
from torch import Tensor

from spatialgraph import checks
from spatialgraph.functional import edge_weight, sparse
from spatialgraph.laws import Law, make_law, softened_square
from spatialgraph.projections import CompressedEdges
from spatialgraph.pyg import Adj, MessagePassing, OptPairTensor, OptTensor, PairTensor, Size, to_edge_index

__all__ = ["SpatialConv"]


class SpatialConv(MessagePassing):  # type: ignore[misc]  # PyG ships no type information
    r"""Graph convolution whose edge weights follow from the lengths of the edges.

    .. math:: \mathbf{x}'_j = \gamma \sum_{i \in \mathcal{N}(j)} s_i\, w(|p_i - p_j|)\, \mathbf{x}_i

    A :class:`torch_geometric.nn.MessagePassing` operator like any other: bipartite graphs as pairs, ``size``, ``flow``,
    other aggregations. Given a sparse ``adj_t`` (``torch.sparse_csr``, rows are targets) instead of an ``edge_index``,
    it multiplies by the compressed matrix and never stores a message for each edge.

    Args:
        law: from length to weight, a name or a :class:`~spatialgraph.laws.Law`.
        gain: constant factor :math:`\gamma`.
        **kwargs: as in :class:`torch_geometric.nn.MessagePassing`; ``aggr`` defaults to ``"add"``.

    Raises:
        TypeError: if an argument is of the wrong type.
        ValueError: if the law's name is unknown or the gain is not finite.

    Example:
        >>> conv = SpatialConv()
        >>> pos = torch.tensor([[0.0], [2.0]])
        >>> conv(torch.tensor([[3.0], [5.0]]), pos, torch.tensor([[0], [1]]))
        tensor([[0.0000],
                [1.5000]])
    """

    def __init__(self, law: str | Law = "inverse_distance", gain: float = 1.0, **kwargs: Any) -> None:  # noqa: ANN401
        kwargs.setdefault("aggr", "add")
        super().__init__(**kwargs)
        self.law = make_law(law)
        self.gain = checks.number("gain", gain)
        self.fuse: bool = kwargs["aggr"] in ("add", "sum")  # the compressed product sums

    def forward(
        self,
        x: Tensor | PairTensor | OptPairTensor,
        pos: Tensor | PairTensor,
        edge_index: Adj,
        polarity: OptTensor = None,
        size: Size = None,
    ) -> Tensor:
        """Convolve.

        Args:
            x: features, shape ``(N, F)``, or a pair for sources and targets; those who only receive may have None.
            pos: positions, shape ``(N, d)``, or a pair, in length units.
            edge_index: edges, shape ``(2, E)``, or ``adj_t``, a sparse matrix of shape ``(targets, sources)``.
            polarity: factor on each source's output, shape ``(N,)``; None for 1.
            size: numbers of sources and targets of a bipartite graph.

        Returns:
            Features of the targets, shape ``(N, F)``.
        """
        features = _pair("x", x, receiver=1 if self.flow == "source_to_target" else 0)
        places = _pair("pos", pos)
        sender = 0 if self.flow == "source_to_target" else 1
        senders = places[sender].shape[0]
        scale = places[sender].new_full((senders,), self.gain)
        if polarity is not None:
            scale = self.gain * checks.shape("polarity", polarity, (senders,))
        counts = places[0].shape[0], places[1].shape[0]
        if size is not None and tuple(size) != counts:
            raise ValueError(f"size must be the numbers of positions {counts}, got {tuple(size)}")
        out: Tensor = self.propagate(edge_index, x=features, pos=places, scale=scale, size=counts)
        return out

    def message(
        self, x: PairTensor, pos: PairTensor, scale: Tensor, edge_index_i: Tensor, edge_index_j: Tensor
    ) -> Tensor:
        """Weigh the features of each edge's source."""
        # Gathered here: for x_j, PyG takes the first of a pair whatever the flow.
        sender = 0 if self.flow == "source_to_target" else 1
        ends = pos[sender].index_select(0, edge_index_j), pos[1 - sender].index_select(0, edge_index_i)
        weight = scale.index_select(0, edge_index_j) * self.law.from_square(softened_square(*ends, self.law.softening))
        messages: Tensor = weight[:, None] * x[sender].index_select(0, edge_index_j)
        return messages

    def message_and_aggregate(self, edge_index: Adj, x: PairTensor, pos: PairTensor, scale: Tensor) -> Tensor:
        """Multiply by the compressed matrix of weights, for ``adj_t`` as ``edge_index``."""
        targets, sources = to_edge_index(edge_index)[0]
        order = torch.argsort(targets * pos[0].shape[0] + sources)
        listed = torch.stack([sources[order], targets[order]])
        edges = CompressedEdges.from_edges(listed, pos[0].shape[0], pos[1].shape[0])
        weight = edge_weight(pos[0], pos[1], scale, self.law, edges)
        return sparse(x[0].t(), weight, edges).t()


def _pair(name: str, value: Tensor | PairTensor | OptPairTensor, receiver: int | None = None) -> PairTensor:
    pair = value if isinstance(value, tuple) else (value, value)
    for number, member in enumerate(pair):
        if member is None and number == receiver:
            continue
        if checks.tensor(name, member).dim() != 2:
            raise ValueError(f"{name} must have two axes, neurons first, got shape {tuple(member.shape)}")
    return pair
