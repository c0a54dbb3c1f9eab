"""When the neurons of a network fired, and what their potentials were."""

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from spatialgraph import checks
from spatialgraph.plotting.axes import COLORS, given_or_new, whole_numbers

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["potentials", "raster"]


def raster(spikes: Tensor, ax: "Axes | None" = None, *, by_first_spike: bool = False) -> "Axes":
    """Draw when each neuron fired, a tick for each spike.

    By default neurons are in the order of their numbers. ``by_first_spike`` sorts them by the time of their first
    spike, then by that of the second, and so on. Neurons without a spike are then left out, and counted in the title.

    Args:
        spikes: 1 where a neuron fired, else 0, shape ``(steps, neurons)``: of one sample, such as
            ``model.simulate(x).spikes[0][:, 0]``.
        ax: axes to draw on; None for new ones.
        by_first_spike: sort the neurons by their spikes and leave out those without one.

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
        title += f", {neurons - fired.shape[1]:,} without spikes"
    rows = max(1, fired.shape[1])
    ax = given_or_new(ax)
    step, neuron = torch.nonzero(fired, as_tuple=True)
    # In points: thin beside a step and, up to some 200 neurons, lower than a row.
    height = min(8.0, max(1.0, 200.0 / rows))
    ax.scatter(step + 1, neuron, s=height**2, marker="|", linewidths=0.8, color=COLORS[0])
    ax.set(title=title, ylabel="neuron, by first spike" if by_first_spike else "neuron")
    _scale(ax, steps, rows)
    return ax


def potentials(values: Tensor, ax: "Axes | None" = None) -> "Axes":
    """Draw the potential of each neuron over time, as colours.

    Args:
        values: potentials in thresholds, shape ``(steps, neurons)``: of one sample, such as
            ``model.simulate(x).potentials[-1][:, 0]``.
        ax: axes to draw on; None for new ones.

    Returns:
        The axes, with a colour bar beside them; time steps count from 1, neurons from 0.

    Raises:
        TypeError: if ``values`` is not a tensor.
        ValueError: if it has another shape.
        ImportError: if matplotlib is not installed.

    Example:
        >>> potentials(torch.tensor([[0.0, 0.5], [0.2, 0.9]])).get_title()
        '2 neurons'
    """
    if checks.tensor("values", values).dim() != 2 or values.numel() == 0:
        raise ValueError(f"values must have shape (steps, neurons), at least 1 each, got {tuple(values.shape)}")
    ax = given_or_new(ax)
    shown = values.detach().cpu().double()
    steps, neurons = shown.shape
    image = ax.imshow(
        shown.t().numpy(),
        origin="lower",
        aspect="auto",
        extent=(0.5, steps + 0.5, -0.5, neurons - 0.5),
        cmap="viridis",
        interpolation="nearest",
    )
    ax.figure.colorbar(image, ax=ax, label="potential (thresholds)", shrink=0.8)
    ax.set(title=f"{neurons:,} neurons", ylabel="neuron")
    _scale(ax, steps, neurons)
    return ax


def _scale(ax: "Axes", steps: int, rows: int) -> None:
    """Give axes of time steps and neurons the same limits and marks in every figure."""
    ax.set(xlabel="time step", xlim=(0.5, steps + 0.5), ylim=(-0.5, rows - 0.5))
    ax.xaxis.set_major_locator(whole_numbers())
    ax.yaxis.set_major_locator(whole_numbers())


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
