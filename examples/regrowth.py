"""Train a spatial perceptron on MNIST with a tenth of its synapses, and regrow the longest ones elsewhere.

    python examples/regrowth.py --seeds 3                               # about half an hour on a small machine
    python examples/regrowth.py --epochs 2 --hidden 200 --every 4       # a quick look

Trains three networks: an all-to-all one; a sparse one where, every so many steps, the longest synapses are removed and
as many of the nearest unconnected pairs are connected; and one with the same sparse start whose synapses stay. The
sparse networks keep all synapses to the outputs and draw the others at random. Prints tables and writes metrics,
checkpoints and figures to ``runs/``. Models are evaluated on the test images after training. ``--resume`` continues an
interrupted run.

Synapses regrow in the first quarter of the training only (``--until``). A short training needs a small ``--every``; a
warning says so if it ends before the first regrowth.
"""

import argparse
import dataclasses
import functools
from pathlib import Path
from typing import Any

import torch
from torch import nn

import spatialgraph as sg
from spatialgraph import experiments, training
from spatialgraph.experiments import CLASSES, Candidate, Figures, Program
from spatialgraph.graph.network import graph_of

COLUMNS = {
    "first_projection": "synapses to hidden neurons",
    "wire": "their total length",
    "unconnected_inputs": "inputs with no outgoing synapses",
    "unconnected_hidden": "hidden neurons with no incoming synapses",
}


def candidates(args: argparse.Namespace, features: int) -> list[Candidate]:
    """List the all-to-all network, that with regrowth, and that of the same start without."""
    sizes = [features, *args.hidden, CLASSES]
    name = experiments.spatial_name(args, sizes)

    def whole() -> sg.SpatialMLP:
        return sg.SpatialMLP(sizes, dim=args.dim, spacing=args.spacing, polarity_mode=args.polarity)

    def sparse() -> nn.Module:
        model = whole()
        thin_out(model.graph, args.density)
        if args.start == "nearest":
            sg.regrow_(model.graph, 1.0)
        return model

    def regrowth(model: nn.Module) -> list[training.EverySteps]:
        graph = graph_of(model)
        return [training.EverySteps(args.every, lambda: sg.regrow_(graph, args.share), until=args.until)]

    static = Candidate(f"{name}, {args.density:.0%}, static", sparse, examine=examine)
    return [
        Candidate(f"{name}, all-to-all", whole, examine=examine),
        dataclasses.replace(static, name=f"{name}, {args.density:.0%}, regrowth", callbacks=regrowth),
        static,
    ]


def thin_out(graph: sg.SpatialGraph, density: float) -> None:
    """Keep a share of the synapses of an all-to-all network: all to the outputs, the others drawn at random."""
    to_outputs = graph.projections[-1].synapses
    others = graph.synapses - to_outputs
    left = round(density * graph.synapses) - to_outputs
    if not 0 < left <= others:
        low = to_outputs / graph.synapses
        raise SystemExit(f"--density must be above {low:.3g}, the share of the outputs, and at most 1, got {density:g}")
    kept = torch.ones(graph.synapses, dtype=torch.bool)
    kept[torch.randperm(others)[left:]] = False
    graph.keep_(kept)


def examine(model: nn.Module, judged: training.Images, folder: Path) -> dict[str, Any]:
    """Count the synapses of a trained network and what they leave unconnected, and measure their length."""
    graph = graph_of(model)
    sources, targets = (torch.bincount(ends, minlength=graph.neurons) for ends in graph.edge_index)
    first = graph.projections[0].synapses
    return {
        "first_projection": first,
        "wire": float(graph.lengths()[:first].detach().sum()),
        "unconnected_inputs": int((sources[graph.is_input] == 0).sum()),
        "unconnected_hidden": int((targets[graph.layer == 1] == 0).sum()),
    }


def report(results: list[training.Result], figures: Figures, folder: Path, data: str) -> dict[str, Any]:
    """Print the differences in accuracy between the sparse networks and the all-to-all one."""
    whole, *sparse = results
    points = {result.model: round(100 * (result.mean - whole.mean), 3) for result in sparse}
    for name, difference in points.items():
        print(f"{name}: {difference:+.2f} points against all-to-all")
    return {"points_against_all_to_all": points}


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of regrowth; the defaults were chosen on held-out training images."""
    add = parser.add_argument
    add("--density", type=float, default=0.1, metavar="X", help="share of all pairs that are connected (0.1)")
    add(
        "--start",
        choices=["random", "nearest"],
        default="random",
        help="synapses kept at the start (random)",
    )
    add("--share", type=float, default=0.1, metavar="X", help="share of the synapses that regrow at a time (0.1)")
    add("--every", type=int, default=100, metavar="N", help="steps from one regrowth to the next (100)")
    add("--until", type=float, default=0.25, metavar="X", help="share of the training with regrowth (0.25)")


PROGRAM = Program(
    name="regrowth",
    description=__doc__,
    presets={"paper3d": {"hidden": [2048], "dim": 3, "spacing": "learned"}},
    recipes={name: training.RECIPES[name] for name in ("fast", "paper")},
    candidates=candidates,
    settings=("density", "start", "share", "every", "until"),
    add_options=add_options,
    columns=COLUMNS,
    report=report,
)


main = functools.partial(experiments.run_program, PROGRAM)

if __name__ == "__main__":
    experiments.as_script(main)
