"""Normalisation over the neurons that a path leads from to an output."""

import copy
import re

import networkx as nx
import pytest
import torch

import spatialgraph as sg
from spatialgraph.deploy.c.building import integer_network
from spatialgraph.wiring import Random

SIZES = [12, 30, 24, 5]


def sparse_model(dtype=torch.float64, normalize="live", **options):
    torch.manual_seed(0)
    model = sg.SpatialMLP(SIZES, wiring=Random(0.06), normalize=normalize, **options).to(dtype)
    with torch.no_grad():
        model.graph.raw_bias.normal_()
    return model


def live_neurons(graph, edges):
    network = nx.DiGraph(edges.t().tolist())
    network.add_nodes_from(range(graph.neurons))
    return {n for output in graph.outputs.tolist() for n in nx.ancestors(network, output)}


def by_loop(model, x, weight):
    """Outputs from the weights of all pairs of neurons, layer by layer."""
    graph = model.graph
    live = live_neurons(graph, torch.nonzero(weight.t()).t())
    y, layer = x, graph.layer
    for number in range(1, len(SIZES)):
        targets = torch.nonzero(layer == number)[:, 0]
        y = y @ weight[targets][:, layer == number - 1].t()
        if number < len(SIZES) - 1:
            counted = torch.tensor([n in live for n in targets.tolist()])
            assert 2 <= counted.sum() < len(counted)
            mean, variance = y[:, counted].mean(1, keepdim=True), y[:, counted].var(1, correction=0, keepdim=True)
            y = (y - mean) / (variance + 1e-5).sqrt() + graph.bias[targets]
            y = y.relu()
        else:
            y = y + graph.bias[targets]
    return y


def matrix(graph):
    """Weights of all pairs of neurons, by target and source."""
    weight = torch.zeros(graph.neurons, graph.neurons, dtype=graph.bias.dtype)
    sources, targets = graph.edge_index
    weight[targets, sources] = graph.weights().detach()
    return weight


def test_outputs_are_those_of_a_loop():
    model, x = sparse_model(), torch.randn(7, 12, dtype=torch.float64)
    expected = by_loop(model, x, matrix(model.graph)).detach()
    torch.testing.assert_close(model(x), expected)
    with torch.no_grad():
        torch.testing.assert_close(model.eval()(x), expected)
    torch.testing.assert_close(model.activations(x)[:, model.graph.layer == 3], expected)
    torch.testing.assert_close(model.to_dense()(x), expected)
    with model.graph.observed():
        torch.testing.assert_close(model(x), expected)


def test_masked_synapses_are_none():
    model, x = sparse_model(), torch.randn(7, 12, dtype=torch.float64)
    pruner = sg.PruneWhileTraining(0.5).attach(model)
    y = model(x)
    torch.testing.assert_close(y, by_loop(model, x, matrix(model.graph)))
    with torch.no_grad():
        torch.testing.assert_close(model.eval()(x), y)
    pruner.remove()
    torch.testing.assert_close(model(x), y)


def test_masked_synapses_of_an_all_to_all_network():
    torch.manual_seed(0)
    model, x = sg.SpatialMLP(SIZES, normalize="live").double(), torch.randn(7, 12, dtype=torch.float64)
    assert torch.equal(model(x), sg.SpatialMLP(model.graph, normalize=True)(x))
    pruner = sg.PruneWhileTraining(0.95).attach(model)
    y = model(x)
    torch.testing.assert_close(y, by_loop(model, x, matrix(model.graph)))
    pruner.remove()
    torch.testing.assert_close(model(x), y)


@pytest.mark.parametrize("weight_mode", ["law", "both", "free"])
def test_gradients_are_those_of_the_same_sums_with_dead_ends(weight_mode):
    model, x = sparse_model(weight_mode=weight_mode), torch.randn(7, 12, dtype=torch.float64)
    found = []
    for computed in (model, lambda x: model.activations(x)[:, model.graph.layer == 3]):
        y = computed(x)
        found.append([y, *torch.autograd.grad(y.square().sum(), list(model.parameters()))])
    for own, whole in zip(*found, strict=True):
        torch.testing.assert_close(own, whole)


def test_dead_ends_can_be_dropped():
    model, x = sparse_model(), torch.randn(7, 12, dtype=torch.float64)
    small = sg.drop_dead_ends(model)
    assert small.graph.neurons < model.graph.neurons and small.graph.synapses < model.graph.synapses
    torch.testing.assert_close(small(x), model(x))
    hidden = torch.nonzero(~small.graph.is_input & ~small.graph.is_output)[:, 0].tolist()
    assert set(hidden) <= live_neurons(small.graph, small.graph.edge_index)
    again = sg.drop_dead_ends(small)
    assert again.graph.neurons == small.graph.neurons
    plain = copy.deepcopy(model)
    plain.normalize = False
    torch.testing.assert_close(sg.drop_dead_ends(plain)(x), plain(x))


def test_what_has_no_dead_ends_to_drop():
    masked = sg.SpatialMLP(SIZES)
    sg.PruneWhileTraining(0.5).attach(masked)
    recurrent = sg.SpatialRNN([3, 4, 2])
    for model, message in ((masked, "no masked synapses, got a share of 0.5"), (recurrent, "no recurrent synapses")):
        with pytest.raises(ValueError, match=f"network must have {message}"):
            sg.drop_dead_ends(model)


def test_fewer_than_two_live_neurons_are_as_all():
    edges, layer = torch.tensor([[0, 0, 0, 1], [1, 2, 3, 4]]), torch.tensor([0, 1, 1, 1, 2])
    graph, x = sg.SpatialGraph(torch.randn(5, 2), edges, layer=layer), torch.rand(6, 1)
    assert torch.equal(sg.SpatialMLP(graph, normalize="live")(x), sg.SpatialMLP(graph, normalize=True)(x))


def test_it_is_kept_and_traced(tmp_path):
    model, x = sparse_model(torch.float32), torch.randn(7, 12)
    y = model(x)
    sg.save(model, tmp_path / "model.safetensors")
    assert sg.load(tmp_path / "model.safetensors").normalize == "live"
    assert torch.equal(sg.load(tmp_path / "model.safetensors")(x), y)
    fresh = sg.load(tmp_path / "model.safetensors")  # traced before its first pass
    torch.testing.assert_close(torch.export.export(fresh, (x,)).module()(x), y)
    torch.testing.assert_close(torch.func.vmap(fresh)(x), y)


def test_exported_c_has_no_dead_ends():
    model = sparse_model(torch.float32)
    quantised = sg.quantize(model)
    with pytest.raises(ValueError, match=re.escape("drop_dead_ends(model) first")):
        integer_network(quantised)
    assert integer_network(sg.quantize(sg.drop_dead_ends(model))) is not None


def test_it_is_the_only_word():
    with pytest.raises(TypeError, match="normalize must be True, False or 'live', got 'all'"):
        sg.SpatialMLP(SIZES, normalize="all")
