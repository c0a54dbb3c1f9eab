"""Graphs edited after export, and foreign ones: what is wrong is named, what is missing has a default."""

import json
import math
import pickle

import networkx as nx
import numpy as np
import pytest
import torch
from hypothesis import Phase, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from references import assert_same, random_dag, randomise

from spatialgraph import SpatialGraph, SpatialMLP, from_networkx, load, prune_, save, to_networkx
from spatialgraph.laws import InversePower
from spatialgraph.wiring import KNN

NAN, INF = float("nan"), float("inf")


def layered(**options):
    return randomise(SpatialGraph.layered([4, 3, 2], **options))


def dag(**options):
    return randomise(SpatialGraph(torch.randn(9, 2), random_dag(9, 0.4, 1), **options))


def pruned_dag():
    """Without layers; an output, a hidden neuron and an input have lost their last edges."""
    edges = torch.tensor([[0, 0, 3, 3, 4, 1, 2], [3, 4, 5, 6, 6, 6, 6]])
    graph = randomise(SpatialGraph(torch.randn(7, 2), edges))
    gone = [(3, 5), (0, 4), (4, 6), (2, 6)]
    return graph.keep(torch.tensor([tuple(edge) not in gone for edge in graph.edge_index.t().tolist()]))


NETWORKS = {
    "layers": lambda: layered(wiring=KNN(k=2), gain=0.3),
    "binary": lambda: layered(spacing="fixed", polarity="binary", anchored=[1], law=InversePower(1.5, learnable=True)),
    "free": lambda: layered(spacing="free", weights="free", wiring=KNN(k=2)).double(),
    "both": lambda: layered(weights="both", velocity=0.5, delays="free", law="yukawa"),
    "dag": lambda: dag(polarity="binary", law="gaussian", anchored=torch.arange(9) % 4 == 0),
    "pruned": pruned_dag,
}


@pytest.fixture
def exported():
    return to_networkx(NETWORKS["layers"]())


def refused(graph, *parts, error=(ValueError, TypeError)):
    with pytest.raises(error) as caught:
        from_networkx(graph)
    for part in parts:
        assert part in str(caught.value)


def foreign(**attributes):
    graph = nx.DiGraph()
    graph.add_nodes_from("abcd")
    graph.add_edges_from([("a", "c"), ("b", "c"), ("c", "d"), ("a", "d")])
    nx.set_node_attributes(graph, dict(zip("abcd", [0.0, 1.0, 2.0, 3.0], strict=True)), "x")
    nx.set_node_attributes(graph, 0.5, "y")
    for name, values in attributes.items():
        nx.set_node_attributes(graph, dict(zip("abcd", values, strict=True)), name)
    return graph


# Values of one node ----


@pytest.mark.parametrize("attribute", ["x", "y", "z", "bias", "polarity", "raw_polarity", "layer"])
@pytest.mark.parametrize("value", [NAN, INF, -INF, "0.5", None, [0.5], True, torch.tensor(0.5), np.array(0.5), 10**400])
def test_a_wrong_value_is_named(attribute, value, exported):
    exported.nodes[5][attribute] = value
    refused(exported, f"in {attribute!r}, got {value!r} for node 5")


@pytest.mark.parametrize("value", [2, -1, "yes", None, NAN, 0.5, torch.tensor(True)])
def test_anchored_is_a_truth_value(value, exported):
    exported.nodes[5]["anchored"] = value
    refused(exported, "graph must hold True, False, 1 or 0 in 'anchored', got", repr(value), "for node 5")


@pytest.mark.parametrize("value", [True, np.True_, 1, np.int8(1), 1.0])
def test_forms_of_truth(value, exported):
    exported.nodes[5]["anchored"] = value
    assert torch.nonzero(from_networkx(exported).positions.anchored).tolist() == [[5]]


@pytest.mark.parametrize("kind", [int, np.int16, np.float32, np.float64])
def test_numbers_of_numpy(kind, exported):
    exported.nodes[5].update({"x": kind(2), "bias": kind(-3), "layer": kind(1)})
    graph = from_networkx(exported)
    assert graph.pos[5, 0] == 2 and graph.bias[5] == -3 and graph.layer[5] == 1


@pytest.mark.parametrize(
    ("layers", "parts"),
    [
        ([0, 0, 1.5, 2], ["whole numbers in 'layer', got 1.5 for node 'c'"]),
        ([0, 0, -1, 2], ["-1 for every node or for none in 'layer', got -1 for node 'c'"]),
        ([0, -2, 1, 2], ["in 'layer', got -2 for node 'b'"]),
        ([-1, -1, 3, -1], ["-1 for every node or for none in 'layer', got 3 for node 'c'"]),
        ([-2, -2, -2, -2], ["in 'layer', got -2 for node 'a'"]),
        ([0, 0, 1, 7], ["layer must leave no layer empty, got 7 for node 'd' and no neuron in layer 2"]),
        ([1, 1, 2, 3], ["layer must leave no layer empty, got 1 for node 'a' and no neuron in layer 0"]),
        ([0, 0, 1, 1e15], ["layer must leave no layer empty", "node 'd'"]),
        ([0, 1, 1, 2], ["to a later layer, got edge ('b', 'c') from layer 1 to layer 1"]),
        ([0, 0, 0, 0], ["to a later layer"]),
    ],
)
def test_layers_that_are_none(layers, parts):
    graph = foreign(layer=layers)
    if len(set(layers)) == 4:  # so that edges fit
        graph.remove_edges_from(list(graph.edges))
    refused(graph, *parts)


def test_layers_as_floats():
    assert from_networkx(foreign(layer=[0.0, 0.0, 1.0, 2.0])).layer.tolist() == [0, 0, 1, 2]
    assert not from_networkx(foreign(layer=[-1, -1, -1, -1])).is_layered


def test_a_layer_for_some_nodes_only():
    graph = foreign(layer=[0, 0, 1, 2])
    del graph.nodes["c"]["layer"]
    refused(graph, "graph must give every node a layer, or none, got none for node 'c'")


def test_a_node_without_a_layer_among_nodes_that_say_there_are_none():
    graph = foreign(layer=[-1] * 4)
    del graph.nodes["c"]["layer"]
    assert not from_networkx(graph).is_layered


@pytest.mark.parametrize("lacking", "abcd")
@pytest.mark.parametrize("axis", ["x", "y"])
def test_whichever_node_lacks_a_coordinate_is_named(axis, lacking):
    graph = foreign()
    del graph.nodes[lacking][axis]
    refused(graph, f"graph must give every node the coordinate {axis!r}, got none for node {lacking!r}")


def test_a_coordinate_that_only_one_node_has():
    graph = foreign()
    graph.nodes["c"]["p3"] = 1.0
    refused(graph, "graph must give every node the coordinate 'z', got none for node 'a'")
    graph = foreign()
    graph.nodes["c"]["z"] = 1.0
    refused(graph, "graph must give every node the coordinate 'z', got none for node 'a'")


@pytest.mark.parametrize(
    ("value", "parts"),
    [
        ((0.0, NAN), ["finite numbers in 'pos', got nan for node 'c'"]),
        ((0.0, "1"), ["numbers in 'pos', got '1' for node 'c'"]),
        ("12", ["coordinates in 'pos', got '12' for node 'c'"]),
        (None, ["coordinates in 'pos', got None for node 'c'"]),
        ({0: 1.0, 1: 2.0}, ["coordinates in 'pos'", "node 'c'"]),
        (np.zeros((1, 2)), ["numbers in 'pos'", "node 'c'"]),
        ((1.0, 2.0, 3.0), ["a pos of the same length, got 3 coordinates for node 'c' and 2 for node 'a'"]),
        ((), ["coordinates in 'pos', got () for node 'c'"]),
    ],
)
def test_wrong_tuples(value, parts):
    graph = nx.DiGraph([("a", "c")])
    nx.set_node_attributes(graph, {"a": (0.0, 1.0), "c": value}, "pos")
    refused(graph, *parts)


def test_tuples_of_any_container():
    graph = nx.DiGraph([("a", "b"), ("b", "c")])
    nx.set_node_attributes(graph, {"a": (0, 1), "b": np.array([1.5, 2.5]), "c": torch.tensor([3.0, 4.0])}, "pos")
    assert from_networkx(graph).pos.tolist() == [[0.0, 1.0], [1.5, 2.5], [3.0, 4.0]]
    del graph.nodes["b"]["pos"]
    refused(graph, "graph must give every node a pos, got none for node 'b'")


@pytest.mark.parametrize("dtype", ["float16", "float32"])
@pytest.mark.parametrize("name", ["x", "bias", "polarity"])
def test_numbers_beyond_the_dtype(name, dtype):
    graph = foreign(**{name: [0.0, 0.0, 1e300, 0.0]})
    graph.graph["dtype"] = dtype
    refused(graph, f"graph must hold numbers in {name!r} that fit {dtype}, got 1e+300 for node 'c'")


def test_values_that_contradict_each_other(exported):
    exported.nodes[1]["polarity"] = 0.25
    refused(exported, "graph must hold a 'polarity' and a 'raw_polarity' that agree, or one of them", "for node 1")
    del exported.nodes[1]["raw_polarity"]
    graph = from_networkx(exported)
    assert graph.polarity[1] == 0.25 and graph.polarity[2].item() == exported.nodes[2]["polarity"]


@pytest.mark.parametrize("layer", [1, 2])
def test_a_neuron_out_of_its_layer(layer, exported):
    node = 5 if layer == 1 else 8
    exported.nodes[node]["z"] += 0.5
    by = "gap0" if layer == 1 else "gap0 + gap1"
    message = f"in 'z' for all neurons of layer {layer} (by {by}), for spacing='learned', got"
    refused(exported, message, f"for node {node}")
    for gap in ("gap0", "gap1"):
        del exported.graph[gap]
    refused(exported, f"in 'z' for all neurons of layer {layer}, for spacing='learned', got", "for node ")


def test_layers_move_with_their_nodes_where_there_are_no_gaps(exported):
    for gap in ("gap0", "gap1"):
        del exported.graph[gap]
    for node in (4, 5, 6):
        exported.nodes[node]["z"] = 2.5
    graph = from_networkx(exported)
    assert graph.pos[4:7, 2].tolist() == [2.5] * 3
    assert graph.pos[7, 2].item() == pytest.approx(exported.nodes[7]["z"])


# Polarities ----


def test_binary_polarities_without_learnable_numbers():
    graph = foreign(polarity=[-1, 0.5, 1.0, 0.0])
    graph.graph["polarity"] = "binary"
    read = from_networkx(graph)
    assert read.polarity.tolist() == pytest.approx([-1.0, 0.5, 1.0, 0.0], abs=1e-7)
    assert read.polarity_kind == "binary" and read.raw_polarity[1].item() == pytest.approx(math.atanh(0.5) / 5)
    graph.nodes["b"]["polarity"] = 1.5
    refused(graph, "numbers between -1 and 1, for polarity='binary', in 'polarity', got 1.5 for node 'b'")


def test_settings_lost_on_the_way_do_not_change_polarities(tmp_path):
    network = layered(polarity="binary")
    nx.write_gexf(to_networkx(network), tmp_path / "network.gexf")
    read = from_networkx(nx.read_gexf(tmp_path / "network.gexf", node_type=int))
    assert read.polarity_kind == "graded" and read.spacing == "free"
    for name in ("polarity", "bias", "pos", "layer"):
        assert torch.equal(getattr(read, name), getattr(network, name)), name


# Defaults of one neuron ----


def table(graph, names):
    """All that a network is, by the names of its nodes and edges; no tensors."""
    names = list(names)
    numbers = {node: number for number, node in enumerate(names)}
    columns = {"pos": graph.pos, "bias": graph.bias, "polarity": graph.polarity, "layer": graph.layer}
    columns |= {"anchored": graph.positions.anchored, "is_input": graph.is_input, "is_output": graph.is_output}
    free = {f"free_{name}": getattr(graph.free_synapses, name) for name in ("weight", "delay")}
    edges = [(names[source], names[target]) for source, target in graph.edge_index.t().tolist()]
    settings = {"spacing": graph.spacing, "polarity": graph.polarity_kind, "gain": graph.gain, "law": graph.law.name}
    settings |= {"weights": graph.free_synapses.weight_kind, "delays": graph.free_synapses.delay_kind}
    settings |= {"velocity": graph.velocity, "dtype": str(graph.raw_bias.dtype), "law_": graph.law.settings()}
    return {
        **{name: {node: column[numbers[node]].tolist() for node in names} for name, column in columns.items()},
        **{
            name: {} if values is None else dict(zip(edges, values.tolist(), strict=True))
            for name, values in free.items()
        },
        "edges": {edge: True for edge in edges},
        "settings": settings,
    }


def differences(before, after):
    """Pairs of a column and a key in which two tables differ."""
    return {
        (name, key)
        for name in before
        for key in before[name].keys() | after[name].keys()
        if (key in before[name], key in after[name]) != (True, True) or before[name][key] != after[name][key]
    }


def read_table(exported):
    torch.manual_seed(11)
    return table(from_networkx(exported), exported)


@pytest.mark.parametrize(
    ("attributes", "column", "default"),
    [
        (["bias"], "bias", 0.0),
        (["anchored"], "anchored", False),
        (["polarity"], None, None),
        (["raw_polarity"], None, None),
        (["polarity", "raw_polarity"], "polarity", None),
    ],
)
@pytest.mark.parametrize("network", NETWORKS)
def test_a_missing_value_is_a_matter_of_its_neuron_alone(network, attributes, column, default):
    exported = to_networkx(NETWORKS[network]())
    before = read_table(exported)
    assert before == table(NETWORKS_AS_BUILT[network], exported)
    for node in exported:
        edited = exported.copy()
        for attribute in attributes:
            del edited.nodes[node][attribute]
        after = read_table(edited)
        changed = {key for key in differences(before, after) if not is_close(before, after, *key)}
        assert changed <= {(column, node)}
        if default is not None:
            assert after[column][node] == default


def is_close(before, after, name, key):
    """Whether two values differ by rounding only: a binary polarity without its learnable number finds it again."""
    own, other = before[name].get(key), after[name].get(key)
    return name == "polarity" and isinstance(own, float) and math.isclose(own, other, rel_tol=1e-5)


NETWORKS_AS_BUILT = {}


@pytest.fixture(autouse=True)
def as_built():
    """The networks as they are before any export, with the same random numbers in every test."""
    for name, make in NETWORKS.items():
        torch.manual_seed(0)
        NETWORKS_AS_BUILT[name] = make()
    torch.manual_seed(0)


def test_a_missing_polarity_is_drawn_by_the_global_seed(exported):
    for name in ("polarity", "raw_polarity"):
        del exported.nodes[2][name]
    drawn = []
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        drawn.append(from_networkx(exported).polarity[2].item())
    assert drawn[0] == drawn[1] != drawn[2]


@pytest.mark.parametrize("name", ["free_weight", "free_delay"])
def test_a_missing_free_value_is_a_matter_of_its_edge_alone(name):
    exported = to_networkx(NETWORKS["both"]())
    before = read_table(exported)
    del exported.edges[2, 4][name]
    after = read_table(exported)
    assert differences(before, after) == {(name, (2, 4))}
    expected = 1.0 if name == "free_weight" else exported.edges[2, 4]["length"] / 0.5
    assert after[name][2, 4] == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("value", [NAN, INF, "1", None, False])
@pytest.mark.parametrize("name", ["free_weight", "free_delay"])
def test_a_wrong_free_value_is_named(name, value):
    exported = to_networkx(NETWORKS["both"]())
    exported.edges[2, 4][name] = value
    refused(exported, f"in {name!r}, got {value!r}", "for edge (2, 4)")


def test_a_free_value_where_the_settings_have_none(exported):
    exported.edges[next(iter(exported.edges))]["free_weight"] = 1.0
    refused(exported, "graph must hold no 'free_weight' for weights='law', got 1 for edge (")


# Settings ----


@pytest.mark.parametrize(
    ("name", "value", "parts"),
    [
        ("gain", "1", ["gain must be a number, got str"]),
        ("gain", NAN, ["gain must be finite"]),
        ("gain", None, ["gain must be a number"]),
        ("spacing", "learnt", ["spacing must be one of", "'learnt'"]),
        ("spacing", None, ["spacing must be one of", "None"]),
        ("spacing", "fixed", ["must be 1 for spacing='fixed'"]),
        ("polarity", "ternary", ["polarity must be one of", "'ternary'"]),
        ("polarity", ["binary"], ["polarity must be one of"]),
        ("weights", "none", ["weights must be one of", "'none'"]),
        ("delays", "free", ["velocity must be given for delays='free'"]),
        ("velocity", "fast", ["velocity must be a number"]),
        ("velocity", 0.0, ["velocity must be above 0"]),
        ("dtype", "floot32", ["dtype must be one of 'float16', 'bfloat16', 'float32', 'float64', got 'floot32'"]),
        ("dtype", "int64", ["dtype must be one of"]),
        ("dtype", "nn", ["dtype must be one of"]),
        ("dtype", torch.float32, ["dtype must be one of"]),
        ("law", "coulomb", ["law must be one of", "'coulomb'"]),
        ("law", None, ["law must be one of", "None"]),
        ("law", "gaussian", ["law_softening must not be given for the law 'gaussian', which has law_sigma"]),
        ("law_sigma", 2.0, ["law_sigma must not be given for the law 'inverse_distance', which has law_softening"]),
        ("law_softening", "small", ["law_softening must be a number"]),
        ("law_softening", -1.0, ["softening must be finite and at least 1e-12, got -1"]),
        ("gap0", NAN, ["gap0 must be finite"]),
        ("gap0", "1", ["gap0 must be a number"]),
        ("gap0", 5.0, ["5 in 'z' for all neurons of layer 1 (by gap0), for spacing='learned'", "node 4"]),
        (
            "gap2",
            1.0,
            ["a gap between each two of its 3 layers (the last is that of node 7), or none, got 'gap2' besides"],
        ),
        ("gap0", ..., ["a gap between each two of its 3 layers", "got 'gap0' missing"]),
    ],
)
def test_wrong_settings_are_named(name, value, parts, exported):
    if value is ...:
        del exported.graph[name]
    else:
        exported.graph[name] = value
    refused(exported, *parts)


@pytest.mark.parametrize("value", ["yes", 2, None])
def test_flags_of_laws(value):
    exported = to_networkx(NETWORKS["binary"]())
    exported.graph["law_learnable"] = value
    refused(exported, "law_learnable must be True or False, got", repr(value))
    exported.graph["law_learnable"] = 1
    assert from_networkx(exported).law.settings()["learnable"] is True


def test_settings_of_other_programs_are_not_read():
    graph = foreign()
    graph.graph.update({"name": "mine", 3: "three", ("gap0",): 1, "node_default": {}, "gapminder": 2})
    assert from_networkx(graph).synapses == 4


# Kinds of graphs, edges and nodes ----


def test_graphs_of_other_kinds():
    for kind in (nx.Graph, nx.MultiGraph, nx.MultiDiGraph):
        refused(kind([(0, 1)]), f"graph must be a plain directed networkx graph, got {kind.__name__}", error=TypeError)


def test_cycles_and_loops_are_named():
    graph = foreign()
    graph.add_edge("d", "b")
    refused(graph, "edge_index must not contain a cycle, got 'c' -> 'd' -> 'b' -> 'c'")
    graph = foreign()
    graph.add_edge("c", "c")
    refused(graph, "edge_index must not contain a cycle, got 'c' -> 'c'")
    graph = foreign(layer=[0, 0, 1, 2])
    graph.add_edge("c", "c")
    refused(graph, "graph must lead every edge to a later layer, got edge ('c', 'c') from layer 1 to layer 1")


def test_a_mistyped_end_of_an_edge_is_a_node_without_coordinates(exported):
    exported.add_edge(0, "5")
    refused(exported, "graph must give every node the coordinate 'x', got none for node '5'")


@pytest.mark.parametrize("network", ["layers", "both", "dag"])
def test_edges_added_and_removed(network):
    exported = to_networkx(NETWORKS[network]())
    before = read_table(exported)
    gone = list(exported.edges)[1]
    exported.remove_edge(*gone)
    after = read_table(exported)
    assert {key for name, key in differences(before, after) if name == "edges"} == {gone}
    assert {name for name, _ in differences(before, after)} <= {"edges", "free_weight", "free_delay"}
    exported.add_edge(*gone)
    again = read_table(exported)
    assert {name for name, _ in differences(before, again)} <= {"free_weight", "free_delay"}
    assert {key for _, key in differences(before, again)} <= {gone}


def test_a_node_added(exported):
    before = read_table(exported)
    exported.add_node("new", x=0.5, y=0.5, z=exported.nodes[4]["z"], layer=1, polarity=2.0)
    exported.add_edge(0, "new")
    exported.add_edge("new", 8)
    after = read_table(exported)
    assert {key for _, key in differences(before, after)} == {"new", (0, "new"), ("new", 8)}
    assert after["polarity"]["new"] == 2.0 and after["bias"]["new"] == 0.0 and after["anchored"]["new"] is False


@pytest.mark.parametrize("name", [str, lambda n: (n, "x"), lambda n: f"Neuron {n} é ∂", lambda n: n * 7 - 5])
@pytest.mark.parametrize("network", NETWORKS)
def test_nodes_of_any_name(network, name):
    exported = to_networkx(NETWORKS[network]())
    renamed = nx.relabel_nodes(exported, {node: name(node) for node in exported})
    assert_same(from_networkx(renamed), from_networkx(exported))
    first = list(renamed)[3]
    renamed.nodes[first]["bias"] = NAN
    refused(renamed, f"in 'bias', got nan for node {first!r}")


# Roles where there are no layers ----


def test_neurons_keep_their_roles_without_edges():
    network = NETWORKS["pruned"]()
    read = from_networkx(to_networkx(network))
    assert_same(read, network)
    assert read.inputs.tolist() == [0, 1, 2] and read.outputs.tolist() == [5, 6]
    x = torch.randn(4, 3)
    assert torch.equal(SpatialMLP(read)(x), SpatialMLP(network)(x))


def test_a_network_without_any_edge_comes_back():
    network = prune_(NETWORKS["dag"](), 1.0)
    assert_same(from_networkx(to_networkx(network)), network)


def test_roles_that_edges_contradict():
    exported = to_networkx(NETWORKS["pruned"]())
    exported.add_edge(3, 1)
    refused(exported, "graph must lead no edge into an input, got True in 'is_input' for node 1")
    del exported.nodes[1]["is_input"]
    assert from_networkx(exported).inputs.tolist() == [0, 2]
    exported = to_networkx(NETWORKS["pruned"]())
    exported.add_edge(5, 6)
    refused(exported, "graph must lead no edge out of an output, got True in 'is_output' for node 5")
    exported = to_networkx(NETWORKS["pruned"]())
    exported.nodes[5]["is_output"] = exported.nodes[6]["is_output"] = False
    refused(exported, "graph must hold True in 'is_output' for a neuron at least, got False for node 6 and others")
    exported = to_networkx(NETWORKS["pruned"]())
    exported.nodes[5]["is_input"] = True
    refused(exported, "no input that is an output as well, got True in 'is_input' and 'is_output' for node 5")


def test_a_new_neuron_has_the_role_of_its_edges():
    exported = to_networkx(NETWORKS["pruned"]())
    exported.add_node("new", x=0.0, y=0.0)
    exported.add_edge(0, "new")
    read = from_networkx(exported)
    assert read.outputs.tolist() == [5, 6, 7] and read.inputs.tolist() == [0, 1, 2]


# Through files ----


def through_json(graph, folder):
    (folder / "network.json").write_text(json.dumps(nx.node_link_data(graph, edges="edges")))
    return nx.node_link_graph(json.loads((folder / "network.json").read_text()), edges="edges")


def through_pickle(graph, folder):
    (folder / "network.pickle").write_bytes(pickle.dumps(graph))
    return pickle.loads((folder / "network.pickle").read_bytes())


def through_graphml(graph, folder):
    nx.write_graphml(graph, folder / "network.graphml")
    return nx.read_graphml(folder / "network.graphml")  # nodes are strings then


def through_gml(graph, folder):
    nx.write_gml(graph, folder / "network.gml")
    return nx.read_gml(folder / "network.gml")


def through_gexf(graph, folder):
    nx.write_gexf(graph, folder / "network.gexf")
    return nx.read_gexf(folder / "network.gexf")


@pytest.mark.parametrize("way", [through_json, through_pickle, through_graphml, through_gml])
@pytest.mark.parametrize("network", NETWORKS)
def test_formats_that_keep_everything(network, way, tmp_path):
    graph = NETWORKS[network]()
    assert_same(from_networkx(way(to_networkx(graph), tmp_path)), graph)


@pytest.mark.parametrize("network", NETWORKS)
def test_gexf_loses_the_settings_and_nothing_else(network, tmp_path):
    exported = to_networkx(NETWORKS[network]())
    exported.graph.clear()
    own, read = from_networkx(exported), from_networkx(through_gexf(exported, tmp_path))
    assert_same(own, read)
    assert (own.gain, own.spacing, own.polarity_kind, own.law.name) == (1.0, "free", "graded", "inverse_distance")
    assert own.free_synapses.weight_kind == "law" and own.velocity is None and own.pos.dtype == torch.float32


@pytest.mark.parametrize("way", [through_pickle, through_graphml])
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
@pytest.mark.parametrize("network", NETWORKS)
def test_networks_of_other_precisions(network, dtype, way, tmp_path):
    graph = NETWORKS[network]().to(dtype)
    assert_same(from_networkx(way(to_networkx(graph), tmp_path)), graph)
    save(graph, tmp_path / "network.safetensors")
    assert_same(load(tmp_path / "network.safetensors"), graph)
    data = graph.to_data()
    source, target = graph.pos.detach().double()[data.edge_index]
    lengths = (source - target).square().sum(1).sqrt()
    torch.testing.assert_close(graph.lengths().detach(), lengths.to(dtype), rtol=torch.finfo(dtype).eps, atol=0.0)
    assert data.pos.dtype == data.edge_weight.dtype == dtype


def test_settings_that_were_set_to_numbers_of_numpy(tmp_path):
    graph = layered(law="gaussian")
    graph.gain, graph.law.sigma = np.float32(0.5), np.float64(2.0)
    exported = to_networkx(graph)
    assert type(exported.graph["gain"]) is type(exported.graph["law_sigma"]) is float
    save(graph, tmp_path / "network.safetensors")
    assert load(tmp_path / "network.safetensors").law.settings() == from_networkx(exported).law.settings()


# Any edit ----

VALUES = st.one_of(
    st.floats(),
    st.integers(-3, 3),
    st.floats(-2, 2),
    st.sampled_from(
        ["0.5", "", None, True, False, [0.5], (1.0,), np.float32(0.5), np.int64(1), np.float64(NAN), 10**400]
    ),
    st.sampled_from(["free", "learned", "fixed", "binary", "graded", "law", "both", "length", "float64", "float16"]),
    st.sampled_from(["gaussian", "yukawa", "inverse_power", torch.tensor(0.5), np.array([1.0]), {}, 1j]),
)
DELETED = object()
NOT_READ = {"weight", "length", "delay"}
# What may follow from a setting or a role besides its own entry.
FOLLOWS = {
    "weights": {"polarity", "free_weight"},
    "polarity": {"polarity"},
    "delays": {"free_delay"},
    "velocity": {"free_delay"},
    "is_input": {"is_input", "is_output", "bias", "polarity"},
    "is_output": {"is_input", "is_output", "bias", "polarity"},
    "dtype": {"pos", "bias", "polarity", "free_weight", "free_delay"},
}


def drawn_edit(data, exported):
    """Make one edit; return what messages must name, and which parts of the table it may change."""
    place = data.draw(st.sampled_from(["node", "node", "edge", "graph"]))
    if place == "graph":
        names = [*exported.graph, "gap0", "gap7", "law_sigma", "velocity", "is_input", "name"]
        name = data.draw(st.sampled_from(sorted(names)))
        attributes, key, called = exported.graph, None, name
    else:
        things = exported.nodes if place == "node" else exported.edges
        key = data.draw(st.sampled_from(list(things)))
        attributes = things[key]
        more = ["z", "p3", "layer", "is_input", "bias"] if place == "node" else ["free_weight", "free_delay", "colour"]
        name = data.draw(st.sampled_from(sorted({*attributes, *more})))
        called = f"{place} {key!r}"
    value = data.draw(st.one_of(VALUES, st.just(DELETED)))
    if value is DELETED:
        attributes.pop(name, None)
    else:
        attributes[name] = value
    return place, key, name, called, value


@pytest.mark.parametrize("network", NETWORKS)
@hypothesis_settings(max_examples=100, phases=[Phase.generate])
@given(data=st.data())
def test_any_edit_is_refused_by_name_or_changes_what_was_edited(network, data):
    exported = to_networkx(NETWORKS_AS_BUILT[network])
    before = read_table(exported)
    place, key, name, called, value = drawn_edit(data, exported)
    try:
        after = read_table(exported)
    except (ValueError, TypeError) as error:
        message = str(error)
        assert name in message, message
        in_an_edge = place == "node" and f"edge ({key!r}, " in message or f", {key!r}) from layer" in message
        assert called in message or in_an_edge or place == "graph", message
        return
    changed = differences(before, after)
    if place == "graph":
        allowed = {"settings", *FOLLOWS.get(name, set())}
        assert {column for column, _ in changed} <= allowed
        entries = {"law_"} if name.startswith("law_") else {name, "law_"} if name == "law" else {name}
        assert {key for column, key in changed if column == "settings"} <= entries
        return
    column = "pos" if name in ("x", "y", "z", "p3") else name.removeprefix("raw_")
    if name in NOT_READ:
        assert not changed
    elif name in ("is_input", "is_output"):
        assert changed <= {(column, key) for column in FOLLOWS[name]}
    else:
        assert changed <= {(column, key)}
    if column in ("bias", "free_weight", "free_delay") and changed and value is not DELETED:
        assert after[column][key] == pytest.approx(float(value), rel=1e-6)
