"""Times of training steps, measured in turn so that they can be compared."""

import statistics
import time
from collections.abc import Callable, Mapping

import torch
import torch.nn.functional as F
from torch import Tensor, nn

__all__ = ["step_milliseconds"]


def step_milliseconds(
    models: Mapping[str, nn.Module], features: int = 784, batch: int = 600, rounds: int = 20
) -> dict[str, float]:
    """Return the median time of a training step of each model, with Adam, on random images.

    The models take turns, so that what else a machine does slows all of them alike. They are trained by it.

    Args:
        models: the models by name, from ``(batch, features)`` to ``(batch, classes)``.
        features: numbers in an image.
        batch: images in a step.
        rounds: steps of each model; three more warm up.

    Example:
        >>> times = step_milliseconds({"linear": nn.Linear(784, 10)}, batch=5, rounds=3)
        >>> times["linear"] > 0
        True
    """
    images = torch.rand(batch, features)
    steps = {name: _training_step(model, images) for name, model in models.items()}
    seconds: dict[str, list[float]] = {name: [] for name in models}
    for number in range(rounds + 3):
        for name, step in steps.items():
            began = time.perf_counter()
            step()
            if number >= 3:
                seconds[name].append(time.perf_counter() - began)
    return {name: round(1e3 * statistics.median(each), 3) for name, each in seconds.items()}


def _training_step(model: nn.Module, images: Tensor) -> Callable[[], None]:
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-6)
    labels = torch.zeros(len(images), dtype=torch.int64)

    def step() -> None:
        optimizer.zero_grad()
        F.cross_entropy(model(images), labels).backward()
        optimizer.step()

    return step
