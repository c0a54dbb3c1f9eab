"""Models: for each projection, convolve, normalise, add the bias, activate."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from spatialgraph import checks
from spatialgraph.functional.normalization import normalised
from spatialgraph.graph.projections import Projection
from spatialgraph.graph.spatial_graph import SpatialGraph
from spatialgraph.graph.transmission import Materialised, Transmission
from spatialgraph.models.serving import Served
from spatialgraph.settings import Setting

__all__ = ["ACTIVATIONS", "DenseMLP", "SpatialMLP", "make_graph"]

Activation = Callable[[Tensor], Tensor]

ACTIVATIONS: dict[str, Activation] = {
    "relu": F.relu,
    "leaky_relu": F.leaky_relu,
    "elu": F.elu,
    "gelu": F.gelu,
    "silu": F.silu,
    "tanh": torch.tanh,
    "sigmoid": torch.sigmoid,
}


class SpatialMLP(nn.Module):
    r"""Multi-layer perceptron whose weights follow from the positions of its neurons.

    Each projection computes :math:`\phi(\mathrm{norm}(\gamma \sum_i s_i\, w(r_{ij})\, x_i) + b_j)`; outputs are neither
    normalised nor activated. It is the network of `Erb et al. (2025) <https://arxiv.org/abs/2506.13410>`_, with
    O(n) parameters in place of O(n^2); without layers it runs any directed acyclic graph. In ``eval()`` without
    gradients the weights are computed once and kept until what they follow from changes.

    Args:
        graph: layer sizes, inputs first, or a :class:`~spatialgraph.SpatialGraph`.
        dim: number of axes d, with sizes only.
        activation: ``"relu"``, ``"leaky_relu"``, ``"elu"``, ``"gelu"``, ``"silu"``, ``"tanh"``, ``"sigmoid"`` or a
            function of a tensor.
        normalize: whether the summed inputs of each stage's hidden neurons are brought to mean 0 and variance 1 (layer
            normalisation without parameters) before the bias; None does so where the network has layers.
        gain: constant factor on the weights, with sizes only. The default keeps untrained logits of wide layers small.
        **options: ``wiring``, ``spacing``, ``init``, ``polarity``, ``law``, ``anchored``, ``generator`` as in
            :meth:`SpatialGraph.layered <spatialgraph.SpatialGraph.layered>`, with sizes only.

    Raises:
        TypeError: if an argument is of the wrong type, or an option is given beside a graph that settles it.
        ValueError: if an argument breaks a rule.

    Example:
        >>> model = SpatialMLP([784, 2048, 10])
        >>> model(torch.zeros(5, 784)).shape, sum(p.numel() for p in model.parameters())
        (torch.Size([5, 10]), 10576)
    """

    normalize = Setting(checks.flag)

    def __init__(
        self,
        graph: Sequence[int] | SpatialGraph,
        dim: int | None = None,
        *,
        activation: str | Activation = "relu",
        normalize: bool | None = None,
        gain: float | None = None,
        **options: Any,  # noqa: ANN401 - passed on to SpatialGraph.layered
    ) -> None:
        super().__init__()
        self.spatial_graph = make_graph(graph, dim, gain, options)
        if self.graph.velocity is not None:
            raise ValueError(f"velocity must be None in a network without time, got {self.graph.velocity}")
        self.activation = _activation(activation)
        self.normalize = self.graph.is_layered if normalize is None else normalize
        if self.normalize and any(projection.hidden == 1 for projection in self.graph.projections):
            raise ValueError("normalize must be False where a stage has a single hidden neuron, got True")
        self._served = Served()

    @property
    def graph(self) -> SpatialGraph:
        """The network; not a submodule of this name, which ``torch.export`` keeps for its own graph."""
        return self.spatial_graph

    def reset_parameters(self) -> None:
        """Draw the graph's positions, polarities and biases anew."""
        self.graph.reset_parameters()

    def forward(self, x: Tensor) -> Tensor:
        """Compute the outputs.

        Args:
            x: features of the inputs in the order of ``graph.inputs``, shape ``(..., inputs)``.

        Returns:
            Values of the outputs in the order of ``graph.outputs``, shape ``(..., outputs)``.

        Raises:
            TypeError: if ``x`` is not a tensor of the parameters' dtype.
            ValueError: if the last axis does not match the inputs.
        """
        graph = self.graph
        # Dead ends matter where neurons share a mean.
        transmission = self._served.transmission(self, graph, with_dead_ends=self.normalize)
        projections = transmission.projections
        checks.features("x", x, projections[0].n_sources, graph.raw_bias)
        blocks = [x]
        for number, bias in enumerate(transmission.biases):
            blocks.append(self._stage(transmission, number, blocks, bias))
        return _read_out(blocks, projections)

    @torch.no_grad()
    def to_dense(self) -> "DenseMLP":
        """Return a copy made of weight matrices, which computes the same and learns like any dense network.

        Where small batches are served, nothing is faster. Pairs without a synapse have weight 0.

        Raises:
            ValueError: if a stage receives from other neurons than those of the stage before.

        Example:
            >>> model, x = SpatialMLP([4, 8, 2]).eval(), torch.rand(5, 4)
            >>> torch.allclose(model.to_dense()(x), model(x), atol=1e-6)
            True
        """
        self.graph.connectivity.verify()
        served = Materialised(self.graph)
        stages = served.projections
        if not _is_chain(stages) or any(stage.blocks != (number,) for number, stage in enumerate(stages)):
            raise ValueError("to_dense needs a network whose stages receive from the one before alone")
        sizes = [stages[0].n_sources, *(stage.n_targets for stage in stages)]
        dense = DenseMLP(sizes, self.activation, self.normalize).to(self.graph.raw_bias)
        for layer, matrix, bias in zip(cast(Iterable[nn.Linear], dense), served.matrices, served.biases, strict=True):
            layer.weight.copy_(matrix.dense())
            layer.bias.copy_(bias)
        return dense.train(self.training)

    def _stage(
        self, transmission: Transmission | Materialised, number: int, blocks: list[Tensor], bias: Tensor
    ) -> Tensor:
        """Compute the targets of a projection; the outputs among them are neither normalised nor activated."""
        projection = transmission.projections[number]
        hidden, targets, normalize = projection.hidden, projection.n_targets, self.normalize
        heard = [blocks[block] for block in projection.blocks]
        x = heard[0] if len(heard) == 1 else torch.cat(heard, dim=-1)
        if hidden == 0:
            return transmission.send(number, x, bias)
        if hidden == targets and not normalize and self.activation is F.relu:
            return transmission.send(number, x, bias, True)
        total = transmission.send(number, x, None if normalize else bias)
        if hidden == targets:  # a slice of everything would cost its backward pass a copy
            return self._respond(total, bias)
        outer = total[..., hidden:] + bias[hidden:] if normalize else total[..., hidden:]
        return torch.cat([self._respond(total[..., :hidden], bias[:hidden]), outer], dim=-1)

    def _respond(self, total: Tensor, bias: Tensor) -> Tensor:
        """Turn the inputs of hidden neurons into activations; a normalised one has its bias still to come."""
        if not self.normalize:
            return self.activation(total)
        if self.activation is F.relu:
            return normalised(total, bias, rectify=True)
        return self.activation(normalised(total, bias))

    def extra_repr(self) -> str:
        """Return the settings shown by ``repr``."""
        name = getattr(self.activation, "__name__", type(self.activation).__name__)
        return f"activation={name}, normalize={self.normalize}"


def _read_out(blocks: list[Tensor], projections: tuple[Projection, ...]) -> Tensor:
    """Return the outputs in their order, wherever they were computed."""
    if _is_chain(projections):
        return blocks[-1]
    outputs = torch.cat([block[..., p.hidden :] for block, p in zip(blocks[1:], projections, strict=True)], -1)
    numbers = torch.cat([p.targets[p.hidden :] for p in projections])
    return outputs[..., torch.argsort(numbers)]


def _is_chain(projections: tuple[Projection, ...]) -> bool:
    """Tell whether all outputs, and they alone, are computed by the last stage."""
    return projections[-1].hidden == 0 and all([p.hidden == p.n_targets for p in projections[:-1]])


def make_graph(
    graph: Sequence[int] | SpatialGraph, dim: int | None, gain: float | None, options: dict[str, Any]
) -> SpatialGraph:
    """Return the graph a model was given, or build one of layers; the default gain keeps untrained logits small.

    Example:
        >>> make_graph([3, 2], None, None, {})
        SpatialGraph(neurons=5, synapses=6, dim=3, spacing='learned')
    """
    if not isinstance(graph, SpatialGraph):
        return SpatialGraph.layered(graph, 3 if dim is None else dim, gain=0.05 if gain is None else gain, **options)
    given = [name for name, value in (("dim", dim), ("gain", gain)) if value is not None] + list(options)
    if given:
        raise TypeError(f"{given[0]} must be set where the graph is made, got it beside a SpatialGraph")
    return graph


class DenseMLP(nn.Sequential):
    r"""Multi-layer perceptron of ``nn.Linear`` layers, the baseline of a :class:`SpatialMLP`.

    Args:
        sizes: layer sizes, inputs first.
        activation: as in :class:`SpatialMLP`.
        normalize: whether summed inputs of hidden layers are normalised as in :class:`SpatialMLP`; biases then follow
            the normalisation.

    Raises:
        TypeError: if an argument is of the wrong type.
        ValueError: if an argument breaks a rule.

    Example:
        >>> sum(p.numel() for p in DenseMLP([784, 14, 10]).parameters())
        11140
    """

    def __init__(self, sizes: Sequence[int], activation: str | Activation = "relu", normalize: bool = False) -> None:
        widths = checks.sizes(sizes)
        stages = [
            _DenseStage(n, m, _activation(activation), normalize)
            for n, m in zip(widths[:-2], widths[1:-1], strict=True)
        ]
        super().__init__(*stages, nn.Linear(widths[-2], widths[-1]))


class _DenseStage(nn.Linear):
    """A linear layer that normalises before its bias and activates after it."""

    normalize = Setting(checks.flag)

    def __init__(self, in_features: int, out_features: int, activation: Activation, normalize: bool) -> None:
        super().__init__(in_features, out_features)
        self.activation = activation
        self.normalize = normalize

    def forward(self, x: Tensor) -> Tensor:
        if not self.normalize:
            return self.activation(super().forward(x))
        total = F.layer_norm(F.linear(x, self.weight), (self.out_features,))
        return self.activation(total + self.bias)


def _activation(activation: str | Activation) -> Activation:
    if callable(activation):
        return activation
    checks.choice("activation", activation, list(ACTIVATIONS))
    return ACTIVATIONS[activation]
