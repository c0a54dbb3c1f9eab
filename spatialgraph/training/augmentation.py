"""Augmentation: images that are distorted anew each time a model is trained on them."""

import dataclasses
import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from spatialgraph import checks

__all__ = ["Augment", "RandomAffine"]

Augment = Callable[[Tensor], Tensor]
"""From samples, shape ``(batch, features)``, to those that the model is trained on, of the same shape."""


@dataclasses.dataclass(frozen=True)
class RandomAffine:
    r"""Turn, shift, scale and shear each image by random amounts, all from uniform distributions.

    Pixels outside an image are 0; between pixels, values are interpolated. Random numbers are PyTorch's for the
    device of the images, which :func:`~spatialgraph.training.fit` seeds at each epoch, so that a resumed training draws
    the same.

    Args:
        shape: rows and columns of the images.
        degrees: largest angle, in degrees.
        translate: largest shift along each axis, as a share of the image's size.
        scale: smallest and largest factor on the size.
        shear: largest shear along each axis, in degrees.

    Raises:
        TypeError: if an argument is of the wrong type.
        ValueError: if a number is negative or not finite, or a factor is not above 0.

    Example:
        >>> images = torch.rand(5, 784)
        >>> RandomAffine((28, 28), degrees=10)(images).shape
        torch.Size([5, 784])
        >>> still = RandomAffine((28, 28), degrees=0, translate=0, scale=(1, 1), shear=0)
        >>> torch.allclose(still(images), images, atol=1e-4)
        True
    """

    shape: tuple[int, int]
    degrees: float = 10.0
    translate: float = 0.08
    scale: tuple[float, float] = (0.9, 1.1)
    shear: float = 5.0

    def __post_init__(self) -> None:
        """Check the fields."""
        shape = tuple(checks.integer("shape", size, minimum=1) for size in _pair("shape", self.shape))
        object.__setattr__(self, "shape", shape)
        for name in ("degrees", "translate", "shear"):
            value = checks.number(name, getattr(self, name))
            if value < 0:
                raise ValueError(f"{name} must not be negative, got {value}")
        low, high = (checks.positive("scale", factor) for factor in _pair("scale", self.scale))
        if low > high:
            raise ValueError(f"scale must have the smallest factor first, got {self.scale}")
        object.__setattr__(self, "scale", (low, high))

    def __call__(self, images: Tensor) -> Tensor:
        """Return distorted images.

        Args:
            images: shape ``(batch, rows * columns)``.

        Raises:
            ValueError: if the images have another size.
        """
        rows, columns = self.shape
        checks.shape("images", images, (len(images), rows * columns))
        grid = F.affine_grid(self._maps(images), [len(images), 1, rows, columns], align_corners=False)
        pictures = images.reshape(-1, 1, rows, columns)
        distorted = F.grid_sample(pictures, grid, mode="bilinear", padding_mode="zeros", align_corners=False)
        return distorted.reshape(len(images), -1)

    def settings(self) -> dict[str, Any]:
        """Return what a training must have in common with the one that it resumes."""
        return dataclasses.asdict(self)

    def _maps(self, images: Tensor) -> Tensor:
        """Draw a map from places in each distorted image to places in the image, shape ``(batch, 2, 3)``."""
        rows, columns = self.shape
        angle = _drawn(images, math.radians(self.degrees))
        shears = [_drawn(images, math.radians(self.shear)).tan() for _ in range(2)]
        low, high = self.scale
        size = low + (high - low) * _uniform(images)
        shifts = [2 * _drawn(images, self.translate) for _ in range(2)]  # an image reaches from -1 to 1
        ones = torch.ones_like(angle)
        turn = _matrices(angle.cos(), -angle.sin(), angle.sin(), angle.cos())
        lean = _matrices(ones, shears[0], shears[1], ones)
        linear = (turn @ lean) / size[:, None, None]
        # Angles are those of pixels, while both axes reach from -1 to 1 whatever the number of pixels.
        aspect = _matrices(ones, ones * (rows / columns), ones * (columns / rows), ones)
        return torch.cat([linear * aspect, torch.stack(shifts, 1)[:, :, None]], dim=2).to(images)


def _uniform(images: Tensor) -> Tensor:
    """Draw a number from 0 to 1 for each image, on its device; in double precision on the CPU only: some lack it."""
    dtype = torch.float64 if images.device.type == "cpu" else torch.float32
    return torch.rand(len(images), dtype=dtype, device=images.device)


def _drawn(images: Tensor, most: float) -> Tensor:
    return (_uniform(images) * 2 - 1) * most


def _matrices(a: Tensor, b: Tensor, c: Tensor, d: Tensor) -> Tensor:
    return torch.stack([torch.stack([a, b], -1), torch.stack([c, d], -1)], dim=-2)


def _pair(name: str, value: Any) -> Sequence[Any]:  # noqa: ANN401 - any value is checked
    if isinstance(value, str) or not isinstance(value, Sequence) or len(value) != 2:
        raise TypeError(f"{name} must be a pair of numbers, got {value!r}")
    return value
