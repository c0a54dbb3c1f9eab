"""Figures of spikes."""

import pytest
import torch

pytest.importorskip("matplotlib")

from spatialgraph import plotting

SPIKES = torch.tensor([[0.0, 1.0, 0.0, 0.0], [1.0, 1.0, 0.0, 0.0], [1.0, 0.0, 0.0, 1.0]])


def dots(ax):
    return {tuple(dot) for dot in ax.collections[0].get_offsets().tolist()}


def test_a_dot_for_each_spike():
    ax = plotting.raster(SPIKES)
    assert dots(ax) == {(1, 1), (2, 0), (2, 1), (3, 0), (3, 3)}
    assert ax.get_title() == "4 neurons, 5 spikes"
    assert ax.get_xlabel() == "time step"


def test_sorted_by_first_spike_silent_neurons_are_counted():
    ax = plotting.raster(SPIKES, by_first_spike=True)
    # Neuron 1 fires first, then 0, then 3; neuron 2 never does.
    assert dots(ax) == {(1, 0), (2, 0), (2, 1), (3, 1), (3, 2)}
    assert ax.get_title() == "4 neurons, 5 spikes, 1 silent"


def test_it_draws_on_given_axes():
    given = plotting.raster(SPIKES)
    assert plotting.raster(SPIKES, ax=given) is given


@pytest.mark.parametrize(
    ("spikes", "error", "message"),
    [
        ([[0, 1]], TypeError, "spikes must be a tensor, got list"),
        (torch.zeros(3), ValueError, r"spikes must have shape \(steps, neurons\), got \(3,\)"),
        (torch.full((2, 2), 0.5), ValueError, "spikes must be 0 or 1, got values from 0.5 to 0.5"),
    ],
)
def test_wrong_spikes(spikes, error, message):
    with pytest.raises(error, match=message):
        plotting.raster(spikes)


@pytest.mark.parametrize("by_first_spike", [False, True])
def test_silence_can_be_drawn(by_first_spike):
    assert "0 spikes" in plotting.raster(torch.zeros(5, 3), by_first_spike=by_first_spike).get_title()
