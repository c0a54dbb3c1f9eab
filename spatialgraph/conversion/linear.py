"""from_linear: a spatial network whose weights resemble those of a trained dense one."""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from spatialgraph import checks
from spatialgraph.conversion.dense import DenseNetwork, read_dense
from spatialgraph.conversion.fitting import fit_
from spatialgraph.graph.positions import Init
from spatialgraph.graph.spatial_graph import WEIGHTS, SpatialGraph
from spatialgraph.laws import Law
from spatialgraph.models.mlp import SpatialMLP
from spatialgraph.wiring.wirings import AllToAll

__all__ = ["Conversion", "from_linear"]


class Conversion(NamedTuple):
    """A spatial network that was made from a dense one, and how much of the weights its positions explain."""

    model: SpatialMLP
    """The spatial network."""

    explained: list[float]
    r"""For each layer of weights :math:`1 - \lVert W - \hat W \rVert^2 / \lVert W \rVert^2`."""


def from_linear(
    module: nn.Module,
    dim: int = 3,
    *,
    weight_mode: str = "law",
    law: str | Law = "cosine",
    spacing: str = "learned",
    init: Init = "normal",
    anchored: Sequence[int] | Tensor | None = None,
    steps: int = 500,
    generator: torch.Generator | None = None,
) -> Conversion:
    r"""Make a spatial network from a dense one: fit positions and polarities to its weights.

    The weights :math:`\hat w_{ij} = \gamma\, s_i\, w(|p_i - p_j|)` are fitted to the given :math:`w_{ij}`, all layers
    together, since a hidden neuron has one position for the synapses into and out of it:

    .. math:: \min_{p, s} \sum_l \frac{\lVert W_l - \hat W_l \rVert^2}{\lVert W_l \rVert^2}

    Biases are copied. Between ``relu`` or ``leaky_relu`` the weights of a hidden neuron are fitted up to a positive
    factor, which its outgoing weights make up for. What remains of a layer is reported as
    :math:`1 - \lVert W - \hat W \rVert^2 / \lVert W \rVert^2`: the share of the squared weights, and of the squared
    outputs for uncorrelated inputs, that positions explain. It is 1 for an exact copy and never below 0. If the mean of
    the weights is 0 it is the explained share of their variance.

    Args:
        module: an ``nn.Linear``; an ``nn.Sequential`` of ``nn.Linear`` with the same activation after each but the last
            (``nn.Dropout`` and ``nn.Identity`` are left out); or a :class:`~spatialgraph.DenseMLP`. It is not changed.
        dim: number of axes d. More axes explain more.
        weight_mode: ``"law"``: weights follow from positions and polarities, and are approximate. ``"both"``: a factor
            for each synapse makes up for the difference; the copy is exact. ``"free"``: each synapse has the given
            weight; the copy is exact, and neurons stand where positions explain most.
        law: from length to weight. Laws that change their sign explain most, since a source has one polarity for all
            its targets. Learnable parameters of a law are fitted too.
        spacing: as in :class:`~spatialgraph.SpatialGraph`.
        init: where neurons start, as in :meth:`SpatialGraph.layered <spatialgraph.SpatialGraph.layered>`.
        anchored: neurons that stay where they start, as in :class:`~spatialgraph.SpatialGraph`.
        steps: number of steps of the fit.
        generator: source of random numbers for the start. The same numbers give the same network.

    Returns:
        ``(model, explained)``: a :class:`~spatialgraph.SpatialMLP` with the dtype, device and mode of the module, and
        the explained share of each layer of weights.

    Raises:
        TypeError: if an argument is of the wrong type.
        ValueError: if ``module`` has other layers, or several kinds of activations; if an argument has a wrong value;
            or, with ``"both"``, if the law is 0 where a weight is not.

    Example:
        >>> dense = nn.Sequential(nn.Linear(8, 6), nn.ReLU(), nn.Linear(6, 2))
        >>> model, explained = from_linear(dense, dim=3, weight_mode="both", steps=100)
        >>> model, len(explained)
        (SpatialMLP(...), 2)
        >>> x = torch.rand(5, 8)
        >>> torch.allclose(model(x), dense(x), atol=1e-5)
        True
    """
    checks.choice("weight_mode", weight_mode, WEIGHTS)
    steps, dense = checks.integer("steps", steps, minimum=0), read_dense(module)
    first = next(module.parameters())
    fitted = SpatialGraph.layered(
        dense.sizes,
        dim,
        spacing=spacing,
        init=init,
        law=law,
        anchored=anchored,
        generator=generator,
        device=dense.weights[0].device,
        dtype=torch.float64,
    )
    scales, explained = fit_(fitted, dense.weights, steps, dense.is_homogeneous)
    graph = fitted if weight_mode == "law" else _with_free_weights(fitted, weight_mode)
    model = SpatialMLP(graph, activation=dense.activation, normalize=dense.normalize).to(first.dtype)
    _copy(model.graph, dense if weight_mode == "free" else dense.rescaled(scales))
    return Conversion(model.to(first.device).train(module.training), explained)


@torch.no_grad()
def _with_free_weights(fitted: SpatialGraph, weight_mode: str) -> SpatialGraph:
    """Return a network with neurons at the same places, and a free weight for each synapse."""
    graph = SpatialGraph(
        fitted.pos.detach(),
        AllToAll(),
        layer=fitted.layer,
        spacing=fitted.positions.spacing,
        law=fitted.law,
        gain=fitted.gain if weight_mode == "both" else None,
        weight_mode=weight_mode,
        anchored=fitted.positions.anchored,
        generator=torch.Generator().manual_seed(0),  # what it draws is replaced
    )
    graph.init = fitted.init
    if weight_mode == "both":
        graph.raw_polarity.copy_(fitted.raw_polarity)
    return graph


@torch.no_grad()
def _copy(graph: SpatialGraph, dense: DenseNetwork) -> None:
    """Copy biases and, where synapses have weights of their own, weights."""
    everywhere = graph.raw_bias.new_zeros(graph.neurons)
    for projection, bias in zip(graph.projections, dense.biases, strict=True):
        everywhere[projection.targets] = bias.to(everywhere)
    graph.raw_bias.copy_(everywhere[graph.connectivity.located.receivers])
    free = graph.free_synapses
    if free is not None and free.weight is not None:
        weights = torch.cat([weight.flatten() for weight in dense.weights])
        free.weight.copy_(_factors(weights, graph.weights().double()) if free.is_factor else weights)


def _factors(weights: Tensor, explained: Tensor) -> Tensor:
    """Return what the weights of the law must be multiplied with."""
    factors = torch.where(weights == explained, 1.0, weights / explained)
    if not factors.isfinite().all():
        worst = int(factors.isfinite().logical_not().nonzero()[0])
        raise ValueError(
            f"law must not be 0 where a weight is not, for weight_mode='both', got 0 for a weight of "
            f"{float(weights[worst]):g}; use weight_mode='free'"
        )
    return factors
