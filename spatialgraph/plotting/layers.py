"""Figures; every function takes ``ax=None`` and returns the axes it drew on."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from spatialgraph import checks
from spatialgraph.graph.spatial_graph import SpatialGraph

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.ticker import MaxNLocator

__all__ = ["history", "layer", "raster"]

# Names of quantities as they stand on the axes of figures.
_CURVES = {"train_accuracy": "training images", "validation_accuracy": "held-out images"}


def layer(graph: SpatialGraph, number: int, ax: "Axes | None" = None) -> "Axes":
    """Draw the positions of a layer's neurons, coloured by polarity.

    The first two axes of space are shown; where there is one axis only, the second is 0. Outputs have no polarity and
    are drawn in grey.

    Args:
        graph: a network with layers.
        number: the layer's number, from 0.
        ax: axes to draw on; None for new ones.

    Returns:
        The axes, in length units.

    Raises:
        ValueError: if there is no such layer.
        ImportError: if matplotlib is not installed.

    Example:
        >>> layer(SpatialGraph.layered([4, 2]), 0).get_title()
        'layer 0, 4 neurons'
    """
    checks.layer_number("number", number, graph.layer)
    ax = _axes(ax)
    with torch.no_grad():
        members = graph.layer == number
        pos, polarity = graph.pos[members].cpu().double(), graph.polarity[members].cpu().double()
        outputs = bool(graph.is_output[members].all())
    x = pos[:, 0]
    y = pos[:, 1] if pos.shape[1] > 1 else torch.zeros_like(x)
    size = min(40.0, max(4.0, 6000.0 / len(x)))
    if outputs:
        ax.scatter(x, y, s=size, color="0.4")
    else:
        limit = max(1.0, float(polarity.abs().quantile(0.98)))
        dots = ax.scatter(x, y, c=polarity, s=size, cmap="coolwarm", vmin=-limit, vmax=limit, linewidths=0)
        ax.figure.colorbar(dots, ax=ax, label="polarity", shrink=0.8)
    ax.set(title=f"layer {number}, {len(x)} neurons", xlabel="x (length units)", ylabel="y (length units)")
    ax.set_aspect("equal", adjustable="datalim")
    return ax


def history(rows: Sequence[dict[str, Any]], ax: "Axes | None" = None, label: str = "") -> "Axes":
    """Draw the accuracies of a training, epoch by epoch.

    Args:
        rows: what :func:`spatialgraph.training.fit` returns.
        ax: axes to draw on; None for new ones.
        label: put before the names in the legend.

    Returns:
        The axes.

    Raises:
        ValueError: if there are no rows.
        ImportError: if matplotlib is not installed.

    Example:
        >>> history([{"epoch": 1, "train_accuracy": 0.9}]).get_xlabel()
        'epoch'
    """
    if not rows:
        raise ValueError("rows must hold at least one epoch, got none")
    ax = _axes(ax)
    epochs = [row["epoch"] for row in rows]
    for name, words in _CURVES.items():
        if name in rows[0]:
            ax.plot(epochs, [100 * row[name] for row in rows], label=f"{label} {words}".strip())
    ax.set(xlabel="epoch", ylabel="accuracy (%)")
    ax.xaxis.set_major_locator(_whole_numbers())
    ax.grid(alpha=0.3)
    ax.legend()
    return ax


def raster(spikes: Tensor, ax: "Axes | None" = None, *, by_first_spike: bool = False) -> "Axes":
    """Draw when each neuron fired, a dash for each spike.

    Neurons have no order of their own, so that a large group drawn by number is noise. Sorted by their first spikes,
    and those that share one by the spikes after it, neurons that answer alike stand together. The silent ones are then
    left out of the figure, and counted in the title.

    Args:
        spikes: 1 where a neuron fired, else 0, shape ``(steps, neurons)``: of one sample, such as
            ``model.simulate(x).spikes[0][:, 0]``.
        ax: axes to draw on; None for new ones.
        by_first_spike: sort the neurons by their spikes and leave out the silent ones.

    Returns:
        The axes; time steps count from 1, neurons from 0.

    Raises:
        TypeError: if ``spikes`` is not a tensor.
        ValueError: if its shape is another, or a value is neither 0 nor 1.
        ImportError: if matplotlib is not installed.

    Example:
        >>> raster(torch.tensor([[0.0, 1.0], [1.0, 1.0]])).get_title()
        '2 neurons, 3 spikes'
    """
    fired = _marks(spikes)
    steps, neurons = fired.shape
    title = f"{neurons:,} neurons, {int(fired.sum()):,} spikes"
    if by_first_spike:
        fired = _by_first_spike(fired)
        title += f", {neurons - fired.shape[1]:,} silent"
    rows = max(1, fired.shape[1])
    ax = _axes(ax)
    step, neuron = torch.nonzero(fired, as_tuple=True)
    # Where there are many neurons, the dashes of neighbouring rows just overlap.
    width = min(4.0, max(0.6, 350.0 / rows))
    ax.hlines(neuron, step + 0.65, step + 1.35, color="C0", linewidth=width)
    ax.set(title=title, xlabel="time step", ylabel="neuron, by first spike" if by_first_spike else "neuron")
    ax.set(xlim=(0.5, steps + 0.5), ylim=(-0.5, rows - 0.5))
    ax.xaxis.set_major_locator(_whole_numbers())
    ax.yaxis.set_major_locator(_whole_numbers())
    return ax


def _marks(spikes: Tensor) -> Tensor:
    """Check spikes and return where they are, as booleans."""
    if checks.tensor("spikes", spikes).dim() != 2 or spikes.numel() == 0:
        raise ValueError(f"spikes must have shape (steps, neurons), at least 1 each, got {tuple(spikes.shape)}")
    values = spikes.detach().cpu()
    strange = values[(values != 0) & (values != 1)]
    if strange.numel():
        raise ValueError(f"spikes must be 0 or 1, got {float(strange[0]):g}")
    return values == 1


def _by_first_spike(fired: Tensor) -> Tensor:
    """Sort the neurons that fire by their first spikes, those that share one by the spikes after it."""
    trains = fired[:, fired.any(0)].t().tolist()
    # As lists of booleans, the train whose first difference is a spike is the larger one.
    return torch.tensor(sorted(trains, reverse=True), dtype=torch.bool).reshape(len(trains), len(fired)).t()


def _whole_numbers() -> "MaxNLocator":
    from matplotlib.ticker import MaxNLocator

    return MaxNLocator(integer=True, min_n_ticks=1)


def _axes(ax: "Axes | None") -> "Axes":
    if ax is not None:
        return ax
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise ImportError('plotting needs matplotlib; install it with: pip install "spatialgraph[plot]"') from error
    return Figure(layout="constrained").add_subplot()
