import networkx as nx
import numpy as np
import pytest
import torch
from references import assert_same, random_dag, randomise

from spatialgraph import SpatialGraph, SpatialMLP, from_networkx, to_networkx
from spatialgraph.laws import Gaussian, InverseDistance, InversePower, Yukawa
from spatialgraph.wiring import KNN, AllToAll, Random

LAWS = {
    "inverse_distance": lambda: InverseDistance(softening=0.1),
    "inverse_power": lambda: InversePower(exponent=1.3),
    "learnable_power": lambda: InversePower(exponent=1.3, learnable=True),
    "gaussian": lambda: Gaussian(sigma=0.7),
    "yukawa": lambda: Yukawa(screening=3.3, softening=0.02),
}
DTYPES = [torch.float32, torch.float64]


def layered(dtype=torch.float32, dim=3, **options):
    graph = SpatialGraph.layered([5, 4, 3], dim, **options).to(dtype)
    with torch.no_grad():
        for parameter in graph.parameters():
            parameter.mul_(1.0 + torch.rand_like(parameter) / 3.0)  # digits that only their own precision can hold
        graph.raw_bias.normal_()
    return graph


# Export ----


@pytest.mark.parametrize("polarity", ["graded", "binary"])
def test_attributes(polarity):
    graph = layered(wiring=KNN(k=2), polarity_mode=polarity, dim=5, anchored=[1], law=Yukawa(2.0), gain=0.3)
    result = to_networkx(graph)
    assert type(result) is nx.DiGraph and list(result) == list(range(12))
    assert sorted(result.edges) == sorted(map(tuple, graph.edge_index.t().tolist()))
    names = ["x", "y", "z", "p3", "p4", "layer", "polarity", "bias", "raw_polarity", "anchored"]
    raw = torch.zeros(12).index_copy(0, torch.arange(9), graph.raw_polarity.detach())
    columns = [*graph.pos.unbind(1), graph.layer, graph.polarity, graph.bias, raw, graph.layer == 1]
    for number, data in result.nodes.items():
        assert data == {name: column[number].item() for name, column in zip(names, columns, strict=True)}
        assert {type(value) for value in data.values()} == {float, int, bool}
    for edge, weight, length in zip(graph.edge_index.t().tolist(), graph.weights(), graph.lengths(), strict=True):
        assert result.edges[edge] == {"weight": weight.item(), "length": length.item()}
    assert result.graph["law"] == "yukawa" and result.graph["law_screening"] == 2.0
    assert result.graph["polarity_mode"] == polarity and result.graph["spacing"] == "learned"
    assert result.graph["gain"] == 0.3 and result.graph["dtype"] == "float32"
    assert [result.graph["gap0"], result.graph["gap1"]] == graph.positions.gaps.tolist()


def test_export_is_a_copy():
    graph = layered()
    result = to_networkx(graph)
    before = graph.weights().detach().clone()
    result.remove_node(0)
    nx.set_node_attributes(result, 0.0, "x")
    assert torch.equal(graph.weights(), before)


# Round trip ----


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("law", LAWS.values(), ids=LAWS.keys())
@pytest.mark.parametrize("spacing", ["fixed", "learned", "free"])
def test_round_trip_of_every_law(spacing, law, dtype):
    graph = layered(dtype, spacing=spacing, law=law(), gain=1 / 3, wiring=KNN(k=2))
    other = from_networkx(to_networkx(graph))
    assert_same(graph, other)
    x = torch.randn(3, 5, dtype=dtype)
    assert torch.equal(SpatialMLP(graph)(x), SpatialMLP(other)(x))


@pytest.mark.parametrize("dim", [1, 2, 3, 4, 5])
@pytest.mark.parametrize("anchored", [None, [0], [1], [0, 2], [0, 1, 2], "some"], ids=str)
@pytest.mark.parametrize("spacing", ["fixed", "learned", "free"])
def test_round_trip_of_positions(spacing, anchored, dim):
    if anchored == "some":
        anchored = torch.arange(12) % 3 == 0
    graph = layered(torch.float64, dim, spacing=spacing, anchored=anchored, polarity_mode="binary")
    assert_same(graph, from_networkx(to_networkx(graph)))


@pytest.mark.parametrize("wiring", [AllToAll(), AllToAll(reach="all"), KNN(k=3, reach="all"), Random(0.3)], ids=repr)
def test_round_trip_of_wirings(wiring):
    graph = layered(wiring=wiring)
    assert_same(graph, SpatialGraph.from_networkx(to_networkx(graph)))


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("dim", [1, 2, 3, 4, 5])
def test_round_trip_without_layers(dim, dtype):
    edges = random_dag(15, 0.3, dim)
    mask = torch.rand(15) < 0.3
    graph = randomise(SpatialGraph(torch.randn(15, dim, dtype=dtype), edges, law="yukawa", anchored=mask))
    other = from_networkx(to_networkx(graph))
    assert_same(graph, other)
    assert not other.is_layered
    x = torch.randn(3, len(graph.inputs), dtype=dtype)
    assert torch.equal(SpatialMLP(graph)(x), SpatialMLP(other)(x))


@pytest.mark.parametrize("law", LAWS.values(), ids=LAWS.keys())
@pytest.mark.parametrize("kind", ["layers", "dag"])
def test_graphml(kind, law, tmp_path):
    graph = layered(torch.float64, law=law(), anchored=[0])
    if kind == "dag":
        graph = randomise(SpatialGraph(torch.randn(12, 4), random_dag(12, 0.3, 2), law=law(), polarity_mode="binary"))
    nx.write_graphml(to_networkx(graph), tmp_path / "network.graphml")
    read = nx.read_graphml(tmp_path / "network.graphml", node_type=int)
    other = from_networkx(read)
    assert_same(graph, other)
    stored = [read.edges[edge]["weight"] for edge in map(tuple, graph.edge_index.t().tolist())]
    assert stored == graph.weights().tolist() == other.weights().tolist()


def test_other_writers(tmp_path):
    graph = layered(wiring=KNN(k=2))
    nx.write_gexf(to_networkx(graph), tmp_path / "network.gexf")
    nx.write_gml(to_networkx(graph), tmp_path / "network.gml", stringizer=str)
    again = nx.node_link_graph(nx.node_link_data(to_networkx(graph), edges="links"), edges="links")
    assert_same(graph, from_networkx(again))


# Foreign graphs ----


def foreign(**attributes):
    graph = nx.DiGraph([("a", "c"), ("b", "c"), ("c", "d"), ("a", "d")])
    places = {"a": (0.0, 0.0), "b": (3.0, 0.0), "c": (3.0, 4.0), "d": (0.0, 4.0)}
    nx.set_node_attributes(graph, places, "pos")
    for name, values in attributes.items():
        nx.set_node_attributes(graph, dict(zip(graph, values, strict=True)), name)
    return graph


@pytest.mark.parametrize("container", [tuple, list, np.array])
def test_places_as_tuples(container):
    source = foreign()
    for data in source.nodes.values():
        data["pos"] = container(data["pos"])
    graph = from_networkx(source)
    assert repr(graph) == "SpatialGraph(neurons=4, synapses=4, dim=2, spacing='free')"
    number = {node: k for k, node in enumerate(source)}
    assert graph.pos[number["c"]].tolist() == [3.0, 4.0]
    length = {tuple(edge): r for edge, r in zip(graph.edge_index.t().tolist(), graph.lengths().tolist(), strict=True)}
    assert length[number["a"], number["c"]] == 5.0 and length[number["b"], number["c"]] == 4.0
    assert SpatialMLP(graph)(torch.zeros(2, 2)).shape == (2, 1)


def test_attributes_of_foreign_graphs():
    graph = from_networkx(foreign(layer=[0, 1, 0, 2], polarity=[0.5, -0.5, 2.0, 0.0], bias=[0.0, 0.25, 0.0, -1.0]))
    assert graph.layer.tolist() == [0, 1, 0, 2] and graph.is_layered
    assert graph.polarity.tolist() == [0.5, -0.5, 2.0, 0.0] and graph.bias.tolist() == [0.0, 0.25, 0.0, -1.0]
    assert graph.inputs.tolist() == [0, 2] and graph.outputs.tolist() == [3]


def test_layout_of_networkx():
    source = nx.DiGraph((i, j) for i, j in nx.gnp_random_graph(20, 0.3, seed=1).edges)
    nx.set_node_attributes(source, nx.circular_layout(source), "pos")
    graph = from_networkx(source)
    assert graph.synapses == source.number_of_edges() and graph.dim == 2


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: "graph", TypeError, "graph must be a networkx.DiGraph, got str"),
        (lambda: nx.Graph([(0, 1)]), TypeError, "graph must be a plain directed networkx graph, got Graph"),
        (lambda: nx.MultiDiGraph([(0, 1)]), TypeError, "graph must be a plain directed networkx graph"),
        (lambda: nx.DiGraph(), ValueError, "graph must have at least one node, got none"),
        (
            lambda: nx.DiGraph([(0, 1)]),
            ValueError,
            "graph must give every node the coordinate 'x', got none for node 0",
        ),
        (lambda: with_cycle(), ValueError, "edge_index with a cycle must have an output"),
        (
            lambda: without_y(),
            ValueError,
            "graph must give every node the coordinate 'y', got none for node 'd'",
        ),
        (lambda: of_two_lengths(), ValueError, "graph must give every node a pos of the same length"),
    ],
)
def test_graphs_that_are_no_networks(make, error, message):
    with pytest.raises(error, match=message):
        from_networkx(make())


def with_cycle():
    graph = foreign()
    graph.add_edge("d", "b")
    return graph


def without_y():
    graph = foreign(x=[0.0, 1.0, 2.0, 3.0], y=[0.0, 1.0, 2.0, 3.0])
    del graph.nodes["d"]["y"]
    return graph


def of_two_lengths():
    graph = foreign()
    graph.nodes["d"]["pos"] = (1.0,)
    return graph
