"""Compare this checkout with another one, such as the parent of a change; run by hand on an idle machine.

    git worktree add ../before main~1
    python benchmarks/before_and_after.py ../before

Both versions and the dense network run alternately in one process with two threads; the other package is copied under
another name. Each row contains the medians of all three, and the medians of the ratios over several repeats.
"""

import argparse
import importlib
import json
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType

import torch
from on_device import add_device, record
from step_time import BATCH, SIZES
from steps import inference, random_images, training_step
from timing import Step, in_turn
from torch import Tensor

import spatialgraph
from spatialgraph import atomic

BEFORE = "spatialgraph_before"


def import_other(checkout: Path, folder: Path) -> ModuleType:
    """Import the package of another checkout under another name."""
    shutil.copytree(checkout / "spatialgraph", folder / BEFORE, ignore=shutil.ignore_patterns("__pycache__"))
    for path in (folder / BEFORE).rglob("*.py"):
        path.write_text(re.sub(r"\bspatialgraph\b", BEFORE, path.read_text()))
    sys.path.insert(0, str(folder))
    return importlib.import_module(BEFORE)


def make(package: ModuleType, is_dense: bool, name: str, images: Tensor, labels: Tensor) -> Step:
    """Return the function that a row measures, for one version of the package."""
    torch.manual_seed(0)
    if "spiking" in name:
        options = {"normalize": True}
        model = package.DenseSNN(SIZES, **options) if is_dense else package.SpatialSNN(SIZES, **options)
    else:
        kind = package.DenseMLP if is_dense else package.SpatialMLP
        model = kind(SIZES, normalize="normalised" in name)
    removed = re.search(r"(\d+) % removed", name)
    if removed and not is_dense:
        package.prune_(model.graph, int(removed[1]) / 100)
    model.to(images.device)
    if "inference" in name:
        batch = re.search(r"batch (\d+)", name)
        return inference(model, images[: int(batch[1])] if batch else images)
    return training_step(model, images, labels)


ROWS = [
    f"{what}, {form}"
    for form in ("normalised", "plain")
    for what in ("step", "step with 80 % removed", "step with 95 % removed", "inference", "inference at batch 1")
] + ["spiking step", "spiking step with 95 % removed"]


def measure(steps: Sequence[Step], rounds: int, in_a_row: int, device: torch.device) -> list[float]:
    """Return the median milliseconds of each, run alternately."""
    named = {str(number): step for number, step in enumerate(steps)}
    seconds = in_turn(named, rounds, device, in_a_row=in_a_row, is_turned=True)
    return [1e3 * statistics.median(each) for each in seconds.values()]


def row(
    other: ModuleType, name: str, rounds: int, repeats: int, device: torch.device
) -> dict[str, float | list[float]]:
    """Measure a row several times, each time with new models."""
    images, labels = random_images(BATCH, SIZES[0], SIZES[-1], device)
    versions = (other, False), (spatialgraph, False), (spatialgraph, True)
    found = []
    for _ in range(repeats):
        steps = [make(*version, name, images, labels) for version in versions]
        found.append(measure(steps, rounds, 50 if "batch 1" in name else 3, device))
    before, after, dense = (statistics.median(times) for times in zip(*found, strict=True))
    ratios = [mine / theirs for theirs, mine, _ in found]
    return {
        "before_ms": before,
        "after_ms": after,
        "dense_ms": dense,
        "before_over_dense": statistics.median(theirs / plain for theirs, _, plain in found),
        "after_over_dense": statistics.median(mine / plain for _, mine, plain in found),
        "after_over_before": statistics.median(ratios),
        "after_over_before_of_each": ratios,
    }


def main() -> None:
    """Measure, print a table, and write it as JSON if requested."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("before", type=Path, help="the other checkout")
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--only", default="", help="rows whose name contains this")
    add_device(parser)
    parser.add_argument("--json", type=Path, help="write the results to this file")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    rows = {}
    with tempfile.TemporaryDirectory() as folder:
        other = import_other(args.before, Path(folder))
        for name in ROWS:
            if args.only in name:
                rows[name] = found = row(other, name, args.rounds, args.repeats, args.device)
                words = " ".join(f"{key} {found[key]:8.3f}" for key in list(found)[:-1])
                print(f"{name:<40} {words}", flush=True)
    if args.json is not None:
        asked = ["git", "-C", str(args.before), "rev-parse", "--short", "HEAD"]
        commit = subprocess.run(asked, capture_output=True, text=True, check=False).stdout.strip()
        command = f"python benchmarks/before_and_after.py BEFORE --rounds {args.rounds} --repeats {args.repeats}"
        about = record(command, args.device) | {"before": commit, "rows": rows}
        atomic.write_text(args.json, json.dumps(about, indent=1))


if __name__ == "__main__":
    main()
