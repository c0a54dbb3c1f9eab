"""Dense networks as weights, biases and an activation, read from PyTorch modules."""

import copy
import dataclasses
from collections.abc import Iterator, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from spatialgraph import checks
from spatialgraph.devices import in_double
from spatialgraph.models.activations import Activation, make_activation
from spatialgraph.models.baselines import DenseMLP

__all__ = ["DenseNetwork", "read_dense"]

_ACTIVATIONS: dict[type[nn.Module], str] = {
    nn.ReLU: "relu",
    nn.LeakyReLU: "leaky_relu",
    nn.ELU: "elu",
    nn.GELU: "gelu",
    nn.SiLU: "silu",
    nn.Tanh: "tanh",
    nn.Sigmoid: "sigmoid",
}
_SETTINGS = ("negative_slope", "alpha", "approximate")


@dataclasses.dataclass(frozen=True)
class DenseNetwork:
    """What a dense network computes: layer by layer a weight matrix, a bias and, but for the last, an activation.

    Args:
        weights: the matrices, shape ``(targets, sources)`` each.
        biases: the biases, shape ``(targets,)`` each.
        activation: as in :class:`~spatialgraph.SpatialMLP`.
        normalize: as in :class:`~spatialgraph.SpatialMLP`.
    """

    weights: list[Tensor]
    biases: list[Tensor]
    activation: str | Activation = "relu"
    normalize: bool = False

    @property
    def sizes(self) -> list[int]:
        """Layer sizes, inputs first."""
        return [self.weights[0].shape[1], *(len(weight) for weight in self.weights)]

    @property
    def is_homogeneous(self) -> bool:
        """Whether a hidden neuron may send c times as much if its weights and bias are c times as large."""
        activation = make_activation(self.activation)
        is_piecewise_linear = activation in (F.relu, F.leaky_relu) or isinstance(activation, nn.LeakyReLU)
        return is_piecewise_linear and not self.normalize

    def rescaled(self, scales: Sequence[Tensor]) -> "DenseNetwork":
        """Return the network that computes the same with other scales of its hidden neurons.

        Args:
            scales: for each layer after the first, what its neurons' inputs are divided by and outgoing weights
                multiplied with, shape ``(targets,)``, positive; 1 for outputs.
        """
        before = [torch.ones_like(self.weights[0][0]), *scales[:-1]]
        weights = [
            weight * sources / targets[:, None]
            for weight, sources, targets in zip(self.weights, before, scales, strict=True)
        ]
        biases = [bias / targets for bias, targets in zip(self.biases, scales, strict=True)]
        return dataclasses.replace(self, weights=weights, biases=biases)


def read_dense(module: nn.Module) -> DenseNetwork:
    """Read a dense network, in double precision.

    Args:
        module: an ``nn.Linear``; an ``nn.Sequential`` of them with an activation after each but the last, in which
            ``nn.Dropout`` and ``nn.Identity`` are left out; or a :class:`~spatialgraph.DenseMLP`.

    Raises:
        TypeError: if ``module`` is none of these.
        ValueError: if it has other layers, their order or sizes are others, or a weight or bias is not finite.

    Example:
        >>> read_dense(nn.Sequential(nn.Linear(4, 3), nn.Tanh(), nn.Linear(3, 2))).sizes
        [4, 3, 2]
    """
    if isinstance(module, DenseMLP):
        linears = module.linears()
        kinds: list[Any] = [(layer.activation, layer.normalize) for layer in linears[:-1]]
        activation, normalize = kinds[0] if kinds else ("relu", False)
        return _read(linears, copy.deepcopy(activation), normalize)
    if not isinstance(module, nn.Linear | nn.Sequential):
        raise TypeError(f"module must be an nn.Linear or nn.Sequential, got {type(module).__name__}")
    layers = list(_layers(module))
    _check_order(layers)
    return _read([layer for layer in layers[::2] if isinstance(layer, nn.Linear)], _activation(layers[1::2]), False)


def _layers(module: nn.Module) -> Iterator[nn.Module]:
    if type(module) is nn.Sequential:
        for layer in module:
            yield from _layers(layer)
    elif not isinstance(module, nn.Dropout | nn.Identity):
        yield module


def _check_order(layers: list[nn.Module]) -> None:
    rule = "module must alternate between nn.Linear and an activation, and begin and end with nn.Linear"
    known = ", ".join(f"nn.{kind.__name__}" for kind in _ACTIVATIONS)
    for number, layer in enumerate(layers):
        if number % 2 == 0 and not _is_linear(layer):
            raise ValueError(f"{rule}, got {type(layer).__name__} as layer {number}")
        if number % 2 == 1 and type(layer) not in _ACTIVATIONS:
            raise ValueError(f"{rule}; activations are {known}, got {type(layer).__name__} as layer {number}")
    if len(layers) % 2 == 0:
        raise ValueError(f"{rule}, got {type(layers[-1]).__name__ if layers else 'nothing'} at the end")


def _is_linear(layer: nn.Module) -> bool:
    return isinstance(layer, nn.Linear) and type(layer).forward is nn.Linear.forward


def _activation(layers: list[nn.Module]) -> str | Activation:
    """Return the activation that all hidden layers have."""
    kinds = [(type(layer), *_settings(layer)) for layer in layers]
    if any(kind != kinds[0] for kind in kinds):
        raise ValueError(f"module must have one activation for all hidden layers, got {', '.join(map(repr, layers))}")
    if not layers:
        return "relu"
    first = layers[0]
    if _settings(first) == _settings(type(first)()):
        return _ACTIVATIONS[type(first)]
    activation = copy.deepcopy(first)
    if hasattr(activation, "inplace"):
        setattr(activation, "inplace", False)  # noqa: B010 - not every activation has it
    return activation


def _settings(layer: nn.Module) -> list[Any]:
    return [getattr(layer, name, None) for name in _SETTINGS]


def _read(linears: list[nn.Linear], activation: str | Activation, normalize: bool) -> DenseNetwork:
    weights = [in_double(checks.finite("weight", layer.weight.detach())) for layer in linears]
    biases = [
        weight.new_zeros(len(weight)) if layer.bias is None else in_double(checks.finite("bias", layer.bias.detach()))
        for layer, weight in zip(linears, weights, strict=True)
    ]
    for number, (before, after) in enumerate(zip(weights, weights[1:], strict=False)):
        if len(before) != after.shape[1]:
            raise ValueError(
                f"module must have layers that fit each other, got {len(before)} outputs of linear layer {number} and "
                f"{after.shape[1]} inputs of the next"
            )
    return DenseNetwork(weights, biases, activation, normalize)
