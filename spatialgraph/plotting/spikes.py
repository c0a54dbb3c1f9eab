"""Spike rasters."""

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from spatialgraph import checks
from spatialgraph.plotting.axes import given_or_new, whole_numbers

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["raster"]


def raster(spikes: Tensor, ax: "Axes | None" = None, *, by_first_spike: bool = False) -> "Axes":
    """Draw a raster plot with a dash for each spike.

    Sorting neurons by their first spike, and ties by the following spikes, places neurons with similar responses next
    to each other. Neurons without spikes are then omitted, and counted in the title.

    Args:
        spikes: 1 where a neuron fired, else 0, shape ``(steps, neurons)``: of one sample, such as
            ``model.simulate(x).spikes[0][:, 0]``.
        ax: axes to draw on; None for new ones.
        by_first_spike: sort the neurons by their spikes and omit those without spikes.

    Returns:
        The axes; time steps count from 1, neurons from 0.

    Raises:
        TypeError: if ``spikes`` is not a tensor.
        ValueError: if ``spikes`` does not have two axes or is empty, or a value is neither 0 nor 1.
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
    # With many neurons, the dashes of neighbouring rows just overlap.
    width = min(4.0, max(0.6, 350.0 / rows))
    ax.hlines(neuron, step + 0.65, step + 1.35, color="C0", linewidth=width)
    ax.set(title=title, xlabel="time step", ylabel="neuron, by first spike" if by_first_spike else "neuron")
    ax.set(xlim=(0.5, steps + 0.5), ylim=(-0.5, rows - 0.5))
    ax.xaxis.set_major_locator(whole_numbers())
    ax.yaxis.set_major_locator(whole_numbers())
    return ax


def _marks(spikes: Tensor) -> Tensor:
    """Check spikes and return them as booleans."""
    if checks.tensor("spikes", spikes).dim() != 2 or spikes.numel() == 0:
        raise ValueError(f"spikes must have shape (steps, neurons), at least 1 each, got {tuple(spikes.shape)}")
    values = spikes.detach().cpu()
    strange = values[(values != 0) & (values != 1)]
    if strange.numel():
        raise ValueError(f"spikes must be 0 or 1, got {float(strange[0]):g}")
    return values == 1


def _by_first_spike(fired: Tensor) -> Tensor:
    """Sort the neurons that fire by their first spike, and ties by the following spikes."""
    trains = fired[:, fired.any(0)].t().tolist()
    # Compared as lists of booleans, the spike train with the earlier spike is larger.
    return torch.tensor(sorted(trains, reverse=True), dtype=torch.bool).reshape(len(trains), len(fired)).t()
