"""A run of an experiment: all models with all seeds, and the report on them."""

import dataclasses
import statistics
import sys
import warnings
from collections.abc import Callable, Sequence
from typing import Any

from spatialgraph import training
from spatialgraph.experiments import records, reports
from spatialgraph.experiments.experiment import Experiment, Figures
from spatialgraph.experiments.options import parse
from spatialgraph.experiments.plans import check_folders, folder_of, folder_of_seed, recipe_of
from spatialgraph.experiments.trainings import train_seed

__all__ = ["as_script", "load_mnist", "run"]


def as_script(main: Callable[[], object]) -> None:
    """Run an example; end it with a message, without a traceback, on errors that its user can mend.

    Args:
        main: the example.

    Raises:
        SystemExit: if the example was interrupted, a file could not be used, or a loss or parameter was not finite.

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
        argv: the arguments; None for those of the process.

    Returns:
        A row for each model; none in all processes but the first.

    Raises:
        SystemExit: if an option is invalid, or a training to resume had other settings.
        OSError: if a file or folder cannot be used.
    """
    args = parse(experiment, argv)
    data = load_mnist(args.data_dir)
    folder = folder_of(experiment, args)
    seeds = list(range(args.seeds)) if args.seeds else [args.seed or 0]
    candidates = experiment.candidates(args, data.train_images.shape[1])
    check_folders(candidates)
    trained = [
        [train_seed(experiment, listed, seed, data, args, folder_of_seed(folder, listed, seed)) for seed in seeds]
        for listed in candidates
    ]
    if not training.is_main_process():
        return []
    results = [
        reports.summary(listed.name, each, listed.paper if data.source == "MNIST" else "")
        for listed, each in zip(candidates, trained, strict=True)
    ]
    figures = {
        listed.name: [figures.get("examined", {}) for figures in each]
        for listed, each in zip(candidates, trained, strict=True)
    }
    about: dict[str, Any] = {"command": reports.command_line(experiment.name, argv), "data": data.source}
    about |= _recipes({listed.name: recipe_of(experiment, args, listed) for listed in candidates})
    about |= {"figures": figures} if any(any(rows) for rows in figures.values()) else {}
    about |= experiment.report(results, figures, folder, data.source)
    more = _means(experiment.columns, figures) if experiment.columns else ""
    reports.write_report(folder, results, about, judged_on="validation" if args.validate else "test", more=more)
    return results


def load_mnist(folder: str | None) -> training.Mnist:
    """Load MNIST, or the sample that is part of the package, which a printed note says.

    Args:
        folder: folder with MNIST; None for the usual places.
    """
    with warnings.catch_warnings(record=True) as notes:
        warnings.simplefilter("always")
        data = training.load_mnist(folder)
    for note in notes:
        records.note(str(note.message))
    return data


def _recipes(recipes: dict[str, training.Recipe]) -> dict[str, Any]:
    """Return the recipe for the record, or that of each model where they differ."""
    first, *others = (dataclasses.asdict(recipe) for recipe in recipes.values())
    if all(other == first for other in others):
        return {"recipe": first}
    return {"recipes": {name: dataclasses.asdict(recipe) for name, recipe in recipes.items()}}


def _means(columns: dict[str, str], figures: Figures) -> str:
    """Return the means over the seeds of further figures as a Markdown table."""
    rows = [
        [model, *(f"{statistics.fmean(each[name] for each in trained):,.0f}" for name in columns)]
        for model, trained in figures.items()
    ]
    return training.markdown(["model", *columns.values()], rows)
