"""Train spiking spatial networks on MNIST and compare them with dense ones.

    python examples/mnist_snn.py                              # 784-2048-10 in 3-D, 25 time steps, 20 epochs
    python examples/mnist_snn.py --polarity binary --baseline 14 --seeds 3
    python examples/mnist_snn.py --coding latency --read-out count --hidden 200

Prints a table and writes metrics, checkpoints and figures to ``runs/``. The test images are read once, after training;
``--validate`` holds out 5,000 training images instead and leaves the test images alone.
"""

import argparse
import dataclasses
import functools
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import mnist_runs
import torch
from mnist_runs import CLASSES, Candidate, Experiment
from torch import nn

import spatialgraph as sg
from spatialgraph import plotting, training
from spatialgraph.spiking_network import SpikingNetwork

# Test accuracies in percent from Erb et al., 2025 (https://arxiv.org/abs/2506.13410), table 2.
PAPER_SPATIAL = {"learned": "92.16 ± 0.52"}
PAPER_DENSE = {14: "90.31", 2048: "95.25"}

SPIKING = ("steps", "coding", "read_out", "beta", "surrogate")


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of spiking networks."""
    add = parser.add_argument
    add("--steps", type=int, default=25, help="time steps of a run (25)")
    add("--coding", choices=["current", "rate", "latency"], default="current", help="how pixels enter (current)")
    add("--read-out", choices=["potential", "count"], default="potential", help="what logits are (potential)")
    add("--beta", type=float, default=0.95, help="share of a potential that stays in each step (0.95)")
    add("--surrogate", default="fast_sigmoid", metavar="NAME", help="gradient of a spike (fast_sigmoid)")
    add("--drive", type=float, default=0.8, help="standard deviation of normalised currents, in thresholds (0.8)")


def candidates(args: argparse.Namespace, features: int) -> list[Candidate]:
    """List the models that the command line asks for."""
    sizes = [features, *args.hidden, CLASSES]
    wiring = mnist_runs.make_wiring(args.wiring)
    spiking = {name: getattr(args, name) for name in SPIKING}

    def spatial() -> nn.Module:
        return sg.SpatialSNN(
            sizes,
            dim=args.dim,
            spacing=args.spacing,
            polarity=args.polarity,
            wiring=wiring,
            normalize=False if args.protocol == "paper" else None,
            drive=args.drive,
            **spiking,
        )

    paper = PAPER_SPATIAL.get(args.spacing, "") if mnist_runs.is_papers(args) else ""
    models = [Candidate(f"spiking {mnist_runs.spatial_name(args, sizes)}", spatial, paper)]
    for width in args.baseline:
        dense = functools.partial(sg.DenseSNN, [features, width, CLASSES], **spiking)
        models.append(Candidate(f"spiking dense {features}-{width}-{CLASSES}", dense, PAPER_DENSE.get(width, "")))
    return models


def examine(model: nn.Module, images: torch.Tensor, folder: Path) -> dict[str, Any]:
    """Count spikes and operations of 1,000 images, and draw the spikes of the first."""
    if not isinstance(model, SpikingNetwork):
        raise TypeError(f"model must be a spiking network, got {type(model).__name__}")
    parts = [dataclasses.asdict(sg.spike_cost(model, part)) for part in images[:1000].split(100)]
    cost = {name: sum(part[name] for part in parts) / len(parts) for name in parts[0]}
    print(
        f"  of one image: {cost['spikes']:,.0f} spikes, {cost['synaptic_operations']:,.0f} synaptic operations "
        f"after {cost['input_operations']:,.0f} of the inputs; "
        f"densely in every step {cost['dense_operations']:,.0f} multiply-adds",
        flush=True,
    )
    draw_raster(model, images[:1], folder / "raster.png")
    return cost


@torch.no_grad()
def draw_raster(model: SpikingNetwork, image: torch.Tensor, path: Path) -> None:
    """Draw the spikes of each layer for one image, and the potentials of the outputs."""
    from matplotlib.figure import Figure

    run = model.simulate(image)
    hidden = run.spikes[:-1]
    figure = Figure(figsize=(5.2 * (len(hidden) + 1), 4.6), layout="constrained")
    axes = figure.subplots(1, len(hidden) + 1)
    for number, spikes in enumerate(hidden):
        plotting.raster(spikes[:, 0], ax=axes[number], by_first_spike=True)
        axes[number].set_title(f"layer {number + 1}: {axes[number].get_title()}")
    steps = range(1, model.steps + 1)
    for digit, potential in enumerate(run.potentials[-1][:, 0].T):
        axes[-1].plot(steps, potential, label=str(digit), color=f"C{digit}")
    axes[-1].set(title="outputs", xlabel="time step", ylabel="potential (thresholds)")
    axes[-1].legend(title="digit", ncols=2)
    figure.savefig(path, dpi=110)


EXPERIMENT = Experiment(
    name="mnist_snn",
    description=__doc__,
    presets={"paper3d": {"hidden": [2048], "dim": 3, "spacing": "learned"}},
    recipes={"fast": training.RECIPES["fast_spiking"], "paper": training.RECIPES["paper_spiking"]},
    candidates=candidates,
    settings=(*SPIKING, "drive"),
    add_options=add_options,
    examine=examine,
)


def main(argv: Sequence[str] | None = None) -> list[training.Result]:
    """Train what the command line asks for and report."""
    return mnist_runs.run(EXPERIMENT, argv)


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        sys.exit("Interrupted; the same command with --resume continues.")
