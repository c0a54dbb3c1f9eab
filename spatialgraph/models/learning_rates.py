"""Learning rates: which parameters learn faster than weights do, and how many times."""

import re
from collections.abc import Collection, Iterator, Mapping
from typing import Any

from torch import nn

from spatialgraph import checks

__all__ = ["parameter_groups"]

# Chosen on held-out images: docs/results/default_rate.json.
_MULTIPLIERS = {"positions": 10.0, "polarities": 50.0, "biases": 30.0, "free_weights": 30.0, "free_delays": 30.0}


def parameter_groups(
    model: nn.Module, lr: float = 1e-3, multipliers: Mapping[str, float] | None = None
) -> list[dict[str, Any]]:
    r"""Return the parameters of a model in groups for an optimiser, with a learning rate for each kind.

    A rate that suits weights, such as the default of :class:`torch.optim.Adam`, is too small for positions. The groups
    have :math:`\eta_k = m_k\, \eta` with the given rate :math:`\eta` and a multiplier :math:`m_k` for each kind:

    ================ ========== ==========================================================================
    group            multiplier parameters
    ================ ========== ==========================================================================
    ``positions``    10         positions and gaps of a :class:`~spatialgraph.SpatialGraph`, positions of a
                                :class:`~spatialgraph.SpatialLinear`, offsets of a
                                :class:`~spatialgraph.SpatialConv`
    ``polarities``   50         polarities of these, and of gates
    ``biases``       30         biases of these, and of gates; rates of leaky neurons
    ``free_weights`` 30         free weights of a graph's synapses
    ``free_delays``  30         free delays of a graph's synapses
    ``others``       1          everything else: parameters of laws and of other modules
    ================ ========== ==========================================================================

    The multipliers were chosen for Adam and AdamW at 0.001; SGD with momentum needs about 0.03.
    Positions that are parameters of your own module, as for :class:`~spatialgraph.SpatialSimpleConv`, are ``others``,
    unless its class says what they are: ``parameter_kinds = {"pos": "positions"}``.
    Schedulers multiply the rates of all groups alike; ``OneCycleLR`` takes the peaks as a list,
    ``[group["lr"] for group in optimizer.param_groups]``.

    Args:
        model: any module that holds such parts.
        lr: learning rate :math:`\eta` of ordinary weights.
        multipliers: for parameters whose name ends in a key, whole words between dots, the multiplier in place of the
            one above, such as ``{"pos": 10, "positions.gaps": 1}``. Each key has a group of its own. Of several keys
            that fit, the first applies.

    Returns:
        A list of dictionaries with ``"params"``, ``"lr"`` and ``"name"``. Frozen parameters are among them, as in
        ``model.parameters()``; a shared parameter is there once.

    Raises:
        TypeError: if an argument is of the wrong type.
        ValueError: if the model has no parameters, a rate or multiplier is not above 0, or a key applies to no name.

    Example:
        >>> import torch
        >>> from spatialgraph.models.mlp import SpatialMLP
        >>> optimizer = torch.optim.Adam(parameter_groups(SpatialMLP([64, 32, 10]), lr=1e-3))
        >>> [(group["name"], round(group["lr"], 3)) for group in optimizer.param_groups]
        [('polarities', 0.05), ('biases', 0.03), ('positions', 0.01)]
    """
    if not isinstance(model, nn.Module):
        raise TypeError(f"model must be an nn.Module, got {type(model).__name__}")
    rate, given = checks.positive("lr", lr), _checked({} if multipliers is None else multipliers)
    groups: dict[tuple[str | None, str], dict[str, Any]] = {}
    for name, kind, parameter in _kinds(model):
        key = next((key for key in given if f".{name}".endswith(f".{key}")), None)
        multiplier = _MULTIPLIERS.get(kind, 1.0) if key is None else given[key]
        label = kind if key is None else key
        group = groups.setdefault((key, label), {"params": [], "lr": multiplier * rate, "name": label})
        group["params"].append(parameter)
    _check_found({key for key, _ in groups}, given)
    return list(groups.values())


# The name of the number behind a parametrised one, and the name of this one.
_PARAMETRIZED = re.compile(r"parametrizations\.(\w+)\.original\d*$")


def _kinds(model: nn.Module) -> Iterator[tuple[str, str, nn.Parameter]]:
    """Yield name, kind and value of each parameter, once."""
    owners = dict(model.named_modules())
    for name, parameter in model.named_parameters():
        owner, _, own = _PARAMETRIZED.sub(r"\1", name).rpartition(".")
        # Parts with positions say what their parameters are, by a class attribute.
        yield name, getattr(owners[owner], "parameter_kinds", {}).get(own, "others"), parameter


def _checked(multipliers: Mapping[str, float]) -> dict[str, float]:
    if not isinstance(multipliers, Mapping):
        raise TypeError(f"multipliers must be a mapping from names to numbers, got {type(multipliers).__name__}")
    return {key: checks.positive(f"multipliers[{key!r}]", value) for key, value in multipliers.items()}


def _check_found(found: Collection[str | None], keys: Collection[str]) -> None:
    if not found:
        raise ValueError("model must have parameters, got none")
    for key in keys:
        if key not in found:
            raise ValueError(f"multipliers must name parameters of the model, got {key!r}, which applies to none")
