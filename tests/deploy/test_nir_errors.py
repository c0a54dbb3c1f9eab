"""What NIR cannot hold, and NIR graphs that are no networks of ours, are refused."""

import numpy as np
import pytest
import torch
from nir_networks import GRAPHS, dag, layered, make

from spatialgraph import DenseSNN, SpatialSNN, from_nir, to_nir
from spatialgraph.neurons import Leaky

nir = pytest.importorskip("nir")
snntorch = pytest.importorskip("snntorch")


# Edited by hand ----


def test_other_resistances_are_refused():
    message = "graph must agree with its positions, got another weight in"
    with pytest.raises(ValueError, match=message):
        from_nir(changed(lambda graph: graph.nodes["hidden1"].r.__imul__(2.0)))


@pytest.mark.parametrize(
    ("column", "value", "message"),
    [
        ("bias", np.nan, r"graph must hold finite numbers in 'bias', got nan for neuron 8"),
        ("x", np.inf, r"graph must hold finite numbers in 'x', got inf for neuron 8"),
        ("polarity", np.nan, r"graph must hold finite numbers in 'polarity', got nan for neuron 8"),
        ("polarity", 0.125, r"a 'polarity' and a 'raw_polarity' that agree, .* for neuron 8"),
        ("layer", 7, r"layer must leave no layer empty, got 7 for neuron 8"),
        ("z", 9.0, r"in 'z' for all neurons of layer 1 \(by gap0\), .* got 9 for neuron 8"),
    ],
)
def test_columns_edited_by_hand(column, value, message):
    graph = to_nir(make(layered()))
    graph.nodes["hidden1"].metadata[column][2] = value
    with pytest.raises(ValueError, match=message):
        from_nir(graph)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda data, nodes: data["edges"]["source"].__setitem__(0, 99),
            "edge_index must lie between 0 and 26, got 99",
        ),
        (
            lambda data, nodes: data["edges"]["target"].__setitem__(0, -1),
            "edge_index must lie between 0 and 26, got -1",
        ),
        (
            lambda data, nodes: data["edges"].__setitem__("source", np.zeros(2, np.int32)),
            r"a value for each edge, got shapes \(2,\) in 'source'",
        ),
        (
            lambda data, nodes: nodes["input"].metadata["neuron"].__setitem__(0, 1),
            "neurons from 0 to 26 in 'neuron', each once, got 1 in place of 0",
        ),
        (
            lambda data, nodes: nodes["input"].metadata.__setitem__("bias", np.zeros(1)),
            r"each of the 6 neurons of a group in 'bias', got shape \(1,\)",
        ),
        (
            lambda data, nodes: nodes["input"].metadata.__setitem__("bias", np.array(list("abcdef"))),
            "graph must hold numbers in 'bias', got <U",
        ),
        (lambda data, nodes: data["network"].__setitem__("dtype", "floot"), "dtype must be one of .*got 'floot'"),
        (lambda data, nodes: data["network"].pop("gap0"), "got 'gap0' missing"),
        (
            lambda data, nodes: data["model"].__setitem__("num_steps", 1.5),
            r"num_steps must be an int, got 1\.5 \(float\)",
        ),
    ],
)
def test_metadata_edited_by_hand(change, message):
    graph = to_nir(make(layered()))
    change(graph.metadata["spatialgraph"], graph.nodes)
    with pytest.raises((ValueError, TypeError), match=message):
        from_nir(graph)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_free_weights_edited_by_hand(value):
    graph = to_nir(make(GRAPHS["free"]()))
    graph.metadata["spatialgraph"]["edges"]["free_weight"][0] = value
    with pytest.raises(ValueError, match=r"finite numbers in 'free_weight', got .* for edge \(0, 6\)"):
        from_nir(graph)


# What has no equivalent ----


@pytest.mark.parametrize(
    ("model", "error", "message"),
    [
        (lambda: layered(), TypeError, "model must be a SpatialSNN, got SpatialGraph"),
        (lambda: DenseSNN([3, 2]), TypeError, "model must be a SpatialSNN, got DenseSNN"),
        (lambda: SpatialSNN(layered()), ValueError, "normalize must be False for NIR, .*, got True; train with normal"),
        (lambda: make(layered(velocity=2.0)), ValueError, "velocity must be None for NIR, .*, got 2.0"),
        (lambda: make(layered(), beta=1.0), ValueError, "beta must be at least 0 and below 1 for NIR, .*, got 1$"),
        (
            lambda: of(snntorch.Synaptic, alpha=1.0),
            ValueError,
            "alpha must be at least 0 and below 1 for NIR, .*, got 1",
        ),
        (lambda: of(snntorch.Alpha, alpha=0.9), TypeError, "neuron must make Leaky, .* for NIR, got Alpha"),
        (lambda: of(snntorch.Leaky, inhibition=True), ValueError, "inhibition must be False for NIR, got True"),
        (lambda: of(snntorch.Leaky, graded_spikes_factor=2.0), ValueError, "graded_spikes_factor must be 1.0 for NIR"),
        (
            lambda: make(layered(), neuron=lambda _: OtherLeaky()),
            TypeError,
            "neuron must make Leaky, .*, got OtherLeaky",
        ),
        (
            lambda: of_two_kinds(),
            ValueError,
            "neuron must make outputs of one kind for NIR, got Leaky and snntorch.Leaky",
        ),
    ],
)
@pytest.mark.filterwarnings("ignore:Inhibition is an unstable feature:UserWarning")
def test_networks_without_an_equivalent(model, error, message):
    with pytest.raises(error, match=message):
        to_nir(model())


class OtherLeaky(Leaky):
    """May do anything."""


def of(kind, **options):
    options = {"beta": 0.8, "reset_mechanism": "zero"} | options
    return make(layered(), neuron=lambda _: kind(**options))


def of_two_kinds():
    edges = torch.tensor([[0, 0, 1], [1, 2, 3]])  # outputs in two stages
    kinds = iter([Leaky(0.5), Leaky(0.5), snntorch.Leaky(0.5)])
    return make(dag(edges), neuron=lambda _: next(kinds))


def foreign():
    return nir.NIRGraph.from_list(nir.Affine(np.ones((2, 3)), np.zeros(2)), nir.LIF(*np.ones((5, 2))))


def changed(change):
    exported = to_nir(make(layered()))
    change(exported)
    return exported


@pytest.mark.parametrize(
    ("graph", "error", "message"),
    [
        (lambda: "graph", TypeError, "graph must be a nir.NIRGraph, got str"),
        (foreign, ValueError, "graph must have been written by to_nir, got one without positions in its metadata"),
        (
            lambda: changed(lambda graph: graph.metadata.clear()),
            ValueError,
            "graph must have been written by to_nir, got one without positions",
        ),
        (
            lambda: changed(lambda graph: graph.nodes["hidden1"].metadata.pop("polarity")),
            ValueError,
            "graph must have all metadata written by to_nir, got none named 'polarity'",
        ),
        (
            lambda: changed(lambda graph: graph.metadata["spatialgraph"].pop("edges")),
            ValueError,
            "graph must have all metadata written by to_nir, got none named 'edges'",
        ),
        (
            lambda: changed(lambda graph: graph.nodes["hidden1_to_hidden2"].weight.__imul__(1.1)),
            ValueError,
            "graph must agree with its positions, got another weight in 'hidden1_to_hidden2'",
        ),
        (
            lambda: changed(lambda graph: graph.nodes["outputs"].tau.__imul__(1.1)),
            ValueError,
            "graph must agree with its positions, got another tau in 'outputs'",
        ),
        (
            lambda: changed(lambda graph: graph.edges.pop()),
            ValueError,
            "graph must have the nodes and edges written by to_nir, got others",
        ),
    ],
)
def test_graphs_that_are_not_ours(graph, error, message):
    with pytest.raises(error, match=message):
        from_nir(graph())


@pytest.mark.parametrize("function", [to_nir, from_nir])
def test_without_the_package(function, monkeypatch):
    model = make(layered())
    monkeypatch.setitem(__import__("sys").modules, "nir", None)
    with pytest.raises(ImportError, match=r'need nir; install it with: pip install "spatialgraph\[snn\]"'):
        function(model)
