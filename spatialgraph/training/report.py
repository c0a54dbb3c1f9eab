"""Results of trainings, as a printed table and as files."""

import csv
import dataclasses
import importlib.metadata
import io
import json
import os
import platform
import statistics
from pathlib import Path
from typing import Any

import torch

from spatialgraph import atomic

__all__ = ["Result", "environment", "markdown", "table", "write_results"]


@dataclasses.dataclass(frozen=True)
class Result:
    """Results of trainings of one model with several seeds.

    Args:
        model: name of the model.
        parameters: number of learnable parameters.
        synapses: number of synapses, equal to the multiply-adds per image; None where it differs between images.
        seeds: the seeds.
        accuracies: accuracy with each seed, from 0 to 1.
        paper: the paper's accuracy for this model in percent; empty if there is none.
        seconds: mean seconds of training.

    Example:
        >>> Result("MLP", 10, 8, (0, 1), (0.9, 0.92), "", 1.5).percent
        '91.00 ± 1.41'
    """

    model: str
    parameters: int
    synapses: int | None
    seeds: tuple[int, ...]
    accuracies: tuple[float, ...]
    paper: str
    seconds: float

    @property
    def mean(self) -> float:
        """Mean accuracy."""
        return statistics.fmean(self.accuracies)

    @property
    def deviation(self) -> float | None:
        """Sample standard deviation over the seeds; None for one seed."""
        return statistics.stdev(self.accuracies) if len(self.accuracies) > 1 else None

    @property
    def percent(self) -> str:
        """Mean and standard deviation in percent."""
        spread = "" if self.deviation is None else f" ± {100 * self.deviation:.2f}"
        return f"{100 * self.mean:.2f}{spread}"


def table(results: list[Result], accuracy_of: str = "test") -> str:
    """Return the results as a Markdown table.

    Args:
        results: the rows.
        accuracy_of: name of the split on which the accuracy was measured.

    Example:
        >>> print(table([Result("MLP", 10, 8, (0,), (0.9,), "", 1.5)]))
        | model | parameters | synapses | test accuracy (%) | paper (%) | seeds | seconds |
        |-------|------------|----------|-------------------|-----------|-------|---------|
        | MLP   | 10         | 8        | 90.00             | -         | 1     | 2       |
    """
    header = ["model", "parameters", "synapses", f"{accuracy_of} accuracy (%)", "paper (%)", "seeds", "seconds"]
    rows = [
        [
            result.model,
            f"{result.parameters:,}",
            "-" if result.synapses is None else f"{result.synapses:,}",
            result.percent,
            result.paper or "-",
            str(len(result.seeds)),
            f"{result.seconds:.0f}",
        ]
        for result in results
    ]
    return markdown(header, rows)


def markdown(header: list[str], rows: list[list[str]]) -> str:
    """Return rows of text as a Markdown table with aligned columns.

    Args:
        header: names of the columns.
        rows: the cells, as many in each row as there are columns.

    Example:
        >>> print(markdown(["model", "spikes"], [["SNN", "12"]]))
        | model | spikes |
        |-------|--------|
        | SNN   | 12     |
    """
    widths = [max(map(len, column)) for column in zip(header, *rows, strict=True)]
    lines = [header, ["-" * width for width in widths], *rows]
    text = ["| " + " | ".join(cell.ljust(w) for cell, w in zip(line, widths, strict=True)) + " |" for line in lines]
    text[1] = text[1].replace(" ", "-")
    return "\n".join(text)


def environment() -> dict[str, Any]:
    """Return software versions and hardware, for the record of a result.

    Example:
        >>> sorted(environment())
        ['cpus', 'machine', 'packages', 'python', 'threads']
    """
    packages = ("torch", "torch_geometric", "numpy", "numba", "lightning", "snntorch", "triton")
    return {
        "python": platform.python_version(),
        "packages": {name: _version(name) for name in packages},
        "machine": platform.machine(),
        "cpus": os.cpu_count(),
        "threads": torch.get_num_threads(),
    }


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def write_results(folder: Path, results: list[Result], about: dict[str, Any]) -> None:
    """Write the results as ``metrics.json`` and ``metrics.csv``.

    Args:
        folder: where the files go.
        results: the rows.
        about: further entries of the JSON file, such as the command, the data and the versions.

    Example:
        >>> import tempfile
        >>> folder = Path(tempfile.mkdtemp())
        >>> write_results(folder, [Result("MLP", 10, 8, (0,), (0.9,), "", 1.5)], {"command": "python train.py"})
        >>> sorted(path.name for path in folder.iterdir())
        ['metrics.csv', 'metrics.json']
    """
    rows = [
        dataclasses.asdict(result) | {"mean": result.mean, "standard_deviation": result.deviation} for result in results
    ]
    atomic.write_text(folder / "metrics.json", json.dumps(about | {"results": rows}, indent=1, ensure_ascii=False))
    file = io.StringIO(newline="")
    names = ["model", "parameters", "synapses", "mean", "standard_deviation", "paper", "seconds"]
    writer = csv.DictWriter(file, fieldnames=names, extrasaction="ignore")
    writer.writeheader()
    writer.writerows(rows)
    atomic.write_text(folder / "metrics.csv", file.getvalue())
