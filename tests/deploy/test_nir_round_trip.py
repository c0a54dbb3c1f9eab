"""Networks come back from NIR as they were, or a warning says what is lost."""

import warnings

import numpy as np
import pytest
import torch
from nir_networks import CASES, DT, GRAPHS, NEURONS, SYNAPTIC, inputs, layered, make, simulate, through_file
from references import assert_same, randomise

from spatialgraph import SpatialGraph, from_nir, load, save, to_nir
from spatialgraph.functional.leaky import FastSigmoid
from spatialgraph.neurons import Leaky
from spatialgraph.wiring import KNN

nir = pytest.importorskip("nir")
snntorch = pytest.importorskip("snntorch")


# Earlier versions, other precisions ----


def with_resistances(graph):
    """A graph as earlier versions wrote it: R = tau / dt, and the weights of the network."""
    for source, target in graph.edges:
        node, before = graph.nodes[target], graph.nodes[source]
        if isinstance(node, nir.LIF | nir.LI):
            share = node.r * DT / node.tau
            before.weight, before.bias = before.weight * share[:, None], before.bias * share
    for node in graph.nodes.values():
        if isinstance(node, nir.LIF | nir.LI):
            node.r = node.tau / DT
    return graph


@pytest.mark.parametrize(("graph", "neuron"), CASES)
def test_graphs_of_earlier_versions_are_read(graph, neuron, tmp_path):
    model = make(GRAPHS[graph](), "count" if neuron != "leaky" else "potential", **NEURONS[neuron])
    assert_same_models(model, from_nir(through_file(with_resistances(to_nir(model)), tmp_path)))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_round_trip_in_half_precision(dtype, tmp_path):
    graph = layered(wiring=KNN(k=3)).to(dtype)
    read = from_nir(through_file(to_nir(make(graph)), tmp_path)).graph
    assert_same(read, graph)


# Round trip ----


def assert_same_models(model, other):
    assert repr(model) == repr(other)
    assert_same(model.graph, other.graph)
    state, others = model.state_dict(), other.state_dict()
    assert state.keys() == others.keys()
    x = inputs(model)
    model.train(other.training)
    assert torch.equal(model(x), other(x))
    assert np.array_equal(simulate(model, x), simulate(other, x))


@pytest.mark.parametrize("graph", GRAPHS)
def test_round_trip(graph):
    model = make(GRAPHS[graph](), "potential")
    assert_same_models(model, from_nir(to_nir(model)))


@pytest.mark.parametrize("graph", GRAPHS)
def test_round_trip_through_a_file(graph, tmp_path):
    model = make(GRAPHS[graph]())
    assert_same_models(model, from_nir(through_file(to_nir(model), tmp_path)))


def test_round_trip_in_double_precision(tmp_path):
    model = make(randomise(GRAPHS["both"]().double()), **NEURONS["synaptic"]).double()
    assert_same_models(model, from_nir(through_file(to_nir(model), tmp_path)))


@pytest.mark.parametrize(("graph", "neuron"), [("dag", "synaptic"), ("layers", "snntorch leaky")])
def test_round_trip_of_neurons_of_snntorch(graph, neuron, tmp_path):
    model = make(GRAPHS[graph](), **NEURONS[neuron])
    other = from_nir(through_file(to_nir(model), tmp_path))
    assert_same_models(model, other)
    for name, value in model.state_dict().items():
        assert "module" not in name or torch.equal(value, other.state_dict()[name]), name


def test_learnable_constants_stay_learnable(tmp_path):
    model = make(layered(), neuron=lambda n: snntorch.Leaky(torch.rand(n), learn_beta=True, reset_mechanism="zero"))
    other = from_nir(through_file(to_nir(model), tmp_path))
    parameters = dict(model.named_parameters())
    assert parameters.keys() == dict(other.named_parameters()).keys()
    assert torch.equal(other.hidden_neurons[0].module.beta, parameters["hidden_neurons.0.module.beta"])


@pytest.mark.parametrize("coding", ["current", "rate", "latency", None])
def test_settings_of_the_model_return(coding, tmp_path):
    options = {"coding": coding, "drive": 0.7, "beta": 1 / 3, "spike_grad": "atan", "max_delay": 4}
    model = make(layered(), "potential", **options)
    other = from_nir(through_file(to_nir(model), tmp_path))
    assert repr(model) == repr(other) and other.max_delay == 4
    assert other.integrator.beta == other.hidden_neurons[0].beta == 1 / 3
    assert other.training


def test_neurons_that_differ_from_stage_to_stage(tmp_path):
    betas = iter([0.5, 0.6, 0.7])
    model = make(layered(), neuron=lambda _: Leaky(next(betas), reset_mechanism="zero"))
    other = from_nir(through_file(to_nir(model), tmp_path))
    assert [neurons.beta for neurons in other.hidden_neurons[:2]] == [0.5, 0.6]
    assert other.output_neurons[2].beta == 0.7


# What is lost ----


@pytest.mark.parametrize("reset", ["subtract", "none"])
def test_other_resets_warn_and_return(reset, tmp_path):
    model = make(layered(), reset_mechanism=reset)
    message = f"reset_mechanism must be 'zero' for other programs to run the same network, got '{reset}'; they"
    with pytest.warns(UserWarning, match=message) as caught:
        exported = to_nir(model)
    assert len(caught) == 1 and caught[0].filename == __file__
    assert_same_models(model, from_nir(through_file(exported, tmp_path)))


@pytest.mark.parametrize(("reset", "delay"), [("subtract", True), ("subtract", False), ("zero", True), ("none", False)])
def test_other_resets_of_synaptic_warn_and_return(reset, delay, tmp_path):
    options = SYNAPTIC | {"reset_mechanism": reset, "reset_delay": delay}
    model = make(layered(), neuron=lambda _: snntorch.Synaptic(**options))
    with pytest.warns(UserWarning, match=f"reset_mechanism must be 'zero' with reset_delay=False .*, got '{reset}'"):
        exported = to_nir(model)
    assert_same_models(model, from_nir(through_file(exported, tmp_path)))


@pytest.mark.parametrize("surrogate", [FastSigmoid(slope=3.0), snntorch.surrogate.atan(alpha=5.0)])
def test_surrogates_without_a_name_warn(surrogate):
    with pytest.warns(UserWarning, match="spike_grad must be a name to be exported, got a function"):
        exported = to_nir(make(layered(), spike_grad=surrogate))
    assert from_nir(exported).hidden_neurons[0].spike_grad.slope == 25.0


@pytest.mark.parametrize("read_out", ["potential", "count"])
def test_a_loaded_network(read_out, tmp_path):
    model = make(layered(), read_out, reset_mechanism="zero")
    save(model, tmp_path / "model.safetensors")
    read = from_nir(to_nir(load(tmp_path / "model.safetensors").eval()))
    assert_same_models(model, read.eval())


@pytest.mark.parametrize("read_out", ["potential", "count"])
def test_edges_that_have_added_a_generation(read_out):
    edges = torch.tensor([[0, 2, 0, 1, 1], [1, 3, 2, 3, 2]])
    model = make(SpatialGraph(torch.randn(4, 2), edges[:, :4]), read_out, reset_mechanism="zero")
    model.graph.connect_(edges)
    assert len(model.graph.projections) == 3
    x = torch.rand(5, 1)
    assert torch.equal(from_nir(to_nir(model))(x), model(x))


def test_resets_to_zero_do_not_warn():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for options in NEURONS.values():
            to_nir(make(layered(), **options))
