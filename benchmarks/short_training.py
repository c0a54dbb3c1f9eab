"""Short trainings in a plain PyTorch loop, for benchmarks that compare settings on held-out samples."""

import argparse
import dataclasses
import functools
import json
import statistics
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from spatialgraph import atomic
from spatialgraph.datasets import load_mnist, yin_yang
from spatialgraph.training import environment


@dataclasses.dataclass(frozen=True)
class Task:
    """Samples to learn from and others to be judged by; never the test images, unless ``final``."""

    train: tuple[Tensor, Tensor]
    validation: tuple[Tensor, Tensor]


@functools.cache
def mnist(folder: Path, train: int, held_out: int, final: bool = False) -> Task:
    """Return images of MNIST; the held-out ones are training images, or with ``final`` all test images."""
    data = load_mnist(folder, download=False)
    order = torch.randperm(len(data.train_labels), generator=torch.Generator().manual_seed(0))
    held, used = order[:held_out], order[held_out : held_out + train]
    judged = (data.test_images, data.test_labels) if final else (data.train_images[held], data.train_labels[held])
    return Task((data.train_images[used], data.train_labels[used]), judged)


@functools.cache
def digits(final: bool = False) -> Task:
    """Return 1,500 digits of 8 x 8 pixels and 2,000 held-out ones, or with ``final`` the 2,000 test digits."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="load_mnist returns the bundled sample")
        data = load_mnist(Path("no such folder"), download=False)
    order = torch.randperm(len(data.train_labels), generator=torch.Generator().manual_seed(0))
    held, used = order[:2000], order[2000:3500]
    small = _small(data.train_images)
    judged = (_small(data.test_images), data.test_labels) if final else (small[held], data.train_labels[held])
    return Task((small[used], data.train_labels[used]), judged)


@functools.cache
def yin_yang_points(final: bool = False) -> Task:
    """Return points of the Yin-Yang task."""
    return Task(yin_yang(3000, seed=1000), yin_yang(2000, seed=1002 if final else 1001))


def _small(images: Tensor) -> Tensor:
    pixels = F.pad(images.view(-1, 1, 28, 28), (2, 2, 2, 2))
    return F.avg_pool2d(pixels, 4).flatten(1)


def train(
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    task: Task,
    epochs: int,
    batch_size: int,
    one_cycle: bool = False,
) -> float:
    """Train a model in place and return its accuracy on the held-out samples, in percent."""
    x, y = task.train
    batches = len(y) // batch_size
    schedule = None
    if one_cycle:
        peaks = [group["lr"] for group in optimizer.param_groups]
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, peaks, total_steps=epochs * batches, pct_start=0.1)
    for _ in range(epochs):
        for batch in torch.randperm(len(y))[: batches * batch_size].split(batch_size):
            optimizer.zero_grad()
            F.cross_entropy(model(x[batch]), y[batch]).backward()
            optimizer.step()
            if schedule is not None:
                schedule.step()
    return accuracy(model, task.validation)


@torch.no_grad()
def accuracy(model: nn.Module, data: tuple[Tensor, Tensor]) -> float:
    """Return the share of right answers in percent; nan if the model has diverged."""
    model.eval()
    right = sum(int((model(x).argmax(1) == y).sum()) for x, y in zip(*(part.split(500) for part in data), strict=True))
    model.train()
    is_finite = all(bool(p.isfinite().all()) for p in model.parameters())
    return round(100 * right / len(data[1]), 2) if is_finite else float("nan")


def start(description: str | None, name: str, what: str, summary: str) -> tuple[argparse.Namespace, "Record"]:
    """Read the options of a benchmark, let it compute with one thread, and open its record.

    Args:
        description: text of the help.
        name: name of the benchmark and of its record.
        what: what its numbers are.
        summary: name of the entry of the record that sums up the runs, a dictionary.
    """
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("--data", type=Path, help="folder that contains MNIST and Planetoid; without it, small tasks only")
    add("--only", default="", help="cases whose name contains this")
    add("--json", type=Path, default=Path(f"docs/results/{name}.json"), help="file with the runs measured so far")
    torch.set_num_threads(1)
    args = parser.parse_args()
    about = {"what": what, "command": f"python benchmarks/{name}.py --data FOLDER", summary: {}}
    return args, Record(args.json, about)


def mean_and_spread(values: Sequence[float]) -> str:
    """Return mean and standard deviation, as in tables."""
    spread = statistics.stdev(values) if len(values) > 1 else 0.0
    return f"{statistics.mean(values):.2f} ± {spread:.2f}"


class Record:
    """Runs that are measured once: the file is read at the start and replaced after each run.

    Args:
        path: the JSON file.
        about: what the runs are, written beside them. Empty dictionaries start with what the file has in their place,
            so that measuring some cases keeps the summaries of the others.
    """

    def __init__(self, path: Path, about: dict[str, Any]) -> None:
        self.path = path
        found = json.loads(path.read_text()) if path.exists() else {"runs": []}
        kept = {name: found.get(name, {}) for name, value in about.items() if value == {}}
        self.about = about | kept | {"environment": environment()}
        self.runs: list[dict[str, Any]] = found["runs"]

    def get(self, settings: dict[str, Any], run: Callable[[], dict[str, float]]) -> dict[str, Any]:
        """Return the row of a run with these settings, measured now if it is not there yet."""
        for row in self.runs:
            if all(row.get(name) == value for name, value in settings.items()):
                return row
        row = settings | run()
        self.runs.append(row)
        print(row, flush=True)
        self.write()
        return row

    def write(self) -> None:
        """Replace the file."""
        rows = ",\n  ".join(json.dumps(each) for each in self.runs)
        head = json.dumps(self.about, indent=1).removesuffix("\n}")
        atomic.write_text(self.path, f'{head},\n "runs": [\n  {rows}\n ]\n}}\n')
