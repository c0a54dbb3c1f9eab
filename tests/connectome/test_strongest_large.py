"""The strongest synapses of networks whose weights are never held all at once."""

import numpy as np
import pytest
import torch

import spatialgraph as sg
from spatialgraph.connectome import strongest as selection
from spatialgraph.connectome.strongest import strongest_synapses
from spatialgraph.functional import memory
from spatialgraph.graph import transmission


@pytest.fixture
def large(monkeypatch):
    """Makes projections of more than a thousand synapses large."""
    monkeypatch.setattr(transmission, "_BLOCK", 500)
    monkeypatch.setattr("spatialgraph.graph.projections.weights_fit", lambda n, m: n * m <= 1000)


@pytest.mark.parametrize("options", [{"top": 37}, {"fraction": 0.02}, {"min_weight": 0.9}, {"top": 0}])
@pytest.mark.parametrize("scope", ["global", "projection"])
def test_they_are_those_of_all_weights(monkeypatch, large, options, scope):
    torch.manual_seed(0)
    graph = sg.SpatialGraph.layered([60, 50, 7])
    found = strongest_synapses(graph, scope=scope, **options)
    monkeypatch.setattr("spatialgraph.graph.projections.weights_fit", memory.weights_fit)
    for own, expected in zip(found, strongest_synapses(graph, scope=scope, **options), strict=True):
        assert torch.equal(own, expected)


def test_graphs_of_networkx_hold_them(monkeypatch, large):
    torch.manual_seed(0)
    graph = sg.SpatialGraph.layered([60, 50, 7])
    found = sg.to_networkx(graph, top=40)
    monkeypatch.setattr("spatialgraph.graph.projections.weights_fit", memory.weights_fit)
    expected = sg.to_networkx(graph, top=40)
    assert found.graph == expected.graph and dict(found.nodes(data=True)) == dict(expected.nodes(data=True))
    assert set(found.edges) == set(expected.edges)
    for edge in expected.edges:
        for name, value in expected.edges[edge].items():
            np.testing.assert_allclose(found.edges[edge][name], value, rtol=1e-6)


def test_networks_of_too_many_synapses_are_refused(monkeypatch, large):
    monkeypatch.setattr(selection, "_MOST", 2000)
    with pytest.raises(ValueError, match="network must have at most 2,000 synapses in a projection, .* got 3,000"):
        strongest_synapses(sg.SpatialGraph.layered([60, 50, 7]), top=3)
