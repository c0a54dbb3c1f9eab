"""Spiking networks, against loops over neurons and time, and against networks made by snnTorch."""

import copy
import gc
import pickle
from functools import partial

import networkx as nx
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from references import assert_close, random_dag, randomise
from torch import nn

from spatialgraph import DenseSNN, SpatialGraph, SpatialMLP, SpatialSNN, from_networkx, to_networkx
from spatialgraph.graph.transmission import Materialised
from spatialgraph.models import serving
from spatialgraph.neurons import Leaky, SnnTorchNeuron
from spatialgraph.neurons.coding import latency, rate
from spatialgraph.wiring import KNN, AllToAll, Radius, Random

SIZES = [6, 5, 4, 3]
T = 12
# Gains and velocities that let some neurons fire and let spikes arrive within the run.
LOUD = {"steps": T, "gain": 0.6}


def dag_graph(neurons=10, density=0.4, seed=3, **options):
    edges = random_dag(neurons, density, seed)
    return randomise(SpatialGraph(2.0 * torch.randn(neurons, 3).double(), edges, **options)).float()


KINDS = {
    "all-to-all": partial(SpatialSNN, SIZES, **LOUD),
    "plain": partial(SpatialSNN, SIZES, normalize=False, spacing="fixed", **LOUD),
    "count": partial(SpatialSNN, SIZES, read_out="count", normalize=False, **LOUD),
    "zero": partial(SpatialSNN, SIZES, reset="zero", beta=0.8, threshold=0.5, **LOUD),
    "skip": partial(SpatialSNN, SIZES, wiring=AllToAll(reach="all"), spacing="free", **LOUD),
    "nearest": partial(SpatialSNN, SIZES, wiring=KNN(k=2), polarity="binary", **LOUD),
    "random, count": partial(SpatialSNN, SIZES, wiring=Random(density=0.6), read_out="count", **LOUD),
    "free weights": partial(SpatialSNN, SIZES, weights="free", **LOUD),
    "both weights": partial(SpatialSNN, SIZES, weights="both", wiring=KNN(k=3), **LOUD),
    "delays": partial(SpatialSNN, SIZES, velocity=0.8, **LOUD),
    "delays, nearest": partial(SpatialSNN, SIZES, velocity=0.8, wiring=KNN(k=2), read_out="count", **LOUD),
    "free delays": partial(SpatialSNN, SIZES, velocity=0.8, delays="free", weights="both", **LOUD),
    "dag": lambda **o: SpatialSNN(dag_graph(gain=0.6), steps=T, **o),
    "dag, count": lambda **o: SpatialSNN(dag_graph(gain=0.6), steps=T, read_out="count", **o),
    "dag, delays": lambda **o: SpatialSNN(dag_graph(gain=0.6, velocity=1.5), steps=T, **o),
}
every_kind = pytest.mark.parametrize("kind", KINDS)
WITH_DELAYS = [kind for kind in KINDS if "delays" in kind]
LAYERED = [kind for kind in KINDS if "dag" not in kind]


def make(kind, dtype=torch.float64, **options):
    """A network of a kind with parameters that it could not have by default."""
    torch.manual_seed(1)
    model = KINDS[kind](**options)
    randomise(model.graph)
    return model.to(dtype)


def features(model, *leading, dtype=torch.float64):
    return torch.rand(*leading, len(model.graph.inputs), dtype=dtype)


def series(model, steps, batch=3, dtype=torch.float64, density=0.5):
    shape = steps, batch, len(model.graph.inputs)
    return torch.rand(shape, dtype=dtype) * (torch.rand(shape) < density)


def delayed_run(run, delay):
    """One neuron's run (T, batch), some steps later."""
    result = np.zeros_like(run)
    for lag, share in ((int(delay), 1.0 - delay % 1.0), (int(delay) + 1, delay % 1.0)):
        if lag < len(run):
            result[lag:] += share * run[: len(run) - lag]
    return result


def step_by_step(current, neuron, fires):
    """Potentials and spikes by the equations, one step after the other."""
    spikes, potentials = np.zeros_like(current), np.zeros_like(current)
    potential, spike = np.zeros(current.shape[1:]), np.zeros(current.shape[1:])
    for t, arriving in enumerate(current):
        kept = potential * (1.0 - spike) if fires and neuron["reset"] == "zero" else potential
        potential = neuron["beta"] * kept + arriving
        if fires and neuron["reset"] == "subtract":
            potential = potential - neuron["threshold"] * spike
        spike = (potential > neuron["threshold"]) * 1.0 if fires else spike
        potentials[t], spikes[t] = potential, spike
    return spikes, potentials


def neuron_by_neuron(model, x):
    """Run any network for a time series (T, batch, inputs); spikes, potentials (T, batch, N) and logits."""
    graph = model.graph
    arrays = (graph.weights(), graph.delays(), graph.bias)
    weights, delays, bias = (a.detach().numpy().astype(np.float64) for a in arrays)
    leaky = next((n for n in model.hidden_neurons if isinstance(n, Leaky)), Leaky())
    neuron = {"beta": model.integrator.beta, "threshold": leaky.threshold, "reset": leaky.reset}
    sent = np.zeros((*x.shape[:2], graph.neurons))
    sent[..., graph.inputs.numpy()] = x
    currents, potentials = np.zeros_like(sent), np.zeros_like(sent)
    source, target = graph.edge_index.numpy()
    for projection in graph.projections:
        members = projection.targets.numpy()
        for e in np.flatnonzero(np.isin(target, members)):
            currents[..., target[e]] += weights[e] * delayed_run(sent[..., source[e]], delays[e])
        hidden = members[~graph.is_output.numpy()[members]]
        if model.normalize and len(hidden):
            total = currents[..., hidden]
            deviation = np.sqrt(total.var(-1, keepdims=True) + 1e-5)
            currents[..., hidden] = model.drive * (total - total.mean(-1, keepdims=True)) / deviation
        currents[..., members] += bias[members]
        for j in members:
            fires = j in hidden or model.read_out == "count"
            sent[..., j], potentials[..., j] = step_by_step(currents[..., j], neuron, fires)
    outputs = graph.outputs.numpy()
    logits = sent[..., outputs].sum(0) if model.read_out == "count" else potentials[..., outputs].mean(0)
    return sent, potentials, logits


def assert_same_run(model, x, spikes, potentials, logits):
    simulation = model.simulate(x)
    for projection, fired, traced in zip(
        model.graph.projections, simulation.spikes, simulation.potentials, strict=True
    ):
        members = projection.targets.numpy()
        assert np.array_equal(fired.detach().numpy(), spikes[..., members])
        assert_close(traced, potentials[..., members], 1e-10)
    assert_close(model(x), logits, 1e-10)


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
    model = SpatialSNN(graph, steps=7, read_out=read_out)
    assert not model.normalize
    x = features(model, 2)
    assert_same_run(model, x, *neuron_by_neuron(model, x.expand(7, *x.shape).numpy()))


def test_outputs_in_different_generations_and_skip_connections():
    #  0 -> 3 -> 4 -> 2 (output), 0 -> 1 (output of generation 1), 5 -> 4, 0 -> 2 skips two generations
    edges = torch.tensor([[0, 3, 4, 0, 5, 0], [3, 4, 2, 1, 4, 2]])
    for read_out in ("potential", "count"):
        for velocity in (None, 1.1):
            graph = randomise(SpatialGraph(torch.randn(6, 3).double(), edges, velocity=velocity))
            model = SpatialSNN(graph, steps=T, read_out=read_out)
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
    model = SpatialSNN(graph, steps=T, normalize=False)
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


def snntorch_network(layers, normalize, drive, reset="subtract", beta=0.95, count=False):
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
            silent = last and not count
            neuron = snntorch.Leaky(beta=beta, reset_mechanism="none" if silent else reset)
            snntorch.SpikingNeuron.instances.remove(neuron)
            mem, fired, traced = None, [], []
            for step in range(steps):
                spk, mem = neuron(current[min(step, len(current) - 1)], mem)
                fired.append(torch.zeros_like(spk) if silent else spk)
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
    sizes, options = [20, 30, 25, 4], {"steps": 25, "normalize": normalize, "read_out": read_out, "drive": 0.4}
    layers = nn.ModuleList(nn.Linear(n, m) for n, m in zip(sizes[:-1], sizes[1:], strict=True))
    if kind == "spatial":
        model = SpatialSNN(sizes, gain=0.2, **options)
        with torch.no_grad():
            model.graph.raw_bias.uniform_(0.0, 0.1)
            for layer, matrix, stage in zip(
                layers, Materialised(model.graph).matrices, model.graph.projections, strict=True
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
    signal = F.linear(x[None], Materialised(model.graph).matrices[0].weight)
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


def test_the_dense_baseline_is_averaged_too(monkeypatch):
    model = DenseSNN([6, 5, 3], steps=T).double()
    x = torch.rand(4, 6).double()
    short = model(x)
    assert model._is_averaged(1)
    monkeypatch.setattr(DenseSNN, "_is_averaged", lambda self, number: False)
    assert_close(short, model(x), 1e-12)


# Codings and shapes ----


@every_kind
def test_shapes_of_a_simulation(kind):
    model = make(kind)
    simulation = model.simulate(features(model, 2))
    counts = [len(p.targets) for p in model.graph.projections]
    for name in ("spikes", "potentials"):
        assert [tuple(values.shape) for values in getattr(simulation, name)] == [(T, 2, n) for n in counts]
    assert simulation.inputs.shape == (1, 2, len(model.graph.inputs))
    assert len(simulation.state.neurons) == len(simulation.state.lines) == len(counts)
    assert all((line is not None) == (kind in WITH_DELAYS) for line in simulation.state.lines)


@pytest.mark.parametrize("kind", ["all-to-all", "nearest", "delays", "dag, count"])
@pytest.mark.parametrize("coding", ["rate", "latency"])
def test_codings_are_series(kind, coding):
    model = make(kind, coding=coding, normalize=False)
    same = SpatialSNN(model.graph, steps=T, coding=None, normalize=False, read_out=model.read_out)
    x = features(model, 4)
    signal = rate(x, T, torch.Generator().manual_seed(5)) if coding == "rate" else latency(x, T)
    assert_close(model(x, generator=torch.Generator().manual_seed(5)), same(signal), 1e-12)
    simulation = model.simulate(x, generator=torch.Generator().manual_seed(5))
    assert torch.equal(simulation.inputs, signal)
    assert torch.equal(simulation.spikes[0], same.simulate(signal).spikes[0])


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, True),
        ({"coding": "rate"}, True),
        ({"coding": "latency"}, False),
        ({"coding": None}, False),
        ({"velocity": 1.0}, False),
        ({"velocity": 1.0, "normalize": True}, True),
        ({"normalize": False}, False),
    ],
)
def test_where_currents_are_normalised(options, expected):
    model = SpatialSNN(SIZES, **options)
    assert model.normalize is expected
    assert f"normalize={expected}" in repr(model)
    assert not SpatialSNN(dag_graph()).normalize and not DenseSNN(SIZES).normalize


def test_the_drive_is_the_standard_deviation():
    model = SpatialSNN([6, 50, 3], drive=0.7, steps=1, gain=1.0)  # far above the epsilon of the normalisation
    potentials = model.simulate(torch.rand(4, 6)).potentials[0][0]
    assert potentials.mean(-1).abs().max() < 1e-6
    torch.testing.assert_close(potentials.std(-1, correction=0), torch.full((4,), 0.7), rtol=1e-2, atol=0)


# State ----


@every_kind
def test_two_runs_are_one(kind):
    whole = make(kind, coding=None, normalize=False)
    half = SpatialSNN(whole.graph, steps=T // 2, coding=None, normalize=False, read_out=whole.read_out)
    half.integrator = whole.integrator
    for copied, own in ((half.hidden_neurons, whole.hidden_neurons), (half.output_neurons, whole.output_neurons)):
        for number, neurons in enumerate(own):
            copied[number] = neurons
    x = series(whole, T)
    expected = whole.simulate(x)
    first = half.simulate(x[: T // 2])
    second = half.simulate(x[T // 2 :], first.state)
    assert 0 < sum(float(spikes.detach().sum()) for spikes in expected.spikes)
    for name in ("spikes", "potentials"):
        for parts in zip(*(getattr(run, name) for run in (first, second, expected)), strict=True):
            assert_close(torch.cat(parts[:2]), parts[2], 1e-12)
    parameters = list(whole.parameters())
    for run in (first, second):  # gradients reach back through the state
        assert all(p.requires_grad for p in run.potentials)
    gradients = torch.autograd.grad(second.potentials[-1].sum(), parameters, allow_unused=True)
    rights = torch.autograd.grad(expected.potentials[-1][T // 2 :].sum(), parameters, allow_unused=True)
    for gradient, right in zip(gradients, rights, strict=True):
        assert (gradient is None) == (right is None)
        assert gradient is None or assert_close(gradient, right, 1e-10) is None


def test_a_state_of_another_batch_is_refused():
    model = make("all-to-all")
    state = model.simulate(features(model, 3)).state
    with pytest.raises(ValueError, match=r"state must have shape \(4, 5\), got \(3, 5\)"):
        model.simulate(features(model, 4), state)


def test_no_state_is_kept():
    for kind in KINDS:
        model = make(kind)
        x = features(model, 3)
        assert torch.equal(model(x), model(x))
        assert torch.equal(model.simulate(x).potentials[-1], model.simulate(x).potentials[-1])


# Delays ----


def test_a_delay_is_not_longer_than_the_line():
    init = torch.tensor([[0.0, 0.0], [6.0, 0.0]])
    options = {"spacing": "free", "init": init, "steps": 4, "normalize": False}
    model = SpatialSNN([1, 1], 2, velocity=2.0, max_delay=3, **options)
    assert model.graph.delays().item() == 3.0
    message = (
        r"delays must not be longer than the line \(max_delay=3 steps\), got 4.5; raise max_delay or the graph's velo"
    )
    with pytest.raises(ValueError, match=message):
        SpatialSNN([1, 1], 2, velocity=4 / 3, max_delay=3, **options)
    model.graph.place(torch.tensor([[9.0, 0.0]]), 1)
    with pytest.raises(ValueError, match=message):
        model(torch.zeros(1, 1))
    with pytest.raises(ValueError, match=message):
        model.simulate(torch.zeros(1, 1))
    assert SpatialSNN(model.graph, steps=4)(torch.ones(1, 1)).item() == 0.0  # what arrives later than the run is lost


@pytest.mark.parametrize(("where", "got"), [(float("nan"), "nan"), (3e38, "inf")])
def test_diverged_positions_are_noticed(where, got):
    model = SpatialSNN([2, 2], velocity=0.5, steps=4)
    with torch.no_grad():
        model.graph.positions.gaps.fill_(where)
    with pytest.raises(ValueError, match=f"delays must be finite, got {got}; positions have diverged"):
        model(torch.zeros(1, 2))


def test_a_spike_arrives_on_time():
    pos = torch.tensor([[0.0], [2.5]])
    graph = SpatialGraph(pos, torch.tensor([[0], [1]]), velocity=1.0)
    model = SpatialSNN(graph, steps=6, coding=None, beta=0.0)
    x = torch.zeros(6, 1)
    x[1] = 1.0
    weight = graph.weights().item()
    arriving = model.simulate(x).potentials[0][:, 0]
    torch.testing.assert_close(arriving, torch.tensor([0.0, 0.0, 0.0, 0.5 * weight, 0.5 * weight, 0.0]))


# Structure ----


def networks_with_values():
    return {
        "free": {"weights": "free"},
        "both": {"weights": "both"},
        "delays": {"velocity": 0.7},
        "free delays": {"velocity": 0.7, "delays": "free", "weights": "free"},
        "both and free delays": {"velocity": 0.7, "delays": "free", "weights": "both"},
    }


every_value = pytest.mark.parametrize("options", networks_with_values().values(), ids=networks_with_values().keys())
both_wirings = pytest.mark.parametrize("wiring", [AllToAll(), KNN(k=2)], ids=repr)


@both_wirings
@every_value
def test_conversion_and_back(options, wiring, tmp_path):
    graph = randomise(SpatialGraph.layered(SIZES, wiring=wiring, **options))
    exported = to_networkx(graph)
    nx.write_graphml(exported, tmp_path / "graph.graphml")
    read = nx.read_graphml(tmp_path / "graph.graphml", node_type=int)
    x = torch.rand(3, 6)
    for source in (exported, read):
        twin = from_networkx(source)
        assert torch.equal(twin.edge_index, graph.edge_index)
        assert torch.equal(twin.weights(), graph.weights()) and torch.equal(twin.delays(), graph.delays())
        assert twin.velocity == graph.velocity
        assert [p.shape for p in twin.parameters()] == [p.shape for p in graph.parameters()]
        assert torch.equal(SpatialSNN(twin, steps=T)(x), SpatialSNN(graph, steps=T)(x))
    data = graph.to_data()
    assert torch.equal(data.edge_weight, graph.weights())
    assert ("edge_delay" in data) == (graph.velocity is not None)
    if graph.velocity is not None:
        assert torch.equal(data.edge_delay, graph.delays()) and not data.edge_delay.requires_grad
        (source, target), delay = graph.edge_index[:, 4].tolist(), graph.delays()[4].item()
        assert exported.edges[source, target]["delay"] == delay


def test_a_file_that_drops_the_settings_still_opens(tmp_path):
    graph = SpatialGraph.layered(SIZES, velocity=0.7, delays="free", weights="both", spacing="free")
    nx.write_gexf(to_networkx(graph), tmp_path / "graph.gexf")
    twin = from_networkx(nx.read_gexf(tmp_path / "graph.gexf", node_type=int))
    assert torch.equal(twin.edge_index, graph.edge_index) and torch.allclose(twin.pos, graph.pos)


def test_free_weights_start_as_those_of_a_linear_layer():
    graph = SpatialGraph.layered([400, 30, 5], weights="free", gain=1.0)
    first = graph.weights()[: 400 * 30]
    assert first.abs().max() <= 1 / 20 and first.std().item() == pytest.approx(1 / 20 / 3**0.5, rel=0.02)
    assert graph.raw_polarity.numel() == 0 and torch.equal(graph.polarity[:430], torch.ones(430))
    init = torch.cat([torch.randn(18, 2), torch.arange(4.0).repeat_interleave(torch.tensor(SIZES))[:, None]], dim=1)
    both, law = (
        SpatialGraph.layered(SIZES, weights=kind, init=init, generator=torch.Generator().manual_seed(0))
        for kind in ("both", "law")
    )
    assert torch.equal(both.weights(), law.weights())  # factors of 1


@pytest.mark.parametrize(
    "options", [{"weights": "free"}, {"weights": "both", "velocity": 1.0, "delays": "free"}], ids=str
)
def test_rewiring_keeps_what_stays(options):
    graph = SpatialGraph.layered([9, 8, 7], wiring=KNN(k=4), **options)
    values = {name: 100.0 * graph.edge_index[0] + graph.edge_index[1] for name in ("weight", "delay")}
    free = {name: p for name, p in graph.free_synapses.named_parameters()}
    with torch.no_grad():
        for name, parameter in free.items():
            parameter.copy_(values[name])
    before = set(map(tuple, graph.edge_index.t().tolist()))
    for wiring in (None, KNN(k=6), KNN(k=2), AllToAll()):
        graph.place(torch.randn(24, 2)).rewire(wiring)
        edges = list(map(tuple, graph.edge_index.t().tolist()))
        for name, parameter in graph.free_synapses.named_parameters():
            assert parameter.shape == (graph.synapses,) and parameter.requires_grad
            for edge, value in zip(edges, parameter.tolist(), strict=True):
                assert (value == 100.0 * edge[0] + edge[1]) == (edge in before), name
        before &= set(edges)
        SpatialSNN(graph, steps=3)(torch.rand(2, 9)).sum().backward()
    assert before


@pytest.mark.parametrize(
    "options", [{}, {"weights": "free"}, {"weights": "both", "velocity": 1.0, "delays": "free"}], ids=str
)
def test_rewiring_to_no_edges_and_back(options):
    graph = SpatialGraph.layered([4, 3, 2], wiring=Random(density=0.5), **options)
    graph.rewire(Radius(r=1e-9))
    assert graph.synapses == 0
    model = SpatialSNN(graph, steps=3, normalize=False)
    assert torch.equal(model(torch.rand(2, 4)), torch.zeros(2, 2))
    graph.rewire(AllToAll())
    assert graph.synapses == 18 and all(p.shape == (18,) for p in graph.free_synapses.parameters())


@pytest.mark.parametrize(
    "options", [{"weights": "free"}, {"weights": "both", "velocity": 0.8, "delays": "free"}], ids=str
)
@pytest.mark.parametrize("wiring", [KNN(k=2), AllToAll(), Random(density=0.3)], ids=repr)
def test_a_state_of_other_edges_is_loaded(wiring, options):
    model = SpatialSNN(SIZES, wiring=KNN(k=3), **options, **LOUD)
    other = SpatialSNN(SIZES, wiring=KNN(k=3), **options, **LOUD)
    model.graph.rewire(wiring)
    randomise(model.graph)
    other.load_state_dict(model.state_dict())
    x = torch.rand(3, 6)
    assert torch.equal(other.graph.edge_index, model.graph.edge_index)
    assert torch.equal(other(x), model(x))
    other(x).sum().backward()


def load_edges(model, edges):
    """Give a network without layers other edges, as loading a pruned one does; inputs and outputs stay."""
    pruned = copy.deepcopy(model)
    pruned.graph.connect(edges)
    model.load_state_dict(pruned.state_dict())


@pytest.mark.parametrize("read_out", ["potential", "count"])
def test_fewer_edges_may_change_the_generations(read_out):
    # 0 -> 1 -> 2 -> 3 with the skip 0 -> 2; without 1 -> 2 the output 3 is in the second generation, not the third.
    edges = torch.tensor([[0, 1, 2, 0, 1], [1, 2, 3, 2, 3]])
    model = SpatialSNN(randomise(SpatialGraph(torch.randn(4, 2).double(), edges)), steps=T, read_out=read_out)
    load_edges(model, edges[:, [0, 2, 3, 4]])
    assert model.graph.synapses == 4 and len(model.graph.projections) == 2
    x = features(model, 3)
    assert_same_run(model, x, *neuron_by_neuron(model, x.expand(T, *x.shape).numpy()))


@pytest.mark.parametrize("read_out", ["potential", "count"])
def test_more_edges_may_add_a_generation(read_out):
    edges = torch.tensor([[0, 2, 0, 1, 1], [1, 3, 2, 3, 2]])
    fewer = randomise(SpatialGraph(torch.randn(4, 2).double(), edges[:, :4]))
    model = SpatialSNN(fewer, steps=T, read_out=read_out)
    load_edges(model, edges)
    assert len(model.graph.projections) == 3
    x = features(model, 3)
    assert_same_run(model, x, *neuron_by_neuron(model, x.expand(T, *x.shape).numpy()))
    with pytest.raises(ValueError, match="neuron must have made neurons for stage 1, got none: edges have changed"):
        snntorch = pytest.importorskip("snntorch")
        model = SpatialSNN(SpatialGraph(fewer.pos, edges[:, :4]), neuron=lambda n: snntorch.Leaky(beta=0.9))
        load_edges(model, edges)
        model(x)


@pytest.mark.parametrize("read_out", ["potential", "count"])
def test_outputs_stay_in_order_where_a_hidden_neuron_has_lost_its_targets(read_out):
    # Outputs 1 and 2; without 5 -> 1 and 4 -> 5 the hidden 4 and output 1 are last, and output 2 comes before them.
    edges = torch.tensor([[0, 3, 3, 4, 5, 0], [3, 1, 4, 5, 1, 2]])
    model = SpatialSNN(randomise(SpatialGraph(torch.randn(6, 2).double(), edges)), steps=T, read_out=read_out)
    assert model.graph.outputs.tolist() == [1, 2]
    load_edges(model, torch.tensor([[0, 3, 3, 0], [3, 1, 4, 2]]))
    assert [p.targets.tolist() for p in model.graph.projections] == [[3, 5, 2], [4, 1]]
    x = features(model, 3)
    assert_same_run(model, x, *neuron_by_neuron(model, x.expand(T, *x.shape).numpy()))


# Weights kept in eval() ----


@pytest.fixture
def builds(monkeypatch):
    """Count how often weights are computed for keeping."""
    calls = []
    original = serving.Materialised
    monkeypatch.setattr(serving, "Materialised", lambda *args: calls.append(1) or original(*args))
    return calls


def step(model):
    optimizer = torch.optim.SGD(model.parameters(), lr=0.5)
    with torch.enable_grad():
        model(features(model, 4, dtype=torch.float32)).square().sum().backward()
    optimizer.step()
    model.zero_grad()


CHANGES = {
    "step": step,
    "place": lambda model: model.graph.place(1.3 * model.graph.pos.detach()[:, :2]),
    "reset": lambda model: model.reset_parameters(),
    "in place": lambda model: randomise(model.graph),
    "rewire": lambda model: model.graph.rewire(KNN(k=1)),
    "load": lambda model: model.load_state_dict(SpatialSNN(SIZES, wiring=KNN(k=3), **LOUD).state_dict(), strict=False),
}


@pytest.mark.parametrize("kind", ["all-to-all", "nearest", "plain"])
@pytest.mark.parametrize("change", CHANGES)
def test_kept_weights_and_changes(kind, change, builds):
    model = make(kind, torch.float32)
    x = features(model, 4, dtype=torch.float32)
    expected = model(x).detach()
    model.eval()
    with torch.no_grad():
        for _ in range(3):
            assert_close(model(x), expected, 1e-5)
        assert torch.equal(model.simulate(x).spikes[0], model.train().simulate(x).spikes[0])
        assert len(builds) == 1
        CHANGES[change](model.eval())
        after = model(x)
        assert len(builds) == 2
    assert_close(after, model.train()(x).detach(), 1e-4)
    assert not torch.equal(after, expected)


def test_delays_are_never_kept(builds):
    model = make("delays").eval()
    x = features(model, 3)
    with torch.no_grad():
        before = model(x)
        model.graph.place(1.3 * model.graph.pos[:, :2])
        assert not torch.equal(model(x), before)
    assert not builds


# State and settings ----


@pytest.mark.parametrize("kind", ["all-to-all", "delays"])
def test_a_state_without_its_history(kind):
    model = make(kind, torch.float64)
    x = features(model, 3, dtype=torch.float64)
    state = model.simulate(x).state
    detached = state.detach()
    tensors = [values for state in detached.neurons for group in state if group is not None for values in group]
    tensors += [line for line in detached.lines if line is not None]
    assert len(tensors) > 2 and not any(values.requires_grad for values in tensors)
    assert any(line is not None for line in detached.lines) == (kind == "delays")
    ours, right = model.simulate(x, detached), model.simulate(x, state)
    for value, expected in zip(ours.potentials, right.potentials, strict=True):
        assert torch.equal(value, expected)
    # Nothing flows back into the run before.
    (grad,) = torch.autograd.grad(ours.potentials[-1].sum(), model.graph.raw_bias, retain_graph=True)
    (through,) = torch.autograd.grad(right.potentials[-1].sum(), model.graph.raw_bias)
    assert not torch.allclose(grad, through)


def test_a_state_in_another_dtype():
    model = make("delays", torch.float64)
    state = model.simulate(features(model, 3, dtype=torch.float64)).state.to(torch.float32)
    kinds = {values.dtype for groups in state.neurons for group in groups if group is not None for values in group}
    assert kinds == {torch.float32} and {line.dtype for line in state.lines if line is not None} == {torch.float32}
    assert state.to("cpu").detach().to(dtype=torch.float64).lines[0].dtype == torch.float64


@pytest.mark.parametrize(
    ("state", "error", "message"),
    [
        (lambda: "state", TypeError, "state must be a NetworkState, got str"),
        (lambda: SpatialSNN([3, 4, 4, 2], steps=4).simulate(torch.rand(5, 3)).state, ValueError, "2 stages, got 3"),
        (lambda: SpatialSNN([3, 2], steps=4).simulate(torch.rand(5, 3)).state, ValueError, "2 stages, got 1"),
        (
            lambda: SpatialSNN([3, 4, 2], steps=4, velocity=0.5).simulate(torch.rand(1, 3)).state,
            ValueError,
            r"lines of shape \('steps', 5, 3\), got \(\d+, 1, 3\)",
        ),
    ],
)
def test_a_state_of_another_network(state, error, message):
    with pytest.raises(error, match=message):
        SpatialSNN([3, 4, 2], steps=4, velocity=0.5).simulate(torch.rand(5, 3), state())


@pytest.mark.parametrize("network", [SpatialSNN, DenseSNN])
@pytest.mark.parametrize(
    ("name", "value", "error", "message"),
    [
        ("normalize", "no", TypeError, "normalize must be True or False, got 'no'"),
        ("normalize", 1, TypeError, "normalize must be True or False, got 1"),
        ("steps", 2.5, TypeError, "steps must be an int, got float"),
        ("coding", "Rate", ValueError, "coding must be one of 'current', 'rate', 'latency', got 'Rate'"),
        ("drive", float("nan"), ValueError, "drive must be finite, got nan"),
        ("read_out", "count", AttributeError, "read_out"),
    ],
)
def test_settings_are_checked_whenever_they_are_set(network, name, value, error, message):
    if name != "read_out":
        with pytest.raises(error, match=message):
            network([3, 4, 2], **{name: value})
    model = network([3, 4, 2])
    with pytest.raises(error, match=message):
        setattr(model, name, value)
    assert model.extra_repr() == network([3, 4, 2]).extra_repr()


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("beta", 1.5, "beta must be between 0 and 1, got 1.5"),
        ("threshold", 0.0, "threshold must be above 0, got 0.0"),
        ("reset", "Zero", "reset must be one of .* got 'Zero'"),
    ],
)
def test_settings_of_neurons_are_checked_too(name, value, message):
    neurons = SpatialSNN([3, 4, 2]).hidden_neurons[0]
    with pytest.raises(ValueError, match=message):
        setattr(neurons, name, value)


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
    rotation = torch.linalg.qr(torch.randn(dim, dim).double()).Q
    for moved in (pos + torch.randn(dim).double() * 10, pos @ rotation, -pos, (pos - 3.0) @ rotation + 1.0):
        model.graph.place(moved)
        assert_close(model(x), y, 1e-9)
        with torch.no_grad():
            assert_close(model.eval()(x), y, 1e-9)
        model.train()
    model.graph.place(pos * 1.5)
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
    former = torch.randperm(neurons)  # former number of each neuron
    number = torch.argsort(former)
    shuffled = number[edges][:, torch.randperm(edges.shape[1])]
    new = SpatialGraph(old.pos[former], shuffled, velocity=velocity)
    with torch.no_grad():
        new.raw_polarity.copy_(old.polarity[former][~new.is_output])
        new.raw_bias.copy_(old.bias[former][~new.is_input])
    x = torch.rand(3, neurons).double()
    y = SpatialSNN(old, steps=6)(x[:, old.inputs])
    y_new = SpatialSNN(new, steps=6)(x[:, former[new.inputs]])
    place = {neuron: k for k, neuron in enumerate(old.outputs.tolist())}
    assert_close(y_new, y[:, [place[neuron] for neuron in former[new.outputs].tolist()]], 1e-10)


@pytest.mark.parametrize("velocity", [None, 3.0])
def test_without_an_edge_exactly_its_jacobian_entry_is_zero(velocity):
    options = {"steps": 6, "coding": None, "normalize": False}
    full = SpatialGraph.layered([4, 3], velocity=velocity).double()
    x = torch.rand(6, 4).double()
    whole = torch.autograd.functional.jacobian(SpatialSNN(full, **options), x).abs().sum(1)
    assert (whole != 0).all()
    for gone in range(full.synapses):
        source, target = full.edge_index[:, gone].tolist()
        kept = torch.arange(full.synapses) != gone
        layers = {"layer": full.layer, "spacing": "learned", "velocity": velocity}
        graph = SpatialGraph(full.pos, full.edge_index[:, kept], **layers)
        graph.raw_polarity.data.copy_(full.raw_polarity)
        part = torch.autograd.functional.jacobian(SpatialSNN(graph, **options), x).abs().sum(1)
        assert (part == 0).nonzero().tolist() == [[target - 4, source]]
        assert_close(part, torch.where(part == 0, 0.0, whole), 1e-12)


@pytest.mark.parametrize("velocity", [None, 3.0])
def test_without_a_path_no_influence(velocity):
    graph = dag_graph(10, 0.25, 5, velocity=velocity).double()
    network = nx.DiGraph(graph.edge_index.t().tolist())
    network.add_nodes_from(range(10))
    model = SpatialSNN(graph, steps=8, surrogate=lambda u: torch.sigmoid(u))
    jacobian = torch.autograd.functional.jacobian(model, features(model))
    for row, output in zip(jacobian, graph.outputs.tolist(), strict=True):
        reachable = [nx.has_path(network, source, output) for source in graph.inputs.tolist()]
        assert (row != 0).tolist() == reachable


def test_batch_does_not_matter():
    for kind in ("all-to-all", "nearest", "delays", "dag"):
        model = make(kind)
        x = features(model, 20)
        assert_close(torch.stack([model(row) for row in x]), model(x), 1e-12)


# Gradients ----


@pytest.mark.parametrize("kind", ["plain", "nearest", "skip", "both weights", "delays", "free delays", "dag, delays"])
def test_gradient_of_a_smooth_network_by_finite_differences(kind):
    # With a smooth function for the step and no reset the whole network is smooth, outputs included.
    model = make(kind, surrogate=lambda u: torch.sigmoid(2.0 * u), reset="none")
    model.steps = 5
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


# The public face ----


@pytest.mark.parametrize(
    ("options", "count"),
    [({}, 10_576), ({"spacing": "fixed"}, 10_574), ({"spacing": "free"}, 13_416), ({"velocity": 1.0}, 10_576)],
)
def test_number_of_parameters(options, count):
    for read_out in ("potential", "count"):
        model = SpatialSNN([784, 2048, 10], read_out=read_out, **options)
        assert sum(p.numel() for p in model.parameters()) == count


@pytest.mark.parametrize(("hidden", "count"), [(14, 11_140), (2048, 1_628_170)])
def test_number_of_parameters_of_the_baseline(hidden, count):
    assert sum(p.numel() for p in DenseSNN([784, hidden, 10]).parameters()) == count


def test_number_of_free_parameters():
    synapses, neurons = 6 * 5 + 5 * 4 + 4 * 3, 18
    counts = {
        "law": 2 * neurons + 3 + (neurons - 3) + (neurons - 6),
        "both": 2 * neurons + 3 + (neurons - 3) + (neurons - 6) + synapses,
        "free": 2 * neurons + 3 + (neurons - 6) + synapses,
    }
    for weights, count in counts.items():
        for delays in ("length", "free"):
            model = SpatialSNN(SIZES, weights=weights, velocity=1.0, delays=delays)
            unused = (2 * neurons + 3) * (weights == delays == "free")  # positions that nothing follows from
            assert sum(p.numel() for p in model.parameters()) == count + synapses * (delays == "free") - unused


@every_kind
def test_saving_and_copying(kind, tmp_path):
    model, other = make(kind, torch.float32), make(kind, torch.float32)
    randomise(model.graph)
    x = features(model, 4, dtype=torch.float32)
    with torch.no_grad():
        model.eval()(x)
        model.simulate(x)
    model.train()(x).sum().backward()
    torch.save(model.state_dict(), tmp_path / "model.pt")
    other.load_state_dict(torch.load(tmp_path / "model.pt", weights_only=True))
    torch.save(model, tmp_path / "whole.pt")
    whole = torch.load(tmp_path / "whole.pt", weights_only=False)
    expected = model(x)
    for twin in (other, copy.deepcopy(model), whole, pickle.loads(pickle.dumps(model))):
        assert torch.equal(twin(x), expected)
        assert twin.graph is not model.graph


@every_kind
def test_either_precision(kind):
    double, single = make(kind), make(kind, torch.float32)
    x = features(double, 3)
    # No spike flips at these seeds, so that only rounding remains.
    assert double(x).dtype == torch.float64 and single(x.float()).dtype == torch.float32
    assert_close(single(x.float()), double(x), 1e-4)
    assert single.double()(x).dtype == torch.float64


@pytest.mark.parametrize("kind", ["all-to-all", "count", "delays", "nearest"])
def test_autocast(kind):
    model = make(kind, torch.float32)
    x = features(model, 16, dtype=torch.float32)
    with torch.autocast("cpu", torch.bfloat16):
        simulation, y = model.simulate(x), model(x)
        with torch.no_grad():
            model.eval()(x)
    assert all(potentials.dtype == torch.float32 for potentials in simulation.potentials)
    y.float().square().sum().backward()
    assert all(p.grad is None or p.grad.dtype == torch.float32 for p in model.parameters())


@pytest.fixture
def fresh_compiler():
    torch.compiler.reset()
    yield
    torch.compiler.reset()


@pytest.mark.parametrize("kind", ["all-to-all", "count", "delays"])
def test_compile(kind, fresh_compiler):
    model = make(kind, torch.float32)
    model.steps = 2
    compiled = torch.compile(model, backend="eager", fullgraph=True)
    x = features(model, 8, dtype=torch.float32)
    y = compiled(x)
    assert_close(y, model(x).detach(), 1e-5)
    gradients = torch.autograd.grad(y.sum(), list(model.parameters()))
    for gradient, right in zip(gradients, torch.autograd.grad(model(x).sum(), list(model.parameters())), strict=True):
        assert_close(gradient, right, 1e-4)
    with torch.no_grad():
        assert_close(compiled.eval()(x), y.detach(), 1e-5)


@pytest.mark.parametrize("kind", ["all-to-all", "free delays"])
def test_export(kind):
    model = make(kind, torch.float32)
    model.steps = 2
    x = features(model, 8, dtype=torch.float32)
    exported = torch.export.export(model, (x,)).module()
    more = features(model, 8, dtype=torch.float32)
    assert_close(exported(more), model(more).detach(), 1e-5)


def test_repr():
    text = repr(SpatialSNN(SIZES, velocity=2.0, read_out="count"))
    assert "steps=25, coding='current', read_out='count', normalize=False, drive=" in text
    assert "SpatialGraph(neurons=18, synapses=62, dim=3, spacing='learned')" in text
    assert "Leaky(beta=0.95, threshold=1.0, reset='subtract', surrogate='fast_sigmoid')" in text
    assert "LeakyIntegrator(beta=0.95)" in repr(DenseSNN(SIZES))


def test_what_a_graph_settles_is_not_given_beside_it():
    graph = SpatialGraph.layered(SIZES)
    for name, value in (("dim", 3), ("gain", 1.0), ("velocity", 1.0), ("weights", "free"), ("delays", "free")):
        with pytest.raises(TypeError, match=f"{name} must be set where the graph is made"):
            SpatialSNN(graph, **{name: value})
    assert SpatialSNN(graph).graph is graph
    assert SpatialMLP(graph).graph is graph  # one graph, two models


def foreign(n):
    import snntorch

    return snntorch.Leaky(beta=0.9)


@pytest.mark.parametrize("neuron", [None, foreign], ids=["own", "snntorch"])
def test_thousand_networks_leave_nothing_behind(neuron):
    snntorch = pytest.importorskip("snntorch")
    graph = SpatialGraph.layered([2, 2, 2])
    x = torch.rand(1, 2)

    def build(times):
        for _ in range(times):
            SpatialSNN(graph, steps=1, neuron=neuron)
        SpatialSNN([2, 2, 2], steps=2, neuron=neuron)(x).sum().backward()
        gc.collect()

    def census():
        return sum(issubclass(type(thing), torch.Tensor | nn.Module) for thing in gc.get_objects())

    build(3)
    listed, things = len(snntorch.SpikingNeuron.instances), census()
    build(1000)
    assert len(snntorch.SpikingNeuron.instances) == listed
    assert census() <= things


@pytest.mark.parametrize("options", [{}, {"velocity": 1.0}, {"velocity": 1.0, "delays": "free"}], ids=str)
def test_training_lowers_the_loss(options):
    model = SpatialSNN([4, 24, 2], steps=10, normalize=False, gain=0.4, **options)
    x = torch.rand(64, 4)
    labels = (x[:, 0] > x[:, 1]).long()
    optimizer = torch.optim.Adam(model.parameters(), lr=0.03)
    losses = []
    for _ in range(80):
        loss = F.cross_entropy(model(x), labels)
        losses.append(loss.item())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert losses[-1] < 0.5 * losses[0]


@pytest.mark.parametrize("options", [{}, {"velocity": 1.0}, {"wiring": KNN(k=2)}, {"weights": "free"}], ids=str)
def test_same_seed_same_bits(options):
    results = []
    for _ in range(2):
        torch.manual_seed(7)
        model = SpatialSNN(SIZES, coding="rate", **options, **LOUD)
        optimizer = torch.optim.Adam(model.parameters(), lr=0.1)
        for _ in range(3):
            optimizer.zero_grad()
            model(torch.rand(8, 6)).square().sum().backward()
            optimizer.step()
        results.append([p.detach().clone() for p in model.parameters()])
    assert all(torch.equal(a, b) for a, b in zip(*results, strict=True))


def test_counted_outputs_learn_although_their_potentials_stray():
    torch.manual_seed(0)
    model = SpatialSNN([4, 30, 2], read_out="count", steps=10)
    x = torch.randn(64, 4)
    labels = (x[:, 0] * x[:, 1] > 0).long()
    optimizer = torch.optim.Adam(model.parameters(), lr=0.03)
    for _ in range(150):
        optimizer.zero_grad()
        F.cross_entropy(model(x), labels).backward()
        optimizer.step()
    assert (model(x).argmax(1) == labels).float().mean() > 0.9


def test_surrogates_of_hidden_neurons_and_of_counted_outputs():
    model = SpatialSNN([4, 3, 2], read_out="count")
    assert model.hidden_neurons[0].surrogate.slope == 25.0
    assert model.output_neurons[1].surrogate.slope == 2.0
    model = SpatialSNN([4, 3, 2], read_out="count", surrogate="atan")
    assert model.output_neurons[1].surrogate_name == "atan"
