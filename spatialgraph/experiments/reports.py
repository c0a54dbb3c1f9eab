"""The report on trainings: a row for each model, a printed table and a record of all that it took."""

import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from spatialgraph import training

__all__ = ["command_line", "summary", "write_report"]


def summary(name: str, trained: Sequence[dict[str, Any]], paper: str = "") -> training.Result:
    """Return the row of a model in the table.

    Args:
        name: the model's name.
        trained: for each seed its ``seed`` and the figures that :func:`finish` takes.
        paper: the published accuracy of this model, in percent; empty where there is none.

    Example:
        >>> figures = {"seed": 0, "accuracy": 0.9, "parameters": 8, "synapses": 6, "seconds": 1.0}
        >>> summary("linear", [figures]).percent
        '90.00'
    """
    return training.Result(
        name,
        trained[0]["parameters"],
        trained[0]["synapses"],
        tuple(each["seed"] for each in trained),
        tuple(each["accuracy"] for each in trained),
        paper,
        sum(each["seconds"] for each in trained) / len(trained),
    )


def write_report(
    folder: Path, results: list[training.Result], about: dict[str, Any], *, judged_on: str = "test", more: str = ""
) -> None:
    """Write the results and what they came from to a folder, and print them as a table.

    Args:
        folder: where ``metrics.json`` and ``metrics.csv`` go.
        results: the rows.
        about: what else belongs into the record: the command, the data, the recipes. The environment is added.
        judged_on: what the accuracy was measured on, ``"test"`` or ``"validation"``.
        more: printed below the table.

    Example:
        >>> import tempfile
        >>> folder = Path(tempfile.mkdtemp())
        >>> figures = {"seed": 0, "accuracy": 0.9, "parameters": 8, "synapses": 6, "seconds": 1.0}
        >>> write_report(folder, [summary("linear", [figures])], {"command": "python train.py"})
        <BLANKLINE>
        | model  | parameters | synapses | test accuracy (%) | paper (%) | seeds | seconds |
        |--------|------------|----------|-------------------|-----------|-------|---------|
        | linear | 8          | 6        | 90.00             | -         | 1     | 1       |
        <BLANKLINE>
        Written to ...
    """
    training.write_results(folder, results, about | {"environment": training.environment()})
    tables = [training.table(results, judged_on), more]
    print("", *(f"{table}\n" for table in tables if table), f"Written to {folder}", sep="\n")


def command_line(name: str, argv: Sequence[str] | None) -> str:
    """Return the command that runs an example.

    Args:
        name: the name of its file, without the ending.
        argv: the arguments; None for those of the process.

    Example:
        >>> command_line("mnist_mlp", ["--out", "my runs"])
        "python examples/mnist_mlp.py --out 'my runs'"
    """
    return shlex.join(["python", f"examples/{name}.py", *(sys.argv[1:] if argv is None else argv)])
