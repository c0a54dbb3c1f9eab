"""What an experiment on MNIST is: the models to train, and what belongs to them."""

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
"""Number of digits, the outputs of every model."""

Figures = dict[str, list[dict[str, Any]]]
"""Further figures of each model by its name, a dictionary for each seed."""


@dataclasses.dataclass(frozen=True)
class Candidate:
    """A model to train.

    Args:
        name: its name in tables and folders.
        build: makes the model; PyTorch's random numbers are seeded before.
        paper: the paper's figure for this model, in percent; empty where it has none.
        learning_rate: takes the place of the protocol's where the command line gives none.
        callbacks: from a model to Lightning callbacks of its training.
        finish: called once the model is trained.
        examine: from the trained model, the images and labels it is judged by, and its folder, to further figures; it
            may draw into the folder.

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
    """A list of models to train on MNIST, and the command line that chooses among them.

    Args:
        name: name of the example, and of its folder below ``runs/``.
        description: text of ``--help``.
        presets: values of options by the name of a preset; ``"paper3d"`` is the default.
        recipes: recipes by the name of a protocol, ``"fast"`` and ``"paper"``.
        candidates: from the options and the number of features to the models.
        settings: names of those added options that decide how a training comes out.
        add_options: adds options to the command line.
        columns: names of further figures, and their headings in a second table.
        report: from the results, the further figures, the folder and what the data are, to entries for the record; it
            may draw and print. Only MNIST may stand beside the paper's figures.

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
