"""Synapses within layers: how they are selected, weighed, changed and kept, and networks with cycles."""

import copy

import hypothesis.strategies as st
import networkx as nx
import pytest
import torch
from cyclic_graphs import within
from hypothesis import given, settings

import spatialgraph as sg
from spatialgraph.graph.cycles import cyclic_layers

WIRINGS = [
    sg.wiring.AllToAll(),
    sg.wiring.KNN(k=3),
    sg.wiring.Radius(r=1.5),
    sg.wiring.Random(0.3),
    sg.wiring.Random(0.9),
    sg.wiring.SmallWorld(k=2, long_range=2),
]


def recurrent_graph(recurrent, **options):
    return sg.SpatialGraph.layered([4, 9, 7, 3], recurrent=recurrent, dtype=torch.float64, **options)


@pytest.mark.parametrize("wiring", WIRINGS, ids=repr)
def test_wirings_select_within_hidden_layers(wiring):
    graph = recurrent_graph(wiring, generator=torch.Generator().manual_seed(0))
    source, target = within(graph)
    assert set(graph.layer[target].tolist()) == {1, 2}
    assert (source != target).all()
    pos = graph.pos.detach()
    for number in (1, 2):
        numbers = torch.nonzero(graph.layer == number)[:, 0]
        found = {(s, t) for s, t in within(graph).t().tolist() if graph.layer[t] == number}
        if isinstance(wiring, sg.wiring.KNN):
            lengths = torch.cdist(pos[numbers], pos[numbers]).fill_diagonal_(torch.inf)
            nearest = lengths.topk(wiring.k, largest=False).indices
            assert found == {(int(numbers[s]), int(numbers[t])) for t, row in enumerate(nearest) for s in row}
        elif isinstance(wiring, sg.wiring.AllToAll):
            assert found == {(s, t) for s in numbers.tolist() for t in numbers.tolist() if s != t}


@pytest.mark.parametrize("wiring", WIRINGS, ids=repr)
@pytest.mark.parametrize("weight_mode", ["law", "both", "free"])
def test_lengths_and_weights_of_every_edge(wiring, weight_mode):
    graph = recurrent_graph(wiring, weight_mode=weight_mode)
    source, target = graph.edge_index
    lengths = (graph.pos[source] - graph.pos[target]).norm(dim=1)
    torch.testing.assert_close(graph.lengths(), lengths)
    expected = torch.ones_like(lengths) if weight_mode == "free" else graph.polarity[source] * graph.law(lengths)
    own = 1.0 if weight_mode == "law" else graph.free_synapses.weight
    torch.testing.assert_close(graph.weights(), graph.gain * own * expected)


@pytest.mark.parametrize("wiring", WIRINGS, ids=repr)
def test_round_trips(wiring, tmp_path):
    graph = recurrent_graph(wiring, weight_mode="both")
    sg.prune_(graph, 0.3)
    sg.save(graph, tmp_path / "network.safetensors")
    nx.write_graphml(sg.to_networkx(graph), tmp_path / "network.graphml")
    other = recurrent_graph(sg.wiring.KNN(k=1), weight_mode="both")
    other.load_state_dict(graph.state_dict())
    read = nx.read_graphml(tmp_path / "network.graphml", node_type=int)
    for again in (
        sg.load(tmp_path / "network.safetensors"),
        sg.from_networkx(sg.to_networkx(graph)),
        sg.from_networkx(read),
        sg.SpatialGraph.from_data(graph.to_data()),
        copy.deepcopy(graph),
        other,
    ):
        assert again.is_recurrent
        assert torch.equal(again.edge_index, graph.edge_index)
        assert torch.equal(again.weights(), graph.weights())


def test_without_any_recurrent_edge_left_it_stays_a_recurrent_network(tmp_path):
    graph = recurrent_graph(sg.wiring.KNN(k=2))
    layer = graph.layer[graph.edge_index]
    graph.keep_(layer[0] != layer[1])
    sg.save(graph, tmp_path / "network.safetensors")
    restored = sg.load(tmp_path / "network.safetensors"), sg.from_networkx(sg.to_networkx(graph))
    for again in (graph, *restored, sg.SpatialGraph.from_data(graph.to_data())):
        assert again.is_recurrent
        assert within(again).shape == (2, 0)
        assert within(again.connect_(torch.tensor([[0, 4], [4, 5]]))).tolist() == [[4], [5]]


@pytest.mark.parametrize("wiring", WIRINGS, ids=repr)
def test_removed_synapses_and_neurons(wiring):
    graph = recurrent_graph(wiring)
    weight = dict(zip(map(tuple, graph.edge_index.t().tolist()), graph.weights().tolist(), strict=True))
    kept = torch.rand(graph.synapses) > 0.4
    kept &= ~(graph.edge_index == 5).any(0)  # a hidden neuron goes
    edges = {tuple(edge) for edge in graph.edge_index[:, kept].t().tolist()}
    graph.keep_(kept)
    assert {tuple(edge) for edge in graph.edge_index.t().tolist()} == edges
    graph.keep_neurons_(torch.arange(graph.neurons) != 5)
    renamed = {(s - (s > 5), t - (t > 5)): w for (s, t), w in weight.items() if (s, t) in edges}
    own = dict(zip(map(tuple, graph.edge_index.t().tolist()), graph.weights().tolist(), strict=True))
    assert own == pytest.approx(renamed)


def test_all_to_all_stays_so_among_the_neurons_that_are_left():
    graph = recurrent_graph(sg.wiring.AllToAll())
    graph.keep_((graph.edge_index != 5).all(0)).keep_neurons_(torch.arange(graph.neurons) != 5)
    assert graph.connectivity.topology.listed_edges.shape == (2, 0)
    assert within(graph).shape[1] == 8 * 7 + 7 * 6


@pytest.mark.parametrize("scope", ["projection", "global"])
def test_the_nearest_unconnected_pairs_regrow(scope):
    graph = recurrent_graph(sg.wiring.Random(0.3), wiring=sg.wiring.Random(0.4))
    before = {tuple(edge) for edge in graph.edge_index.t().tolist()}
    sizes = [projection.synapses for projection in graph.projections]
    sg.regrow_(graph, 0.25, scope=scope)
    after = {tuple(edge) for edge in graph.edge_index.t().tolist()}
    assert len(after) == sum(sizes)
    assert all(source != target for source, target in after)
    pos, layer = graph.pos.detach(), graph.layer.tolist()
    possible = {(s, t) for s in range(23) for t in range(23) if s != t and layer[t] - layer[s] == 1}
    possible |= {(s, t) for s in range(23) for t in range(23) if s != t and layer[t] == layer[s] in (1, 2)}
    kinds = (
        [lambda s, t: True]
        if scope == "global"
        else [lambda s, t, p=pair: (layer[s], layer[t]) == p for pair in ((0, 1), (1, 2), (2, 3), (1, 1), (2, 2))]
    )
    for belongs in kinds:

        def by_length(edges, belongs=belongs):
            return sorted((e for e in edges if belongs(*e)), key=lambda e: float((pos[e[0]] - pos[e[1]]).norm()))

        own = by_length(before)
        count = round(0.25 * len(own))
        left = own[: len(own) - count]
        grown = by_length(possible - set(left))[:count]
        assert set(by_length(after)) == set(left) | set(grown)


@given(st.integers(2, 7), st.sets(st.tuples(st.integers(0, 6), st.integers(0, 6)), min_size=1))
@settings(deadline=None)
def test_cycles_share_a_layer(neurons, pairs):
    pairs = {(s, t) for s, t in pairs if s < neurons and t < neurons and s != t}
    graph = nx.DiGraph()
    graph.add_nodes_from(range(neurons))
    graph.add_edges_from(pairs)
    edges = torch.tensor(sorted(pairs), dtype=torch.int64).view(-1, 2).t()
    inputs = [n for n in graph if not graph.in_degree(n)]
    outputs = [n for n in graph if not graph.out_degree(n) and graph.in_degree(n)]
    if nx.is_directed_acyclic_graph(graph):
        assert cyclic_layers(edges, neurons) is None
    elif not inputs or not outputs:
        with pytest.raises(ValueError, match="edge_index with a cycle must have an"):
            cyclic_layers(edges, neurons)
    elif any(not any(nx.has_path(graph, n, m) for n in inputs) for m in outputs):
        with pytest.raises(ValueError, match="must lead from an input to every output, got no path to neuron"):
            cyclic_layers(edges, neurons)
    else:
        layer = cyclic_layers(edges, neurons).tolist()
        component = {n: number for number, group in enumerate(nx.strongly_connected_components(graph)) for n in group}
        for s, t in pairs:
            assert layer[s] == layer[t] if component[s] == component[t] else layer[s] < layer[t]
        assert [n for n in graph if layer[n] == 0] == inputs
        assert [n for n in graph if layer[n] == max(layer)] == outputs
        assert sorted(set(layer)) == list(range(max(layer) + 1))


def test_a_graph_with_cycles_comes_from_networkx():
    graph = nx.DiGraph([("in", "a"), ("a", "b"), ("b", "a"), ("b", "out"), ("in", "out")])
    nx.set_node_attributes(graph, {name: float(place) for place, name in enumerate(graph)}, "x")
    network = sg.from_networkx(graph)
    assert network.is_recurrent
    assert network.layer.tolist() == [0, 1, 1, 2]
    assert network.edge_index.t().tolist() == [[0, 1], [0, 3], [2, 3], [2, 1], [1, 2]]


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda g: g.connect_(torch.tensor([[0], [1]])), ValueError, "into an input"),
        (lambda g: g.connect_(torch.tensor([[5], [5]])), ValueError, r"from a neuron to itself, got \(5, 5\)"),
        (lambda g: g.connect_(torch.tensor([[13], [4]])), ValueError, "to later layers or within a hidden layer"),
        (lambda g: g.rewire_(recurrent="knn"), TypeError, "recurrent must be a wiring or a list of them, got str"),
        (lambda g: g.rewire_(recurrent=[None]), ValueError, "a wiring for each of 2 hidden layers, got 1"),
        (lambda g: g.rewire_(recurrent=[None, 3]), TypeError, "a list of wirings or None, got int"),
        (
            lambda g: sg.SpatialGraph.layered([2, 3, 1]).rewire_(recurrent=WIRINGS[0]),
            ValueError,
            "recurrent must be None",
        ),
        (lambda g: sg.SpatialGraph.layered([2, 3, 1]).connect_(torch.tensor([[2], [3]])), ValueError, "later layers"),
        (lambda g: recurrent_graph(sg.wiring.KNN(k=9)), ValueError, r"k must be between 1 and .* \(8\), got 9"),
        (lambda g: sg.SpatialMLP(g), ValueError, "graph must not be recurrent"),
    ],
)
def test_wrong_calls_change_nothing(call, error, message):
    graph = recurrent_graph(sg.wiring.KNN(k=3))
    before = graph.edge_index
    with pytest.raises(error, match=message):
        call(graph)
    assert torch.equal(graph.edge_index, before)
