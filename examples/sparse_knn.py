"""Train sparse perceptrons on MNIST whose hidden neurons receive from their nearest inputs, as all of them move.

    python examples/sparse_knn.py --seeds 3                              # 784-2048-10 with k = 64, 20 epochs
    python examples/sparse_knn.py --epochs 2 --hidden 200 --every 4      # a quick look

Trains four networks: a sparse one that selects the edges again every so many steps, the same with the edges of its
start, an all-to-all one and a dense one. Each output receives from all hidden neurons: with few sources for each, most
hidden neurons would lead nowhere. Prints tables of accuracy and of the time of a training step, compared with a dense
network, and writes metrics, checkpoints and ``rewiring.png`` to ``runs/``. Models are evaluated on the test images
after training; with ``--validate`` on 5,000 held-out training images instead. ``--resume`` continues an interrupted
run.
"""

import argparse
import copy
import dataclasses
import functools
import itertools
import json
import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from torch import nn

import spatialgraph as sg
from spatialgraph import experiments, training
from spatialgraph.experiments import CLASSES, Candidate, Figures, Program
from spatialgraph.plotting.axes import COLORS
from spatialgraph.wiring import KNN, AllToAll, Wiring

# Peak learning rate of a dense network with 2,048 hidden neurons, chosen on held-out training images.
DENSE_LEARNING_RATE = 0.005


def candidates(args: argparse.Namespace, features: int) -> list[Candidate]:
    """List the rewired network, that of the same start, the all-to-all one and the dense ones."""
    sizes = [features, *args.hidden, CLASSES]
    name = experiments.spatial_name(args, sizes)

    def spatial(into_hidden: Wiring) -> nn.Module:
        wiring = [into_hidden] * len(args.hidden) + [AllToAll()]
        options = experiments.spatial_options(args) | {"wiring": wiring, "init": args.init}
        return sg.SpatialMLP(sizes, **options)

    nearest = functools.partial(spatial, KNN(k=args.k))
    measured = functools.partial(examine, dense=sizes)
    static = Candidate(f"{name}, k={args.k}, static", nearest, examine=measured)
    listed = [
        dataclasses.replace(
            static,
            name=f"{name}, k={args.k}, rewired",
            callbacks=lambda model: [training.Rewire(args.every, until=args.until)],
        ),
        static,
        Candidate(f"{name}, all-to-all", functools.partial(spatial, AllToAll()), examine=measured),
    ]
    dense = functools.partial(sg.DenseMLP, sizes)
    name = f"dense {'-'.join(map(str, sizes))}"
    return [*listed, Candidate(name, dense, learning_rate=DENSE_LEARNING_RATE, examine=measured)]


def examine(model: nn.Module, judged: training.Images, folder: Path, dense: Sequence[int]) -> dict[str, Any]:
    """Return each epoch's accuracy and changed synapses, and the time of a step beside that of a dense network."""
    rows = json.loads((folder / "history.json").read_text())
    steps = experiments.step_milliseconds({"own": copy.deepcopy(model), "dense": sg.DenseMLP(dense)}, dense[0])
    return {
        "accuracies": [row.get("validation_accuracy", row["train_accuracy"]) for row in rows],
        "changed": [row.get("synapses_added", 0) for row in rows],
        "step_ms": steps["own"],
        "dense_step_ms": steps["dense"],
    }


def report(results: list[training.Result], figures: Figures, folder: Path, data: str) -> dict[str, Any]:
    """Print differences in accuracy and in the time of a step, and draw the history of each network."""
    whole = next(result for result in results if result.model.endswith("all-to-all"))
    rows, ratios = [], {}
    for result in results:
        own, dense = (
            statistics.fmean(run[name] for run in figures[result.model]) for name in ("step_ms", "dense_step_ms")
        )
        ratios[result.model] = round(own / dense, 3)
        points = f"{100 * (result.mean - whole.mean):+.2f}"
        rows.append([result.model, points, f"{own:.1f}", f"{dense:.1f}", f"{own / dense:.2f}"])
    header = ["model", "points against all-to-all", "step (ms)", "dense step (ms)", "ratio"]
    print("\n" + training.markdown(header, rows))
    draw(figures, folder / "rewiring.png")
    return {"step_against_dense": ratios}


def draw(figures: Figures, path: Path) -> None:
    """Draw how many synapses changed in each epoch, and the accuracies, as means over the seeds."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11, 4.2), layout="constrained")
    left, right = figure.subplots(1, 2)
    looks = zip(figures.items(), itertools.cycle(("o-", "s--", "^:", "d-.")), itertools.cycle(COLORS))
    for (name, runs), style, color in looks:
        changed, accuracies = (_means([run[what] for run in runs]) for what in ("changed", "accuracies"))
        epochs = range(1, len(changed) + 1)
        if any(changed):
            left.plot(epochs, changed, style, color=color, markersize=4)
        right.plot(epochs, [100 * each for each in accuracies], style, color=color, markersize=4, label=name)
    left.set(title="synapses that rewiring changed", xlabel="epoch", ylabel="new synapses in the epoch")
    right.set(title="accuracy during training", xlabel="epoch", ylabel="accuracy (%)")
    right.legend(fontsize=8, loc="lower right")
    for ax in (left, right):
        ax.grid(alpha=0.3)
    experiments.save_figure(figure, path, dpi=120)


def _means(runs: list[list[float]]) -> list[float]:
    return [statistics.fmean(epoch) for epoch in zip(*runs, strict=False)]


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of the wiring."""
    add = parser.add_argument
    add("--k", type=int, default=64, metavar="N", help="sources of each hidden neuron (64)")
    add("--init", choices=["normal", "grid"], default="normal", help="where neurons start (normal)")
    add("--every", type=int, default=50, metavar="N", help="steps from one selection of edges to the next (50)")
    add("--until", type=float, default=0.1, metavar="X", help="share of the training with rewiring (0.1)")


PROGRAM = Program(
    name="sparse_knn",
    description=__doc__,
    presets={"paper3d": {"hidden": [2048], "dim": 3, "spacing": "learned"}},
    recipes={name: training.RECIPES[name] for name in ("fast", "paper")},
    candidates=candidates,
    settings=("k", "init", "every", "until"),
    add_options=add_options,
    report=report,
)


main = functools.partial(experiments.run_program, PROGRAM)

if __name__ == "__main__":
    experiments.as_script(main)
