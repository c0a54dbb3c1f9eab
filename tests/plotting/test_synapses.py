"""Distributions over synapses: all of them count, and the law runs through their weights."""

import numpy as np
import pytest
import torch

pytest.importorskip("matplotlib")

from matplotlib.colors import to_rgba

import spatialgraph as sg
from spatialgraph import plotting
from spatialgraph.plotting.axes import EXCITATORY, INHIBITORY
from spatialgraph.wiring import KNN


def shares(ax):
    return {patch.get_label(): patch.get_data() for patch in ax.patches if not patch.get_fill()}


def test_lengths_by_projection():
    graph = sg.SpatialGraph.layered([9, 8, 7, 2], recurrent=[KNN(k=2), None], dtype=torch.float64)
    ax = plotting.lengths(graph, bins=13)
    found = shares(ax)
    counts = [projection.synapses for projection in graph.projections]
    names = ["layer 0 to 1, 72 synapses", "layer 1 to 2, 56 synapses", "layer 2 to 3, 14 synapses"]
    assert (
        list(found)
        == [*names, "within layer 1, 16 synapses"]
        == [text.get_text() for text in ax.get_legend().get_texts()]
    )
    longest = float(graph.lengths().detach().max())
    for (values, edges, _), length in zip(found.values(), graph.lengths().detach().split(counts), strict=True):
        assert edges == pytest.approx(np.linspace(0, longest, 14))
        assert values == pytest.approx(100 * torch.histc(length, 13, 0.0, longest).numpy() / len(length))
    assert ax.get_xlabel() == "length (length units)"


def test_names_of_projections():
    skipping = sg.SpatialGraph.layered([9, 8, 7], wiring=KNN(k=9, reach="all"))
    assert list(shares(plotting.lengths(skipping)))[1].startswith("layer 0 and 1 to 2, ")
    pos, edges = torch.randn(4, 2), torch.tensor([[0, 1, 0, 2], [1, 2, 2, 3]])
    found = list(shares(plotting.lengths(sg.SpatialGraph(pos, edges))))
    assert found == [f"into generation {place}, {count} synapses" for place, count in ((1, 1), (2, 2), (3, 1))]


def test_few_weights_are_points_beside_the_law():
    graph = sg.SpatialGraph.layered([6, 5, 3], law="mexican_hat")
    ax = plotting.weights(graph)
    found = np.concatenate([np.asarray(each.get_offsets()) for each in ax.collections])
    expected = torch.stack([graph.lengths(), graph.weights()], dim=1).detach().numpy()
    assert found == pytest.approx(expected, rel=1e-6)
    colors = np.concatenate([each.get_facecolors() for each in ax.collections])
    for (_, weight), rgba in zip(found, colors, strict=True):
        assert tuple(rgba[:3]) == to_rgba(EXCITATORY if weight > 0 else INHIBITORY)[:3]
    for line, sign in zip(ax.lines, (1, -1), strict=True):
        length = torch.tensor(line.get_xdata())
        assert line.get_ydata() == pytest.approx((sign * graph.gain * graph.law(length)).detach().numpy(), abs=1e-6)
    assert ax.get_title() == "45 synapses"
    assert ax.get_xlim()[1] > expected[:, 0].max() and ax.get_ylim()[1] > np.abs(expected[:, 1]).max()


def test_points_at_polarity_one_lie_on_the_law():
    graph = sg.SpatialGraph.layered([6, 5, 3])
    graph.raw_polarity.data.fill_(1.0)
    ax = plotting.weights(graph)
    points = np.concatenate([np.asarray(each.get_offsets()) for each in ax.collections])
    line = ax.lines[0]
    assert np.interp(points[:, 0], line.get_xdata(), line.get_ydata()) == pytest.approx(points[:, 1], rel=1e-3)


def test_many_weights_are_a_density_of_all():
    graph = sg.SpatialGraph.layered([60, 50, 40])
    ax = plotting.weights(graph, bins=20)
    (mesh,) = ax.collections
    inside = int(np.nansum(np.ma.filled(mesh.get_array(), np.nan)))
    length, weight = graph.lengths().detach().numpy(), graph.weights().detach().numpy()
    top = ax.get_ylim()[1]
    assert ax.get_ylim()[0] == -top
    assert inside == int(((np.abs(weight) <= top) & (length <= ax.get_xlim()[1])).sum())
    assert inside < graph.synapses == 5000
    assert ax.get_title() == f"5,000 synapses, {5000 - inside} of them outside the axes"
    assert (np.abs(weight) > top).mean() <= 0.006
    assert mesh.colorbar.ax.get_ylabel() == "synapses"


def test_free_weights_follow_no_law():
    ax = plotting.weights(sg.SpatialGraph.layered([6, 5, 3], weight_mode="free"))
    assert not ax.lines and ax.get_legend() is None
