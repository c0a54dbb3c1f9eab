"""Figures hold what they are said to hold."""

import re

import pytest
import torch

pytest.importorskip("matplotlib")

from spatialgraph import plotting

# Five steps of four neurons: the second never fires, the others fire first at the steps 3, 1 and 1.
SPIKES = torch.tensor([[0, 0, 1, 1], [0, 0, 0, 0], [1, 0, 0, 1], [0, 0, 1, 0], [1, 0, 0, 0]], dtype=torch.float32)


def ticks(ax):
    """Row and time step of each tick, as they stand on the axes."""
    (points,) = ax.collections
    return {(int(y), float(x)) for x, y in points.get_offsets()}


def test_a_raster_has_a_tick_for_each_spike():
    ax = plotting.raster(SPIKES)
    assert ticks(ax) == {(2, 1), (3, 1), (0, 3), (3, 3), (2, 4), (0, 5)}
    assert ax.get_title() == "4 neurons, 6 spikes"
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("time step", "neuron")
    assert ax.get_xlim() == (0.5, 5.5) and ax.get_ylim() == (-0.5, 3.5)


def test_a_sorted_raster_begins_with_the_first_to_fire_and_counts_those_without_spikes():
    ax = plotting.raster(SPIKES, by_first_spike=True)
    assert ticks(ax) == {(0, 1), (0, 3), (1, 1), (1, 4), (2, 3), (2, 5)}
    assert ax.get_title() == "4 neurons, 6 spikes, 1 without spikes"
    assert ax.get_ylabel() == "neuron, by first spike"
    assert ax.get_ylim() == (-0.5, 2.5)


@pytest.mark.parametrize("by_first_spike", [False, True])
def test_a_raster_of_silence(by_first_spike):
    ax = plotting.raster(torch.zeros(5, 3), by_first_spike=by_first_spike)
    assert ticks(ax) == set()
    ax.figure.draw_without_rendering()


def test_a_raster_is_drawn_on_the_axes_it_is_given():
    figure = plotting.raster(SPIKES).figure
    ax = figure.add_subplot()
    assert plotting.raster(SPIKES.bool(), ax=ax) is ax


@pytest.mark.parametrize(
    ("spikes", "error", "message"),
    [
        ([[0.0]], TypeError, "spikes must be a tensor, got list"),
        (torch.zeros(5), ValueError, "spikes must have shape (steps, neurons), at least 1 each, got (5,)"),
        (torch.zeros(0, 3), ValueError, "spikes must have shape (steps, neurons), at least 1 each, got (0, 3)"),
        (torch.tensor([[0.0, 0.5]]), ValueError, "spikes must be 0 or 1, got 0.5"),
        (torch.tensor([[float("nan")]]), ValueError, "spikes must be 0 or 1, got nan"),
    ],
)
def test_wrong_spikes(spikes, error, message):
    with pytest.raises(error, match=re.escape(message)):
        plotting.raster(spikes)


@pytest.mark.parametrize("neurons", [3, 200, 3000])
def test_ticks_are_thin_and_no_higher_than_a_row(neurons):
    ax = plotting.raster(torch.eye(neurons)[:3])
    (points,) = ax.collections
    height = points.get_sizes()[0] ** 0.5
    room = ax.figure.get_figheight() * 72 / neurons
    assert max(points.get_linewidths()) < 1 and (height == 1 or height < room)


def test_potentials_are_drawn_neuron_by_neuron():
    values = torch.tensor([[0.0, -1.0], [0.5, 2.0], [1.5, 3.0]])
    ax = plotting.potentials(values)
    (image,) = ax.images
    assert torch.equal(torch.tensor(image.get_array().tolist()), values.t())
    assert image.get_extent() == [0.5, 3.5, -0.5, 1.5]
    assert (ax.get_xlabel(), ax.get_ylabel(), image.colorbar.ax.get_ylabel()) == (
        "time step",
        "neuron",
        "potential (thresholds)",
    )
    assert plotting.potentials(values[:1], ax) is ax
    ax.figure.draw_without_rendering()


@pytest.mark.parametrize(
    ("values", "error", "message"),
    [
        ([[0.0]], TypeError, "values must be a tensor, got list"),
        (torch.zeros(5), ValueError, "values must have shape (steps, neurons), at least 1 each, got (5,)"),
    ],
)
def test_wrong_potentials(values, error, message):
    with pytest.raises(error, match=re.escape(message)):
        plotting.potentials(values)
