"""Checks of training data before the first step, and their identification by content."""

import hashlib
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn

from spatialgraph.training.as_found import device_of, evaluating

__all__ = ["Images", "check_model_type", "checked", "checksum", "count_outputs"]

Images = tuple[Tensor, Tensor]
"""Samples of shape (count, features) and their classes of shape (count,)."""

_WHOLE = (torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64)


def check_model_type(name: str, model: nn.Module) -> None:
    """Check that an argument is a module.

    Example:
        >>> check_model_type("teacher", 3)
        Traceback (most recent call last):
        TypeError: teacher must be a torch.nn.Module, got int
    """
    if not isinstance(model, nn.Module):
        raise TypeError(f"{name} must be a torch.nn.Module, got {type(model).__name__}")


def checked(name: str, images: Any, model: nn.Module) -> Images:  # noqa: ANN401 - any value is checked
    """Check samples and classes for training or evaluation of a model, and return them; classes as int64.

    Args:
        name: name of the argument, for messages.
        images: samples and their classes.
        model: the model, which is called with the first sample; its state is not changed.

    Raises:
        TypeError: if these are not two tensors, or the classes are not integers.
        ValueError: if there are no samples, the number of classes differs from that of samples, a sample is not finite
            or not accepted by the model, or a class is out of the model's range.

    Example:
        >>> checked("train", (torch.zeros(2, 3), torch.tensor([0, 5])), nn.Linear(3, 4))
        Traceback (most recent call last):
            ...
        ValueError: train[1] must be between 0 and 3, the classes of a model with 4 outputs, got 5 for sample 1
    """
    samples, labels = _pair(name, images)
    _check_samples(f"{name}[0]", samples)
    _check_labels(f"{name}[1]", labels, len(samples))
    labels = labels.long()
    classes = count_outputs(f"{name}[0]", samples[:1], model)
    bad = (labels < 0) | (labels >= classes)
    if bad.any():
        place = int(bad.nonzero()[0])
        raise ValueError(
            f"{name}[1] must be between 0 and {classes - 1}, the classes of a model with {classes} outputs, "
            f"got {int(labels[place])} for sample {place}"
        )
    return samples, labels


def checksum(tensors: Iterable[Tensor]) -> str:
    """Return the SHA-256 of the dtypes, shapes and values of tensors, such as samples and classes.

    Example:
        >>> checksum((torch.zeros(2, 3), torch.tensor([0, 1])))[:12]
        '87f8ddf320d5'
    """
    digest = hashlib.sha256()
    for values in tensors:
        digest.update(f"{values.dtype} {tuple(values.shape)} ".encode())
        for part in torch.atleast_1d(values.detach()).split(4096):
            digest.update(part.cpu().contiguous().reshape(-1).view(torch.uint8).numpy())
    return digest.hexdigest()


def _pair(name: str, images: Any) -> Images:  # noqa: ANN401
    if not isinstance(images, tuple | list) or len(images) != 2:
        what = f"{len(images)} things" if isinstance(images, tuple | list) else type(images).__name__
        raise TypeError(f"{name} must be a pair of tensors, samples and their classes, got {what}")
    for place, values in enumerate(images):
        if not isinstance(values, Tensor):
            raise TypeError(f"{name}[{place}] must be a tensor, got {type(values).__name__}")
    return images[0], images[1]


def _check_samples(name: str, samples: Tensor) -> None:
    if samples.dim() < 2:
        raise ValueError(f"{name} must have shape (samples, features), got {tuple(samples.shape)}")
    if not len(samples):
        raise ValueError(f"{name} must hold at least one sample, got shape {tuple(samples.shape)}")
    bad = ~torch.isfinite(samples)
    if bad.any():
        place, *feature = bad.nonzero()[0].tolist()
        value = samples[bad][0].item()
        where = feature[0] if len(feature) == 1 else tuple(feature)
        raise ValueError(f"{name} must be finite, got {value} in sample {place}, feature {where}")


def _check_labels(name: str, labels: Tensor, count: int) -> None:
    if labels.dtype not in _WHOLE:
        raise TypeError(f"{name} must be integers (int64), the classes of the samples, got {labels.dtype}")
    if tuple(labels.shape) != (count,):
        raise ValueError(f"{name} must have shape ({count},), a class for each sample, got {tuple(labels.shape)}")


def count_outputs(name: str, sample: Tensor, model: nn.Module) -> int:
    """Return the number of a model's outputs for a sample; the model's state is not changed.

    Args:
        name: name of the samples, for messages.
        sample: one sample, shape ``(1, features)``.
        model: the model.

    Raises:
        TypeError: if the model does not return a tensor.
        ValueError: if the model does not accept the sample, or its output has another shape than ``(1, classes)``.

    Example:
        >>> count_outputs("train[0]", torch.zeros(1, 3), nn.Linear(3, 4))
        4
    """
    model = getattr(model, "_orig_mod", model)  # torch.compile would compile for this one pass
    device = device_of(model)
    try:
        with evaluating(model), torch.no_grad(), torch.random.fork_rng([device] if device.type == "cuda" else []):
            outputs = model(sample.to(device))
    except (RuntimeError, ValueError, TypeError, IndexError) as error:
        raise ValueError(
            f"{name} must hold samples that the model takes, got {sample.dtype} of shape {tuple(sample.shape[1:])} "
            f"for each ({' '.join(str(error).split())})"
        ) from error
    if not isinstance(outputs, Tensor):
        raise TypeError(f"model must return a tensor of logits, got {type(outputs).__name__}")
    if outputs.dim() != 2 or len(outputs) != 1 or not outputs.shape[1]:
        raise ValueError(
            f"model must turn samples into logits of shape (samples, classes), got {tuple(outputs.shape)} for one"
        )
    return outputs.shape[1]
