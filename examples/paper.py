"""Reproduce the experiments of Erb et al., 2025 (https://arxiv.org/abs/2506.13410): tables 1 to 3, figures 2 to 6.

    python examples/paper.py                                      # all, fast protocol, three seeds
    python examples/paper.py --only table1 fig5 --jobs 2
    python examples/paper.py --only learned "learned, 80 % in training"
    python examples/paper.py --protocol paper --only table1 --seeds 1
    python examples/paper.py --only table1 --seeds 1 --epochs 1   # a quick look

A run is a network, a protocol and a seed, and has a folder below ``runs/paper``. The same command continues what was
interrupted and repeats nothing that is finished; several processes, also on several machines, may work on one folder.
The protocol ``paper`` is that of the paper: Adam with a constant rate of 0.005, batches of 600, no normalisation, 300
epochs, 200 for spiking networks. ``fast`` has normalisation and a one-cycle schedule over 20 epochs. Models are
evaluated on the test images once, after training. Settings that the paper does not give were chosen on held-out
training images by ``benchmarks/paper_settings.py``.

Prints a table, and writes all that was measured to ``runs.json``. ``docs/make_reproduction.py`` makes a page of it.
"""

import argparse
import dataclasses
import functools
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

import spatialgraph as sg
from spatialgraph import atomic, experiments, training
from spatialgraph.experiments import CLASSES, Candidate, Experiment, LazyMnist, Run
from spatialgraph.graph.network import graph_of

PIXELS, HIDDEN = 784, 2048
PROTOCOLS = ("fast", "paper")

# Percent of the synapses of each layer that are removed.
AMOUNTS = (20, 40, 60, 80, 90, 95, 98)

# Chosen on held-out training images (docs/results/paper_settings.json); None is the default gain of the library.
GAINS: dict[str, dict[str, float | None]] = {
    "fast": {"fixed": None, "learned": None, "free": 1.0},
    "paper": {"fixed": 0.2, "learned": 0.05, "free": 0.2},
}
SPIKING_GAINS: dict[str, dict[str, float | None]] = {
    "fast": {"fixed": None, "learned": None},
    "paper": {"fixed": 0.2, "learned": None},
}
FAST_RECIPES: dict[str, training.Recipe] = {
    "free": dataclasses.replace(training.RECIPES["fast"], batch_size=100, learning_rate=0.03),
    "dense 2048": dataclasses.replace(training.RECIPES["fast"], learning_rate=0.005),
    "spiking dense 2048": dataclasses.replace(training.RECIPES["fast_spiking"], learning_rate=0.003),
}


@dataclasses.dataclass(frozen=True)
class Row:
    """A network of the paper.

    Args:
        name: its name, the same in all tables and figures.
        shown: the tables and figures that it is part of.
        build: returns it for a protocol.
        paper: the paper's accuracy in percent, with the standard deviation where it is given; empty if it is not.
        spiking: whether it is trained by the protocols for spiking networks.
        examine: returns further metrics, as in :class:`~spatialgraph.experiments.Candidate`.
        pruned: percent of the synapses that are masked in training, which the name of the run tells.
    """

    name: str
    shown: tuple[str, ...]
    build: Callable[[str], nn.Module]
    paper: str = ""
    spiking: bool = False
    examine: Callable[[nn.Module, training.Images, Path], dict[str, Any]] = Candidate.examine
    pruned: int = 0


def spatial(protocol: str, spacing: str, dim: int = 3) -> sg.SpatialMLP:
    """Return a spatial perceptron; more dimensions bring more learnable coordinates in each layer."""
    gain = GAINS[protocol][spacing]
    sizes, normalize = [PIXELS, HIDDEN, CLASSES], protocol == "fast"
    return sg.SpatialMLP(sizes, dim, spacing=spacing, polarity_mode="binary", normalize=normalize, gain=gain)


def dense(protocol: str, hidden: int) -> sg.DenseMLP:
    """Return a dense perceptron."""
    return sg.DenseMLP([PIXELS, hidden, CLASSES], normalize=protocol == "fast")


def spiking(protocol: str, spacing: str) -> sg.SpatialSNN:
    """Return a spatial spiking network, 25 time steps with a constant current."""
    return sg.SpatialSNN(
        [PIXELS, HIDDEN, CLASSES],
        spacing=spacing,
        polarity_mode="binary",
        normalize=protocol == "fast",
        drive=0.8,
        gain=SPIKING_GAINS[protocol][spacing],
    )


def dense_spiking(protocol: str, hidden: int) -> sg.DenseSNN:
    """Return a dense spiking network."""
    return sg.DenseSNN([PIXELS, hidden, CLASSES], normalize=protocol == "fast")


def prune_afterwards(model: nn.Module, judged: training.Images, folder: Path) -> dict[str, Any]:
    """Return the accuracies of a trained network without its smallest weights, for each amount."""
    return {"after_training": experiments.accuracies_after_pruning(model, judged, AMOUNTS)}


def measure_depths(model: nn.Module, judged: training.Images, folder: Path) -> dict[str, Any]:
    """Return how neurons of each layer are distributed along the last axis, and how far layers overlap."""
    graph = graph_of(model)
    depths = [graph.positions()[graph.layer == layer, -1].detach().double().numpy() for layer in range(3)]
    ends = np.concatenate(depths)
    edges = np.linspace(ends.min(), ends.max(), 61)
    return {
        "depth_edges": edges.round(4).tolist(),
        "depth_counts": [np.histogram(each, edges)[0].tolist() for each in depths],
        "overlap": [overlap(*pair) for pair in zip(depths, depths[1:], strict=False)],
    }


def overlap(before: np.ndarray, after: np.ndarray) -> float:
    """Return the share of pairs of neurons of adjacent layers in reverse order: 0 without overlap, 0.5 at the same z.

    Example:
        >>> overlap(np.array([0.0, 1.0]), np.array([0.5, 2.0]))
        0.25
    """
    return float((before[:, None] > after[None, :]).mean())


def map_layers(model: nn.Module, judged: training.Images, folder: Path) -> dict[str, Any]:
    """Return where neurons are, and what each does for the mean test image of digit 0."""
    graph, (images, labels) = graph_of(model), judged
    with torch.no_grad():
        activity = sg.activations(model, images[labels == 0].mean(0))
    rounded = {"positions": graph.positions().detach(), "polarities": graph.polarity.detach(), "activations": activity}
    return {"map": {name: np.round(values.double().numpy(), 3).tolist() for name, values in rounded.items()}}


def map_and_prune(model: nn.Module, judged: training.Images, folder: Path) -> dict[str, Any]:
    """Return the layer maps, and the accuracies after pruning."""
    return prune_afterwards(model, judged, folder) | map_layers(model, judged, folder)


def build_with(build: Callable[..., nn.Module], **options: Any) -> Callable[[str], nn.Module]:  # noqa: ANN401
    """Return a function of the protocol that builds a network."""
    return functools.partial(build, **options)


def rows() -> list[Row]:
    """Return the networks of the paper."""
    learned = build_with(spatial, spacing="learned")
    small, large = (build_with(dense, hidden=hidden) for hidden in (14, HIDDEN))
    pruning = {"learned": learned, "dense 14": small, "dense 2048": large}
    found = [
        Row("fixed", ("table1", "fig2", "fig5"), build_with(spatial, spacing="fixed"), "90.18"),
        Row("learned", ("table1", "fig2", "fig3a", "fig3b", "fig6"), learned, "92.17 ± 0.24", examine=map_and_prune),
        Row("dense 14", ("table1", "fig2", "fig3a", "fig3b", "fig5"), small, "94.29", examine=prune_afterwards),
        Row("dense 2048", ("table1", "fig2", "fig3a", "fig3b"), large, examine=prune_afterwards),
        Row("spiking fixed", ("table2", "fig2"), build_with(spiking, spacing="fixed"), "91.87", spiking=True),
        Row(
            "spiking learned", ("table2", "fig2"), build_with(spiking, spacing="learned"), "92.16 ± 0.52", spiking=True
        ),
        Row("spiking dense 14", ("table2", "fig2"), build_with(dense_spiking, hidden=14), "90.31", spiking=True),
        Row("spiking dense 2048", ("table2", "fig2"), build_with(dense_spiking, hidden=HIDDEN), "95.25", spiking=True),
        Row("free", ("table3", "fig4"), build_with(spatial, spacing="free"), "93.37 ± 0.40", examine=measure_depths),
        Row("dense 17", ("table3",), build_with(dense, hidden=17), "95.07"),
    ]
    found += [Row(f"d={dim}", ("fig5",), build_with(spatial, spacing="fixed", dim=dim)) for dim in (5, 8, 16, 32)]
    found += [Row(f"dense {hidden}", ("fig5",), build_with(dense, hidden=hidden)) for hidden in (20, 32, 60, 117)]
    found += [Row(name, ("fig3b",), build, pruned=amount) for amount in AMOUNTS for name, build in pruning.items()]
    return found


PARTS = sorted({part for row in rows() for part in row.shown})


def recipe_of(row: Row, protocol: str, epochs: int | None = None) -> training.Recipe:
    """Return how a network is trained."""
    if protocol == "paper":
        recipe = training.RECIPES["paper_spiking" if row.spiking else "paper"]
    else:
        recipe = FAST_RECIPES.get(row.name, training.RECIPES["fast_spiking" if row.spiking else "fast"])
    return recipe if epochs is None else dataclasses.replace(recipe, epochs=epochs)


def candidate(row: Row, protocol: str) -> Candidate:
    """Return a network to train."""
    whole = Candidate(row.name, functools.partial(row.build, protocol), row.paper, examine=row.examine)
    return experiments.pruned_in_training(whole, row.pruned) if row.pruned else whole


def experiment(
    protocol: str, seeds: Sequence[int], only: Sequence[str] = (), epochs: int | None = None, data: str | None = None
) -> Experiment:
    """Return the runs of a protocol, of some tables, figures and networks or of all."""
    runs = [
        Run(candidate(row, protocol), recipe_of(row, protocol, epochs), seed, settings={"protocol": protocol})
        for row in rows()
        if not only or set(only) & {candidate(row, protocol).name, *row.shown}
        for seed in seeds
    ]
    return Experiment(runs, LazyMnist(data))


def record(studied: Experiment, folder: Path) -> list[dict[str, Any]]:
    """Return what was measured in each finished run, with the accuracy on the training images by epoch."""
    found = []
    for run, figures in zip(studied.runs, studied.metrics(folder), strict=True):
        if figures is None:
            continue
        history = json.loads((run.folder(folder) / "history.json").read_text())
        if run.seed:  # one map is enough for figure 6, which is large
            figures["examined"].pop("map", None)
        found.append(
            {"network": run.candidate.name, "paper": run.candidate.paper}
            | figures
            | {"recipe": dataclasses.asdict(run.recipe)}
            | {"train_accuracy": [round(row["train_accuracy"], 4) for row in history]}
        )
    return found


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    names = [candidate(row, "fast").name for row in rows()]
    parts = f"some of {', '.join(PARTS)}, or names of networks (all)"
    add("--only", nargs="+", choices=[*PARTS, *names], default=[], metavar="PART", help=parts)
    add("--protocol", choices=PROTOCOLS, default="fast", help="how networks are trained (fast)")
    add("--resume", action=argparse.BooleanOptionalAction, default=True, help="continue what is in the folder")
    experiments.add_list_options(parser, Path("runs/paper"), "the protocol's")
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> list[training.Result]:
    """Train what is asked for, print a table, write all that is finished, and return the rows."""
    args = parse(argv)
    folder, seeds = args.out / args.protocol, range(args.seeds)
    studied = experiment(args.protocol, seeds, args.only, args.epochs, args.data_dir)
    try:
        studied.run(folder, jobs=args.jobs, threads=1, resume=args.resume)
    finally:  # also what was finished before an error
        about = {
            "command": experiments.command_line("paper", argv),
            "environment": training.environment(),
            "data": studied.data().source,
            "protocol": args.protocol,
            "runs": record(experiment(args.protocol, seeds, epochs=args.epochs), folder),
        }
        atomic.write_text(folder / "runs.json", json.dumps(about) + "\n")
    results = studied.results(folder)
    print(f"\n{training.table(results)}\n\nWritten to {folder}")
    return results


if __name__ == "__main__":
    experiments.as_script(main)
