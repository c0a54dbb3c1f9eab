"""What the options of a program mean: its experiment, and the folder of this."""

import argparse
import dataclasses
from pathlib import Path

from spatialgraph import training
from spatialgraph.experiments.candidate import Candidate
from spatialgraph.experiments.data import LazyMnist
from spatialgraph.experiments.experiment import Experiment
from spatialgraph.experiments.options import DEFAULT_LAW
from spatialgraph.experiments.program import Program
from spatialgraph.experiments.runs import Run, folder_name
from spatialgraph.training.precision import PRECISIONS

__all__ = ["experiment_of", "folder_of", "recipe_of"]


def recipe_of(program: Program, args: argparse.Namespace, candidate: Candidate) -> training.Recipe:
    """Return the protocol's recipe, with what the command line, or else the model, changes of it."""
    rate = candidate.learning_rate if args.learning_rate is None else args.learning_rate
    given = {"epochs": args.epochs, "batch_size": args.batch_size, "learning_rate": rate}
    given = {name: value for name, value in given.items() if value is not None}
    return dataclasses.replace(program.recipes[args.protocol], **given)


def experiment_of(program: Program, args: argparse.Namespace) -> Experiment:
    """Return the runs that the options ask for: each model with each seed."""
    load = LazyMnist(args.data_dir)
    features, has_digits = load().train_images.shape[1], load().source == "MNIST"
    seeds = range(args.seeds) if args.seeds else [args.seed or 0]
    runs = [
        Run(
            candidate if has_digits else dataclasses.replace(candidate, paper=""),
            recipe_of(program, args, candidate),
            seed,
            args.validate,
            args.patience,
            args.penalty,
            {name: getattr(args, name) for name in ("law", *program.settings)},
            precision=args.precision,
        )
        for candidate in program.candidates(args, features)
        for seed in seeds
    ]
    return Experiment(runs, load)


def folder_of(program: Program, args: argparse.Namespace) -> Path:
    """Return where the results go: one folder for each setting."""
    if args.out is not None:
        return Path(args.out)
    shape = "-".join(map(str, args.hidden))
    parts = [program.name, shape, f"d{args.dim}", args.spacing, args.polarity, args.protocol]
    parts += [] if args.wiring == "all" else [args.wiring]
    parts += [] if args.law == DEFAULT_LAW else [args.law]
    parts += [] if args.epochs is None else [f"{args.epochs}epochs"]
    parts += [] if args.batch_size is None else [f"batch{args.batch_size}"]
    parts += [] if args.learning_rate is None else [f"lr{args.learning_rate:g}"]
    parts += ["validate"] if args.validate else []
    parts += [] if args.patience is None else [f"patience{args.patience}"]
    parts += [f"{name}{factor:g}" for name, factor in args.penalty.items()]
    parts += [] if args.precision == PRECISIONS[0] else [args.precision]
    parts += [f"{name.replace('_', '-')}-{getattr(args, name)}" for name in program.settings]
    return Path("runs") / folder_name("_".join(parts))
