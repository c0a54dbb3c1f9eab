"""Receptive fields are sums over paths."""

import pytest
import torch
from changed_graphs import dag_graph
from cyclic_graphs import cyclic_graph

import spatialgraph as sg
from spatialgraph.connectome import receptive_fields as module
from spatialgraph.wiring import KNN, AllToAll


def by_powers(graph):
    """Sums over paths of every number of synapses, by powers of the matrix of all weights; no recurrent synapses."""
    matrix = torch.zeros(graph.neurons, graph.neurons, dtype=torch.float64)
    source, target = graph.edge_index
    weight = graph.weights().detach().double()
    if graph.is_layered:
        weight = weight * (graph.layer[source] != graph.layer[target])
    matrix[target, source] = weight
    total, power = torch.eye(graph.neurons, dtype=torch.float64), torch.eye(graph.neurons, dtype=torch.float64)
    for _ in range(graph.neurons):
        power = power @ matrix
        total += power
    return total[:, graph.inputs]


def graphs():
    torch.manual_seed(1)
    deep = sg.SpatialGraph.layered([5, 6, 4, 3], dim=2)
    skipping = sg.SpatialGraph.layered([6, 5, 4, 3], dim=2, wiring=KNN(k=4, reach="all"))
    recurrent = sg.SpatialGraph.layered([4, 6, 3], recurrent=AllToAll(), wiring=KNN(k=2))
    masked = sg.SpatialGraph.layered([6, 5, 2])
    masked.masked_share = 0.5
    return [
        deep,
        skipping,
        recurrent,
        masked,
        sg.prune(deep, 0.6, by="weight"),
        sg.SpatialGraph.layered([5, 6, 2], weight_mode="free", velocity=0.5),
        sg.SpatialGraph.layered([4, 3, 2], dim=5, dtype=torch.float64, weight_mode="both", wiring=KNN(k=2)),
        dag_graph(),
        cyclic_graph(0),
    ]


@pytest.mark.parametrize("graph", graphs(), ids=repr)
def test_fields_are_sums_over_paths(graph, monkeypatch):
    expected = by_powers(graph)
    found = sg.receptive_fields(graph)
    assert found.shape == (graph.neurons, len(graph.inputs)) and found.dtype == graph.raw_bias.dtype
    assert not found.requires_grad
    torch.testing.assert_close(found.double(), expected, rtol=1e-4, atol=1e-5)
    monkeypatch.setattr(module, "_NUMBERS", 2 * graph.neurons)  # two inputs at a time
    torch.testing.assert_close(sg.receptive_fields(graph).double(), expected, rtol=1e-4, atol=1e-5)


def test_chosen_neurons_in_their_order():
    graph = sg.SpatialGraph.layered([3, 5, 2])
    whole = sg.receptive_fields(graph)
    assert torch.equal(whole[:3], torch.eye(3))
    numbers = torch.tensor([9, 4, 4, 0])
    assert torch.equal(sg.receptive_fields(graph, numbers), whole[numbers])
    assert torch.equal(sg.receptive_fields(sg.SpatialMLP(graph), 1), whole[3:8])
    assert torch.equal(sg.receptive_fields(graph, graph.is_output), whole[8:])
    assert sg.receptive_fields(graph, numbers[:0]).shape == (0, 3)


def test_direct_synapses_have_their_weights():
    graph = sg.SpatialGraph.layered([3, 5, 2])
    assert torch.equal(sg.receptive_fields(graph, 1).flatten(), graph.weights()[:15])


def test_by_hand():
    pos = torch.tensor([[0.0], [1.0], [3.0], [7.0]])
    graph = sg.SpatialGraph(pos, torch.tensor([[0, 0, 1, 2], [1, 2, 2, 3]]), weight_mode="free")
    with torch.no_grad():
        graph.free_synapses.weight.copy_(torch.tensor([2.0, 3.0, -5.0, 7.0]))
    weight = dict(zip(map(tuple, graph.edge_index.t().tolist()), graph.weights().tolist(), strict=True))
    assert weight == {(0, 1): 2.0, (0, 2): 3.0, (1, 2): -5.0, (2, 3): 7.0}
    assert sg.receptive_fields(graph).tolist() == [[1.0], [2.0], [3.0 - 10.0], [-49.0]]


@pytest.mark.parametrize("share", [None, 2])
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision(dtype, share):
    graph = sg.SpatialGraph.layered([4, 3, 2], wiring=share and KNN(k=share), dtype=dtype)
    found = sg.receptive_fields(graph)
    assert found.dtype == dtype
    torch.testing.assert_close(found.double(), by_powers(graph), rtol=0.05, atol=0.02)


@pytest.mark.parametrize(
    ("neurons", "error", "message"),
    [
        (3, ValueError, "neurons must name a layer between 0 and 2, got 3"),
        ([3], TypeError, "neurons must be a layer's number or a tensor, got list"),
        (torch.tensor([10]), ValueError, "neurons must lie between 0 and 9, got 10"),
        (torch.tensor([-1]), ValueError, "neurons must lie between 0 and 9, got -1"),
        (torch.tensor([1.0]), TypeError, "neurons must be a mask or neuron numbers"),
        (torch.ones(3, dtype=torch.bool), ValueError, r"neurons must have shape \(10,\), got \(3,\)"),
    ],
)
def test_wrong_neurons(neurons, error, message):
    with pytest.raises(error, match=message):
        sg.receptive_fields(sg.SpatialGraph.layered([3, 5, 2]), neurons)


def test_wrong_networks():
    with pytest.raises(TypeError, match="network must be a SpatialGraph or a model that has one as graph, got Linear"):
        sg.receptive_fields(torch.nn.Linear(2, 1))
    graph = sg.SpatialGraph.layered([3, 5, 2])
    graph.raw_polarity.data[4] = float("nan")
    assert sg.receptive_fields(graph, 1).isfinite().all()  # of what leads there, nothing is wrong
    with pytest.raises(ValueError, match="the weights of projection 1 must be finite, got nan"):
        sg.receptive_fields(graph)
