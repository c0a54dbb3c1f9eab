"""SpatialMLP: the multi-layer perceptron whose neurons have positions."""

import copy
from collections.abc import Callable, Mapping, Sequence
from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from spatialgraph import checks
from spatialgraph.devices import on_cpu
from spatialgraph.functional.normalization import normalised
from spatialgraph.graph.saved_models import register_model
from spatialgraph.graph.spatial_graph import SpatialGraph
from spatialgraph.graph.transmission import PrecomputedTransmission, Transmission
from spatialgraph.models.activations import Activation, activation_name, make_activation
from spatialgraph.models.baselines import DenseMLP
from spatialgraph.models.options import make_graph
from spatialgraph.models.serving import Served
from spatialgraph.models.stages import check_normalized, is_chain, output_order, run_stages
from spatialgraph.settings import Setting

__all__ = ["SpatialMLP"]


def _check_normalize(name: str, value: Any) -> bool | str:  # noqa: ANN401 - any value is checked
    if isinstance(value, str):
        if value != "live":
            raise TypeError(f"{name} must be True, False or 'live', got {value!r}")
        return "live"
    return checks.flag(name, value)


@register_model
class SpatialMLP(nn.Module):
    r"""Multi-layer perceptron whose weights follow from the positions of its neurons.

    Each projection computes :math:`\phi(\mathrm{norm}(\gamma \sum_i s_i\, w(r_{ij})\, x_i) + b_j)`; outputs are neither
    normalised nor activated. It is the network of `Erb et al. (2025) <https://arxiv.org/abs/2506.13410>`_, with
    O(n) parameters in place of O(n^2); without layers it runs any directed acyclic graph. In ``eval()`` on the CPU
    without gradients, the weights are cached until a value that they depend on changes or the model is trained.

    Args:
        graph: layer sizes, inputs first, or a :class:`~spatialgraph.SpatialGraph`.
        dim: number of axes d, with sizes only.
        activation: ``"relu"``, ``"leaky_relu"``, ``"elu"``, ``"gelu"``, ``"silu"``, ``"tanh"``, ``"sigmoid"`` or a
            function of a tensor.
        normalize: whether the summed inputs of each stage's hidden neurons are brought to mean 0 and variance 1 (layer
            normalisation without parameters) before the bias; None does so where the network has layers. ``"live"``
            takes mean and variance over the neurons that a path leads from to an output, or over all where fewer than
            two do: others are then not computed, which makes networks with few synapses faster.
        **options: ``wiring``, ``spacing``, ``init``, ``polarity_mode``, ``law``, ``gain``, ``anchored``, ``generator``,
            ``device``, ``dtype`` as in :meth:`SpatialGraph.layered <spatialgraph.SpatialGraph.layered>`, with sizes
            only.

    Raises:
        TypeError: if an argument is of the wrong type, or an option is given beside a graph that settles it.
        ValueError: if an argument has a wrong shape, value or name.

    Example:
        >>> model = SpatialMLP([784, 2048, 10])
        >>> model(torch.zeros(5, 784)).shape, sum(p.numel() for p in model.parameters())
        (torch.Size([5, 10]), 10576)
    """

    normalize = Setting(_check_normalize)

    def __init__(
        self,
        graph: Sequence[int] | SpatialGraph,
        dim: int | None = None,
        *,
        activation: str | Activation = "relu",
        normalize: bool | str | None = None,
        **options: Any,  # noqa: ANN401 - passed on to SpatialGraph.layered
    ) -> None:
        super().__init__()
        self.spatial_graph = make_graph(type(self).__name__, graph, dim, options, ["activation", "normalize"])
        if self.graph.velocity is not None:
            raise ValueError(f"velocity must be None in a network without time, got {self.graph.velocity}")
        if self.graph.is_recurrent:
            raise ValueError("graph must not be recurrent for a SpatialMLP, got recurrent synapses; use a SpatialRNN")
        self.activation = make_activation(activation)
        self.normalize = self.graph.is_layered if normalize is None else normalize
        if self.normalize:
            check_normalized(self.graph.projections)
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
        transmission = self._served.transmission(self, self.graph, with_dead_ends=self.normalize is True)
        stages = transmission.projections
        blocks = self._blocks(x, transmission)
        if is_chain(stages):
            return blocks[-1]
        outputs = torch.cat([block[..., stage.hidden :] for block, stage in zip(blocks[1:], stages, strict=True)], -1)
        order = output_order([(stage.hidden, stage.targets) for stage in stages])
        return outputs if order is None else outputs[..., order]

    def activations(self, x: Tensor) -> Tensor:
        """Return what every neuron sends: the features of inputs, activations of hidden neurons, values of outputs.

        Args:
            x: as in :meth:`forward`.

        Returns:
            One number for each neuron, by its number, shape ``(..., N)``, differentiable.

        Example:
            >>> model = SpatialMLP([4, 8, 2])
            >>> hidden = model.activations(torch.rand(5, 4))[:, model.graph.layer == 1]
            >>> hidden.shape
            torch.Size([5, 8])
        """
        graph = self.graph
        graph.connectivity.verify()
        blocks = self._blocks(x, graph.transmission())
        numbers = torch.cat([graph.inputs, *(projection.targets for projection in graph.projections)])
        return torch.cat(blocks, dim=-1)[..., torch.argsort(numbers)]

    @torch.no_grad()
    @on_cpu
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
        served = self.graph.transmission().precomputed()
        stages = served.projections
        if not is_chain(stages) or any(stage.blocks != (number,) for number, stage in enumerate(stages)):
            raise ValueError("to_dense needs a network whose stages receive from the one before alone")
        kept = [torch.arange(stages[0].n_sources), *(torch.arange(stage.n_targets) for stage in stages)]
        if self.normalize == "live":  # neurons that are not counted have no place in a dense network
            live = [served.live(number) for number in range(len(stages))]
            kept[1:] = [own if each is None else each for own, each in zip(kept[1:], live, strict=True)]
        sizes = [len(numbers) for numbers in kept]
        activation = copy.deepcopy(self.activation)  # it may have parameters
        dense = DenseMLP(sizes, activation, bool(self.normalize)).to(self.graph.raw_bias)
        for number, layer in enumerate(dense.linears()):
            layer.weight.copy_(served.matrices[number].dense()[kept[number + 1]][:, kept[number]])
            layer.bias.copy_(served.biases[number][kept[number + 1]])
        return dense.train(self.training)

    def _blocks(self, x: Tensor, transmission: Transmission | PrecomputedTransmission) -> list[Tensor]:
        """Return what the inputs and the targets of each stage send."""
        stages, is_relu = transmission.projections, self.activation is F.relu
        checks.features("x", x, stages[0].n_sources, self.graph.raw_bias)
        respond = _joined if is_relu else self._respond
        normalize = self._normalization(transmission, is_relu)
        return run_stages(x, stages, transmission.biases, transmission.send, respond, normalize, is_relu)

    def _normalization(
        self, transmission: Transmission | PrecomputedTransmission, rectify: bool
    ) -> Callable[[int, Tensor, Tensor], Tensor] | None:
        """Return what normalises the inputs of a stage's hidden neurons; None for nothing."""
        if self.normalize == "live":
            return lambda number, total, bias: normalised(total, bias, rectify, transmission.live(number))
        return (lambda _, total, bias: normalised(total, bias, rectify)) if self.normalize else None

    def _respond(self, number: int, inner: Tensor | None, outer: Tensor | None) -> Tensor:
        return _joined(number, None if inner is None else self.activation(inner), outer)

    def saved_settings(self) -> dict[str, Any]:
        """Return the activation's name and whether the network normalises, for :func:`spatialgraph.save`."""
        return {"activation": activation_name(self.activation), "normalize": self.normalize}

    @classmethod
    def from_saved(cls, graph: SpatialGraph, settings: Mapping[str, Any]) -> "SpatialMLP":
        """Build a model of its graph and of what :meth:`saved_settings` returned."""
        return cls(graph, **settings)

    def extra_repr(self) -> str:
        """Return the settings shown by ``repr``."""
        name = getattr(self.activation, "__name__", type(self.activation).__name__)
        return f"activation={name}, normalize={self.normalize}"


def _joined(number: int, inner: Tensor | None, outer: Tensor | None) -> Tensor:
    """Return what hidden neurons and outputs of a stage send."""
    if inner is None or outer is None:
        return cast(Tensor, outer if inner is None else inner)
    return torch.cat([inner, outer], dim=-1)
