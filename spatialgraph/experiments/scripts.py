"""Programs as scripts: all that a command line asks for, and the report on it."""

import dataclasses
import statistics
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from spatialgraph import training
from spatialgraph.experiments import reports
from spatialgraph.experiments.experiment import Experiment
from spatialgraph.experiments.options import parse
from spatialgraph.experiments.plans import experiment_of, folder_of
from spatialgraph.experiments.program import Figures, Program
from spatialgraph.experiments.records import OtherSettings

__all__ = ["as_script", "run_program"]


def as_script(main: Callable[[], object], *, option: str = "--resume") -> None:
    """Run an example; end it with a message, without a traceback, on errors that its user can mend.

    Args:
        main: the example.
        option: option with which the example continues what was interrupted; empty if it does so without.

    Raises:
        SystemExit: if the example was interrupted, a file could not be used, a training to resume had other
            settings, or a loss or parameter was not finite.

    Example:
        >>> def main():
        ...     raise OSError("No space left on device")
        >>> as_script(main)
        Traceback (most recent call last):
            ...
        SystemExit: No space left on device. The same command with --resume continues once this is fixed.
    """
    again = f"the same command with {option}" if option else "the same command"
    try:
        main()
    except KeyboardInterrupt:
        sys.exit(f"Interrupted; {again} continues.")
    except OSError as error:
        sys.exit(f"{error}. {again[0].upper()}{again[1:]} continues once this is fixed.")
    except (FloatingPointError, OtherSettings) as error:
        sys.exit(str(error))


def run_program(program: Program, argv: Sequence[str] | None = None) -> list[training.Result]:
    """Train all models with all seeds that the command line asks for, print tables, and write the results.

    Args:
        program: the program.
        argv: the arguments; None for those of the process.

    Returns:
        A row for each model; none in all processes but the first.

    Raises:
        SystemExit: if an option is invalid.
        OtherSettings: if a training to resume had other settings.
        FloatingPointError: if a loss was not finite.
        OSError: if a file or folder cannot be used.
    """
    args = parse(program, argv)
    folder, experiment = folder_of(program, args), experiment_of(program, args)
    results = experiment.run(folder, jobs=args.jobs, threads=args.threads, device=args.device, resume=args.resume)
    if not training.is_main_process():
        return []
    source = experiment.data().source
    figures = _figures(experiment, folder)
    about: dict[str, Any] = {"command": reports.command_line(program.name, argv), "data": source}
    about |= _recipes({run.candidate.name: run.recipe for run in experiment.runs})
    about |= {"figures": figures} if any(any(rows) for rows in figures.values()) else {}
    about |= program.report(results, figures, folder, source)
    more = _means(program.columns, figures) if program.columns else ""
    reports.write_report(folder, results, about, judged_on="validation" if args.validate else "test", more=more)
    return results


def _figures(experiment: Experiment, folder: Path) -> Figures:
    """Return the further metrics of each model's runs."""
    figures: Figures = {}
    for run, found in zip(experiment.runs, experiment.metrics(folder), strict=True):
        figures.setdefault(run.candidate.name, []).append((found or {}).get("examined", {}))
    return figures


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
