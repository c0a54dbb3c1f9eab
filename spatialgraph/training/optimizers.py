"""The optimiser of a training and its schedule."""

from typing import Any

import torch
from torch import nn
from torch.optim.lr_scheduler import LRScheduler, OneCycleLR

from spatialgraph.training.as_found import device_of
from spatialgraph.training.recipes import Recipe

__all__ = ["make_optimizer", "make_schedule"]


def make_optimizer(model: nn.Module, recipe: Recipe) -> torch.optim.Adam:
    """Return Adam with the learning rates of a recipe.

    On CUDA it updates the parameters of each learning rate in one kernel, which does not wait for the device, not even
    to skip a step whose gradients are not finite, as the scaler of 16-bit training asks for.

    Raises:
        ValueError: if ``recipe.rates`` names no parameter.

    Example:
        >>> [group["lr"] for group in make_optimizer(nn.Linear(3, 2), Recipe(rates={"bias": 0.5})).param_groups]
        [0.05, 0.5]
    """
    is_fused = device_of(model).type not in ("cpu", "mps")
    optimizer = torch.optim.Adam(_groups(model, recipe), fused=is_fused or None)

    def keep_kind(optimizer: torch.optim.Optimizer, state: dict[str, Any]) -> dict[str, Any]:
        """Load the checkpoint of a training on another device."""
        groups = [group | {"fused": optimizer.defaults["fused"]} for group in state["param_groups"]]
        return state | {"param_groups": groups}

    optimizer.register_load_state_dict_pre_hook(keep_kind)
    return optimizer


def make_schedule(optimizer: torch.optim.Optimizer, recipe: Recipe, steps: int) -> LRScheduler | None:
    """Return the schedule of a recipe for a number of steps; None where rates are constant.

    Example:
        >>> optimizer = make_optimizer(nn.Linear(3, 2), Recipe())
        >>> make_schedule(optimizer, Recipe(), 10) is None, make_schedule(optimizer, Recipe(schedule="constant"), 10)
        (False, None)
    """
    if recipe.schedule == "constant":
        return None
    # With one warm-up step PyTorch would divide by 0, the number of steps after the first.
    rise = 0.1 if steps != 10 else 0.1 + 1e-9
    peaks = [group["lr"] for group in optimizer.param_groups]
    return OneCycleLR(optimizer, peaks, total_steps=steps, pct_start=rise)


def _groups(model: nn.Module, recipe: Recipe) -> list[dict[str, Any]]:
    """Group parameters by learning rate; the first word of the recipe that is in a name applies."""
    members: dict[str | None, list[nn.Parameter]] = {None: []}
    members.update((word, []) for word in recipe.rates)
    for name, parameter in model.named_parameters():
        members[next((word for word in recipe.rates if word in name), None)].append(parameter)
    for word in recipe.rates:
        if not members[word]:
            raise ValueError(f"rates must name parameters of the model, got {word!r}, which is in no name")
    return [
        {"params": group, "lr": recipe.learning_rate if word is None else recipe.rates[word]}
        for word, group in members.items()
        if group
    ]
