"""Positions for graphs that have weights."""

import networkx as nx
import numpy as np
import pytest
import torch

import spatialgraph as sg
from spatialgraph.wiring import KNN


def weights_only(graph):
    """A network's graph with nothing but its weights."""
    result = nx.DiGraph()
    full = sg.to_networkx(graph)
    result.add_nodes_from(full)
    result.add_edges_from(
        (source, target, {"weight": data["weight"]}) for source, target, data in full.edges(data=True)
    )
    return result


def by_edge(network):
    return dict(zip(map(tuple, network.edge_index.t().tolist()), network.weights().tolist(), strict=True))


def connectome():
    """Two cycles, weights of both signs, names, another attribute, and positions in two dimensions."""
    graph = nx.DiGraph(name="worm")
    for number, name in enumerate("abcd"):
        graph.add_node(name, x=float(number), y=0.5 * number, kind="neuron")
    edges = [("a", "b", 2.0), ("b", "a", 1.0), ("b", "c", 3.0), ("c", "d", -4.0), ("d", "b", -1.0)]
    graph.add_weighted_edges_from(edges, weight="strength")
    return graph


def test_weights_of_a_network_are_found_again():
    torch.manual_seed(0)
    source = sg.SpatialGraph.layered([12, 20, 5], wiring=KNN(k=5))
    network, explained = sg.embed(weights_only(source), dim=3)
    assert explained > 0.99
    given, fitted = np.array(list(by_edge(source).items()), dtype=object)[:, 1].astype(float), by_edge(network)
    found = np.array([fitted[edge] for edge in by_edge(source)])
    assert 1 - ((given - found) ** 2).sum() / (given**2).sum() == pytest.approx(explained, abs=1e-5)
    assert not network.bias.any() and network.gain == 1.0


def test_of_given_positions_polarities_alone_are_fitted():
    graph = connectome()
    network, explained = sg.embed(graph, weight="strength", inputs=["a"], outputs=["d"], steps=0)
    assert network.dim == 2 and network.neurons == 6
    assert network.pos[:4].tolist() == [[0.0, 0.0], [1.0, 0.5], [2.0, 1.0], [3.0, 1.5]]
    # By hand: the best factor of each source's weights on the law.
    pos, weights, error = network.pos.detach().double(), by_edge(network), 0.0
    given = {("abcd".index(s), "abcd".index(t)): w for s, t, w in graph.edges(data="strength")} | {
        (4, 0): 1.0,
        (3, 5): 1.0,
    }
    assert weights.keys() == given.keys()
    for source in range(5):
        edges = [edge for edge in given if edge[0] == source]
        law = torch.tensor([1.0 / (float((pos[s] - pos[t]).norm())) for s, t in edges])
        wanted = torch.tensor([given[edge] for edge in edges])
        factor = (law @ wanted) / (law @ law)
        assert [weights[edge] for edge in edges] == pytest.approx((factor * law).tolist(), rel=1e-4)
        error += float((wanted - factor * law).square().sum())
    assert explained == pytest.approx(1 - error / sum(weight**2 for weight in given.values()), rel=1e-4)


def test_it_starts_from_given_positions_unless_axes_are_asked_for():
    options = {"weight": "strength", "inputs": ["a"], "outputs": ["d"], "steps": 0}
    assert sg.embed(connectome(), **options).graph.dim == 2
    assert sg.embed(connectome(), 4, **options).graph.dim == 4
    draws = [sg.embed(connectome(), 3, **options, generator=torch.Generator().manual_seed(seed)) for seed in (1, 1, 2)]
    assert torch.equal(draws[0].graph.pos, draws[1].graph.pos) and not torch.equal(
        draws[0].graph.pos, draws[2].graph.pos
    )


def test_it_runs_as_a_recurrent_network():
    graph = sg.embed(connectome(), weight="strength", inputs=["a"], outputs=["d"], steps=50).graph
    assert graph.is_recurrent and graph.inputs.tolist() == [4] and graph.outputs.tolist() == [5]
    model = sg.SpatialRNN(graph, normalize=False)
    y, _ = model(torch.rand(7, 2, 1))
    y.sum().backward()
    assert (
        y.shape == (2, 1) and graph.raw_polarity.grad is not None and all(p.requires_grad for p in graph.parameters())
    )


def test_a_law_that_changes_its_sign_explains_more():
    explained = {
        law: sg.embed(connectome(), 3, weight="strength", inputs="a", outputs="d", law=law).explained
        for law in ("inverse_distance", "cosine")
    }
    assert explained["inverse_distance"] < explained["cosine"] and explained["cosine"] > 0.999


def test_edges_without_weights_weigh_one():
    network, _ = sg.embed(nx.DiGraph([(0, 1), (1, 2)]), steps=0)
    assert network.weights().tolist() == pytest.approx([1.0, 1.0])


def test_loops_are_left_out_with_a_warning():
    graph = nx.DiGraph([(0, 1), (1, 1), (1, 2)])
    with pytest.warns(UserWarning, match="graph has 1 edges from a node to itself, which are left out"):
        assert sg.embed(graph, steps=0).graph.synapses == 2


def test_the_graph_is_not_changed():
    graph = connectome()
    before = nx.to_dict_of_dicts(graph), dict(graph.nodes(data=True))
    sg.embed(graph, weight="strength", inputs=["a"], outputs=["d"], steps=1)
    assert (nx.to_dict_of_dicts(graph), dict(graph.nodes(data=True))) == before


@pytest.mark.parametrize(
    ("change", "options", "error", "message"),
    [
        (lambda g: nx.Graph(g), {}, TypeError, "graph must be a networkx.DiGraph, got Graph"),
        (lambda g: nx.MultiDiGraph(g), {}, TypeError, "graph must be a networkx.DiGraph, got MultiDiGraph"),
        (lambda g: nx.DiGraph(), {}, ValueError, "graph must have at least one edge between two nodes, got none"),
        (lambda g: g.add_edge("a", "d"), {}, ValueError, r"every edge a 'strength', got none for edge \('a', 'd'\)"),
        (lambda g: g.add_edge("a", "d", strength="x"), {}, ValueError, r"numbers in 'strength', got 'x' for edge"),
        (
            lambda g: g.add_edge("a", "d", strength=float("inf")),
            {},
            ValueError,
            "finite numbers in 'strength', got inf",
        ),
        (lambda g: g.nodes["c"].pop("y"), {}, ValueError, "every node the coordinate 'y', got none for node 'c'"),
        (lambda g: None, {"inputs": ["e"]}, ValueError, "inputs must be nodes of the graph, got 'e'"),
        (lambda g: None, {"inputs": []}, ValueError, "must have an input, a neuron without incoming edges, got none"),
        (lambda g: None, {"steps": -1}, ValueError, "steps must be at least 0, got -1"),
        (lambda g: None, {"dim": 0}, ValueError, "dim must be at least 1, got 0"),
    ],
)
def test_wrong_arguments(change, options, error, message):
    graph = connectome()
    changed = change(graph)
    graph = changed if isinstance(changed, nx.Graph) else graph
    with pytest.raises(error, match=message):
        sg.embed(graph, **{"weight": "strength", "inputs": ["a"], "outputs": ["d"], "steps": 1} | options)
