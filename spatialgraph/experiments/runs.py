"""Runs of an experiment: all models with all seeds, and the report."""

import argparse
import dataclasses
import shlex
import statistics
import sys
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from spatialgraph import training
from spatialgraph.experiments import records
from spatialgraph.experiments.experiment import Candidate, Experiment, Figures
from spatialgraph.experiments.options import parse
from spatialgraph.experiments.plans import folder_of, folder_of_seed, recipe_of
from spatialgraph.experiments.trainings import train_seed

__all__ = ["as_script", "run"]


def as_script(main: Callable[[], object]) -> None:
    """Run an example, and exit with a message instead of a traceback for errors that the user can resolve.

    Args:
        main: the example.

    Raises:
        SystemExit: if the example is interrupted, a file cannot be used, or a value in training is not finite.

    Example:
        >>> def main():
        ...     raise OSError("No space left on device")
        >>> as_script(main)
        Traceback (most recent call last):
            ...
        SystemExit: No space left on device. The same command with --resume continues once this is fixed.
    """
    try:
        main()
    except KeyboardInterrupt:
        sys.exit("Interrupted; the same command with --resume continues.")
    except OSError as error:
        sys.exit(f"{error}. The same command with --resume continues once this is fixed.")
    except FloatingPointError as error:
        sys.exit(str(error))


def run(experiment: Experiment, argv: Sequence[str] | None = None) -> list[training.Result]:
    """Train all models with all seeds that the command line asks for, print tables, and write the results.

    Args:
        experiment: the experiment.
        argv: the arguments; None for ``sys.argv``.

    Returns:
        A row for each model; no rows in processes other than the first.

    Raises:
        SystemExit: if an option is invalid, or a training to resume has other settings.
        OSError: if a file or folder cannot be used.
    """
    args = parse(experiment, argv)
    data = _load(args.data_dir)
    folder = folder_of(experiment, args)
    seeds = list(range(args.seeds)) if args.seeds else [args.seed or 0]
    candidates = experiment.candidates(args, data.train_images.shape[1])
    trained = [
        [train_seed(experiment, listed, seed, data, args, folder_of_seed(folder, listed, seed)) for seed in seeds]
        for listed in candidates
    ]
    if not training.is_main_process():
        return []
    results = [_result(listed, each, data) for listed, each in zip(candidates, trained, strict=True)]
    figures = {
        listed.name: [figures.get("examined", {}) for figures in each]
        for listed, each in zip(candidates, trained, strict=True)
    }
    about: dict[str, Any] = {"command": _command(experiment, argv), "data": data.source}
    about |= _recipes({listed.name: recipe_of(experiment, args, listed) for listed in candidates})
    about |= {"figures": figures} if any(any(rows) for rows in figures.values()) else {}
    about |= experiment.report(results, figures, folder, data.source)
    training.write_results(folder, results, about | {"environment": training.environment()})
    _print(experiment, args, results, figures, folder)
    return results


def _load(folder: str | None) -> training.Mnist:
    with warnings.catch_warnings(record=True) as notes:
        warnings.simplefilter("always")
        data = training.load_mnist(folder)
    for note in notes:
        records.note(str(note.message))
    return data


def _result(candidate: Candidate, trained: list[dict[str, Any]], data: training.Mnist) -> training.Result:
    """Summarise the trainings of a model as a row of the table."""
    return training.Result(
        candidate.name,
        trained[0]["parameters"],
        trained[0]["synapses"],
        tuple(each["seed"] for each in trained),
        tuple(each["accuracy"] for each in trained),
        candidate.paper if data.source == "MNIST" else "",
        sum(each["seconds"] for each in trained) / len(trained),
    )


def _command(experiment: Experiment, argv: Sequence[str] | None) -> str:
    return shlex.join(["python", f"examples/{experiment.name}.py", *(sys.argv[1:] if argv is None else argv)])


def _recipes(recipes: dict[str, training.Recipe]) -> dict[str, Any]:
    """Return the recipe for the record, or that of each model where they differ."""
    first, *others = (dataclasses.asdict(recipe) for recipe in recipes.values())
    if all(other == first for other in others):
        return {"recipe": first}
    return {"recipes": {name: dataclasses.asdict(recipe) for name, recipe in recipes.items()}}


def _print(
    experiment: Experiment, args: argparse.Namespace, results: list[training.Result], figures: Figures, folder: Path
) -> None:
    print(f"\n{training.table(results, 'validation' if args.validate else 'test')}\n")
    if experiment.columns:
        print(f"{_means(experiment.columns, figures)}\n")
    print(f"Written to {folder}")


def _means(columns: dict[str, str], figures: Figures) -> str:
    """Return further metrics, averaged over seeds, as a Markdown table."""
    rows = [
        [model, *(f"{statistics.fmean(each[name] for each in trained):,.0f}" for name in columns)]
        for model, trained in figures.items()
    ]
    return training.markdown(["model", *columns.values()], rows)
