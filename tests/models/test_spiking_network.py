"""Spiking networks, against loops over neurons and time, and against networks made by snnTorch."""

import copy

import pytest
import torch
import torch.nn.functional as F
from changed_graphs import dag_graph, each_without_one_edge, in_the_order_of, moved, paths, renumbered
from hypothesis import given
from hypothesis import strategies as st
from references import assert_close, random_dag, randomise
from spiking_networks import (
    KINDS,
    LAYERED,
    LOUD,
    SIZES,
    T,
    assert_same_run,
    both_wirings,
    every_kind,
    features,
    make,
    neuron_by_neuron,
    series,
)
from torch import nn

from spatialgraph import DenseSNN, SpatialGraph, SpatialSNN
from spatialgraph.neurons import Leaky, SnnTorchNeuron

# Against loops ----


@every_kind
@pytest.mark.parametrize("coding", ["current", None])
def test_any_network_is_a_loop_over_neurons_and_time(kind, coding):
    model = make(kind, coding=coding)
    x = features(model, 3) if coding else series(model, T)
    whole = x.expand(T, *x.shape) if coding else x
    spikes, potentials, logits = neuron_by_neuron(model, whole.numpy())
    hidden = spikes[..., ~(model.graph.is_input | model.graph.is_output).numpy()]
    assert 0.0 < hidden.mean() < 1.0
    for mode in (model.train(), model.eval()):
        assert_same_run(mode, x, spikes, potentials, logits)
        with torch.no_grad():
            assert_same_run(mode, x, spikes, potentials, logits)


@given(
    neurons=st.integers(2, 12),
    density=st.floats(0.05, 0.7),
    seed=st.integers(0, 2**31),
    read_out=st.sampled_from(["potential", "count"]),
    velocity=st.sampled_from([None, 0.5, 3.0]),
)
def test_any_acyclic_graph(neurons, density, seed, read_out, velocity):
    torch.manual_seed(seed)
    edges = random_dag(neurons, density, seed)
    graph = randomise(SpatialGraph(torch.randn(neurons, 2).double(), edges, gain=0.7, velocity=velocity))
    model = SpatialSNN(graph, num_steps=7, read_out=read_out)
    assert not model.normalize
    x = features(model, 2)
    assert_same_run(model, x, *neuron_by_neuron(model, x.expand(7, *x.shape).numpy()))


def test_outputs_in_different_generations_and_skip_connections():
    #  0 -> 3 -> 4 -> 2 (output), 0 -> 1 (output of generation 1), 5 -> 4, 0 -> 2 skips two generations
    edges = torch.tensor([[0, 3, 4, 0, 5, 0], [3, 4, 2, 1, 4, 2]])
    for read_out in ("potential", "count"):
        for velocity in (None, 1.1):
            graph = randomise(SpatialGraph(torch.randn(6, 3).double(), edges, velocity=velocity))
            model = SpatialSNN(graph, num_steps=T, read_out=read_out)
            x = features(model, 4)
            spikes, potentials, logits = neuron_by_neuron(model, x.expand(T, *x.shape).numpy())
            assert logits.shape == (4, 2)
            assert_same_run(model, x, spikes, potentials, logits)


@pytest.mark.parametrize("edges", [[[0, 0, 2], [2, 4, 4]], [[0, 1], [2, 2]], [[0, 0], [4, 5]], [[], []]], ids=str)
@pytest.mark.parametrize("velocity", [None, 0.7])
def test_neurons_without_incoming_edges(edges, velocity):
    layer = torch.tensor([0, 0, 1, 1, 2, 2])
    edges = torch.tensor(edges, dtype=torch.int64)
    graph = randomise(SpatialGraph(torch.randn(6, 2).double(), edges, layer=layer, velocity=velocity))
    model = SpatialSNN(graph, num_steps=T, normalize=False)
    x = features(model, 4).requires_grad_()
    assert_same_run(model, x, *neuron_by_neuron(model, x.detach().expand(T, *x.shape).numpy()))
    model(x).sum().backward()
    assert all(p.grad is None or torch.isfinite(p.grad).all() for p in model.parameters())


@pytest.mark.parametrize("leading", [(), (0,), (1,), (2, 3)], ids=str)
@pytest.mark.parametrize("kind", ["all-to-all", "count", "nearest", "delays", "delays, nearest", "dag"])
def test_leading_axes(kind, leading):
    model = make(kind)
    x = features(model, *leading)
    for mode in (model.train(), model.eval()):
        with torch.set_grad_enabled(mode.training):
            y, flat = mode(x), mode(x.reshape(-1, x.shape[-1]))
        assert y.shape == (*leading, len(model.graph.outputs))
        assert_close(y.reshape(flat.shape), flat, 1e-12)
    assert model.simulate(x).spikes[-1].shape == (T, *leading, len(model.graph.projections[-1].targets))


# Against snnTorch ----


def snntorch_network(layers, normalize, drive, reset_mechanism="subtract", beta=0.95, count=False):
    """The network as one would write it with snnTorch: linear layers and its Leaky, stage by stage.

    A layer takes all steps in one product, as ours does: products of more rows may round differently.
    """
    snntorch = pytest.importorskip("snntorch")

    def run(x, steps):
        signal, spikes, potentials = x[None], [], []
        for number, layer in enumerate(layers):
            last = number == len(layers) - 1
            if normalize and not last:
                current = drive * nn.LayerNorm(layer.out_features, elementwise_affine=False)(
                    F.linear(signal, layer.weight)
                )
                current = current + layer.bias
            else:
                current = layer(signal)
            integrates = last and not count
            neuron = snntorch.Leaky(beta=beta, reset_mechanism="none" if integrates else reset_mechanism)
            snntorch.SpikingNeuron.instances.remove(neuron)
            mem, fired, traced = None, [], []
            for step in range(steps):
                spk, mem = neuron(current[min(step, len(current) - 1)], mem)
                fired.append(torch.zeros_like(spk) if integrates else spk)
                traced.append(mem)
            signal = torch.stack(fired)
            spikes.append(signal)
            potentials.append(torch.stack(traced))
        return spikes, potentials

    return run


@pytest.mark.parametrize("read_out", ["potential", "count"])
@pytest.mark.parametrize("normalize", [True, False])
@pytest.mark.parametrize("kind", ["spatial", "dense"])
def test_whole_networks_of_snntorch_to_the_bit(kind, normalize, read_out):
    sizes, options = [20, 30, 25, 4], {"num_steps": 25, "normalize": normalize, "read_out": read_out, "drive": 0.4}
    layers = nn.ModuleList(nn.Linear(n, m) for n, m in zip(sizes[:-1], sizes[1:], strict=True))
    if kind == "spatial":
        model = SpatialSNN(sizes, gain=0.2, **options)
        with torch.no_grad():
            model.graph.raw_bias.uniform_(0.0, 0.1)
            for layer, matrix, stage in zip(
                layers, model.graph.transmission().precomputed().matrices, model.graph.projections, strict=True
            ):
                layer.weight.copy_(matrix.weight)
                layer.bias.copy_(model.graph.bias[stage.targets])
    else:
        model = DenseSNN(sizes, **options)
        for layer in model.layers:
            layer.weight.data.mul_(2.0)
        layers.load_state_dict(model.layers.state_dict())
    x = torch.rand(16, 20)
    spikes, potentials = snntorch_network(layers, normalize, 0.4, count=read_out == "count")(x, 25)
    assert all(0.0 < fired.mean() < 0.9 for fired in spikes[:-1])
    for mode in (model.train(), model.eval()):
        with torch.set_grad_enabled(mode.training):
            simulation = mode.simulate(x)
            logits = mode(x)
        for ours, theirs in zip((*simulation.spikes, *simulation.potentials), (*spikes, *potentials), strict=True):
            assert torch.equal(ours, theirs)
        if read_out == "count":
            assert torch.equal(logits, spikes[-1].sum(0))
        else:  # the mean is taken before the product, in another order
            assert_close(logits, potentials[-1].mean(0), 1e-5)


@pytest.mark.parametrize("kind", ["Synaptic", "RLeaky"])
@pytest.mark.parametrize("read_out", ["potential", "count"])
def test_other_neurons_of_snntorch(kind, read_out):
    snntorch = pytest.importorskip("snntorch")
    listed = list(snntorch.SpikingNeuron.instances)
    factories = {
        "Synaptic": lambda n: snntorch.Synaptic(alpha=0.8, beta=0.9),
        "RLeaky": lambda n: snntorch.RLeaky(beta=0.9, linear_features=n),
    }
    model = SpatialSNN(SIZES, neuron=factories[kind], read_out=read_out, **LOUD)
    randomise(model.graph)
    x = features(model, 3, dtype=torch.float32)
    simulation = model.simulate(x)
    signal = F.linear(x[None], model.graph.transmission().precomputed().matrices[0].weight)
    signal = model.drive * F.layer_norm(signal, signal.shape[-1:]) + model.graph.bias[6:11]
    first = model.hidden_neurons[0]
    assert isinstance(first, SnnTorchNeuron)
    assert torch.equal(simulation.spikes[0], first.run(signal, T).spikes)
    last = simulation.spikes[-1].sum(0) if read_out == "count" else simulation.potentials[-1].mean(0)
    assert_close(model(x), last, 1e-5)
    model(x).sum().backward()
    twin = copy.deepcopy(model)
    assert torch.equal(twin(x), model(x))
    assert len(snntorch.SpikingNeuron.instances) == len(listed)


# Shortcuts ----


@pytest.mark.parametrize("kind", [kind for kind in KINDS if make(kind).read_out == "potential"])
def test_logits_are_mean_potentials(kind):
    model = make(kind, torch.float32)
    x = features(model, 5, dtype=torch.float32)
    outputs = model.graph.is_output
    simulation = model.simulate(x)
    parts = [
        potentials[..., p.hidden :]
        for p, potentials in zip(model.graph.projections, simulation.potentials, strict=True)
    ]
    numbers = torch.cat([p.targets[p.hidden :] for p in model.graph.projections])
    assert len(numbers) == int(outputs.sum())
    assert_close(model(x), torch.cat(parts, -1).mean(0)[:, torch.argsort(numbers)], 1e-5)


@pytest.mark.parametrize("kind", ["all-to-all", "plain", "zero", "nearest", "free weights", "both weights"])
def test_averaging_before_the_last_stage_changes_nothing(kind, monkeypatch):
    model = make(kind)
    x = features(model, 5).requires_grad_()
    assert model._is_averaged(2) and not model._is_averaged(1)
    results = []
    for _ in range(2):
        y = model(x)
        parameters = [x, *model.parameters()]
        results.append([y, *torch.autograd.grad(y.square().sum(), parameters, allow_unused=True)])
        monkeypatch.setattr(type(model), "_is_averaged", lambda self, number: False)
    for short, long in zip(*results, strict=True):
        assert (short is None) == (long is None)
        assert short is None or assert_close(short, long, 1e-10) is None


class Quiet(Leaky):
    """Neurons that compute their spikes in their own way."""

    def run(self, current, num_steps, state=None, record="spikes potentials"):
        recording = super().run(current, num_steps, state)
        return recording._replace(spikes=torch.zeros_like(recording.spikes))


def test_neurons_of_a_subclass_run_in_their_own_way():
    model = SpatialSNN(SIZES, neuron=lambda n: Quiet(), **LOUD)
    randomise(model.graph)
    x = features(model, 5, dtype=torch.float32)
    bias = model.graph.bias[model.graph.is_output]
    assert_close(model(x), model.simulate(x).potentials[-1].mean(0), 1e-5)
    assert_close(model(x), (bias * model.integrator.shares(T).float().sum()).expand(5, -1), 1e-5)


# Physics ----


@both_wirings
@pytest.mark.parametrize("velocity", [None, 0.8])
@pytest.mark.parametrize("dim", [1, 2, 3])
def test_only_lengths_matter(dim, velocity, wiring):
    options = {"wiring": wiring, "spacing": "free", "velocity": velocity}
    model = SpatialSNN(SIZES, dim, **options, **LOUD).double()
    randomise(model.graph)
    x = features(model, 5)
    y = model(x)
    pos = model.graph.pos.detach()
    for other in moved(pos):
        model.graph.place_(other)
        assert_close(model(x), y, 1e-9)
        with torch.no_grad():
            assert_close(model.eval()(x), y, 1e-9)
        model.train()
    model.graph.place_(pos * 1.5)
    assert (model(x) - y).abs().max() > 1e-3


@given(
    neurons=st.integers(3, 10),
    density=st.floats(0.1, 0.7),
    seed=st.integers(0, 2**31),
    velocity=st.sampled_from([None, 0.9]),
)
def test_numbers_of_neurons_do_not_matter(neurons, density, seed, velocity):
    torch.manual_seed(seed)
    edges = random_dag(neurons, density, seed)
    old = randomise(SpatialGraph(torch.randn(neurons, 2).double(), edges, velocity=velocity))
    new, former = renumbered(old)
    x = torch.rand(3, neurons).double()
    y = SpatialSNN(old, num_steps=6)(x[:, old.inputs])
    y_new = SpatialSNN(new, num_steps=6)(x[:, former[new.inputs]])
    assert_close(y_new, in_the_order_of(new, old, former, y), 1e-10)


@pytest.mark.parametrize("velocity", [None, 3.0])
def test_without_an_edge_exactly_its_jacobian_entry_is_zero(velocity):
    options = {"num_steps": 6, "coding": None, "normalize": False}
    full = SpatialGraph.layered([4, 3], velocity=velocity).double()
    x = torch.rand(6, 4).double()
    whole = torch.autograd.functional.jacobian(SpatialSNN(full, **options), x).abs().sum(1)
    assert (whole != 0).all()
    for (source, target), graph in each_without_one_edge(full):
        part = torch.autograd.functional.jacobian(SpatialSNN(graph, **options), x).abs().sum(1)
        assert (part == 0).nonzero().tolist() == [[target - 4, source]]
        assert_close(part, torch.where(part == 0, 0.0, whole), 1e-12)


@pytest.mark.parametrize("velocity", [None, 3.0])
def test_without_a_path_no_influence(velocity):
    graph = dag_graph(10, 0.25, 5, velocity=velocity).double()
    model = SpatialSNN(graph, num_steps=8, spike_grad=lambda u: torch.sigmoid(u))
    jacobian = torch.autograd.functional.jacobian(model, features(model))
    assert (jacobian != 0).tolist() == paths(graph)


def test_batch_does_not_matter():
    for kind in ("all-to-all", "nearest", "delays", "dag"):
        model = make(kind)
        x = features(model, 20)
        assert_close(torch.stack([model(row) for row in x]), model(x), 1e-12)


# Gradients ----


@pytest.mark.parametrize("kind", ["plain", "nearest", "skip", "both weights", "delays", "free delays", "dag, delays"])
def test_gradient_of_a_smooth_network_by_finite_differences(kind):
    # With a smooth function for the step and no reset the whole network is smooth, outputs included.
    model = make(kind, spike_grad=lambda u: torch.sigmoid(2.0 * u), reset_mechanism="none")
    model.num_steps = 5
    times = model.graph.delays()
    assert not model.has_delays or (times - times.round()).abs().min() > 1e-5
    x = features(model, 2).requires_grad_()
    names, values = zip(*model.named_parameters(), strict=True)

    def run(x, *values):
        return torch.func.functional_call(model, dict(zip(names, values, strict=True)), (x,))

    assert torch.autograd.gradcheck(run, (x, *values))


@pytest.mark.parametrize("kind", LAYERED)
def test_gradients_reach_every_parameter(kind):
    model = make(kind)
    logits = model(features(model, 64))
    F.cross_entropy(logits, torch.arange(64) % 3).backward()
    unused = {"free_synapses.delay"} if not model.has_delays else set()
    for name, parameter in model.graph.named_parameters():
        if name in unused:
            continue
        assert parameter.grad is not None and torch.isfinite(parameter.grad).all(), name
        assert (parameter.grad != 0).double().mean() > 0.5, name
