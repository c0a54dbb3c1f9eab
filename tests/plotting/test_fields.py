"""Grids of receptive fields hold the weights, each image in its place."""

import numpy as np
import pytest
import torch

pytest.importorskip("matplotlib")

import spatialgraph as sg
from spatialgraph import plotting


def images(ax, shape):
    """The images of a grid by their labels."""
    (drawn,) = ax.images
    grid = np.ma.filled(drawn.get_array().astype(float), np.nan)
    found = {}
    for text in ax.texts:
        left, top = (round(value + 0.5) for value in text.get_position())
        found[text.get_text()] = grid[top : top + shape[0], left : left + shape[1]]
    assert np.isfinite(grid).sum() == len(found) * shape[0] * shape[1]
    return found


@pytest.mark.parametrize("shape", [(3, 4), (4, 3), (1, 12), (12, 1)])
def test_images_are_the_fields(shape):
    graph = sg.SpatialGraph.layered([12, 7, 3])
    ax = plotting.receptive_fields(graph, shape, neurons=torch.tensor([13, 20, 12]))
    fields = sg.receptive_fields(graph, torch.tensor([13, 20, 12])).double().numpy()
    found = images(ax, shape)
    assert list(found) == ["13", "output 1", "12"]
    for image, field in zip(found.values(), fields, strict=True):
        assert image == pytest.approx(field.reshape(shape))
    low, high = ax.images[0].get_clim()
    assert low == -high == pytest.approx(-np.quantile(np.abs(fields), 0.99))
    assert ax.images[0].get_cmap().name == "RdBu_r"
    assert ax.get_title() == "receptive fields of 3 neurons"


def test_the_strongest_hidden_neurons_come_first():
    graph = sg.SpatialGraph.layered([4, 30, 20, 3], wiring=sg.wiring.KNN(k=3))
    source, _ = graph.edge_index
    total = torch.zeros(graph.neurons).index_add(0, source, graph.weights().detach().abs())
    hidden = [neuron for neuron in range(graph.neurons) if graph.layer[neuron] in (1, 2)]
    expected = sorted(hidden, key=lambda neuron: -float(total[neuron]))[:24]
    ax = plotting.receptive_fields(sg.SpatialMLP(graph), (2, 2))
    assert [text.get_text() for text in ax.texts] == [str(neuron) for neuron in expected]
    dense = sg.SpatialGraph.layered([4, 30, 3])
    total = torch.zeros(37).index_add(0, dense.edge_index[0], dense.weights().detach().abs())
    expected = 4 + total[4:34].argsort(descending=True)[:24]
    assert [int(text.get_text()) for text in plotting.receptive_fields(dense, (2, 2)).texts] == expected.tolist()


def test_networks_without_hidden_neurons_show_their_outputs():
    ax = plotting.receptive_fields(sg.SpatialGraph.layered([4, 2]), (2, 2))
    assert [text.get_text() for text in ax.texts] == ["output 0", "output 1"]


@pytest.mark.parametrize(
    ("shape", "options", "error", "message"),
    [
        ((2, 3), {}, ValueError, r"shape must have as many pixels as there are inputs \(4\), got \(2, 3\)"),
        ((4,), {}, TypeError, r"shape must be the rows and columns of an image, got \(4,\)"),
        (4, {}, TypeError, "shape must be the rows and columns of an image, got 4"),
        ((0, 4), {}, ValueError, r"shape\[0\] must be at least 1, got 0"),
        ((2, 2), {"neurons": 5}, ValueError, "neurons must name a layer between 0 and 2, got 5"),
        ((2, 2), {"neurons": torch.tensor([9])}, ValueError, "neurons must lie between 0 and 8, got 9"),
        ((2, 2), {"neurons": torch.zeros(9, dtype=torch.bool)}, ValueError, "neurons must name at least one, got none"),
    ],
)
def test_wrong_calls(shape, options, error, message):
    with pytest.raises(error, match=message):
        plotting.receptive_fields(sg.SpatialGraph.layered([4, 3, 2]), shape, **options)
