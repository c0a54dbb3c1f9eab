"""A program with a command line: models to compare on MNIST, and their options."""

import argparse
import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

from spatialgraph import training
from spatialgraph.experiments.candidate import Candidate

__all__ = ["Figures", "Program"]

Figures = dict[str, list[dict[str, Any]]]
"""Further metrics by the name of the model, with a dictionary for each seed."""


@dataclasses.dataclass(frozen=True)
class Program:
    """A program that trains models on MNIST, with a command line for the models, the recipe and the seeds.

    Args:
        name: name of the file in ``examples/``, and of the folder below ``runs/``.
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
        >>> from torch import nn
        >>> linear = Candidate("linear", lambda: nn.Linear(784, 10))
        >>> program = Program(
        ...     name="mnist_linear",
        ...     description="Train a linear model.",
        ...     presets={"paper3d": {"hidden": [], "dim": 3, "spacing": "learned"}},
        ...     recipes={name: training.RECIPES[name] for name in ("fast", "paper")},
        ...     candidates=lambda args, features: [linear],
        ... )
        >>> [candidate.name for candidate in program.candidates(argparse.Namespace(), 784)]
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
