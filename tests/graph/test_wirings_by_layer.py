"""A wiring for each layer: each selects the edges into its layer."""

import pytest
import torch

import spatialgraph as sg
from spatialgraph.wiring import KNN, AllToAll, Radius, Random

SIZES = [6, 5, 4, 3]


def layered(wiring, **options):
    torch.manual_seed(0)
    return sg.SpatialGraph.layered(SIZES, dim=2, wiring=wiring, **options)


def into(graph, number):
    edges = graph.edge_index
    return edges[:, graph.layer[edges[1]] == number]


@pytest.mark.parametrize(
    "wirings", [[KNN(k=2), AllToAll(), KNN(k=3)], (Radius(r=1.2), KNN(k=6, reach="all"), KNN(k=1))]
)
def test_each_selects_the_edges_into_its_layer(wirings):
    graph = layered(wirings)
    assert graph.wiring == tuple(wirings)
    for number, wiring in enumerate(wirings, start=1):
        assert torch.equal(into(graph, number), into(layered(wiring), number))


def test_all_to_all_layers_are_not_listed():
    graph = layered([KNN(k=2), AllToAll(), AllToAll(reach="all")])
    assert graph.connectivity.topology.listed_edges.shape[1] == 10
    assert graph.synapses == 10 + 5 * 4 + 15 * 3
    assert graph.synapses == graph.edge_index.shape[1] == graph.edge_index.unique(dim=1).shape[1]


def test_a_list_of_equal_wirings_is_that_wiring():
    assert torch.equal(layered([KNN(k=3)] * 3).edge_index, layered(KNN(k=3)).edge_index)
    one, other = layered([AllToAll()] * 3), layered(AllToAll())
    assert one.connectivity.topology.equals(other.connectivity.topology)


def test_rewiring_keeps_them_or_takes_others():
    graph = layered([KNN(k=2), AllToAll(), Random(density=0.5)])
    graph.place_(torch.randn(18, 1), torch.arange(18))
    assert into(graph.rewire_(), 1).shape[1] == 10
    again = sg.SpatialGraph(graph.pos.detach(), KNN(k=2), layer=graph.layer)
    assert torch.equal(into(graph, 1), into(again, 1))
    assert graph.rewire_([AllToAll(), KNN(k=1), KNN(k=2)]).synapses == 30 + 4 + 6
    assert graph.rewire_(KNN(k=1)).wiring == KNN(k=1)


def test_models_take_lists_of_wirings():
    model = sg.SpatialMLP(SIZES, wiring=[KNN(k=2), KNN(k=2), AllToAll()])
    assert model(torch.rand(2, 6)).shape == (2, 3)
    recurrent = sg.SpatialRNN([6, 5, 3], wiring=[KNN(k=2), AllToAll()], recurrent=KNN(k=2))
    assert recurrent.graph.synapses == 10 + 15 + 10


@pytest.mark.parametrize(
    ("wiring", "error", "message"),
    [
        ([KNN(k=2)], ValueError, "wiring must have a wiring for each of 3 layers after the first, got 1"),
        ([KNN(k=2), None, KNN(k=2)], TypeError, "wiring must be a Wiring .* or a list of them, got list"),
        ([], TypeError, "wiring must be a Wiring .* or a list of them, got list"),
        ([KNN(k=2), KNN(k=9), AllToAll()], ValueError, r"k must be between 1 and the number of source neurons \(5\)"),
    ],
)
def test_wrong_lists(wiring, error, message):
    with pytest.raises(error, match=message):
        layered(wiring)
    with pytest.raises(error, match=message):
        layered(AllToAll()).rewire_(wiring)


def test_a_list_of_wirings_needs_layers():
    with pytest.raises(ValueError, match="edges must be an edge_index for a network without layers, got a wiring"):
        sg.SpatialGraph(torch.rand(3, 2), [KNN(k=1), KNN(k=1)])
