"""Graph convolution whose channels have positions, as a PyG operator."""

import dataclasses
import math
from typing import Any, ClassVar, cast

import torch
from torch import Tensor, nn
from torch.nn.parameter import UninitializedParameter, is_lazy

from spatialgraph import checks
from spatialgraph.functional.channels import absolute, channel_convolution
from spatialgraph.functional.gains import default_gain
from spatialgraph.functional.ordered import taken
from spatialgraph.functional.pairs import pairwise_length
from spatialgraph.functional.polarity import check_polarity, polarity_of
from spatialgraph.functional.precision import in_single
from spatialgraph.laws import Law, make_law
from spatialgraph.layers.aggregation import check_one_aggregation, is_sum
from spatialgraph.layers.nodes import check_flow, check_size, edges_of, features_of, positions_of
from spatialgraph.layers.normalize import check_normalize, inverse
from spatialgraph.pyg import Adj, MessagePassing, OptPairTensor, OptTensor, PairTensor, Size
from spatialgraph.settings import Setting

__all__ = ["SpatialConv"]


def _check_gain(name: str, value: Any) -> float | None:  # noqa: ANN401 - any value is checked
    return None if value is None else checks.number(name, value)


def _check_channels(value: Any) -> int:  # noqa: ANN401
    return -1 if value == -1 else checks.integer("in_channels", value, minimum=1)


@dataclasses.dataclass(frozen=True)
class _Kernel:
    """The weights of all edges and pairs of channels, by what they follow from."""

    displacement: Tensor
    offset: Tensor
    edge_weight: Tensor
    law: Law
    edge_index: Tensor  # sources first
    counts: tuple[int, int]

    def convolve(self, x: Tensor) -> Tensor:
        """Return the channels of the targets."""
        return channel_convolution(
            x, self.displacement, self.offset, self.edge_weight, self.law, self.edge_index, self.counts[1]
        )

    def of_each_edge(self) -> "_Kernel":
        """Return a kernel for which every edge has a target of its own."""
        edges = self.edge_index.shape[1]
        own = torch.stack([self.edge_index[0], torch.arange(edges, device=self.edge_index.device)])
        return dataclasses.replace(self, edge_index=own, counts=(self.counts[0], edges))

    def absolute(self) -> "_Kernel":
        """Return the kernel of absolute weights."""
        return dataclasses.replace(self, edge_weight=self.edge_weight.abs(), law=absolute(self.law))

    def reversed(self) -> "_Kernel":
        """Return the kernel from targets to sources: lengths do not depend on the direction."""
        edges, offset = self.edge_index.flip(0), self.offset.transpose(0, 1)
        return dataclasses.replace(self, offset=offset, edge_index=edges, counts=self.counts[::-1])

    def sums(self) -> Tensor:
        """Return the sum of the weights into each channel of the targets."""
        return self.convolve(self.offset.new_ones(self.counts[0], self.offset.shape[0]))


class SpatialConv(MessagePassing):  # type: ignore[misc]  # PyG ships no type information
    r"""Graph convolution whose channels are neurons at learnable offsets from their nodes.

    .. math::

        \mathbf{x}'_{v, c'} = \gamma \sum_{u \in \mathcal{N}(v)} e_{uv} \sum_c s_c\,
        w(|p_u + o_c - p_v - t_{c'}|)\, x_{u, c} + b_{c'}

    Channel :math:`c` of a source sits at :math:`p_u + o_c`, channel :math:`c'` of a target at :math:`p_v + t_{c'}`. The
    kernel depends on the direction of an edge, and has
    :math:`(d + 1)\, C_\text{in} + (d + 1)\, C_\text{out}` parameters. The weights of edges and pairs of channels are
    computed for blocks of edges and never held at once; second derivatives do hold them. Messages, one for each edge
    and output channel, exist only with ``explain`` and with aggregations other than a sum.

    Where the space of the channels has more dimensions than that of the nodes (``pos_dim``), all nodes are at 0 in the
    others: there, only the offsets of the channels differ. Each further dimension lets weights between channels depend
    less on each other, at a parameter for each channel and next to no time.

    Self-loops are allowed: their weights follow from the offsets. For edge weights without channels see
    :class:`~spatialgraph.SpatialSimpleConv`.

    Args:
        in_channels: number of channels of the sources; -1 to take it from the first input.
        out_channels: number of channels of the targets.
        dim: number of dimensions d of the offsets.
        pos_dim: number of dimensions of the positions of nodes, at most d; None for d.
        law: from length to weight, a name or a :class:`~spatialgraph.laws.Law`.
        polarity_mode: ``"graded"`` or ``"binary"``, as in :class:`~spatialgraph.SpatialGraph`.
        gain: constant factor :math:`\gamma`; None for one that keeps the scale of the channels over a single edge of
            length 0, or, if normalised, over any number of edges; None set later takes effect at the next pass.
        normalize: ``"sum"`` divides by the sum :math:`d_{vc'}` of the absolute weights :math:`e_{uv}\, w` into each
            channel of a target; ``"gcn"`` divides each weight by :math:`\sqrt{d_{uc}\, d_{vc'}}`, where :math:`d_{uc}`
            is the sum over those out of a channel of a source, as in `Kipf and Welling (2017)
            <https://arxiv.org/abs/1609.02907>`_; None for neither.
        spread: standard deviation of the initial offsets, in length units; about the length of an edge.
        bias: whether output channels have a bias.
        **kwargs: as in :class:`torch_geometric.nn.MessagePassing`; ``aggr`` defaults to ``"add"``, and must be a single
            aggregation.

    Raises:
        TypeError: if a number is of the wrong type, ``bias`` is not a bool, or ``law`` is neither a name nor a law.
        ValueError: if a number of channels or dimensions is below 1, ``pos_dim`` is above ``dim``, a number is not
            finite, a name is unknown, or ``aggr`` is None or several aggregations.

    Example:
        >>> conv = SpatialConv(16, 32, dim=2)
        >>> pos, edges = torch.rand(4, 2), torch.tensor([[0, 1, 2], [1, 2, 3]])
        >>> conv(torch.rand(4, 16), pos, edges).shape, sum(p.numel() for p in conv.parameters())
        (torch.Size([4, 32]), 144)
    """

    parameter_kinds: ClassVar[dict[str, str]] = {
        "source_offset": "positions",
        "target_offset": "positions",
        "raw_polarity": "polarities",
        "bias": "biases",
    }

    gain = Setting(_check_gain)
    polarity_mode = Setting(check_polarity)
    normalize = Setting(check_normalize)

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        dim: int = 3,
        *,
        pos_dim: int | None = None,
        law: str | Law = "inverse_distance",
        polarity_mode: str = "graded",
        gain: float | None = None,
        normalize: str | None = None,
        spread: float = 1.0,
        bias: bool = True,
        **kwargs: Any,  # noqa: ANN401
    ) -> None:
        kwargs.setdefault("aggr", "add")
        check_one_aggregation(kwargs["aggr"])
        super().__init__(**kwargs)
        self.in_channels = _check_channels(in_channels)
        self.out_channels = checks.integer("out_channels", out_channels, minimum=1)
        self.dim = checks.integer("dim", dim, minimum=1)
        self.pos_dim = self.dim if pos_dim is None else checks.integer("pos_dim", pos_dim, minimum=1)
        if self.pos_dim > self.dim:
            raise ValueError(f"pos_dim must be at most dim ({self.dim}), got {self.pos_dim}")
        self.law = make_law(law)
        self.polarity_mode, self.normalize = polarity_mode, normalize
        self.gain = gain
        self.spread = checks.positive("spread", spread)
        self.is_summed = is_sum(self)
        if normalize is not None and not self.is_summed:
            raise ValueError(f"normalize must be None unless aggr is 'add', got {normalize!r} with {kwargs['aggr']!r}")
        self.target_offset = nn.Parameter(torch.empty(out_channels, dim))
        self.source_offset = cast(nn.Parameter, UninitializedParameter())
        self.raw_polarity = cast(nn.Parameter, UninitializedParameter())
        self.bias = nn.Parameter(torch.empty(out_channels)) if checks.flag("bias", bias) else None
        if in_channels != -1:
            self._create(in_channels)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw offsets with the standard deviation ``spread`` and polarities from N(0, 1); set biases to 0."""
        with torch.no_grad():
            self.target_offset.normal_(std=self.spread)
            if self.bias is not None:
                self.bias.zero_()
            if self.in_channels != -1:
                self.source_offset.normal_(std=self.spread)
                self.raw_polarity.normal_()

    @property
    def polarity(self) -> Tensor:
        """Factors on the channels of the sources, shape ``(in_channels,)``."""
        return polarity_of(self.raw_polarity, self.polarity_mode)

    def forward(
        self,
        x: Tensor | PairTensor | OptPairTensor,
        pos: Tensor | PairTensor,
        edge_index: Adj,
        edge_weight: OptTensor = None,
        size: Size = None,
    ) -> Tensor:
        """Compute the convolution.

        Args:
            x: channels, shape ``(..., N, in_channels)``, or a pair for sources and targets; those of the targets may be
                None. Leading axes are a batch of features on the same graph, for which weights are computed once.
            pos: positions, shape ``(N, pos_dim)``, or a pair, in length units.
            edge_index: edges, shape ``(2, E)``, or ``adj_t``, a sparse matrix of shape ``(targets, sources)`` whose
                values are the edge weights.
            edge_weight: factor :math:`e` on each edge, shape ``(E,)``; None for 1.
            size: numbers of sources and targets of a bipartite graph.

        Returns:
            Channels of the targets, shape ``(..., N, out_channels)``.

        Raises:
            TypeError: if ``x`` or ``pos`` is not a tensor or a pair of tensors, or ``edge_index`` is not int64.
            ValueError: if the numbers of nodes of features, positions, ``size`` and edges differ, or the numbers of
                channels or dimensions are not those of the layer.
        """
        places = positions_of(pos)
        counts = places[0].shape[0], places[1].shape[0]
        sender = 0 if self.flow == "source_to_target" else 1
        features = self._features(features_of(x, counts, sender), places[0])
        check_size(size, counts)
        edges, factor, is_matrix = edges_of(edge_index, edge_weight, counts, places[0])
        check_flow(self.flow, is_matrix)
        dtype = torch.promote_types(torch.promote_types(features.dtype, places[0].dtype), self.target_offset.dtype)
        exact = in_single(features.to(dtype))
        kernel = self._kernel([*places], edges, factor, exact.dtype)
        y = self._send(exact * self.polarity, kernel, edges)
        y = self._settled_gain() * y
        return (y if self.bias is None else y + self.bias).to(dtype)

    def message(self, x: Tensor, kernel: _Kernel) -> Tensor:
        """Return the message of each edge, shape ``(..., E, out_channels)``."""
        return kernel.of_each_edge().convolve(x)

    def __repr__(self) -> str:
        """Show channels, dimensions, the law and settings that differ from their defaults."""
        settings = [str(self.in_channels), str(self.out_channels), f"dim={self.dim}", f"law={self.law}"]
        settings += [f"pos_dim={self.pos_dim}"] if self.pos_dim != self.dim else []
        settings += [f"polarity_mode={self.polarity_mode!r}"] if self.polarity_mode != "graded" else []
        settings += [f"normalize={self.normalize!r}"] if self.normalize is not None else []
        settings += [f"aggr={self.aggr!r}"] if not self.is_summed else []
        settings += [f"flow={self.flow!r}"] if self.flow != "source_to_target" else []
        return f"{type(self).__name__}({', '.join(settings)})"

    def _send(self, x: Tensor, kernel: _Kernel, edges: Tensor) -> Tensor:
        """Return the normalised sums; ``edges`` are in the order of the flow."""
        if self.normalize == "gcn":
            x = x * inverse(kernel.absolute().reversed().sums(), 0.5)
        if self.is_summed and not self.explain:
            y = kernel.convolve(x)
        else:
            size = kernel.counts if self.flow == "source_to_target" else kernel.counts[::-1]
            y = self.propagate(edges, x=x, kernel=kernel, size=size)
        if self.normalize is None:
            return y
        return y * inverse(kernel.absolute().sums(), 1.0 if self.normalize == "sum" else 0.5)

    def _kernel(self, places: list[Tensor], edges: Tensor, factor: OptTensor, dtype: torch.dtype) -> _Kernel:
        if self.flow != "source_to_target":
            places, edges = places[::-1], edges.flip(0)
        source, target = (taken(in_single(place), end) for place, end in zip(places, edges, strict=True))
        offset = in_single(self.source_offset)[:, None] - in_single(self.target_offset)
        weight = source.new_ones(edges.shape[1]) if factor is None else factor
        counts = places[0].shape[0], places[1].shape[0]
        return _Kernel(
            (source - target).to(dtype), offset.to(dtype), in_single(weight).to(dtype), self.law, edges, counts
        )

    def _features(self, x: Tensor, pos: Tensor) -> Tensor:
        """Check features and positions against the layer, whose parameters are created if it was lazy."""
        if self.in_channels == -1:
            self._create(x.shape[-1])
        if x.shape[-1] != self.in_channels:
            raise ValueError(f"x must have {self.in_channels} channels (in_channels), got {x.shape[-1]}")
        if pos.shape[1] != self.pos_dim:
            name = "dim" if self.pos_dim == self.dim else "pos_dim"
            raise ValueError(f"pos must have {self.pos_dim} dimensions ({name}), got {pos.shape[1]}")
        for name, value in (("x", x), ("pos", pos)):
            if not value.is_floating_point():
                raise TypeError(f"{name} must be floating point, got {value.dtype}")
            checks.same_device(name, value, self.target_offset)
        return x

    @torch.no_grad()
    def _create(self, in_channels: int) -> None:
        """Create the parameters of the sources."""
        self.in_channels = checks.integer("in_channels", in_channels, minimum=1)
        like = self.target_offset
        cast(UninitializedParameter, self.source_offset).materialize(
            (in_channels, self.dim), device=like.device, dtype=like.dtype
        )
        cast(UninitializedParameter, self.raw_polarity).materialize(
            (in_channels,), device=like.device, dtype=like.dtype
        )
        self.source_offset.normal_(std=self.spread)
        self.raw_polarity.normal_()
        self._settled_gain()

    def _settled_gain(self) -> float:
        """Return the gain; where it is None, the default one, which it is from then on."""
        if self.gain is None:
            self.gain = self._default_gain()
        return self.gain

    def _default_gain(self) -> float:
        """Return the gain for offsets drawn with a fixed seed, so that it does not depend on PyTorch's seed."""
        if self.normalize is not None:
            return math.sqrt(self.in_channels if self.normalize == "sum" else self.out_channels)
        generator = torch.Generator().manual_seed(0)
        source, target = self.spread * torch.randn(2, 64, self.dim, generator=generator, device="cpu")
        device = next((values.device for values in self.law.state_dict().values()), source.device)
        return default_gain(self.in_channels, pairwise_length(source, target).to(device), self.law)

    def _save_to_state_dict(self, destination: dict[str, Any], prefix: str, keep_vars: bool) -> None:
        if self.in_channels != -1:
            super()._save_to_state_dict(destination, prefix, keep_vars)
            return
        # Parameters without a shape cannot be detached. They are stored as they are, as in torch.nn.LazyLinear.
        for name, parameter in self._parameters.items():
            if parameter is not None:
                destination[prefix + name] = parameter if keep_vars or is_lazy(parameter) else parameter.detach()

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *args: Any) -> None:  # noqa: ANN401
        saved = state_dict.get(prefix + "source_offset")
        if self.in_channels == -1 and saved is not None and not is_lazy(saved) and saved.dim() == 2:
            self._create(saved.shape[0])
        super()._load_from_state_dict(state_dict, prefix, *args)
