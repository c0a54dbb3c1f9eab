"""The accuracy of a model."""

import torch
from torch import nn

from spatialgraph.graph.network import graph_or_none
from spatialgraph.training.as_found import device_of, evaluating
from spatialgraph.training.batches import kept, sent
from spatialgraph.training.samples import Images, check_model_type, checked

__all__ = ["accuracy"]

# Samples, and activations of all neurons, that are evaluated at a time.
_MOST_SAMPLES, _MOST_ACTIVATIONS = 1000, 2**27


@torch.no_grad()
def accuracy(model: nn.Module, images: Images) -> float:
    """Return the share of right answers.

    Args:
        model: from ``(batch, features)`` to ``(batch, classes)``; it is evaluated in ``eval()`` and on its device, and
            its mode is restored.
        images: images and labels, as for :func:`fit`.

    Raises:
        TypeError: if an argument is of the wrong type.
        ValueError: if images and labels do not fit the model or each other, or a number among them is not finite.

    Example:
        >>> accuracy(nn.Identity(), (torch.eye(4), torch.arange(4)))
        1.0
    """
    check_model_type("model", model)
    images = checked("images", images, model)
    device = device_of(model)
    samples, labels = kept(images, device)
    with evaluating(model):
        answers = torch.cat([model(sent(part, device)).argmax(1) for part in samples.split(_at_a_time(model))])
    return int((answers == labels.to(device)).sum()) / len(labels)


def _at_a_time(model: nn.Module) -> int:
    """Return for how many samples the activations of all neurons take little memory."""
    graph = graph_or_none(model)
    return _MOST_SAMPLES if graph is None else min(_MOST_SAMPLES, max(1, _MOST_ACTIVATIONS // graph.neurons))
