"""Activity: what every neuron of a network does, also where the network is a part of a larger model."""

from typing import Any, cast

import torch
from torch import Tensor, nn

from spatialgraph.connectome.activity.parts import (
    SpatialNetwork,
    check_single_call,
    draws_kept,
    find_network,
    uncompiled,
)

__all__ = ["activations"]


def activations(model: nn.Module, *inputs: Any, part: str | None = None) -> Tensor:  # noqa: ANN401 - of any model
    """Return what every neuron of a spatial network does, also if the network is a part of a larger model.

    These are the ``activations`` of the network: see :meth:`SpatialMLP.activations
    <spatialgraph.SpatialMLP.activations>`, :meth:`SpatialRNN.activations <spatialgraph.SpatialRNN.activations>` and
    :meth:`SpatialSNN.activations <spatialgraph.SpatialSNN.activations>`. A larger model runs once, and what its
    network receives is caught. Random numbers are used as in a forward pass.

    Args:
        model: a spatial network, or a model that calls one once in a forward pass.
        *inputs: what the model takes, such as ``x``.
        part: name of the network within the model, as in ``model.named_modules()``, where there are several.

    Returns:
        One number for each neuron, by its number, shape ``(..., N)``, differentiable. With time steps they come first,
        as in the network.

    Raises:
        TypeError: if ``model`` neither is nor holds a spatial network.
        ValueError: if the model holds several and ``part`` is None, ``part`` names none, or the model calls its network
            never or more than once.

    Example:
        >>> from spatialgraph import SpatialMLP
        >>> model = nn.Sequential(nn.Conv2d(1, 2, 3), nn.Flatten(), SpatialMLP([72, 20, 10]))
        >>> activations(model, torch.rand(5, 1, 8, 8)).shape
        torch.Size([5, 102])
    """
    network = find_network(model, part)
    if network is model:
        return cast(SpatialNetwork, network).activations(*inputs)
    found: list[Tensor] = []

    def catch(_: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        check_single_call(len(found) + 1)
        own = {name: _own(value) for name, value in kwargs.items()}
        with draws_kept(network):
            found.append(cast(SpatialNetwork, network).activations(*map(_own, args), **own))

    handle = network.register_forward_pre_hook(catch, with_kwargs=True)
    try:
        with uncompiled(model):
            model(*inputs)
    finally:
        handle.remove()
    check_single_call(len(found))
    return found[0]


def _own(value: Any) -> Any:  # noqa: ANN401 - arguments of any model
    """Return a value that may be used up: of a random number generator a copy."""
    return value.clone_state() if isinstance(value, torch.Generator) else value
