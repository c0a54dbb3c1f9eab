"""The figures of the reproduction, drawn from what was measured."""

import statistics

import numpy as np
from matplotlib.figure import Figure
from reproduction_statements import DIMENSIONS, MATCHED

BLUE, ORANGE, GREEN, PURPLE, GREY = "#0072B2", "#E69F00", "#009E73", "#CC79A7", "#666666"
COLORS = (BLUE, ORANGE, GREEN, PURPLE)
AMOUNTS = (20, 40, 60, 80, 90, 95, 98)
CURVES = {
    "perceptrons": ("fixed", "learned", "dense 14", "dense 2048"),
    "spiking networks": ("spiking fixed", "spiking learned", "spiking dense 14", "spiking dense 2048"),
}
PRUNED = ("learned", "dense 14", "dense 2048")


def panels(columns, width, height=3.4, **options):
    figure = Figure(figsize=(width, height), layout="constrained")
    return figure, figure.subplots(1, columns, squeeze=False, **options)[0]


def fig2(measured):
    """Accuracy on the training images by epoch."""
    figure, axes = panels(2, 9.5, sharey=True)
    lowest = 100.0
    for ax, (title, names) in zip(axes, CURVES.items(), strict=True):
        for name, color in zip(names, COLORS, strict=True):
            curves = [run["train_accuracy"] for run in measured[name]]
            mean = [100 * statistics.fmean(epoch) for epoch in zip(*curves, strict=False)]
            if mean:
                ax.plot(range(1, len(mean) + 1), mean, color=color, label=name)
                lowest = min(lowest, *mean[2:])
        ax.set(title=title, xlabel="epoch")
        ax.xaxis.get_major_locator().set_params(integer=True)
        ax.grid(alpha=0.3)
        if ax.lines:
            ax.legend(fontsize=8, loc="lower right")
    axes[0].set(ylabel="accuracy on training images (%)", ylim=(lowest - 1.0, 100.0))
    return figure


def _curve(ax, amounts, values, color, label):
    means = [statistics.fmean(each) for each in values]
    bars = [statistics.stdev(each) if len(each) > 1 else 0.0 for each in values]
    ax.errorbar(amounts, means, bars, fmt="o-", color=color, capsize=3, markersize=4, label=label)


def fig3(measured):
    """Accuracy over the share of synapses removed, after and in training."""
    figure, axes = panels(2, 9.5, sharey=True)
    for ax, after in zip(axes, (True, False), strict=True):
        for name, color in zip(PRUNED, COLORS, strict=False):
            found = [(0, measured.accuracies(name))]
            for amount in AMOUNTS:
                values = (
                    measured.accuracies(name, amount)
                    if after
                    else measured.accuracies(f"{name}, {amount} % in training")
                )
                found.append((amount, values))
            found = [(amount, values) for amount, values in found if values]
            if len(found) > 1:
                _curve(ax, *zip(*found, strict=True), color, "spatial" if name == "learned" else name)
        ax.set(title=f"pruned {'after' if after else 'in'} training", xlabel="synapses removed (%)")
        ax.grid(alpha=0.3)
    axes[0].set_ylabel("accuracy (%)")
    if axes[0].has_data():
        axes[0].legend(fontsize=8, loc="lower left")
    return figure


def fig4(measured):
    """Numbers of neurons along the last axis, by layer."""
    figure, axes = panels(3, 9.5, 2.6)
    (run, *_) = measured["free"]
    edges = np.array(run["examined"]["depth_edges"])
    for layer, (ax, counts) in enumerate(zip(axes, run["examined"]["depth_counts"], strict=True)):
        ax.stairs(counts, edges, fill=True, color=COLORS[layer])
        ax.set(title=("inputs", "hidden neurons", "outputs")[layer], xlabel="z", ylabel="" if layer else "neurons")
    return figure


def fig5(measured):
    """Accuracy over the number of dimensions, beside dense networks with as many parameters."""
    figure, (ax,) = panels(1, 5.6)
    for label, names, color in (
        ("spatial", DIMENSIONS, BLUE),
        ("dense, as many parameters", {dim: f"dense {hidden}" for dim, hidden in MATCHED.items()}, ORANGE),
    ):
        found = [(dim, measured.accuracies(name)) for dim, name in names.items() if measured.accuracies(name)]
        if found:
            _curve(ax, *zip(*found, strict=True), color, label)
    ax.set(xlabel="dimensions of space", ylabel="accuracy (%)", xscale="log")
    ax.set_xticks(list(DIMENSIONS), [str(dim) for dim in DIMENSIONS])
    ax.minorticks_off()
    ax.grid(alpha=0.3)
    ax.legend(fontsize=8)
    return figure


def fig6(measured):
    """Where neurons are, and what they do for the mean image of digit 0."""
    found = next(run["examined"]["map"] for run in measured["learned"] if "map" in run["examined"])
    pos, activity = np.array(found["positions"]), np.array(found["activations"])
    sign = np.sign(np.array(found["polarities"]))
    layers = [slice(0, 784), slice(784, len(pos) - 10), slice(len(pos) - 10, len(pos))]
    figure, axes = panels(3, 11.0, 3.8)
    for ax, members, title in zip(axes, layers, ("inputs", "hidden neurons", "outputs"), strict=True):
        values = activity[members].clip(min=0.0) / (activity[members].max() or 1.0)
        is_output = members is layers[2]
        colors = np.where(sign[members] < 0, BLUE, "#C1272D") if not is_output else np.full(10, GREY)
        ax.scatter(*pos[members, :2].T, s=3 + 60 * values, c=colors, alpha=0.6, linewidths=0)
        for digit, place in enumerate(pos[layers[2], :2]):
            ax.annotate(str(digit), place, fontsize=9, weight="bold", ha="center", va="center")
        ax.set(title=title, xlabel="x", ylabel="" if ax is not axes[0] else "y", aspect="equal")
    return figure


FIGURES = {"fig2": fig2, "fig3": fig3, "fig4": fig4, "fig5": fig5, "fig6": fig6}


def is_there(name, measured):
    """Whether what a figure needs was measured."""
    needed = {"fig4": ["free"], "fig6": ["learned"], "fig3": ["learned"], "fig5": ["fixed", "d=5"], "fig2": ["learned"]}
    return all(measured[network] for network in needed[name])
