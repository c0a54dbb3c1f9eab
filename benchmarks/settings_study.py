"""Short studies that choose settings on held-out training images."""

import argparse
import dataclasses
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from spatialgraph import atomic, training
from spatialgraph.experiments import Experiment, Run


def study(
    name: str, description: str | None, studies: Mapping[str, Callable[[], list[Run]]], argv: Sequence[str] | None
) -> None:
    """Read a command line, train what it asks for, print the accuracies, and write JSON if requested.

    Args:
        name: of the benchmark.
        description: what ``--help`` says.
        studies: for each name, a function that returns its runs.
        argv: the command line; None for that of the process.
    """
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", choices=studies, default=list(studies))
    parser.add_argument("--epochs", type=int, help="epochs of all trainings")
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--out", type=Path, default=Path("runs") / name)
    parser.add_argument("--json", type=Path, help="write the results to this file")
    args = parser.parse_args(argv)
    runs = [run for each in args.only for run in studies[each]()]
    if args.epochs is not None:
        runs = [dataclasses.replace(run, recipe=dataclasses.replace(run.recipe, epochs=args.epochs)) for run in runs]
    studied = Experiment(runs)
    print(training.table(studied.run(args.out, jobs=args.jobs, threads=1), "validation"))
    if args.json is None:
        return
    rows = [
        {"network": run.candidate.name, "validation_accuracy": figures["accuracy"], "seconds": figures["seconds"]}
        | {"recipe": dataclasses.asdict(run.recipe)}
        for run, figures in zip(runs, studied.metrics(args.out), strict=True)
        if figures is not None
    ]
    command = f"python benchmarks/{name}.py --only {' '.join(args.only)} --jobs {args.jobs}"
    about = {"command": command, "environment": training.environment(), "data": studied.data().source, "runs": rows}
    atomic.write_text(args.json, json.dumps(about, indent=1) + "\n")
