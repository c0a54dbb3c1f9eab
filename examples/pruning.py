"""Prune spatial and dense perceptrons on MNIST, after and during training: figure 3 of Erb et al., 2025.

    python examples/pruning.py --polarity binary --seeds 3      # the paper's network; hours on a small machine
    python examples/pruning.py --epochs 2 --hidden 200 --baseline 14    # a quick look: 16 short trainings

Each network is trained without pruning and pruned afterwards by each amount. It is also trained once for each amount
with the smallest weights masked in every pass. Prints tables and writes metrics, checkpoints and ``pruning.png`` to
``runs/``. With the paper's two baselines on MNIST, a further table compares the results with the paper's statements.
Models are evaluated on the test images after training. ``--resume`` continues an interrupted run.
"""

import argparse
import functools
import itertools
import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from torch import nn

import spatialgraph as sg
from spatialgraph import experiments, training
from spatialgraph.experiments import CLASSES, Candidate, Figures, Program
from spatialgraph.plotting.axes import COLORS

# Percent of the synapses of each layer.
AMOUNTS = (20, 40, 60, 80, 90, 95, 98)

# Peak learning rates, chosen on held-out training images among 0.05, 0.02, 0.01, 0.005 (14 hidden neurons) and 0.05,
# 0.005, 0.001 (2,048); others have the protocol's.
LEARNING_RATES = {2048: 0.005}

# Two accuracies are nearly equal if they differ by less than this.
NEARLY = 0.01

Curve = dict[int, list[float]]
"""For each amount, the accuracy with each seed."""


def candidates(args: argparse.Namespace, features: int) -> list[Candidate]:
    """List each network without pruning, then with each amount in training."""
    sizes = [features, *args.hidden, CLASSES]

    def spatial() -> nn.Module:
        return sg.SpatialMLP(sizes, **experiments.spatial_options(args))

    networks = [Candidate(experiments.spatial_name(args, sizes), spatial, examine=prune_afterwards)]
    for width in args.baseline:
        name, dense = f"dense {features}-{width}-{CLASSES}", functools.partial(sg.DenseMLP, [features, width, CLASSES])
        rate = LEARNING_RATES.get(width)
        networks.append(Candidate(name, dense, learning_rate=rate, examine=prune_afterwards))
    listed = []
    for network in networks:
        listed += [network, *(experiments.pruned_in_training(network, amount) for amount in AMOUNTS)]
    return listed


def with_amount(name: str, amount: int) -> str:
    """Return the name of a network that is pruned in training."""
    return f"{name}, {amount} % in training"


def prune_afterwards(model: nn.Module, judged: training.Images, folder: Path) -> dict[str, Any]:
    """Return the accuracies of a trained network without its smallest weights, for each amount."""
    return {"after_training": experiments.accuracies_after_pruning(model, judged, AMOUNTS)}


def report(results: list[training.Result], figures: Figures, folder: Path, data: str) -> dict[str, Any]:
    """Draw the curves and print what became of the paper's statements, which are on MNIST."""
    by_name = {result.model: result for result in results}
    names = [result.model for result in results if any(figures[result.model])]
    unpruned = {name: list(by_name[name].accuracies) for name in names}
    after: dict[str, Curve] = {}
    during: dict[str, Curve] = {}
    for name in names:
        pruned = [run["after_training"] for run in figures[name]]
        after[name] = {0: unpruned[name]} | {amount: [run[str(amount)] for run in pruned] for amount in AMOUNTS}
        during[name] = {0: unpruned[name]} | {
            amount: list(by_name[with_amount(name, amount)].accuracies) for amount in AMOUNTS
        }
    draw(after, during, folder / "pruning.png")
    print("\nAccuracy (%) after pruning a trained network:\n" + curves_table(after))
    print("\nAccuracy (%) after pruning in training:\n" + curves_table(during))
    rows = statements(after, during) if data == "MNIST" else []
    if rows:
        print("\nWhat the paper states:\n" + training.markdown(["statement", "holds", "figures"], rows))
    return {"statements": [dict(zip(("statement", "holds", "figures"), row, strict=True)) for row in rows]}


def curves_table(curves: dict[str, Curve]) -> str:
    """Return means and standard deviations as a table with a column for each network."""
    rows = [[f"{amount} %", *(percent(curve[amount]) for curve in curves.values())] for amount in (0, *AMOUNTS)]
    return training.markdown(["removed", *curves], rows)


def percent(accuracies: list[float]) -> str:
    """Return mean and standard deviation in percent."""
    spread = f" ± {100 * statistics.stdev(accuracies):.2f}" if len(accuracies) > 1 else ""
    return f"{100 * statistics.fmean(accuracies):.2f}{spread}"


def statements(after: dict[str, Curve], during: dict[str, Curve]) -> list[list[str]]:
    """Compare means with what section 3.2 of the paper says; only where its baselines are among the networks."""
    spatial, *dense = after
    widths = {int(name.split("-")[-2]): name for name in dense}
    small, large = widths.get(14), widths.get(2048)
    if small is None or large is None:
        return []
    rows = [
        beats("above 60 % in training it beats dense 14", during[spatial], during[small], (80, 90, 95, 98)),
        beats("from 80 % after training it beats dense 14", after[spatial], after[small], (80, 90, 95, 98)),
        beats("at 95 % after training it beats dense 2,048", after[spatial], after[large], (95,)),
    ]
    whole, pruned = (statistics.fmean(during[spatial][amount]) for amount in (0, 80))
    rows.append(
        [
            f"at 80 % in training it nearly equals the unpruned (less than {100 * NEARLY:g} point apart)",
            "yes" if abs(whole - pruned) < NEARLY else "no",
            f"{100 * pruned:.2f} against {100 * whole:.2f}",
        ]
    )
    return rows


def beats(statement: str, ours: Curve, theirs: Curve, amounts: Sequence[int]) -> list[str]:
    """Return a row on whether our mean is above theirs at each amount."""
    means = {amount: (statistics.fmean(ours[amount]), statistics.fmean(theirs[amount])) for amount in amounts}
    won = [amount for amount, (mine, other) in means.items() if mine > other]
    holds = "yes" if len(won) == len(means) else f"at {', '.join(map(str, won))} % only" if won else "no"
    pairs = [f"{amount} %: {100 * mine:.2f} against {100 * other:.2f}" for amount, (mine, other) in means.items()]
    return [statement, holds, "; ".join(pairs)]


def draw(after: dict[str, Curve], during: dict[str, Curve], path: Path) -> None:
    """Draw the accuracies over the share of synapses removed, with standard deviations over the seeds as bars."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11, 4.4), layout="constrained")
    for ax, curves, title in zip(
        figure.subplots(1, 2, sharey=True), (after, during), ("after training", "in training"), strict=True
    ):
        looks = zip(curves.items(), itertools.cycle(("o-", "s--", "^:", "d-.", "v-")), itertools.cycle(COLORS))
        for (name, curve), style, color in looks:
            means = [100 * statistics.fmean(accuracies) for accuracies in curve.values()]
            bars = [100 * statistics.stdev(accuracies) if len(accuracies) > 1 else 0 for accuracies in curve.values()]
            ax.errorbar(list(curve), means, bars, fmt=style, color=color, capsize=3, markersize=5, label=name)
        ax.set(title=f"pruned {title}", xlabel="synapses removed (%)")
        ax.grid(alpha=0.3)
    figure.axes[0].set_ylabel("accuracy (%)")
    figure.axes[0].legend(loc="lower left")
    experiments.save_figure(figure, path, dpi=120)


def add_options(parser: argparse.ArgumentParser) -> None:
    """Make the paper's baselines the default."""
    parser.set_defaults(baseline=[14, 2048])


PROGRAM = Program(
    name="pruning",
    description=__doc__,
    presets={"paper3d": {"hidden": [2048], "dim": 3, "spacing": "learned"}},
    recipes={name: training.RECIPES[name] for name in ("fast", "paper")},
    candidates=candidates,
    add_options=add_options,
    report=report,
)


main = functools.partial(experiments.run_program, PROGRAM)

if __name__ == "__main__":
    experiments.as_script(main)
