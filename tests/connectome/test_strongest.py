"""The strongest synapses of a network are those of the list of all synapses."""

import pytest
import torch
from changed_graphs import dag_graph
from hypothesis import given
from hypothesis import strategies as st

import spatialgraph as sg
from spatialgraph.connectome.strongest import strongest, strongest_synapses
from spatialgraph.wiring import KNN, AllToAll

GRAPHS = [
    sg.SpatialGraph.layered([7, 6, 5]),
    sg.SpatialGraph.layered([7, 6, 5], wiring=KNN(k=3), dtype=torch.float64),
    sg.SpatialGraph.layered([7, 6, 5, 4], wiring=[KNN(k=3), AllToAll(), AllToAll()], recurrent=AllToAll()),
    sg.SpatialGraph.layered([7, 6, 5], weight_mode="free", recurrent=KNN(k=2)),
    sg.prune(sg.SpatialGraph.layered([7, 6, 5]), 1.0),
    dag_graph(),
]
CHOICES = [{"top": 0}, {"top": 9}, {"top": 10**6}, {"fraction": 0.3}, {"fraction": 1.0}, {"min_weight": 0.3}, {}]


@pytest.mark.parametrize("choice", CHOICES, ids=str)
@pytest.mark.parametrize("graph", GRAPHS, ids=repr)
def test_of_all_synapses(graph, choice):
    weight = graph.weights().detach()
    kept = strongest(weight, **choice)
    edges, found = strongest_synapses(graph, **choice)
    assert torch.equal(edges, graph.edge_index[:, kept]) and torch.equal(found, weight[kept])


@pytest.mark.parametrize("choice", CHOICES, ids=str)
@pytest.mark.parametrize("graph", GRAPHS, ids=repr)
def test_of_each_projection(graph, choice):
    counts = [projection.synapses for projection in graph.projections]
    parts = zip(graph.edge_index.split(counts, dim=1), graph.weights().detach().split(counts), strict=True)
    expected = [(edges[:, kept], w[kept]) for edges, w in parts for kept in [strongest(w, **choice)]]
    edges, found = strongest_synapses(
        sg.SpatialMLP(graph) if graph is GRAPHS[0] else graph, scope="projection", **choice
    )
    assert torch.equal(edges, torch.cat([each for each, _ in expected], dim=1))
    assert torch.equal(found, torch.cat([each for _, each in expected]))


@given(
    values=st.lists(st.sampled_from([0.0, -1.0, 1.0, 2.0, -2.5, float("inf"), float("nan")]), max_size=12),
    top=st.integers(0, 13),
)
def test_ties_are_kept_in_their_order_as_by_sorting(values, top):
    size = [float("inf") if value != value else abs(value) for value in values]
    expected = sorted(sorted(range(len(values)), key=lambda place: -size[place])[:top])
    assert strongest(torch.tensor(values), top=top).tolist() == expected


def test_equal_weights_in_their_order():
    graph = sg.SpatialGraph(torch.zeros(5, 2), torch.tensor([[0, 0, 0, 0], [1, 2, 3, 4]]))
    assert strongest_synapses(graph, top=2)[0].tolist() == [[0, 0], [1, 2]]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"top": 1, "fraction": 0.5}, "at most one of min_weight, top and fraction may be given, got top and fraction"),
        ({"top": -1}, "top must be at least 0, got -1"),
        ({"fraction": 1.5}, "fraction must be between 0 and 1, got 1.5"),
        ({"scope": "layer"}, "scope must be one of 'global', 'projection', got 'layer'"),
    ],
)
def test_wrong_calls(options, message):
    with pytest.raises(ValueError, match=message):
        strongest_synapses(GRAPHS[0], **options)


def test_weights_that_are_not_finite():
    graph = sg.SpatialGraph.layered([3, 2])
    graph.raw_polarity.data[1] = torch.inf
    with pytest.raises(ValueError, match="the weights of projection 0 must be finite, got inf"):
        strongest_synapses(graph, top=1)
