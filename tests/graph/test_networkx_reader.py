"""Graphs edited after export, and foreign ones: what is wrong is named, what is missing has a default."""

import math

import networkx as nx
import numpy as np
import pytest
import torch
from exported_networks import INF, NAN, NETWORKS, layered, refused
from references import assert_same

from spatialgraph import SpatialMLP, from_networkx, prune_, to_networkx


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
        ([1, 1, 0, 2], ["to a later layer", "from layer 1 to layer 0"]),
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
    graph.graph["polarity_mode"] = "binary"
    read = from_networkx(graph)
    assert read.polarity.tolist() == pytest.approx([-1.0, 0.5, 1.0, 0.0], abs=1e-7)
    assert read.polarity_mode == "binary" and read.raw_polarity[1].item() == pytest.approx(math.atanh(0.5) / 5)
    graph.nodes["b"]["polarity"] = 1.5
    refused(graph, "numbers between -1 and 1, for polarity_mode='binary', in 'polarity', got 1.5 for node 'b'")


def test_settings_lost_on_the_way_do_not_change_polarities(tmp_path):
    network = layered(polarity_mode="binary")
    nx.write_gexf(to_networkx(network), tmp_path / "network.gexf")
    with pytest.warns(UserWarning, match="without its settings, such as polarity_mode, gain and law"):
        read = from_networkx(nx.read_gexf(tmp_path / "network.gexf", node_type=int))
    assert read.polarity_mode == "graded" and read.spacing == "free"
    for name in ("polarity", "bias", "pos", "layer"):
        assert torch.equal(getattr(read, name), getattr(network, name)), name


# Settings ----


@pytest.mark.parametrize(
    ("name", "value", "parts"),
    [
        ("gain", "1", ["gain must be a number, got '1' (str)"]),
        ("gain", NAN, ["gain must be finite"]),
        ("gain", None, ["gain must be a number"]),
        ("spacing", "learnt", ["spacing must be one of", "'learnt'"]),
        ("spacing", None, ["spacing must be one of", "None"]),
        ("spacing", "fixed", ["must be 1 for spacing='fixed'"]),
        ("polarity_mode", "ternary", ["polarity_mode must be one of", "'ternary'"]),
        ("polarity_mode", ["binary"], ["polarity_mode must be one of"]),
        ("weight_mode", "none", ["weight_mode must be one of", "'none'"]),
        ("delay_mode", "free", ["velocity must be given for delay_mode='free'"]),
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
        ("recurrent", "false", ["recurrent must be True or False, got 'false'"]),
        ("recurrent", 2, ["recurrent must be True or False, got 2"]),
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
    refused(graph, "edge_index with a cycle must have an output, a neuron without outgoing edges, got none")
    graph = foreign()
    graph.add_edge("c", "c")
    refused(graph, "graph must lead no edge from a node to itself, got edge ('c', 'c')")
    graph = foreign(layer=[0, 0, 1, 2])
    graph.add_edge("c", "c")
    refused(graph, "graph must lead no edge from a node to itself, got edge ('c', 'c')")


def test_a_mistyped_end_of_an_edge_is_a_node_without_coordinates(exported):
    exported.add_edge(0, "5")
    refused(exported, "graph must give every node the coordinate 'x', got none for node '5'")


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
