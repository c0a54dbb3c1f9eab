"""Magnitude pruning of ``nn.Linear`` layers, as a baseline for spatial pruning."""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils import prune
from torch.utils.hooks import RemovableHandle

from spatialgraph import checks
from spatialgraph.functional.smallest import without_smallest

__all__ = ["PruneLinearWhileTraining", "prune_linear_"]


def prune_linear_(model: nn.Module, amount: float) -> nn.Module:
    """Set the smallest weights of each ``nn.Linear`` of a model to 0, in place.

    This does not make a model faster: unlike edges removed by :func:`~spatialgraph.prune_`, zeros are still multiplied.
    Parameters remain the same objects, and biases are not pruned. Uses :func:`torch.nn.utils.prune.l1_unstructured`.

    Args:
        model: a module with ``nn.Linear`` layers, or one of these.
        amount: share of each layer's weights to set to 0, from 0 to 1, rounded to whole weights.

    Returns:
        The model itself.

    Raises:
        TypeError: if ``model`` is not a module or ``amount`` not a number.
        ValueError: if ``amount`` is not between 0 and 1, or if the model has no ``nn.Linear`` or is already under
            pruning by ``torch.nn.utils.prune``.

    Example:
        >>> model = prune_linear_(nn.Linear(8, 4), 0.75)
        >>> int((model.weight == 0).sum())
        24
    """
    layers = _linear_layers(model)
    share = checks.between("amount", amount, 0.0, 1.0)  # PyTorch takes an int as a number of weights
    for layer in layers:
        prune.l1_unstructured(layer, "weight", share)
        _make_final(layer)
    return model


class PruneLinearWhileTraining:
    """Mask the smallest weights of each ``nn.Linear`` of a model in every forward pass.

    The mask is recomputed in each pass: a masked weight is unmasked when others become smaller. Masked weights get no
    gradient in that pass. Weights equal to the smallest unmasked one are not masked. This does not make a model faster
    (see :func:`prune_linear_`).

    Until :meth:`remove`, layers are parametrised as by ``torch.nn.utils.prune``: ``weight_orig`` is the original
    parameter object, so optimisers remain valid, and ``weight`` is the masked weight of the last pass.

    Args:
        amount: share of each layer's weights to mask, from 0 to 1, rounded to whole weights.

    Raises:
        TypeError: if ``amount`` is not a number.
        ValueError: if ``amount`` is not between 0 and 1.

    Example:
        >>> model = nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 4))
        >>> pruner = PruneLinearWhileTraining(0.5).attach(model)
        >>> model(torch.ones(1, 8)).sum().backward()
        >>> pruner.amount = 0.75
        >>> pruner.remove()
        >>> [int((layer.weight == 0).sum()) for layer in (model[0], model[2])]
        [96, 48]
    """

    def __init__(self, amount: float) -> None:
        self.amount = amount
        self._layers: list[nn.Linear] = []
        self._hooks: list[RemovableHandle] = []

    @property
    def amount(self) -> float:
        """Share of each layer's weights that is masked; can be set at any time."""
        return self._amount

    @amount.setter
    def amount(self, amount: float) -> None:
        self._amount = checks.between("amount", amount, 0.0, 1.0)

    @torch.no_grad()
    def attach(self, model: nn.Module) -> "PruneLinearWhileTraining":
        """Attach the pruner to a model.

        Args:
            model: a module with ``nn.Linear`` layers, or one of these.

        Returns:
            The pruner itself.

        Raises:
            TypeError: if ``model`` is not a module.
            ValueError: if the model has no ``nn.Linear``, has one that is already pruned or is never called, or if the
                pruner is already attached.
        """
        if self._layers:
            raise ValueError("attach needs a pruner that is not attached; call remove() first")
        layers = _linear_layers(model)
        if any(isinstance(layer, nn.modules.linear.NonDynamicallyQuantizableLinear) for layer in layers):
            raise ValueError(
                "model must call all its nn.Linear layers, got one with nn.MultiheadAttention, which does not"
            )
        for layer in layers:
            _WithoutSmallest.apply(layer, "weight", self)  # type: ignore[no-untyped-call]
            self._hooks.append(layer.register_forward_hook(_forget_graph))
        self._layers = layers
        return self

    @torch.no_grad()
    def remove(self) -> None:
        """Make the pruning final: set the masked weights to 0 and restore plain parameters."""
        for layer in self._layers:
            _make_final(layer)
        for hook in self._hooks:
            hook.remove()
        self._layers, self._hooks = [], []


class _WithoutSmallest(prune.BasePruningMethod):
    """A method of ``torch.nn.utils.prune`` that recomputes its mask in each pass."""

    PRUNING_TYPE = "unstructured"

    def __init__(self, pruner: PruneLinearWhileTraining) -> None:
        self.pruner = pruner

    def compute_mask(self, t: Tensor, default_mask: Tensor) -> Tensor:
        return without_smallest(t, round(self.pruner.amount * t.numel()))

    def apply_mask(self, module: Any) -> Tensor:  # noqa: ANN401 - a layer with the attributes that pruning gives it
        module.weight_mask = self.compute_mask(module.weight_orig, module.weight_mask)
        return torch.where(module.weight_mask, module.weight_orig, 0.0)


def _forget_graph(layer: Any, inputs: tuple[Tensor, ...], output: Tensor) -> None:  # noqa: ANN401
    """Detach the weight stored in the layer, because modules with non-leaf tensors cannot be copied."""
    layer.weight = layer.weight.detach()


def _linear_layers(model: nn.Module) -> list[nn.Linear]:
    if not isinstance(model, nn.Module):
        raise TypeError(f"model must be an nn.Module, got {type(model).__name__}")
    layers = [module for module in model.modules() if isinstance(module, nn.Linear)]
    if not layers:
        raise ValueError(f"model must have nn.Linear layers, got {type(model).__name__} without")
    if any(prune.is_pruned(layer) for layer in layers):
        raise ValueError("model must not be under pruning by torch.nn.utils.prune already; make that final first")
    return layers


def _make_final(layer: nn.Linear) -> None:
    prune.remove(layer, "weight")
    # Restore the order of weight and bias, because optimisers save their state in the order of the parameters.
    bias = layer.bias
    del layer.bias
    layer.register_parameter("bias", bias)
