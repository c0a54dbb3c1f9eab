"""Graphs edited after export: an edit is refused by name, or changes what was edited and nothing else."""

import math

import numpy as np
import pytest
import torch
from exported_networks import INF, NAN, NETWORKS, refused
from hypothesis import Phase, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from spatialgraph import from_networkx, to_networkx

# Defaults of one neuron ----


def table(graph, names):
    """All that a network is, by the names of its nodes and edges; no tensors."""
    names = list(names)
    numbers = {node: number for number, node in enumerate(names)}
    columns = {"pos": graph.pos, "bias": graph.bias, "polarity": graph.polarity, "layer": graph.layer}
    columns |= {"anchored": graph.positions.anchored, "is_input": graph.is_input, "is_output": graph.is_output}
    free = {f"free_{name}": getattr(graph.free_synapses, name, None) for name in ("weight", "delay")}
    edges = [(names[source], names[target]) for source, target in graph.edge_index.t().tolist()]
    settings = {
        "spacing": graph.spacing,
        "polarity_mode": graph.polarity_mode,
        "gain": graph.gain,
        "law": graph.law.name,
    }
    settings |= {"weight_mode": graph.weight_mode, "delay_mode": graph.delay_mode}
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
    refused(exported, "graph must hold no 'free_weight' for weight_mode='law', got 1 for edge (")


# Edges and nodes added and removed ----


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
    "weight_mode": {"polarity", "free_weight"},
    "polarity_mode": {"polarity"},
    "delay_mode": {"free_delay"},
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
