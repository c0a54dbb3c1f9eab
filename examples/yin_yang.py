"""Train spiking networks on the Yin-Yang task, with and without delays.

    python examples/yin_yang.py                          # all four networks, one seed
    python examples/yin_yang.py --seeds 3
    python examples/yin_yang.py --networks 3d --validate
    python examples/yin_yang.py --epochs 5               # a quick look, far from the final accuracies

Each coordinate of a point is one spike: the larger the coordinate, the earlier the spike. The networks have the same
neurons and a free weight for each synapse. They differ in their delays: none, a free delay for each synapse, or delays
proportional to the distance between neurons with learnable positions in two or three dimensions. Prints a table and
writes metrics, checkpoints and figures to ``runs/``. Models are evaluated on the test points once, after training; with
``--validate`` on other points instead. ``--resume`` continues an interrupted run.
"""

import argparse
import dataclasses
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

import spatialgraph as sg
from spatialgraph import experiments, training
from spatialgraph.plotting.axes import COLORS, whole_numbers

CLASSES = ["yin", "yang", "dot"]
NETWORKS = ["none", "free", "2d", "3d"]

# Median test accuracies in percent, published for free weights with these delays (https://arxiv.org/abs/2512.10011).
PUBLISHED = {"none": "93.2", "free": "97.6", "2d": "98.0", "3d": "98.1"}

STEPS = 60
LAST_SPIKE = 40  # the spike of a coordinate of 0; later steps leave time for the delays

# Published test sets have a tenth of this, which leaves accuracies with a standard error of half a point.
TEST_POINTS = 10_000

# A spike crosses the unit cube, where neurons start, in 20 steps.
VELOCITY = 0.05

RECIPE = training.Recipe(epochs=140, learning_rate=0.01, batch_size=50)

# Free delays are in steps, and positions in units of 20 steps: their learning rates differ by their units.
RATES: dict[str, dict[str, float]] = {
    "none": {},
    "free": {"free_synapses.delay": 0.05},
    "2d": {"positions": 0.005},
    "3d": {"positions": 0.005},
}


class YinYangSNN(nn.Module):
    """A spiking network for points of four coordinates, with one of the kinds of delays in ``NETWORKS``."""

    def __init__(self, delays: str, hidden: int) -> None:
        super().__init__()
        sizes = [4, hidden, len(CLASSES)]
        dim = 3 if delays == "3d" else 2
        graph = sg.SpatialGraph.layered(
            sizes,
            dim,
            spacing="free",
            init=torch.rand(sum(sizes), dim),
            weight_mode="free",
            velocity=None if delays == "none" else VELOCITY,
            delay_mode="free" if delays == "free" else "length",
            # Without spatial delays positions have no effect; anchored, they are not parameters.
            anchored=[0, 1, 2] if delays in ("none", "free") else None,
        )
        self.snn = sg.SpatialSNN(
            graph, num_steps=STEPS, coding="latency", spike_grad=sg.neurons.FastSigmoid(slope=12.0)
        )
        graph.raw_bias.requires_grad_(False)  # a constant current would act as a clock, which the task does not provide
        with torch.no_grad():
            weights = graph.get_parameter("free_synapses.weight")
            parts = torch.split(weights, [projection.synapses for projection in graph.projections])
            for weight, mean, deviation in zip(parts, (0.3, 0.0), (0.4, 0.3), strict=True):
                weight.normal_(mean, deviation)

    @property
    def graph(self) -> sg.SpatialGraph:
        """The network."""
        return self.snn.graph

    def forward(self, points: Tensor) -> Tensor:
        """Return logits, ten times the mean potentials: potentials alone give nearly equal probabilities."""
        logits: Tensor = 10.0 * self.snn(spike_values(points))
        return logits


def spike_values(points: Tensor) -> Tensor:
    """Return values whose latencies are the spike times of points ``(x, y, 1 - x, 1 - y)``, in whole steps.

    The mirrored coordinates are rounded down and the others to the nearest step, so that a pair resolves half steps.
    """
    shift = points.new_tensor([0.5, 0.5, 0.0, 0.0])
    return 1.0 - torch.floor((1.0 - points) * LAST_SPIKE + shift) / (STEPS - 1)


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("--networks", nargs="+", choices=NETWORKS, default=NETWORKS, help="kinds of delays to train with (all)")
    add("--hidden", type=int, default=40, metavar="N", help="hidden neurons (40)")
    add("--epochs", type=int, default=RECIPE.epochs, help=f"number of epochs ({RECIPE.epochs})")
    add("--points", type=int, default=5000, metavar="N", help="points to train on (5000)")
    add("--seed", type=int, default=0, help="train with this seed (0)")
    add("--seeds", type=int, metavar="COUNT", help="train with the seeds 0 to COUNT-1")
    add("--validate", action="store_true", help="evaluate on points other than the test points")
    add("--resume", action="store_true", help="continue an interrupted run; finished trainings are not repeated")
    add("--out", type=Path, default=Path("runs/yin_yang"), help="folder for the results (runs/yin_yang)")
    return parser.parse_args(argv)


def train(delays: str, seed: int, args: argparse.Namespace) -> dict[str, Any]:
    """Train one network with one seed, or read the figures of a finished run."""
    folder = args.out / delays / f"seed-{seed}"
    recipe = dataclasses.replace(RECIPE, epochs=args.epochs, rates=RATES[delays])
    settings = {"hidden": args.hidden, "points": args.points, "validate": args.validate} | dataclasses.asdict(recipe)
    experiments.prepare(folder, settings, args.resume)
    if args.resume and (before := experiments.finished(folder)) is not None:
        print(f"{delays}, seed {seed}: finished before", flush=True)
        return before
    print(f"{delays}, seed {seed}", flush=True)
    torch.manual_seed(seed)
    model = YinYangSNN(delays, args.hidden)
    data = training.yin_yang(args.points, seed=1000)
    rows = training.fit(model, data, recipe, folder, seed=seed, resume=args.resume, progress=sys.stderr.isatty())
    model.eval()
    judged = training.yin_yang(TEST_POINTS, seed=1001 if args.validate else 1002)
    accuracy = training.accuracy(model, judged)
    figures = {
        "seed": seed,
        "accuracy": accuracy,
        "parameters": sum(p.numel() for p in model.parameters() if p.requires_grad),
        "synapses": model.graph.synapses,
        "seconds": rows[-1]["seconds"],
    }
    draw(model, f"{delays}, seed {seed}: {100 * accuracy:.1f} %", folder / "map.png")
    experiments.finish(folder, model, figures)
    return figures


@torch.no_grad()
def draw(model: YinYangSNN, title: str, path: Path) -> None:
    """Draw the predicted class of each point, and the delays."""
    from matplotlib.colors import ListedColormap
    from matplotlib.figure import Figure
    from matplotlib.patches import Patch

    axis = torch.linspace(0, 1, 200)
    y, x = torch.meshgrid(axis, axis, indexing="ij")
    points = torch.stack([x, y, 1 - x, 1 - y], dim=-1).view(-1, 4)
    classes = torch.cat([model(part).argmax(1) for part in points.split(2000)]).view(200, 200).float()
    classes[(x - 0.5) ** 2 + (y - 0.5) ** 2 > 0.25] = torch.nan
    figure = Figure(figsize=(9.5, 4.4), layout="constrained")
    left, right = figure.subplots(1, 2)
    colors = COLORS[: len(CLASSES)]
    left.imshow(
        classes.numpy(),
        origin="lower",
        extent=(0, 1, 0, 1),
        cmap=ListedColormap(colors),
        vmin=0,
        vmax=len(CLASSES) - 1,
        interpolation="nearest",
    )
    left.set(title=title, xlabel="x", ylabel="y")
    patches = [Patch(color=color, label=name) for color, name in zip(colors, CLASSES, strict=True)]
    left.legend(handles=patches, title="predicted class", loc="center left", bbox_to_anchor=(1.0, 0.5))
    delays = model.graph.delays()
    counts = [projection.synapses for projection in model.graph.projections]
    right.hist(
        [part.numpy() for part in delays.split(counts)],
        bins=range(int(delays.max()) + 2),
        stacked=True,
        label=["to hidden neurons", "to outputs"],
        color=COLORS[:2],
    )
    right.set(title="delays", xlabel="delay (time steps)", ylabel="number of synapses")
    right.xaxis.set_major_locator(whole_numbers())
    right.yaxis.set_major_locator(whole_numbers())
    right.legend()
    experiments.save_figure(figure, path)


def main(argv: Sequence[str] | None = None) -> list[training.Result]:
    """Train what the command line asks for and report."""
    args = parse(argv)
    seeds = list(range(args.seeds)) if args.seeds else [args.seed]
    results = [
        experiments.summary(f"delays: {delays}", [train(delays, seed, args) for seed in seeds], PUBLISHED[delays])
        for delays in args.networks
    ]
    about = {
        "command": experiments.command_line("yin_yang", argv),
        "recipe": dataclasses.asdict(dataclasses.replace(RECIPE, epochs=args.epochs)),
        "rates": RATES,
    }
    experiments.write_report(args.out, results, about, judged_on="validation" if args.validate else "test")
    return results


if __name__ == "__main__":
    experiments.as_script(main)
