"""Figures of a network in space hold its neurons and its strongest synapses."""

import numpy as np
import pytest
import torch
from changed_graphs import dag_graph

pytest.importorskip("matplotlib")

from matplotlib.colors import to_rgba
from matplotlib.figure import Figure
from mpl_toolkits.mplot3d.art3d import Line3DCollection, Path3DCollection

import spatialgraph as sg
from spatialgraph import plotting
from spatialgraph.plotting.axes import EXCITATORY, INHIBITORY, NEUTRAL


def lines(ax):
    """Ends of the lines, shape (K, 2, 3), and their colours and widths."""
    drawn = [each for each in ax.collections if isinstance(each, Line3DCollection)]
    if not drawn:
        return np.zeros((0, 2, 3)), np.zeros((0, 4)), np.zeros(0)
    (each,) = drawn
    return np.array(each._segments3d), each.get_edgecolor(), np.array(each.get_linewidths())


def dots(ax):
    """Positions of the dots of each colour."""
    drawn = [each for each in ax.collections if isinstance(each, Path3DCollection)]
    return {tuple(each.get_facecolor()[0][:3]): np.stack(each._offsets3d, axis=1) for each in drawn}


def color(name):
    return to_rgba(name)[:3]


def rows(array):
    return {tuple(np.round(row, 5)) for row in np.asarray(array).reshape(len(array), -1)}


@pytest.mark.parametrize("dim", [3, 5])
def test_lines_are_the_strongest_synapses(dim):
    graph = sg.SpatialGraph.layered([6, 5, 3], dim=dim)
    ax = plotting.network(graph, top=7, scope="global")
    ends, colors, widths = lines(ax)
    weight = graph.weights().detach()
    kept = weight.abs().argsort(descending=True)[:7]
    pos = graph.pos.detach()[:, [0, 1, dim - 1]].double().numpy()
    expected = pos[graph.edge_index[:, kept].T.numpy()]
    assert rows(ends) == rows(expected)
    by_end = {tuple(np.round(end.ravel(), 5)): float(w) for end, w in zip(expected, weight[kept], strict=True)}
    drawn = [by_end[tuple(np.round(end.ravel(), 5))] for end in ends]
    for value, rgba in zip(drawn, colors, strict=True):
        assert tuple(rgba[:3]) == color(EXCITATORY if value > 0 else INHIBITORY)
    assert list(np.abs(drawn)) == sorted(np.abs(drawn)) and list(widths) == sorted(widths)
    assert ax.get_title() == "14 neurons, 7 strongest of 45 synapses"


def test_each_projection_has_its_strongest_synapses():
    graph = sg.SpatialGraph.layered([6, 5, 3], spacing="fixed")
    ends, *_ = lines(plotting.network(graph, fraction=0.2))
    assert sorted(np.round(ends[:, 1, 2])) == [1.0] * 6 + [2.0] * 3


@pytest.mark.parametrize(
    ("options", "count"), [({"top": 0}, 0), ({"fraction": 1.0}, 45), ({}, 45), ({"min_weight": 9e9}, 0)]
)
def test_as_many_lines_as_asked_for(options, count):
    ax = plotting.network(sg.SpatialMLP([6, 5, 3]), **options)
    assert len(lines(ax)[0]) == count
    ax.figure.draw_without_rendering()


def test_large_networks_have_few_lines():
    ax = plotting.network(sg.SpatialGraph.layered([50, 40, 30]))
    assert len(lines(ax)[0]) == 800 and ax.get_title() == "120 neurons, 800 strongest of 3,200 synapses"


def test_neurons_by_their_roles():
    graph = sg.SpatialGraph.layered([6, 5, 3])
    ax = plotting.network(graph)
    pos, polarity = graph.pos.detach().double().numpy(), graph.polarity.detach().numpy()
    found = dots(ax)
    assert found.keys() == {color(NEUTRAL), color(EXCITATORY), color(INHIBITORY)}
    assert rows(found[color(NEUTRAL)]) == rows(pos[:6])
    assert rows(found[color(EXCITATORY)]) == rows(pos[6:11][polarity[6:11] > 0])
    assert rows(found[color(INHIBITORY)]) == rows(pos[6:11][polarity[6:11] < 0])
    assert [text.get_text() for text in ax.texts] == ["0", "1", "2"]
    assert rows([text.get_position_3d() for text in ax.texts]) == rows(pos[11:])
    assert [ax.get_xlabel(), ax.get_ylabel(), ax.get_zlabel()] == [f"{axis} (length units)" for axis in "xyz"]


def test_many_outputs_are_dots_and_free_weights_have_no_polarity():
    graph = sg.SpatialGraph.layered([4, 5, 21], weight_mode="free")
    ax = plotting.network(graph)
    found = dots(ax)
    assert not ax.texts and found.keys() == {color(NEUTRAL), color("black")}
    assert len(found[color("black")]) == 21


@pytest.mark.parametrize(
    ("graph", "chosen", "names"),
    [
        (sg.SpatialGraph.layered([4, 3, 2], dim=2), [0, None, 1], ["x (length units)", "", "y (length units)"]),
        (sg.SpatialGraph.layered([4, 3, 2], dim=1), [None, None, 0], ["", "", "x (length units)"]),
        (
            sg.SpatialGraph.layered([4, 3, 2], dim=5),
            [0, 1, 4],
            ["x (length units)", "y (length units)", "p4 (length units)"],
        ),
        (dag_graph(), [0, 1, 2], [f"{axis} (length units)" for axis in "xyz"]),
        (
            sg.SpatialGraph(torch.randn(3, 2), torch.tensor([[0, 1], [1, 2]])),
            [0, 1, None],
            ["x (length units)", "y (length units)", ""],
        ),
    ],
    ids=["2", "1", "5", "dag", "dag in 2"],
)
def test_missing_axes_are_0(graph, chosen, names):
    ax = plotting.network(graph)
    pos = graph.pos.detach().double().numpy()
    expected = np.stack([np.zeros(len(pos)) if axis is None else pos[:, axis] for axis in chosen], axis=1)
    assert rows(np.concatenate([*dots(ax).values(), [text.get_position_3d() for text in ax.texts]])) == rows(expected)
    assert [ax.get_xlabel(), ax.get_ylabel(), ax.get_zlabel()] == names
    for axis, (low, high) in enumerate([ax.get_xlim(), ax.get_ylim(), ax.get_zlim()]):
        assert low < expected[:, axis].min() and expected[:, axis].max() < high
    ax.figure.draw_without_rendering()


def test_given_axes():
    ax = Figure().add_subplot(projection="3d")
    assert plotting.network(sg.SpatialGraph.layered([3, 2]), ax) is ax
    with pytest.raises(TypeError, match="ax must be three-dimensional axes, such as .*, got Axes"):
        plotting.network(sg.SpatialGraph.layered([3, 2]), Figure().add_subplot())


def test_wrong_calls():
    graph = sg.SpatialGraph.layered([3, 2])
    with pytest.raises(ValueError, match="at most one of min_weight, top and fraction may be given"):
        plotting.network(graph, top=1, min_weight=0.1)
    with pytest.raises(ValueError, match="scope must be one of 'global', 'projection', got 'all'"):
        plotting.network(graph, scope="all")
    with pytest.raises(TypeError, match="network must be a SpatialGraph"):
        plotting.network(None)
