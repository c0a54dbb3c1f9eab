"""Train spiking spatial networks on MNIST and compare them with dense ones.

    python examples/mnist_snn.py                              # 784-2048-10 in 3-D, 25 time steps, 20 epochs
    python examples/mnist_snn.py --polarity binary --baseline 14 --seeds 3
    python examples/mnist_snn.py --coding latency --read-out count --hidden 200
    python examples/mnist_snn.py --epochs 1 --hidden 200      # a quick look

Prints a table and writes metrics, checkpoints and figures to ``runs/``. Models are evaluated on the test images once,
after training; with ``--validate`` on 5,000 held-out training images instead. ``--resume`` continues an
interrupted run.
"""

import argparse
import dataclasses
import functools
from pathlib import Path
from typing import Any

import torch
from torch import nn

import spatialgraph as sg
from spatialgraph import experiments, plotting, training
from spatialgraph.experiments import CLASSES, Candidate, Program
from spatialgraph.models.spiking_network import SpikingNetwork

# Test accuracies in percent from Erb et al., 2025 (https://arxiv.org/abs/2506.13410), table 2.
PAPER_SPATIAL = {"learned": "92.16 ± 0.52"}
PAPER_DENSE = {14: "90.31", 2048: "95.25"}

# The paper's accuracies are shown beside runs with these options only.
COMPARABLE = {"num_steps": 25, "coding": "current", "read_out": "potential"}

SPIKING = ("num_steps", "coding", "read_out", "beta", "spike_grad")


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of spiking networks."""
    add = parser.add_argument
    add("--num-steps", type=int, default=25, help="time steps of a run (25)")
    add("--coding", choices=["current", "rate", "latency"], default="current", help="how pixels become input (current)")
    add("--read-out", choices=["potential", "count"], default="potential", help="what the logits are (potential)")
    add("--beta", type=float, default=0.95, help="share of the potential that is kept in each step (0.95)")
    add("--spike-grad", default="fast_sigmoid", metavar="NAME", help="surrogate gradient (fast_sigmoid)")
    add(
        "--drive",
        type=float,
        default=0.8,
        help="standard deviation of the normalised input currents, in thresholds (0.8)",
    )


def candidates(args: argparse.Namespace, features: int) -> list[Candidate]:
    """List the models that the command line asks for."""
    sizes = [features, *args.hidden, CLASSES]
    spiking = {name: getattr(args, name) for name in SPIKING}

    def spatial() -> nn.Module:
        return sg.SpatialSNN(
            sizes,
            normalize=False if args.protocol == "paper" else None,
            drive=args.drive,
            **spiking,
            **experiments.spatial_options(args),
        )

    comparable = all(getattr(args, name) == value for name, value in COMPARABLE.items())
    paper = PAPER_SPATIAL.get(args.spacing, "") if comparable and experiments.is_papers(args) else ""
    models = [Candidate(f"spiking {experiments.spatial_name(args, sizes)}", spatial, paper, examine=examine)]
    for width in args.baseline:
        dense = functools.partial(sg.DenseSNN, [features, width, CLASSES], **spiking)
        paper = PAPER_DENSE.get(width, "") if comparable else ""
        models.append(Candidate(f"spiking dense {features}-{width}-{CLASSES}", dense, paper, examine=examine))
    return models


def examine(model: nn.Module, judged: training.Images, folder: Path) -> dict[str, Any]:
    """Count spikes and operations of up to 1,000 images, and draw the spikes of the first."""
    if not isinstance(model, SpikingNetwork):
        raise TypeError(f"model must be a spiking network, got {type(model).__name__}")
    images = judged[0]
    parts = [dataclasses.asdict(sg.spike_cost(model, part)) for part in images[:1000].split(100)]
    cost = {name: sum(part[name] for part in parts) / len(parts) for name in parts[0]}
    draw_raster(model, images[:1], folder / "raster.png")
    return cost


@torch.no_grad()
def draw_raster(model: SpikingNetwork, image: torch.Tensor, path: Path) -> None:
    """Draw the spikes of each layer for one image; of outputs that do not fire, the potentials."""
    from matplotlib.figure import Figure

    run = model.simulate(image)
    count = len(run.spikes)
    figure = Figure(figsize=(5.2 * count, 4.6), layout="constrained")
    *of_layers, of_outputs = figure.subplots(1, count, squeeze=False)[0]
    for number, ax in enumerate(of_layers):
        plotting.raster(run.spikes[number][:, 0], ax, by_first_spike=True)
        ax.set_title(f"layer {number + 1}: {ax.get_title()}")
    if model.read_out == "count":
        plotting.raster(run.spikes[-1][:, 0], of_outputs)
    else:
        plotting.potentials(run.potentials[-1][:, 0], of_outputs)
    of_outputs.set(title=f"outputs: {of_outputs.get_title()}", ylabel="digit", yticks=range(CLASSES))
    experiments.save_figure(figure, path)


PROGRAM = Program(
    name="mnist_snn",
    description=__doc__,
    presets={"paper3d": {"hidden": [2048], "dim": 3, "spacing": "learned"}},
    recipes={"fast": training.RECIPES["fast_spiking"], "paper": training.RECIPES["paper_spiking"]},
    candidates=candidates,
    settings=(*SPIKING, "drive"),
    add_options=add_options,
    columns={
        "spikes": "spikes of one image",
        "synaptic_operations": "synaptic operations",
        "input_operations": "operations of the inputs",
        "dense_operations": "dense operations in all steps",
    },
)


main = functools.partial(experiments.run_program, PROGRAM)

if __name__ == "__main__":
    experiments.as_script(main)
