"""Steps that benchmarks measure: forward and backward, with and without an optimiser, and inference."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from timing import Step
from torch import Tensor, nn

import spatialgraph as sg


def training_step(model: nn.Module, images: Tensor, labels: Tensor) -> Step:
    """Return a function that runs forward and backward."""

    def step() -> None:
        model.zero_grad(set_to_none=True)
        F.cross_entropy(model(images), labels).backward()

    return step


def whole_step(
    model: nn.Module, images: Tensor, labels: Tensor, optimizer: torch.optim.Optimizer | None = None
) -> Step:
    """Return a function that runs forward, backward and an optimiser, by default Adam with the library's rates."""
    chosen = torch.optim.Adam(sg.parameter_groups(model)) if optimizer is None else optimizer

    def step() -> None:
        chosen.zero_grad()
        F.cross_entropy(model(images), labels).backward()
        chosen.step()

    return step


def in_bfloat16(model: nn.Module, images: Tensor, labels: Tensor) -> Step:
    """Return a function that runs forward and backward under autocast."""

    def step() -> None:
        model.zero_grad(set_to_none=True)
        with torch.autocast(images.device.type, dtype=torch.bfloat16):
            loss = F.cross_entropy(model(images).float(), labels)
        loss.backward()

    return step


def inference(model: nn.Module, images: Tensor) -> Step:
    """Return a function that runs forward in evaluation mode."""
    model.eval()

    def step() -> Tensor:
        with torch.no_grad():
            logits: Tensor = model(images)
            return logits

    return step


def random_images(batch: int, features: int, classes: int, device: torch.device | str = "cpu") -> tuple[Tensor, Tensor]:
    """Return images and labels on a device, with the same numbers on each."""
    images, labels = torch.rand(batch, features), torch.randint(0, classes, (batch,))
    return images.to(device), labels.to(device)


def words(layers: Sequence[int], batch: int) -> str:
    """Return the name of a network and a batch."""
    return f"{'-'.join(map(str, layers))}, batch {batch}"
