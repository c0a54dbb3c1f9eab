"""The recipe, settings and folder of a training, from the options."""

import argparse
import dataclasses
from pathlib import Path
from typing import Any

from spatialgraph import training
from spatialgraph.experiments.experiment import Candidate, Experiment

__all__ = ["folder_of", "folder_of_seed", "recipe_of", "settings_of"]


def recipe_of(experiment: Experiment, args: argparse.Namespace, candidate: Candidate) -> training.Recipe:
    """Return the protocol's recipe, with changes by the command line or else by the model."""
    rate = candidate.learning_rate if args.learning_rate is None else args.learning_rate
    given = {"epochs": args.epochs, "batch_size": args.batch_size, "learning_rate": rate}
    given = {name: value for name, value in given.items() if value is not None}
    return dataclasses.replace(experiment.recipes[args.protocol], **given)


def settings_of(
    experiment: Experiment, args: argparse.Namespace, candidate: Candidate, data: training.Mnist
) -> dict[str, Any]:
    """Return all settings besides model and seed that affect the results of a training."""
    names = ("validate", "patience", "penalty", *experiment.settings)
    recipe = dataclasses.asdict(recipe_of(experiment, args, candidate))
    return recipe | {name: getattr(args, name) for name in names} | {"data": data.source}


def folder_of(experiment: Experiment, args: argparse.Namespace) -> Path:
    """Return the folder of the results, which depends on the settings."""
    if args.out is not None:
        return Path(args.out)
    shape = "-".join(map(str, args.hidden))
    parts = [experiment.name, shape, f"d{args.dim}", args.spacing, args.polarity, args.protocol]
    parts += [] if args.wiring == "all" else [args.wiring.replace(":", "-").replace(",", "-")]
    parts += [] if args.epochs is None else [f"{args.epochs}epochs"]
    parts += [] if args.batch_size is None else [f"batch{args.batch_size}"]
    parts += [] if args.learning_rate is None else [f"lr{args.learning_rate:g}"]
    parts += ["validate"] if args.validate else []
    parts += [f"penalty{args.penalty:g}"] if args.penalty else []
    parts += [f"{name.replace('_', '-')}-{getattr(args, name)}" for name in experiment.settings]
    return Path("runs") / "_".join(parts)


def folder_of_seed(folder: Path, candidate: Candidate, seed: int) -> Path:
    """Return the folder of one training."""
    return folder / candidate.name.replace(", ", "_").replace(" ", "_").replace(":", "-") / f"seed-{seed}"
