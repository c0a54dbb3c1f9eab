"""What the options mean for the trainings: their recipe, the settings they are resumed with only, their folder."""

import argparse
import dataclasses
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from spatialgraph import training
from spatialgraph.experiments.experiment import Candidate, Experiment
from spatialgraph.experiments.options import DEFAULT_LAW

__all__ = ["check_folders", "folder_name", "folder_of", "folder_of_seed", "recipe_of", "settings_of"]


def recipe_of(experiment: Experiment, args: argparse.Namespace, candidate: Candidate) -> training.Recipe:
    """Return the protocol's recipe, with what the command line, or else the model, changes of it."""
    rate = candidate.learning_rate if args.learning_rate is None else args.learning_rate
    given = {"epochs": args.epochs, "batch_size": args.batch_size, "learning_rate": rate}
    given = {name: value for name, value in given.items() if value is not None}
    return dataclasses.replace(experiment.recipes[args.protocol], **given)


def settings_of(
    experiment: Experiment, args: argparse.Namespace, candidate: Candidate, data: training.Mnist
) -> dict[str, Any]:
    """Return everything besides model and seed that decides how a training comes out."""
    names = ("validate", "patience", "penalty", "law", *experiment.settings)
    recipe = dataclasses.asdict(recipe_of(experiment, args, candidate))
    return recipe | {name: getattr(args, name) for name in names} | {"data": data.source}


def folder_of(experiment: Experiment, args: argparse.Namespace) -> Path:
    """Return where the results go: one folder for each setting."""
    if args.out is not None:
        return Path(args.out)
    shape = "-".join(map(str, args.hidden))
    parts = [experiment.name, shape, f"d{args.dim}", args.spacing, args.polarity, args.protocol]
    parts += [] if args.wiring == "all" else [args.wiring]
    parts += [] if args.law == DEFAULT_LAW else [args.law]
    parts += [] if args.epochs is None else [f"{args.epochs}epochs"]
    parts += [] if args.batch_size is None else [f"batch{args.batch_size}"]
    parts += [] if args.learning_rate is None else [f"lr{args.learning_rate:g}"]
    parts += ["validate"] if args.validate else []
    parts += [] if args.patience is None else [f"patience{args.patience}"]
    parts += [f"{name}{factor:g}" for name, factor in args.penalty.items()]
    parts += [f"{name.replace('_', '-')}-{getattr(args, name)}" for name in experiment.settings]
    return Path("runs") / folder_name("_".join(parts))


def folder_of_seed(folder: Path, candidate: Candidate, seed: int) -> Path:
    """Return where the files of one training go."""
    return folder / folder_name(candidate.name) / f"seed-{seed}"


def folder_name(name: str) -> str:
    """Return a name of letters, digits, dots, dashes and underscores.

    Example:
        >>> folder_name("spatial 784-100-10, d=2, knn:32, 10 % in training")
        'spatial_784-100-10_d2_knn_32_10_in_training'
    """
    return re.sub(r"[^A-Za-z0-9.-]+", "_", name.replace("=", "")).strip("_.")


def check_folders(candidates: Sequence[Candidate]) -> None:
    """Check that no two models have the same folder.

    Raises:
        ValueError: if two have.

    Example:
        >>> from torch import nn
        >>> check_folders([Candidate("a b", nn.Identity), Candidate("a, b", nn.Identity)])
        Traceback (most recent call last):
            ...
        ValueError: candidates must have names with different folders, got 'a b' and 'a, b' for a_b
    """
    names: dict[str, str] = {}
    for candidate in candidates:
        place = folder_name(candidate.name)
        if place in names:
            raise ValueError(
                f"candidates must have names with different folders, got {names[place]!r} and {candidate.name!r} "
                f"for {place}"
            )
        names[place] = candidate.name
