"""Convolution over positions: the PyG operator and the drop-in for ``nn.Linear``."""

import math
from collections.abc import Callable
from typing import Any, Generic, TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch_geometric.nn import MessagePassing
from torch_geometric.typing import Adj, OptPairTensor, OptTensor, PairTensor, Size
from torch_geometric.utils import is_sparse, to_edge_index

from spatialgraph import checks
from spatialgraph.functional import all_to_all, edge_weight, pairwise_weight, sparse
from spatialgraph.laws import Law, make_law, softened_square
from spatialgraph.polarity import POLARITIES, polarity_of
from spatialgraph.projections import CompressedEdges

__all__ = ["Cached", "SpatialConv", "SpatialLinear"]

Value = TypeVar("Value")


class SpatialConv(MessagePassing):  # type: ignore[misc]  # PyG ships no type information
    r"""Graph convolution whose edge weights follow from the lengths of the edges.

    .. math:: \mathbf{x}'_j = \gamma \sum_{i \in \mathcal{N}(j)} s_i\, w(|p_i - p_j|)\, \mathbf{x}_i

    A :class:`torch_geometric.nn.MessagePassing` operator like any other: bipartite graphs as pairs, ``size``, ``flow``,
    other aggregations. Given a sparse ``adj_t`` (``torch.sparse_csr``, rows are targets) instead of an ``edge_index``,
    it multiplies by the compressed matrix and never stores a message for each edge.

    Args:
        law: from length to weight, a name or a :class:`~spatialgraph.laws.Law`.
        gain: constant factor :math:`\gamma`.
        decomposed_layers: number of groups of features whose messages are stored one after the other, to save memory;
            a matrix ``adj_t`` stores none.
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
        # PyG splits what messages take as x_j only, and would compute all features in each of the rounds.
        self.groups = checks.integer("decomposed_layers", decomposed_layers, minimum=1)
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

        Raises:
            TypeError: if an argument is of the wrong type.
            ValueError: if features, positions, polarities, ``size`` and edges do not belong to as many nodes.
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
        # Features and weights of different precision meet in the higher one, as where messages are multiplied.
        return sparse(x[0].t(), weight.to(torch.promote_types(weight.dtype, x[0].dtype)), edges).t()

    def __repr__(self) -> str:
        """Show law and gain, and other settings where they are not the usual ones."""
        settings = [repr(self.law), f"gain={self.gain:g}"]
        settings += [f"aggr={self.aggr!r}"] if self.aggr not in ("add", "sum") else []
        settings += [f"flow={self.flow!r}"] if self.flow != "source_to_target" else []
        settings += [f"decomposed_layers={self.groups}"] if self.groups > 1 else []
        return f"{type(self).__name__}({', '.join(settings)})"


class SpatialLinear(nn.Module):
    r"""Drop-in for :class:`torch.nn.Linear` with O(n) parameters: weights follow from the positions of two layers.

    .. math:: y_j = \gamma \sum_i s_i\, w(|p_i - q_j|)\, x_i + b_j

    Args:
        in_features: number of source neurons.
        out_features: number of target neurons.
        dim: number of axes d.
        bias: whether targets have a bias.
        polarity: ``"graded"`` or ``"binary"``, as in :class:`~spatialgraph.SpatialGraph`.
        law: from length to weight, a name or a :class:`~spatialgraph.laws.Law`.
        gain: constant factor :math:`\gamma`; None for ``1 / sqrt(in_features)``, which keeps the scale of the inputs.
        device: as in ``nn.Linear``.
        dtype: as in ``nn.Linear``.

    Raises:
        TypeError: if an argument is of the wrong type.
        ValueError: if a number is out of range or a name unknown.

    Example:
        >>> layer = SpatialLinear(784, 2048)
        >>> layer(torch.zeros(5, 784)).shape, sum(p.numel() for p in layer.parameters())
        (torch.Size([5, 2048]), 11328)
    """

    def __init__(
        self,
        in_features: int,
        out_features: int,
        dim: int = 3,
        *,
        bias: bool = True,
        polarity: str = "graded",
        law: str | Law = "inverse_distance",
        gain: float | None = None,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        self.in_features = checks.integer("in_features", in_features, minimum=1)
        self.out_features = checks.integer("out_features", out_features, minimum=1)
        self.dim = checks.integer("dim", dim, minimum=1)
        self.polarity_kind = checks.choice("polarity", polarity, POLARITIES)
        self.gain = 1 / math.sqrt(in_features) if gain is None else checks.number("gain", gain)
        self.law = make_law(law).to(device=device, dtype=dtype)
        self.source_pos = nn.Parameter(torch.empty(in_features, dim, device=device, dtype=dtype))
        self.target_pos = nn.Parameter(torch.empty(out_features, dim, device=device, dtype=dtype))
        self.raw_polarity = nn.Parameter(torch.empty(in_features, device=device, dtype=dtype))
        self.bias = nn.Parameter(torch.empty(out_features, device=device, dtype=dtype)) if bias else None
        self._weight: Cached[Tensor] = Cached()
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw two layers of N(0, 1), 1 apart along the last axis; polarities N(0, 1); biases 0."""
        with torch.no_grad():
            for values in (self.source_pos, self.target_pos, self.raw_polarity):
                values.normal_()
            self.source_pos[:, -1] = 0.0
            self.target_pos[:, -1] = 1.0
            if self.bias is not None:
                self.bias.zero_()

    @property
    def polarity(self) -> Tensor:
        """What multiplies each source's output, shape ``(in_features,)``."""
        return polarity_of(self.raw_polarity, self.polarity_kind)

    def weight(self) -> Tensor:
        """Return the signed weights as ``nn.Linear`` holds them, detached, shape ``(out_features, in_features)``."""
        with torch.no_grad():
            return pairwise_weight(self.source_pos, self.target_pos, self.gain * self.polarity, self.law)

    def forward(self, x: Tensor) -> Tensor:
        """Send activations of shape ``(..., in_features)`` on as ``(..., out_features)``."""
        checks.features("x", x, self.in_features, self.source_pos)
        if Cached.usable(self):
            return F.linear(x, self._weight.get(self, self.weight), self.bias)
        return all_to_all(x, self.source_pos, self.target_pos, self.gain * self.polarity, self.law, self.bias)

    def extra_repr(self) -> str:
        """Return the settings shown by ``repr``."""
        return (
            f"in_features={self.in_features}, out_features={self.out_features}, dim={self.dim}, "
            f"bias={self.bias is not None}, polarity={self.polarity_kind!r}"
        )


class Cached(Generic[Value]):
    """A value derived from a module's parameters, kept until one of them changes.

    Changes are told by PyTorch's version counters, so that optimisers, ``load_state_dict``, ``.to()`` and in-place
    writes are all noticed; writes through ``.data`` are not.
    """

    def __init__(self) -> None:
        self._key: tuple[object, ...] | None = None
        self._value: Value | None = None
        self._sources: tuple[object, ...] = ()

    @staticmethod
    def usable(module: nn.Module) -> bool:
        """Tell whether a module is in ``eval()`` and no gradient could be asked of its parameters."""
        if module.training or torch.compiler.is_compiling():
            return False
        return not (torch.is_grad_enabled() and any(p.requires_grad for p in module.parameters()))

    def get(self, module: nn.Module, build: Callable[[], Value], *more: object) -> Value:
        """Return the value, built anew if the module's tensors, or the objects ``more``, have changed."""
        sources = (*module.parameters(), *module.buffers(), *more)
        key = tuple((id(s), s._version, s.data_ptr()) if isinstance(s, Tensor) else id(s) for s in sources)
        if self._value is None or key != self._key:
            # Outside inference mode, so that the value may serve a later pass that records gradients of the input.
            with torch.inference_mode(False), torch.no_grad():
                self._value = build()
            self._key = key
            self._sources = sources  # kept alive, so that no new tensor takes over the identity of an old one
        return self._value

    def __deepcopy__(self, memo: dict[int, object]) -> "Cached[Value]":
        """Return an empty cache: a copy of the module has parameters of its own."""
        return Cached()

    def __reduce__(self) -> tuple[type, tuple[()]]:
        """Leave the value out of pickles."""
        return Cached, ()


def _positions(pos: Tensor | PairTensor) -> PairTensor:
    """Return positions of both sets of nodes, in one space."""
    first, second = (_rows("pos", member) for member in _pair("pos", pos))
    checks.axes("pos", first, 2)
    checks.operand("pos", second, (second.shape[0], first.shape[1]), first)
    return first, second


def _features(x: Tensor | PairTensor | OptPairTensor, counts: tuple[int, int], sender: int) -> Tensor:
    """Return the features of those who send; both sets of nodes have a row for each, or the receivers none at all."""
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
    """Check a matrix whose compressed indices PyTorch was told not to check, before they are written out."""
    is_csr = isinstance(adj_t, Tensor) and adj_t.layout == torch.sparse_csr
    is_csc = isinstance(adj_t, Tensor) and adj_t.layout == torch.sparse_csc
    if not (is_csr or is_csc) or not checks.has_values(adj_t):
        return
    pointer, indices = (adj_t.crow_indices, adj_t.col_indices) if is_csr else (adj_t.ccol_indices, adj_t.row_indices)
    checks.pointer("crow_indices of adj_t" if is_csr else "ccol_indices of adj_t", pointer(), indices().numel())
    checks.within("col_indices of adj_t" if is_csr else "row_indices of adj_t", indices(), adj_t.shape[int(is_csr)])


def _check_edges(edge_index: Adj, counts: tuple[int, int], pos: Tensor) -> bool:
    """Check that edges join existing nodes, and tell whether they are a matrix."""
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
    checks.beside("edge_index", edge_index, pos)
    # An accelerator checks for itself, and need not be waited for.
    if edge_index.device.type == "cpu" and checks.has_values(edge_index):
        for row, count in enumerate(counts):
            checks.within(f"edge_index[{row}]", edge_index[row], count)
    return False
