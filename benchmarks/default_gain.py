"""Compare rules for the gain of a network with the constant 0.05; a run that was measured is not repeated.

    python benchmarks/default_gain.py --data FOLDER

A rule is 1 / (sqrt(n) mean|w|) of one projection, or a mean of all: n is the number of synapses into a target, mean|w|
that of the law over the lengths at the start. Accuracies are those on held-out training images, except for ``final``.
"""

import dataclasses
import math
import statistics
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from short_training import Task, digits, mnist, start, train, yin_yang_points
from torch import Tensor, nn

import spatialgraph as sg
from spatialgraph.graph.projections import Projection

SAMPLE = 64


def sampled_lengths(pos: Tensor, projection: Projection) -> Tensor:
    """Return the lengths of at most 64 x 64 pairs, or of at most 64 x 64 listed edges, evenly spread."""
    if not projection.is_complete:
        sources, targets = projection.edge_index()[:, :: math.ceil(projection.synapses / SAMPLE**2) or 1]
        lengths: Tensor = torch.linalg.vector_norm(pos[sources] - pos[targets], dim=1)
        return lengths
    sources = projection.sources[:: math.ceil(projection.n_sources / SAMPLE)]
    targets = projection.targets[:: math.ceil(projection.n_targets / SAMPLE)]
    lengths = torch.linalg.vector_norm(pos[sources] - pos[targets, None], dim=2)
    return lengths


@torch.no_grad()
def gain_of(graph: sg.SpatialGraph, projection: Projection) -> float:
    """Return the gain that gives the summed inputs of a projection's targets unit variance."""
    size = graph.law(sampled_lengths(graph.pos, projection)).abs().mean()
    synapses = projection.synapses / projection.n_targets
    return 1 / (math.sqrt(synapses) * float(size))


RULES: dict[str, Callable[[list[float]], float]] = {
    "0.05": lambda gains: 0.05,
    "last": lambda gains: gains[-1],
    "widest": min,
    "geometric mean": statistics.geometric_mean,
}


@dataclasses.dataclass(frozen=True)
class Case:
    """A network and how it is trained; the model is built from a graph."""

    sizes: list[int]
    task: Callable[[], Task]
    epochs: int
    batch_size: int
    rate: float
    options: dict[str, Any] = dataclasses.field(default_factory=dict)
    model: Callable[[sg.SpatialGraph], nn.Module] = sg.SpatialMLP
    seeds: int = 3


def plain(graph: sg.SpatialGraph) -> nn.Module:
    """Return a network without normalisation."""
    return sg.SpatialMLP(graph, normalize=False)


def small_cases() -> dict[str, Case]:
    """Return networks for the digits and the Yin-Yang task."""
    few = sg.wiring.KNN(k=8)
    options: dict[str, tuple[list[int], dict[str, Any]]] = {
        "64-32-10": ([64, 32, 10], {}),
        "64-128-64-10": ([64, 128, 64, 10], {}),
        "64-48-48-48-10": ([64, 48, 48, 48, 10], {}),
        "64-256-16-10": ([64, 256, 16, 10], {}),
        "64-32-10, gaussian": ([64, 32, 10], {"law": "gaussian"}),
        "64-32-10, yukawa": ([64, 32, 10], {"law": "yukawa"}),
        "64-32-10, inverse_power": ([64, 32, 10], {"law": "inverse_power"}),
        "64-32-10, free spacing": ([64, 32, 10], {"spacing": "free"}),
        "64-32-10, fixed spacing, binary": ([64, 32, 10], {"spacing": "fixed", "polarity_mode": "binary"}),
        "64-128-10, KNN(k=8)": ([64, 128, 10], {"wiring": few}),
    }
    cases = {}
    for name, (sizes, chosen) in options.items():
        cases[f"{name}, normalised"] = Case(sizes, digits, 15, 64, 0.05, chosen)
        cases[f"{name}, plain"] = Case(sizes, digits, 15, 64, 0.05, chosen, plain)
    cases["SNN 64-32-10"] = Case([64, 32, 10], digits, 12, 64, 0.03, model=sg.SpatialSNN)
    delays = {"dim": 2, "velocity": 0.15}
    cases["SNN 4-40-3, delays"] = Case([4, 40, 3], yin_yang_points, 8, 50, 0.02, delays, delayed)
    return cases


def delayed(graph: sg.SpatialGraph) -> nn.Module:
    """Return a spiking network whose inputs are single spikes."""
    return sg.SpatialSNN(graph, coding="latency", num_steps=40)


def mnist_cases(folder: Path) -> dict[str, Case]:
    """Return networks for MNIST: 10,000 training images and 2,000 held-out ones, or all and the test images."""

    def some() -> Task:
        return mnist(folder, 10_000, 2000)

    def final() -> Task:
        return mnist(folder, 55_000, 5000, final=True)

    sizes, knn = [784, 2048, 10], {"wiring": sg.wiring.KNN(k=32)}
    return {
        "784-2048-10, normalised": Case(sizes, some, 2, 100, 0.05),
        "784-2048-10, plain": Case(sizes, some, 2, 100, 0.05, model=plain),
        "784-512-10, KNN(k=32), normalised": Case([784, 512, 10], some, 2, 100, 0.05, knn),
        "784-512-10, KNN(k=32), plain": Case([784, 512, 10], some, 2, 100, 0.05, knn, plain),
        "SNN 784-2048-10": Case(sizes, some, 2, 100, 0.03, model=sg.SpatialSNN, seeds=6),
        "final: 784-2048-10, normalised": Case(sizes, final, 3, 600, 0.05),
    }


def measure(case: Case, gain: float, seed: int) -> dict[str, float]:
    """Train a network with a gain."""
    torch.manual_seed(seed)
    graph = sg.SpatialGraph.layered(case.sizes, **case.options, gain=gain)
    model = case.model(graph)
    optimizer = torch.optim.Adam(model.parameters(), case.rate)
    return {"accuracy": train(model, optimizer, case.task(), case.epochs, case.batch_size, one_cycle=True)}


def gains(case: Case, seed: int) -> dict[str, float]:
    """Return the gain of each rule for the positions that a seed draws."""
    torch.manual_seed(seed)
    graph = sg.SpatialGraph.layered(case.sizes, **case.options)
    each = [gain_of(graph, projection) for projection in graph.projections]
    return {name: round(rule(each), 5) for name, rule in RULES.items()}


def main() -> None:
    """Measure what is missing and print the table."""
    what = "accuracy in percent on held-out training images (final: on the test images) by the rule for the gain"
    args, record = start(__doc__, "default_gain", what, "means")
    cases = small_cases() | ({} if args.data is None else mnist_cases(args.data))
    for name, case in cases.items():
        if args.only not in name:
            continue
        # With one hidden layer the last projection is the wider one, or nearly as wide.
        rules = list(RULES) if len(case.sizes) > 3 else ["0.05", "last"]
        accuracies: dict[str, list[float]] = {rule: [] for rule in rules}
        for seed in range(case.seeds):
            for rule, gain in [(rule, gains(case, seed)[rule]) for rule in rules]:
                settings = {"case": name, "gain": gain, "seed": seed}
                row = record.get(settings, lambda gain=gain, seed=seed, case=case: measure(case, gain, seed))  # type: ignore[misc]
                accuracies[rule].append(row["accuracy"])
        record.about["means"] |= {name: {rule: round(statistics.mean(v), 2) for rule, v in accuracies.items()}}
        cells = [f"{statistics.mean(values):5.1f}" if values else "" for values in accuracies.values()]
        print(f"| {name} | {' | '.join(cells)} |", flush=True)
    record.write()


if __name__ == "__main__":
    main()
