"""Train perceptrons on MNIST whose positions decide which synapses there are: a law that is 0 beyond a radius.

    python examples/learned_connectivity.py --seeds 3                        # 784-2048-10, three radii, 20 epochs
    python examples/learned_connectivity.py --epochs 2 --hidden 200 --every 4    # a quick look

For each radius R the law is ``Compact(radius=R)``, and the synapses into hidden neurons are those within R and a
margin, selected again every so many steps: the network computes what the all-to-all one with this law does as long as
no neuron moves further than half the margin in between. A network with the same law that is all-to-all, of the middle
radius, is trained for comparison. Prints tables, with the share of synapses that are not zero and the times of a
training step, and writes metrics, checkpoints and ``connectivity.png`` to ``runs/``. Models are evaluated on the test
images after training; with ``--validate`` on 5,000 held-out training images instead. ``--resume`` continues an
interrupted run.
"""

import argparse
import copy
import functools
import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn

import spatialgraph as sg
from spatialgraph import experiments, training
from spatialgraph.experiments import CLASSES, Candidate, Figures, Program
from spatialgraph.graph.network import graph_of
from spatialgraph.laws import Compact
from spatialgraph.plotting.axes import COLORS
from spatialgraph.wiring import AllToAll, Radius, Wiring


def candidates(args: argparse.Namespace, features: int) -> list[Candidate]:
    """List a sparse network for each radius, and the all-to-all one of the middle radius."""
    sizes = [features, *args.hidden, CLASSES]
    name = experiments.spatial_name(args, sizes)

    def spatial(radius: float, into_hidden: Wiring) -> nn.Module:
        wiring = [into_hidden] * len(args.hidden) + [AllToAll()]
        options = experiments.spatial_options(args) | {"wiring": wiring, "law": Compact(radius=radius)}
        return sg.SpatialMLP(sizes, **options)

    measured = functools.partial(examine, dense=sizes)
    listed = [
        Candidate(
            f"{name}, R={radius:g}",
            functools.partial(spatial, radius, Radius(r=radius + args.margin)),
            callbacks=lambda model: [training.Rewire(args.every)],
            examine=measured,
        )
        for radius in args.radii
    ]
    middle = sorted(args.radii)[len(args.radii) // 2]
    whole = functools.partial(spatial, middle, AllToAll())
    return [*listed, Candidate(f"{name}, R={middle:g}, all-to-all", whole, examine=measured)]


@torch.no_grad()
def share_of_weights(graph: sg.SpatialGraph) -> float:
    """Return the share of all pairs of an input and a first hidden neuron whose weight is not 0."""
    first = graph.projections[0]
    weights = graph.transmission().weight(0)
    return float(weights.count_nonzero() / (first.n_sources * first.n_targets))


def examine(model: nn.Module, judged: training.Images, folder: Path, dense: Sequence[int]) -> dict[str, Any]:
    """Return the share of non-zero weights, and the time of a step beside those of dense computations."""
    graph = graph_of(model)
    whole = copy.deepcopy(model)
    graph_of(whole).rewire_(AllToAll())
    models = {"own": copy.deepcopy(model), "all-to-all": whole, "dense": sg.DenseMLP(dense)}
    steps = experiments.step_milliseconds(models, dense[0])
    return {
        "share": share_of_weights(graph),
        "points_lost_by_outdated_edges": 100 * (training.accuracy(whole, judged) - training.accuracy(model, judged)),
        **{f"{name} step_ms": milliseconds for name, milliseconds in steps.items()},
    }


def report(results: list[training.Result], figures: Figures, folder: Path, data: str) -> dict[str, Any]:
    """Print shares and times, and draw the accuracy over the share of non-zero synapses."""
    rows = []
    for result in results:
        runs = figures[result.model]
        means = {name: statistics.fmean(run[name] for run in runs) for name in runs[0]}
        times = [means[f"{name} step_ms"] for name in ("own", "all-to-all", "dense")]
        rows.append([result.model, f"{100 * means['share']:.1f}", result.percent, *(f"{each:.1f}" for each in times)])
    header = ["model", "non-zero synapses (%)", "accuracy (%)", "step (ms)", "as all-to-all (ms)", "nn.Linear (ms)"]
    print("\n" + training.markdown(header, rows))
    draw(results, figures, folder / "connectivity.png")
    return {"shares": {name: statistics.fmean(run["share"] for run in runs) for name, runs in figures.items()}}


def draw(results: list[training.Result], figures: Figures, path: Path) -> None:
    """Draw accuracies and times over the share of non-zero synapses, a point for each training."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 4), layout="constrained")
    left, right = figure.subplots(1, 2)
    for number, result in enumerate(results):
        is_whole = result.model.endswith("all-to-all")
        look = {"marker": "s" if is_whole else "o", "color": COLORS[number % len(COLORS)], "linestyle": ""}
        runs = figures[result.model]
        shares = [100 * run["share"] for run in runs]
        left.plot(shares, [100 * each for each in result.accuracies], label=result.model.partition("R=")[2], **look)
        if not is_whole:
            right.plot(shares, [run["own step_ms"] / run["dense step_ms"] for run in runs], **look)
    left.set(title="accuracy", xlabel="non-zero synapses into hidden neurons (%)", ylabel="accuracy (%)")
    left.legend(title="radius", fontsize=8, loc="lower right")
    right.axhline(1.0, color="0.6", linestyle="--")
    right.set(
        title="time of a step against nn.Linear", xlabel="non-zero synapses into hidden neurons (%)", ylabel="ratio"
    )
    right.set_ylim(bottom=0)
    for ax in (left, right):
        ax.grid(alpha=0.3)
    experiments.save_figure(figure, path, dpi=120)


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of the law and the wiring."""
    add = parser.add_argument
    radii = [1.25, 1.5, 2.0]
    add(
        "--radii",
        type=float,
        nargs="+",
        default=radii,
        metavar="R",
        help="radii of the law, in length units (1.25 1.5 2)",
    )
    add("--margin", type=float, default=0.1, metavar="X", help="synapses within R + X are selected (0.1)")
    add("--every", type=int, default=10, metavar="N", help="steps from one selection of edges to the next (10)")


PROGRAM = Program(
    name="learned_connectivity",
    description=__doc__,
    presets={"paper3d": {"hidden": [2048], "dim": 3, "spacing": "learned"}},
    recipes={name: training.RECIPES[name] for name in ("fast", "paper")},
    candidates=candidates,
    settings=("radii", "margin", "every"),
    add_options=add_options,
    report=report,
)


main = functools.partial(experiments.run_program, PROGRAM)

if __name__ == "__main__":
    experiments.as_script(main)
