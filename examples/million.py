"""Train a perceptron with a million hidden neurons on MNIST, beside one with 2,048.

    python examples/million.py                                       # 784-1,000,000-10, one epoch: half an hour
    python examples/million.py --hidden 20000                        # a quick look

The network has 794 million synapses, and four million parameters. Its layers are planes, and sums over its synapses are
computed on a grid, to a relative error of 0.1 % (``tolerance``). Prints a table and writes metrics and checkpoints to
``runs/``. Models are evaluated on the test images once, after training; with ``--validate`` on 5,000 held-out training
images instead. ``--resume`` continues an interrupted run.
"""

import argparse
import functools
from pathlib import Path
from typing import Any

from torch import nn

import spatialgraph as sg
from spatialgraph import experiments, training
from spatialgraph.experiments import CLASSES, Candidate, Program

SMALL = 2048


def candidates(args: argparse.Namespace, features: int) -> list[Candidate]:
    """List the network with few hidden neurons and the one with many, so that both peaks of memory are seen."""

    def network(hidden: list[int], tolerance: float | None) -> nn.Module:
        return sg.SpatialMLP([features, *hidden, CLASSES], tolerance=tolerance, **experiments.spatial_options(args))

    large, small = functools.partial(network, args.hidden, args.tolerance), functools.partial(network, [SMALL], None)
    return [
        Candidate(experiments.spatial_name(args, [features, SMALL, CLASSES]), small, examine=examine),
        Candidate(experiments.spatial_name(args, [features, *args.hidden, CLASSES]), large, examine=examine),
    ]


def examine(model: nn.Module, judged: training.Images, folder: Path) -> dict[str, Any]:
    """Return the peak memory of this process so far in gigabytes, where the system tells it."""
    status = Path("/proc/self/status")
    if not status.exists():
        return {}
    peak = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM"))
    return {"peak_gb": round(int(peak.split()[1]) / 1e6, 2)}


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the option of the sums' accuracy."""
    parser.add_argument(
        "--tolerance", type=float, default=1e-3, metavar="X", help="largest relative error of sums (0.001)"
    )


PROGRAM = Program(
    name="million",
    description=__doc__,
    presets={"paper3d": {"hidden": [1_000_000], "dim": 3, "spacing": "learned"}},
    # The learning rate was chosen on held-out images, with 20,480 hidden neurons.
    recipes={"fast": training.Recipe(epochs=1, batch_size=200), "paper": training.RECIPES["paper"]},
    candidates=candidates,
    settings=("tolerance",),
    add_options=add_options,
    columns={"peak_gb": "peak memory (GB)"},
)


main = functools.partial(experiments.run_program, PROGRAM)

if __name__ == "__main__":
    experiments.as_script(main)
