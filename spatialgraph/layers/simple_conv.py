"""Propagation of features along edges that weigh by their lengths, as a PyG operator."""

from typing import Any

import torch
from torch import Tensor

from spatialgraph import checks
from spatialgraph.functional.compressed import sparse
from spatialgraph.functional.ordered import summed, taken
from spatialgraph.functional.precision import in_single
from spatialgraph.laws import Law, make_law, softened_square
from spatialgraph.layers.aggregation import check_aggregation, is_sum
from spatialgraph.layers.matrices import compressed_edges
from spatialgraph.layers.nodes import check_flow, check_size, edges_of, features_of, positions_of
from spatialgraph.layers.normalize import check_normalize, inverse
from spatialgraph.pyg import Adj, MessagePassing, OptPairTensor, OptTensor, PairTensor, Size
from spatialgraph.settings import Setting

__all__ = ["SpatialSimpleConv"]


def _check_self_weight(name: str, value: Any) -> float | None:  # noqa: ANN401 - any value is checked
    return None if value is None else checks.number(name, value)


class SpatialSimpleConv(MessagePassing):  # type: ignore[misc]  # PyG ships no type information
    r"""Graph convolution without channels, whose edge weights are a function of the lengths of the edges.

    .. math:: \mathbf{x}'_j = \gamma \sum_{i \in \mathcal{N}(j)} s_i\, e_{ij}\, w(|p_i - p_j|)\, \mathbf{x}_i

    Like :class:`torch_geometric.nn.SimpleConv` it has no parameters, unless its law has. It supports bipartite graphs
    as pairs, ``size``, ``flow`` and other aggregations. If a sparse ``adj_t`` (rows are targets) is passed instead of
    an ``edge_index``, it multiplies by the sparse matrix and does not store a message for each edge. For a convolution
    with channels see :class:`~spatialgraph.SpatialConv`.

    Args:
        law: from length to weight, a name or a :class:`~spatialgraph.laws.Law`.
        gain: constant factor :math:`\gamma`.
        normalize: ``"sum"`` divides the weights :math:`e_{ij}\, w` by the sum :math:`d_j` of their absolute values into
            a target; ``"gcn"`` divides by :math:`\sqrt{d_i d_j}`, where :math:`d_i` is the sum over the edges out of
            the source, as in `Kipf and Welling (2017) <https://arxiv.org/abs/1609.02907>`_; None for neither.
        self_weight: weight of an edge from a node to itself in place of :math:`w(0)`, which is 1,000 for the inverse
            distance; None for :math:`w(0)`. Has no effect if ``pos`` is a pair.
        decomposed_layers: number of groups of features that are processed one after the other, to save memory; above 1
            only where ``aggr`` is the name of one aggregation. Has no effect with a sparse ``adj_t``.
        **kwargs: as in :class:`torch_geometric.nn.MessagePassing`; ``aggr`` defaults to ``"add"``.

    Raises:
        TypeError: if ``law`` is neither a name nor a law, or a number is of another type.
        ValueError: if the name of the law or ``normalize`` is unknown, a number is not finite, ``aggr`` is None, or
            ``decomposed_layers`` is above 1 with several aggregations or one that is not given by its name.

    Example:
        >>> conv = SpatialSimpleConv()
        >>> pos = torch.tensor([[0.0], [2.0]])
        >>> conv(torch.tensor([[3.0], [5.0]]), pos, torch.tensor([[0], [1]]))
        tensor([[0.0000],
                [1.5000]])
    """

    gain = Setting(checks.number)
    normalize = Setting(check_normalize)
    self_weight = Setting(_check_self_weight)

    def __init__(
        self,
        law: str | Law = "inverse_distance",
        gain: float = 1.0,
        *,
        normalize: str | None = None,
        self_weight: float | None = 1.0,
        decomposed_layers: int = 1,
        **kwargs: Any,  # noqa: ANN401
    ) -> None:
        kwargs.setdefault("aggr", "add")
        check_aggregation(kwargs["aggr"])
        super().__init__(**kwargs)
        # PyG splits only x_j, and would compute all features for each group.
        self.groups = checks.integer("decomposed_layers", decomposed_layers, minimum=1)
        if self.groups > 1 and not isinstance(kwargs["aggr"], str):
            # The results of several aggregations lie side by side, so those of groups of features would be interleaved;
            # and an aggregation's own parameters may be for all features.
            raise ValueError(
                f"decomposed_layers must be 1 unless aggr is the name of one aggregation, got {self.groups} with "
                f"{kwargs['aggr']!r}"
            )
        self.law = make_law(law)
        self.gain, self.normalize, self.self_weight = gain, normalize, self_weight
        self.fuse: bool = is_sum(self)  # the compressed product sums

    def forward(
        self,
        x: Tensor | PairTensor | OptPairTensor,
        pos: Tensor | PairTensor,
        edge_index: Adj,
        polarity: OptTensor = None,
        edge_weight: OptTensor = None,
        size: Size = None,
    ) -> Tensor:
        """Compute the convolution.

        Args:
            x: features, shape ``(..., N, F)``, or a pair for sources and targets; the features of the targets may be
                None. Leading axes are a batch of features on the same graph.
            pos: positions, shape ``(N, d)``, or a pair, in length units.
            edge_index: edges, shape ``(2, E)``, or ``adj_t``, a sparse matrix of shape ``(targets, sources)`` whose
                values are the edge weights.
            polarity: factor on each source's output, shape ``(N,)``; None for 1.
            edge_weight: factor :math:`e` on each edge, shape ``(E,)``; None for 1.
            size: numbers of sources and targets of a bipartite graph.

        Returns:
            Features of the targets, shape ``(..., N, F)``.

        Raises:
            TypeError: if ``x`` or ``pos`` is not a tensor or a pair of tensors, or ``edge_index`` is not int64.
            ValueError: if the numbers of nodes of features, positions, polarities, ``size`` and edges differ.
        """
        places = positions_of(pos)
        counts = places[0].shape[0], places[1].shape[0]
        sender = 0 if self.flow == "source_to_target" else 1
        features = features_of(x, counts, sender)
        checks.same_device("x", features, places[0])
        scale = places[sender].new_full((counts[sender],), self.gain)
        if polarity is not None:
            checks.same_device("polarity", checks.shape("polarity", polarity, (counts[sender],)), places[0])
            scale = self.gain * polarity
        check_size(size, counts)
        edges, factor, is_matrix = edges_of(edge_index, edge_weight, counts, places[0])
        check_flow(self.flow, is_matrix)
        ends = edges if sender == 0 else edges.flip(0)
        weight = self._weight(places if sender == 0 else places[::-1], ends, factor, isinstance(pos, Tensor))
        weight = taken(in_single(scale), ends[0]) * weight
        weight = weight.to(torch.promote_types(scale.dtype, places[0].dtype))
        groups = 1 if self.explain or (is_matrix and self.fuse) else self.groups
        out = []
        for group in features.chunk(groups, -1):
            pair = (group, None) if sender == 0 else (None, group)
            out.append(self.propagate(edge_index, x=pair, weight=weight, size=counts))
        return torch.cat(out, -1) if len(out) > 1 else out[0]

    def message(self, x: PairTensor, weight: Tensor, edge_index_j: Tensor) -> Tensor:
        """Multiply the features of each edge's source by the edge's weight."""
        # Gathered here, because for x_j PyG uses the first of a pair for either flow.
        sender = 0 if self.flow == "source_to_target" else 1
        messages: Tensor = weight[:, None] * x[sender].index_select(-2, edge_index_j)
        return messages

    def message_and_aggregate(self, edge_index: Adj, x: PairTensor, weight: Tensor) -> Tensor:
        """Multiply by the sparse matrix of weights, if ``edge_index`` is an ``adj_t``."""
        edges, order = compressed_edges(edge_index)
        weight = weight if order is None else weight[order]
        # Features and weights are promoted to the higher precision, as in message passing.
        return sparse(x[0].mT, weight.to(torch.promote_types(weight.dtype, x[0].dtype)), edges).mT

    def _set_jittable_templates(self, raise_on_error: bool = False) -> None:
        # PyG generates code once for the class, as its first object needs it; all objects need the sparse product.
        self.fuse = True
        super()._set_jittable_templates(raise_on_error)

    def __repr__(self) -> str:
        """Show law, gain and settings that differ from their defaults."""
        settings = [repr(self.law), f"gain={self.gain:g}"]
        settings += [f"normalize={self.normalize!r}"] if self.normalize is not None else []
        settings += [f"self_weight={self.self_weight}"] if self.self_weight != 1.0 else []
        settings += [f"aggr={self.aggr!r}"] if self.aggr not in ("add", "sum") else []
        settings += [f"flow={self.flow!r}"] if self.flow != "source_to_target" else []
        settings += [f"decomposed_layers={self.groups}"] if self.groups > 1 else []
        return f"{type(self).__name__}({', '.join(settings)})"

    def _weight(self, places: PairTensor, ends: Tensor, factor: OptTensor, has_self: bool) -> Tensor:
        """Return the normalised weight of each edge; ``ends`` are its source and target."""
        source, target = (taken(in_single(pos), end) for pos, end in zip(places, ends, strict=True))
        weight = self.law.from_square(softened_square(source, target, self.law.softening))
        if has_self and self.self_weight is not None:
            weight = torch.where(ends[0] == ends[1], self.self_weight, weight)
        if factor is not None:
            weight = weight * in_single(factor)
        if self.normalize is None:
            return weight
        into = summed(weight.abs(), ends[1], places[1].shape[0])
        if self.normalize == "sum":
            return weight * taken(inverse(into), ends[1])
        out_of = summed(weight.abs(), ends[0], places[0].shape[0])
        weight = weight * taken(inverse(into, 0.5), ends[1])
        return weight * taken(inverse(out_of, 0.5), ends[0])
