"""SpatialSNN: codings, delays, settings, and what PyTorch does with a model."""

import copy
import gc
import pickle

import pytest
import torch
import torch.nn.functional as F
from changed_graphs import dag_graph
from references import assert_close, randomise
from spiking_networks import LOUD, SIZES, WITH_DELAYS, T, every_kind, features, make
from torch import nn

from spatialgraph import DenseSNN, SpatialGraph, SpatialMLP, SpatialSNN
from spatialgraph.neurons.coding import latency, rate
from spatialgraph.wiring import KNN

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
    same = SpatialSNN(model.graph, num_steps=T, coding=None, normalize=False, read_out=model.read_out)
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
    assert not SpatialSNN(dag_graph()).normalize
    if "velocity" not in options:
        assert DenseSNN(SIZES, **options).normalize is expected


def test_the_drive_is_the_standard_deviation():
    model = SpatialSNN([6, 50, 3], drive=0.7, num_steps=1, gain=1.0)  # far above the epsilon of the normalisation
    potentials = model.simulate(torch.rand(4, 6)).potentials[0][0]
    assert potentials.mean(-1).abs().max() < 1e-6
    torch.testing.assert_close(potentials.std(-1, correction=0), torch.full((4,), 0.7), rtol=1e-2, atol=0)


# Delays ----


def test_a_delay_is_not_longer_than_the_line():
    init = torch.tensor([[0.0, 0.0], [6.0, 0.0]])
    options = {"spacing": "free", "init": init, "num_steps": 4, "normalize": False}
    model = SpatialSNN([1, 1], 2, velocity=2.0, max_delay=3, **options)
    assert model.graph.delays().item() == 3.0
    message = (
        r"delays must not be longer than the line \(max_delay=3 steps\), got 4.5; raise max_delay or the graph's velo"
    )
    with pytest.raises(ValueError, match=message):
        SpatialSNN([1, 1], 2, velocity=4 / 3, max_delay=3, **options)
    model.graph.place_(torch.tensor([[9.0, 0.0]]), 1)
    with pytest.raises(ValueError, match=message):
        model(torch.zeros(1, 1))
    with pytest.raises(ValueError, match=message):
        model.simulate(torch.zeros(1, 1))
    assert (
        SpatialSNN(model.graph, num_steps=4)(torch.ones(1, 1)).item() == 0.0
    )  # what arrives later than the run is lost


@pytest.mark.parametrize(("where", "got"), [(float("nan"), "nan"), (3e38, "inf")])
def test_diverged_positions_are_noticed(where, got):
    model = SpatialSNN([2, 2], velocity=0.5, num_steps=4)
    with torch.no_grad():
        model.graph.positions.gaps.fill_(where)
    with pytest.raises(ValueError, match=f"delays must be finite, got {got}; positions have diverged"):
        model(torch.zeros(1, 2))


def test_a_spike_arrives_on_time():
    pos = torch.tensor([[0.0], [2.5]])
    graph = SpatialGraph(pos, torch.tensor([[0], [1]]), velocity=1.0)
    model = SpatialSNN(graph, num_steps=6, coding=None, beta=0.0)
    x = torch.zeros(6, 1)
    x[1] = 1.0
    weight = graph.weights().item()
    arriving = model.simulate(x).potentials[0][:, 0]
    torch.testing.assert_close(arriving, torch.tensor([0.0, 0.0, 0.0, 0.5 * weight, 0.5 * weight, 0.0]))


# Settings ----


@pytest.mark.parametrize("network", [SpatialSNN, DenseSNN])
@pytest.mark.parametrize(
    ("name", "value", "error", "message"),
    [
        ("normalize", "no", TypeError, "normalize must be True or False, got 'no'"),
        ("normalize", 1, TypeError, "normalize must be True or False, got 1"),
        ("num_steps", 2.5, TypeError, r"num_steps must be an int, got 2\.5 \(float\)"),
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
        ("reset_mechanism", "Zero", "reset_mechanism must be one of .* got 'Zero'"),
    ],
)
def test_settings_of_neurons_are_checked_too(name, value, message):
    neurons = SpatialSNN([3, 4, 2]).hidden_neurons[0]
    with pytest.raises(ValueError, match=message):
        setattr(neurons, name, value)


# The public face ----


@pytest.mark.parametrize(
    ("options", "count"),
    [({}, 10_576), ({"spacing": "fixed"}, 10_574), ({"spacing": "free"}, 13_416), ({"velocity": 1.0}, 10_576)],
)
def test_number_of_parameters(options, count):
    for read_out in ("potential", "count"):
        model = SpatialSNN([784, 2048, 10], read_out=read_out, **options)
        assert sum(p.numel() for p in model.parameters()) == count


def test_number_of_free_parameters():
    synapses, neurons = 6 * 5 + 5 * 4 + 4 * 3, 18
    counts = {
        "law": 2 * neurons + 3 + (neurons - 3) + (neurons - 6),
        "both": 2 * neurons + 3 + (neurons - 3) + (neurons - 6) + synapses,
        "free": 2 * neurons + 3 + (neurons - 6) + synapses,
    }
    for weights, count in counts.items():
        for delays in ("length", "free"):
            model = SpatialSNN(SIZES, weight_mode=weights, velocity=1.0, delay_mode=delays)
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


@pytest.mark.parametrize("kind", ["all-to-all", "free delays"])
def test_export(kind):
    model = make(kind, torch.float32)
    model.num_steps = 2
    x = features(model, 8, dtype=torch.float32)
    exported = torch.export.export(model, (x,)).module()
    more = features(model, 8, dtype=torch.float32)
    assert_close(exported(more), model(more).detach(), 1e-5)


def test_repr():
    text = repr(SpatialSNN(SIZES, velocity=2.0, read_out="count"))
    assert "num_steps=25, coding='current', read_out='count', normalize=False, drive=" in text
    assert "SpatialGraph(neurons=18, synapses=62, dim=3, spacing='learned')" in text
    assert "Leaky(beta=0.95, threshold=1.0, reset_mechanism='subtract', spike_grad='fast_sigmoid')" in text
    assert "LeakyIntegrator(beta=0.95)" in repr(DenseSNN(SIZES))


def test_what_a_graph_settles_is_not_given_beside_it():
    graph = SpatialGraph.layered(SIZES)
    for name, value in (("dim", 3), ("gain", 1.0), ("velocity", 1.0), ("weight_mode", "free"), ("delay_mode", "free")):
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
            SpatialSNN(graph, num_steps=1, neuron=neuron)
        SpatialSNN([2, 2, 2], num_steps=2, neuron=neuron)(x).sum().backward()
        gc.collect()

    def census():
        return sum(issubclass(type(thing), torch.Tensor | nn.Module) for thing in gc.get_objects())

    build(3)
    listed, things = len(snntorch.SpikingNeuron.instances), census()
    build(1000)
    assert len(snntorch.SpikingNeuron.instances) == listed
    assert census() <= things


@pytest.mark.parametrize("options", [{}, {"velocity": 1.0}, {"velocity": 1.0, "delay_mode": "free"}], ids=str)
def test_training_lowers_the_loss(options):
    model = SpatialSNN([4, 24, 2], num_steps=10, normalize=False, gain=0.4, **options)
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


@pytest.mark.parametrize("options", [{}, {"velocity": 1.0}, {"wiring": KNN(k=2)}, {"weight_mode": "free"}], ids=str)
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
    model = SpatialSNN([4, 30, 2], read_out="count", num_steps=10)
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
    assert model.hidden_neurons[0].spike_grad.slope == 25.0
    assert model.output_neurons[1].spike_grad.slope == 2.0
    model = SpatialSNN([4, 3, 2], read_out="count", spike_grad="atan")
    assert "spike_grad='atan'" in repr(model.output_neurons[1])
