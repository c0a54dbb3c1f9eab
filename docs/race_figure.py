"""The figure of docs/race.md: accuracy over the number of parameters."""

from matplotlib.figure import Figure
from race_published import PUBLISHED

BLUE, ORANGE, GREEN, PURPLE, GREY = "#0072B2", "#E69F00", "#009E73", "#CC79A7", "#666666"
COLORS = {"spatial": BLUE, "dense": ORANGE, "hashed": GREEN, "tensor train": PURPLE}
MARKERS = {"image": "o", "any order": "s", "spiking": "^"}
LABELS = {"image": "distorted images", "any order": "pixels in any order", "spiking": "spiking, distorted images"}


def draw(networks):
    """Return the figure."""
    figure = Figure(figsize=(8.5, 4.8), layout="constrained")
    ax = figure.subplots()
    for group, marker in MARKERS.items():
        for name in networks.names(group):
            if "bits" in name:
                continue
            color = next(color for kind, color in COLORS.items() if name.startswith(kind))
            ax.plot(networks.parameters(name), networks.mean(name), marker, color=color, markersize=8, alpha=0.85)
    for each in PUBLISHED:
        ax.plot(each.parameters, each.accuracy, "D", color=GREY, fillstyle="none", markersize=7)
        ax.annotate(each.name, (each.parameters, each.accuracy), (6, -11), textcoords="offset points", fontsize=8)
    for kind, color in COLORS.items():
        ax.plot([], [], "o", color=color, label=kind)
    for group, marker in MARKERS.items():
        ax.plot([], [], marker, color=GREY, label=LABELS[group])
    ax.plot([], [], "D", color=GREY, fillstyle="none", label="published")
    ax.set(xscale="log", xlim=(3800, 38_000), xlabel="parameters", ylabel="accuracy on the test images (%)")
    ticks = (4000, 6000, 8000, 10_000, 15_000, 25_000)
    ax.set_xticks(ticks, [f"{tick:,}" for tick in ticks])
    ax.minorticks_off()
    ax.grid(alpha=0.3)
    ax.legend(fontsize=8, loc="lower right", ncols=2)
    return figure
