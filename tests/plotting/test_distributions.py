"""Distributions over neurons: shares of each layer, counted again one by one."""

import numpy as np
import pytest
import torch
from changed_graphs import dag_graph

pytest.importorskip("matplotlib")

from matplotlib.colors import to_hex

import spatialgraph as sg
from spatialgraph import plotting
from spatialgraph.plotting.axes import COLORS
from spatialgraph.wiring import KNN, AllToAll


def steps(ax):
    """Values and edges of each line, by its label, and its colour."""
    found = {}
    for patch in ax.patches:
        if patch.get_label() and not patch.get_fill():
            data = patch.get_data()
            found[patch.get_label()] = np.array(data.values), np.array(data.edges), to_hex(patch.get_edgecolor())
    return found


def counted(values, edges):
    inside = [(low <= values) & (values < high) for low, high in zip(edges, edges[1:], strict=False)]
    inside[-1] |= values == edges[-1]
    return np.array([100.0 * mark.mean() for mark in inside])


def test_depths_by_layer():
    graph = sg.SpatialGraph.layered([30, 20, 3], spacing="free")
    ax = plotting.depths(graph, bins=10)
    found = steps(ax)
    assert list(found) == ["layer 0 (inputs), 30 neurons", "layer 1, 20 neurons", "layer 2 (outputs), 3 neurons"]
    z = graph.pos[:, -1].detach().double().numpy()
    for number, (values, edges, color) in enumerate(found.values()):
        assert color == COLORS[number] and len(values) == 10
        assert edges[0] == pytest.approx(z.min()) and edges[-1] == pytest.approx(z.max())
        assert values == pytest.approx(counted(z[graph.layer == number], edges))
        assert values.sum() == pytest.approx(100.0)
    assert [text.get_text() for text in ax.get_legend().get_texts()] == list(found)
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("z (length units)", "share of the layer's neurons (%)")


@pytest.mark.parametrize(("dim", "name"), [(1, "x"), (2, "y"), (5, "p4")])
def test_depths_are_along_the_last_axis(dim, name):
    ax = plotting.depths(sg.SpatialGraph.layered([4, 3, 2], dim=dim), bins=4)
    assert ax.get_xlabel() == f"{name} (length units)"
    heights = [values.argmax() for values, *_ in steps(ax).values()]
    assert heights == [0, 2, 3] and all(values.max() == 100.0 for values, *_ in steps(ax).values())


def test_depths_of_networks_without_layers_or_of_one_height():
    graph = dag_graph()
    ax = plotting.depths(graph)
    counts = [int(graph.is_input.sum()), int((~graph.is_input & ~graph.is_output).sum()), int(graph.is_output.sum())]
    expected = zip(("inputs", "hidden neurons", "outputs"), counts, strict=True)
    assert list(steps(ax)) == [f"{name}, {count} neurons" for name, count in expected]
    flat = sg.SpatialGraph(torch.zeros(3, 2), torch.tensor([[0, 1], [2, 2]]))
    assert all(values.sum() == 100.0 for values, *_ in steps(plotting.depths(flat)).values())


@pytest.mark.parametrize(
    "graph",
    [
        sg.SpatialGraph.layered([9, 8, 7], wiring=KNN(k=3), recurrent=KNN(k=2)),
        sg.SpatialGraph.layered([9, 8, 7], recurrent=AllToAll()),
        sg.SpatialGraph.layered([50, 60, 2]),
        sg.prune(sg.SpatialGraph.layered([9, 8, 7]), 0.7, by="random"),
    ],
    ids=repr,
)
@pytest.mark.parametrize("bins", [5, 200])
def test_degrees_by_layer(graph, bins):
    ax = plotting.degrees(graph, bins=bins)
    source, target = graph.edge_index.numpy()
    degree = {"in": np.zeros(graph.neurons), "out": np.zeros(graph.neurons)}
    for i, j in zip(source, target, strict=True):
        degree["out"][i] += 1
        degree["in"][j] += 1
    expected = {}
    for number, name in enumerate(("layer 0 (inputs)", "layer 1", "layer 2 (outputs)")):
        for direction, values in degree.items():
            own = values[graph.layer.numpy() == number]
            if own.any():
                expected[f"{name}, {direction}"] = own
    found = steps(ax)
    assert list(found) == list(expected)
    for name, (values, edges, _) in found.items():
        assert values == pytest.approx(counted(expected[name], edges)) and values.sum() == pytest.approx(100.0)
        assert len(values) <= bins and (edges % 1 == 0.5).all() and edges[0] == -0.5
    largest = max(values.max() for values in degree.values())
    assert ax.get_xscale() == ("symlog" if largest >= bins else "linear")
    dashed = [patch.get_linestyle() for patch in ax.patches if patch.get_label().endswith("out")]
    assert len(dashed) and set(dashed) <= {"--", "dashed"}


@pytest.mark.parametrize("draw", [plotting.depths, plotting.degrees, plotting.lengths, plotting.weights])
def test_wrong_bins(draw):
    with pytest.raises(ValueError, match="bins must be at least 1, got 0"):
        draw(sg.SpatialGraph.layered([3, 2]), bins=0)
    with pytest.raises(TypeError, match=r"bins must be an int, got 2.5 \(float\)"):
        draw(sg.SpatialGraph.layered([3, 2]), bins=2.5)


def test_many_layers_have_colours_of_their_own():
    found = steps(plotting.depths(sg.SpatialGraph.layered([2] * 9)))
    assert len({color for *_, color in found.values()}) == 9
