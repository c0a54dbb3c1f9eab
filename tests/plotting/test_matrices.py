"""The adjacency matrix as a picture: each weight in its place, and means where there are few pixels."""

import numpy as np
import pytest
import torch
from changed_graphs import dag_graph

pytest.importorskip("matplotlib")

import spatialgraph as sg
from spatialgraph import plotting
from spatialgraph.connectome.analysis.modules import find_modules
from spatialgraph.connectome.analysis.weighted_edges import WeightedEdges
from spatialgraph.wiring import KNN, AllToAll


def dense(graph):
    return sg.to_adjacency(graph, dense=True)[0].astype(float)


def drawn(ax):
    (mesh,) = ax.collections
    return np.asarray(mesh.get_array())


def names(ticks):
    return [label.get_text() for label in ticks]


@pytest.mark.parametrize(
    "graph",
    [
        sg.SpatialGraph.layered([6, 5, 3]),
        sg.SpatialGraph.layered([6, 5, 3], wiring=KNN(k=2), recurrent=AllToAll(), dtype=torch.float64),
        sg.SpatialGraph.layered([6, 5, 3], weight_mode="free"),
    ],
    ids=repr,
)
def test_each_weight_is_in_its_place(graph):
    ax = plotting.adjacency(graph)
    assert drawn(ax) == pytest.approx(dense(graph))
    assert (ax.get_xlabel(), ax.get_ylabel(), ax.get_title()) == ("target", "source", "14 neurons by layer")
    assert names(ax.get_yticklabels()) == names(ax.get_xticklabels()) == ["layer 0", "layer 1", "layer 2"]
    assert len(ax.lines) == 4  # two across, two down
    assert ax.collections[0].colorbar.ax.get_ylabel() == "weight"
    assert ax.get_ylim() == (1.0, 0.0)
    low, high = ax.collections[0].get_clim()
    values = np.abs(dense(graph)[dense(graph) != 0])
    assert low == -high == pytest.approx(-np.quantile(values, 0.99))


def test_without_layers_neurons_are_sorted_by_role():
    graph = dag_graph()
    order = torch.cat([graph.inputs, torch.nonzero(~graph.is_input & ~graph.is_output)[:, 0], graph.outputs]).numpy()
    ax = plotting.adjacency(graph)
    assert drawn(ax) == pytest.approx(dense(graph)[np.ix_(order, order)])
    assert names(ax.get_yticklabels()) == ["inputs", "hidden neurons", "outputs"]


def test_by_module():
    pytest.importorskip("igraph")
    graph = sg.SpatialGraph.layered([20, 15, 5], wiring=KNN(k=3))
    module, _ = find_modules(WeightedEdges.of(graph), 3)
    order = sorted(range(40), key=lambda neuron: (module[neuron], int(graph.layer[neuron]), neuron))
    ax = plotting.adjacency(graph, order="module", seed=3)
    assert drawn(ax) == pytest.approx(dense(graph)[np.ix_(order, order)])
    assert ax.get_title() == "40 neurons by module"
    assert len(ax.lines) == 2 * int(module.max())
    ends = np.flatnonzero(np.diff(module[order]))
    edges = ax.collections[0].get_coordinates()[0, :, 0]
    assert sorted(line.get_ydata()[0] for line in ax.lines[::2]) == pytest.approx(edges[ends + 1])


@pytest.mark.parametrize("pixels", [1, 7, 10, 60])
def test_few_pixels_hold_means(pixels):
    graph = sg.SpatialGraph.layered([30, 50, 4])
    ax = plotting.adjacency(graph, pixels=pixels)
    found, whole = drawn(ax), dense(graph)
    edges = ax.collections[0].get_coordinates()[0, :, 0]
    assert edges[0] == 0.0 and edges[-1] == pytest.approx(1.0) and (np.diff(edges) > 0).all()
    borders = [0.0, *sorted(line.get_xdata()[0] for line in ax.lines[1::2]), 1.0]
    bins = [
        int(((edges > low - 1e-9) & (edges < high - 1e-9)).sum())
        for low, high in zip(borders, borders[1:], strict=False)
    ]
    assert sum(bins) == len(found) <= pixels + 3
    parts = []
    for first, size, count in zip((0, 30, 80), (30, 50, 4), bins, strict=True):
        parts += [[first + k for k in range(size) if k * count // size == own] for own in range(count)]
    means = [[whole[np.ix_(rows, columns)].mean() for columns in parts] for rows in parts]
    assert found == pytest.approx(np.array(means), abs=1e-12)
    sizes = np.array([len(part) for part in parts])
    assert sizes @ found @ sizes == pytest.approx(whole.sum())  # nothing is lost
    assert ax.collections[0].colorbar.ax.get_ylabel() == "mean weight"


def test_small_groups_can_be_seen():
    ax = plotting.adjacency(sg.SpatialGraph.layered([100, 300, 2]), pixels=200)
    borders = sorted(line.get_xdata()[0] for line in ax.lines[1::2])
    assert 1.0 - borders[-1] > 0.04 and names(ax.get_xticklabels())[-1] == "layer 2"


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"order": "size"}, ValueError, "order must be one of 'layer', 'module', got 'size'"),
        ({"pixels": 0}, ValueError, "pixels must be at least 1, got 0"),
        ({"pixels": 2.0}, TypeError, r"pixels must be an int, got 2.0 \(float\)"),
        ({"order": "module", "seed": -1}, ValueError, "seed must be at least 0, got -1"),
    ],
)
def test_wrong_calls(options, error, message):
    with pytest.raises(error, match=message):
        plotting.adjacency(sg.SpatialGraph.layered([3, 2]), **options)
