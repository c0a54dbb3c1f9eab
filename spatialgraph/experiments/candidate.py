"""A model to train, of which an experiment has one or more."""

import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from torch import nn

from spatialgraph import training

if TYPE_CHECKING:
    from lightning import Callback

__all__ = ["CLASSES", "Candidate"]

CLASSES = 10
"""Number of classes, the outputs of every model."""


@dataclasses.dataclass(frozen=True)
class Candidate:
    """A model to train.

    Args:
        name: its name in tables and folders.
        build: returns the model; called after PyTorch's random numbers are seeded.
        paper: the paper's accuracy for this model in percent; empty if there is none.
        learning_rate: default learning rate instead of the protocol's.
        callbacks: returns Lightning callbacks for a model.
        finish: called without arguments after the training, before the model is evaluated.
        examine: returns further metrics, given the trained model, the images and labels for evaluation, and its folder,
            in which it may save figures.

    Example:
        >>> Candidate("linear", lambda: nn.Linear(784, CLASSES)).build()
        Linear(in_features=784, out_features=10, bias=True)
    """

    name: str
    build: Callable[[], nn.Module]
    paper: str = ""
    learning_rate: float | None = None
    callbacks: Callable[[nn.Module], Sequence["Callback"]] = lambda model: ()
    finish: Callable[[], None] = lambda: None
    examine: Callable[[nn.Module, training.Images, Path], dict[str, Any]] = lambda model, judged, folder: {}
