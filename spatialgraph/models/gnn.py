"""SpatialGNN: a graph neural network of spatial convolutions."""

from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from typing import Any, cast

import torch
from torch import Tensor, nn

from spatialgraph import checks
from spatialgraph.layers.conv import SpatialConv
from spatialgraph.layers.linear import SpatialLinear
from spatialgraph.layers.nodes import edges_of
from spatialgraph.models.activations import Activation, make_activation
from spatialgraph.pyg import Adj, OptTensor, global_add_pool, global_max_pool, global_mean_pool

__all__ = ["SpatialGNN"]

POOLS: Mapping[str, Callable[..., Tensor]] = {
    "add": global_add_pool,
    "mean": global_mean_pool,
    "max": global_max_pool,
}
NORMS: Mapping[str, Callable[[int], nn.Module]] = {"batch": nn.BatchNorm1d, "layer": nn.LayerNorm}
HEADS: Mapping[str, Callable[..., nn.Module]] = {"linear": nn.Linear, "spatial": SpatialLinear}


class SpatialGNN(nn.Module):
    r"""Graph neural network of spatial convolutions, with or without pooling.

    Each layer computes :math:`X_l = \mathrm{dropout}(\phi(\mathrm{norm}(\mathrm{conv}_l(X_{l-1}))))` with a
    :class:`~spatialgraph.SpatialConv`. The result is pooled over the nodes of each graph, if at all, and the head, a
    linear layer, maps it to the output.

    The layers may coarsen a graph: layer :math:`l` then sends from the nodes of level :math:`l - 1` to those of level
    :math:`l`, each level with positions of its own, and has edges of its own.

    Positions come with the data and there is no :class:`~spatialgraph.SpatialGraph`: store the model by its
    ``state_dict``, not by :func:`spatialgraph.save`.

    Args:
        in_channels: number of features of a node; -1 to take it from the first input.
        hidden_channels: number of channels of all layers, or a list with one for each layer.
        num_layers: number of layers.
        out_channels: number of outputs of a graph, or of a node.
        dim: number of dimensions of the offsets of channels, and of the positions unless ``pos_dim`` is given.
        pool: ``"add"``, ``"mean"`` or ``"max"`` over the nodes of a graph; None for an output of each node.
        head: ``"linear"`` for :class:`torch.nn.Linear`, ``"spatial"`` for :class:`~spatialgraph.SpatialLinear`.
        act: activation :math:`\phi`, a name or a function, as in :class:`~spatialgraph.SpatialMLP`.
        norm: ``"batch"`` for :class:`torch.nn.BatchNorm1d`, ``"layer"`` for :class:`torch.nn.LayerNorm`, or None.
        dropout: probability with which an activation is dropped in training.
        **options: ``pos_dim``, ``law``, ``polarity_mode``, ``gain``, ``normalize``, ``spread`` and others as in
            :class:`~spatialgraph.SpatialConv`; a :class:`~spatialgraph.laws.Law` object is shared by the layers.

    Raises:
        TypeError: if an argument is of the wrong type.
        ValueError: if a number is out of range, or a name unknown.

    Example:
        >>> model = SpatialGNN(3, 16, 2, 10, dim=2, pool="mean")
        >>> pos, edges = torch.rand(5, 2), torch.tensor([[0, 1, 3], [1, 2, 4]])
        >>> model(torch.rand(5, 3), pos, edges, batch=torch.tensor([0, 0, 0, 1, 1])).shape
        torch.Size([2, 10])

        Two layers that coarsen a graph of five nodes to two nodes and then to one:

        >>> model = SpatialGNN(3, [8, 16], 2, 10, dim=2)
        >>> levels = [pos, torch.rand(2, 2), torch.rand(1, 2)]
        >>> edges = [torch.tensor([[0, 1, 2, 3, 4], [0, 0, 0, 1, 1]]), torch.tensor([[0, 1], [0, 0]])]
        >>> model(torch.rand(5, 3), levels, edges).shape
        torch.Size([1, 10])
    """

    def __init__(
        self,
        in_channels: int,
        hidden_channels: int | Sequence[int],
        num_layers: int,
        out_channels: int,
        dim: int = 3,
        *,
        pool: str | None = None,
        head: str = "linear",
        act: str | Activation = "relu",
        norm: str | None = "layer",
        dropout: float = 0.0,
        **options: Any,  # noqa: ANN401 - passed on to SpatialConv
    ) -> None:
        super().__init__()
        layers = checks.integer("num_layers", num_layers, minimum=1)
        hidden = _hidden(hidden_channels, layers)
        self.pool = None if pool is None else checks.choice("pool", pool, list(POOLS))
        self.act = make_activation(act)
        self.convs = nn.ModuleList(SpatialConv(*sizes, dim, **options) for sizes in pairwise([in_channels, *hidden]))
        make_norm = nn.Identity if norm is None else NORMS[checks.choice("norm", norm, list(NORMS))]
        self.norms = nn.ModuleList(make_norm(size) for size in hidden)
        self.dropout = nn.Dropout(checks.between("dropout", dropout, 0.0, 1.0))
        self.head = HEADS[checks.choice("head", head, list(HEADS))](hidden[-1], out_channels)

    def reset_parameters(self) -> None:
        """Draw all parameters anew; learnable parameters of a law stay."""
        activation = self.act.modules() if isinstance(self.act, nn.Module) else ()
        for module in (*self.convs, *self.norms, *activation, self.head):
            if hasattr(module, "reset_parameters"):
                cast(SpatialConv, module).reset_parameters()

    def forward(
        self,
        x: Tensor,
        pos: Tensor | Sequence[Tensor],
        edge_index: Adj | Sequence[Adj],
        batch: OptTensor = None,
        edge_weight: OptTensor | Sequence[OptTensor] = None,
        batch_size: int | None = None,
    ) -> Tensor:
        """Return the outputs of all graphs, or of all nodes if the model does not pool.

        Args:
            x: features, shape ``(..., N, in_channels)``; leading axes are a batch of features on the same graph.
            pos: positions, shape ``(N, d)``, in length units; for layers that coarsen, a list of the positions at all
                levels, one more than layers, from those of the nodes of ``x`` on.
            edge_index: edges, shape ``(2, E)``, or ``adj_t``, as in :class:`~spatialgraph.SpatialConv`; for layers that
                coarsen, a list of the edges of all layers, each from the nodes of a level to those of the next.
            batch: the graph of each node, ascending from 0, shape ``(N,)``, int64; None for one graph. With levels,
                that of each node of the last one.
            edge_weight: factor on each edge, shape ``(E,)``; None for 1. With levels, a list for all layers, or None.
            batch_size: number of graphs, with ``batch`` only; None to take it from there.

        Returns:
            Tensor of shape ``(..., graphs, out_channels)`` if the model pools, else ``(..., N, out_channels)``, where N
            is the number of nodes of the last level. Without ``batch``, a model that pools features with leading axes
            returns ``(..., out_channels)``.

        Raises:
            TypeError: if ``x`` or ``pos`` is not a tensor of the parameters' dtype, or ``batch`` is not int64.
            ValueError: if ``batch`` is not sorted, leaves a graph without nodes, or an edge leads to another graph; if
                there is no node to pool; if ``batch_size`` is given without ``batch``; if the numbers of levels and
                layers do not agree, or levels are given to a model with ``flow="target_to_source"``; or as in
                :class:`~spatialgraph.SpatialConv`.
        """
        has_levels = isinstance(pos, list | tuple)
        flow = cast(SpatialConv, self.convs[0]).flow
        if has_levels and flow != "source_to_target":
            raise ValueError(f"flow must be 'source_to_target' with levels, got {flow!r}")
        levels = _levels(pos, edge_index, edge_weight, len(self.convs))
        places = [*pos] if isinstance(pos, list | tuple) else [cast(Tensor, pos)]
        for name, value in (("x", x), *(("pos", each) for each in places)):
            checks.like_parameters(name, checks.tensor(name, value), next(self.head.parameters()))
        if batch is not None:
            _check_batch(batch, places[-1], batch_size)
            if not has_levels:
                _check_edges(batch, edges_of(edge_index, edge_weight, (len(places[0]), len(places[0])), places[0])[0])
        elif batch_size is not None:
            raise ValueError(f"batch_size must be None without a batch, got {batch_size}")
        elif self.pool is not None and not len(places[-1]):
            raise ValueError("x must have at least one node for a graph to be pooled, got none")
        for conv, norm, level in zip(self.convs, self.norms, levels, strict=True):
            nodes = (x, None) if has_levels else x
            x = self.dropout(self.act(_normalised(norm, conv(nodes, *level))))
        if self.pool is not None:
            x = POOLS[self.pool](x, batch, batch_size)
        y: Tensor = self.head(x)
        return y

    def extra_repr(self) -> str:
        """Return the settings shown by ``repr``."""
        return f"pool={self.pool!r}"


def _normalised(norm: nn.Module, x: Tensor) -> Tensor:
    """Normalise channels over all nodes and graphs: nn.BatchNorm1d takes the second axis for that of channels."""
    normalised: Tensor = norm(x.flatten(0, -2)).view_as(x)
    return normalised


def _hidden(channels: Any, layers: int) -> list[int]:  # noqa: ANN401 - any value is checked
    """Return the number of channels of each layer."""
    if not isinstance(channels, list | tuple):
        return [checks.integer("hidden_channels", channels, minimum=1)] * layers
    _check_length("hidden_channels", channels, layers)
    return [checks.integer(f"hidden_channels[{i}]", size, minimum=1) for i, size in enumerate(channels)]


def _levels(pos: Any, edge_index: Any, edge_weight: Any, layers: int) -> list[tuple[Any, Any, Any]]:  # noqa: ANN401
    """Return positions, edges and their weights for each layer."""
    if not isinstance(pos, list | tuple):
        return [(pos, edge_index, edge_weight)] * layers
    _check_length("pos", pos, layers + 1, "levels")
    weights = [None] * layers if edge_weight is None else edge_weight
    _check_length("edge_index", edge_index, layers)
    _check_length("edge_weight", weights, layers)
    return list(zip(pairwise(pos), edge_index, weights, strict=True))


def _check_length(name: str, value: Any, count: int, of: str = "layers") -> None:  # noqa: ANN401
    if not isinstance(value, list | tuple):
        raise TypeError(f"{name} must be a list for all {count} {of}, got {type(value).__name__}")
    if len(value) != count:
        raise ValueError(f"{name} must have a member for each of the {count} {of}, got {len(value)}")


def _check_batch(batch: Tensor, x: Tensor, batch_size: int | None) -> None:
    """Check that nodes are sorted by their graphs, and that no graph is empty."""
    checks.shape("batch", batch, (x.shape[0],))
    if batch.dtype != torch.int64:
        raise TypeError(f"batch must be int64, got {batch.dtype}")
    checks.same_device("batch", batch, x)
    if batch_size is not None:
        checks.integer("batch_size", batch_size, minimum=0)
    if batch_size and not batch.numel():
        raise ValueError(f"batch must leave no graph without nodes, got no node for batch_size={batch_size}")
    if not batch.numel() or not checks.has_values(batch) or batch.device.type != "cpu":
        return  # on accelerators, reading the values would synchronise
    if int(batch[0]) < 0:
        raise ValueError(f"batch must be at least 0, got {int(batch[0])}")
    steps = torch.diff(batch, prepend=batch.new_tensor([-1]))
    if bool((steps < 0).any()):
        node = int(torch.nonzero(steps < 0)[0])
        raise ValueError(f"batch must be sorted, got {int(batch[node])} after {int(batch[node - 1])}")
    if bool((steps > 1).any()):
        node = int(torch.nonzero(steps > 1)[0])
        raise ValueError(f"batch must leave no graph without nodes, got none of graph {int(batch[node]) - 1}")
    if batch_size is not None and batch_size != int(batch[-1]) + 1:
        raise ValueError(f"batch_size must be the number of graphs in batch ({int(batch[-1]) + 1}), got {batch_size}")


def _check_edges(batch: Tensor, edge_index: Tensor) -> None:
    """Check that no edge leads from a graph to another."""
    if not checks.has_values(edge_index) or not checks.has_values(batch) or batch.device.type != "cpu":
        return
    sources, targets = batch[edge_index]
    if bool((sources != targets).any()):
        edge = int(torch.nonzero(sources != targets)[0])
        raise ValueError(
            f"edge_index must not connect graphs, got {tuple(edge_index[:, edge].tolist())} "
            f"from graph {int(sources[edge])} to graph {int(targets[edge])}"
        )
