"""Definition of an experiment on MNIST: the models to train and their options."""

import argparse
import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from torch import nn

from spatialgraph import training

if TYPE_CHECKING:
    from lightning import Callback

__all__ = ["CLASSES", "Candidate", "Experiment", "Figures"]

CLASSES = 10
"""Number of classes, the outputs of every model."""

Figures = dict[str, list[dict[str, Any]]]
"""Further metrics by the name of the model, with a dictionary for each seed."""


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


@dataclasses.dataclass(frozen=True)
class Experiment:
    """A list of models to train on MNIST, with its command line.

    Args:
        name: name of the example, and of its folder below ``runs/``.
        description: text of ``--help``.
        presets: values of options by the name of a preset; the first is the default.
        recipes: recipes by the name of a protocol, ``"fast"`` and ``"paper"``.
        candidates: returns the models, given the options and the number of features.
        settings: names of the added options that affect the results of a training.
        add_options: adds options to the command line.
        columns: names of further metrics, and their headings in a second table.
        report: returns entries for the record, given the results, the further metrics, the folder and the name of the
            data; it may save figures and print. Only results on MNIST may be compared with the paper's.

    Example:
        >>> linear = Candidate("linear", lambda: nn.Linear(784, CLASSES))
        >>> experiment = Experiment(
        ...     name="mnist_linear",
        ...     description="Train a linear model.",
        ...     presets={"paper3d": {"hidden": [], "dim": 3, "spacing": "learned"}},
        ...     recipes={name: training.RECIPES[name] for name in ("fast", "paper")},
        ...     candidates=lambda args, features: [linear],
        ... )
        >>> [candidate.name for candidate in experiment.candidates(argparse.Namespace(), 784)]
        ['linear']
    """

    name: str
    description: str
    presets: dict[str, dict[str, Any]]
    recipes: dict[str, training.Recipe]
    candidates: Callable[[argparse.Namespace, int], list[Candidate]]
    settings: tuple[str, ...] = ()
    add_options: Callable[[argparse.ArgumentParser], None] = lambda parser: None
    columns: dict[str, str] = dataclasses.field(default_factory=dict)
    report: Callable[[list[training.Result], Figures, Path, str], dict[str, Any]] = lambda *ignored: {}
