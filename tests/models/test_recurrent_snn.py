"""Spiking networks with recurrent synapses, against a loop over neurons and time steps, and what else they must do."""

import copy

import hypothesis.strategies as st
import pytest
import torch
import torch.nn.functional as F
from cyclic_graphs import cyclic_graph, is_within, within
from hypothesis import given, settings
from references import assert_close, randomise

import spatialgraph as sg

T = 9
WIRINGS = [sg.wiring.AllToAll(), sg.wiring.KNN(k=2), sg.wiring.Random(0.8)]
every_wiring = pytest.mark.parametrize("wiring", WIRINGS, ids=repr)
VELOCITIES = [None, 0.4, 3.0]
every_velocity = pytest.mark.parametrize("velocity", VELOCITIES)


def make(wiring=WIRINGS[0], velocity=None, sizes=(4, 6, 5, 3), **options):
    """A network of layers in which neurons of every layer fire."""
    torch.manual_seed(1)
    graph = sg.SpatialGraph.layered(sizes, recurrent=wiring, velocity=velocity, gain=2.0, dtype=torch.float64)
    return sg.SpatialSNN(randomise(graph), num_steps=T, **options)


def series(model, *leading):
    return torch.rand(T, *leading, len(model.graph.inputs), dtype=torch.float64)


def step(u, slope):
    """A spike with the gradient of a fast sigmoid."""
    smooth = u / (1 + slope * u.abs())
    return (u > 0).to(u) + (smooth - smooth.detach())


def times_of(graph):
    """Delays by the rule for each kind of synapse."""
    is_recurrent = is_within(graph)
    if graph.velocity is None:
        return is_recurrent.to(graph.raw_bias)
    source, target = graph.pos[graph.edge_index[0]], graph.pos[graph.edge_index[1]]
    times = (source - target).square().sum(1).sqrt() / graph.velocity
    return torch.where(is_recurrent & (times < 1), 1.0, times)


def arriving(trains, time):
    """What arrives now of the spikes of the steps so far, of which the last may be this step's."""
    whole = int(time.detach().floor())
    early, late = (trains[-1 - lag] if lag < len(trains) else 0.0 for lag in (whole, whole + 1))
    return early + (time - whole) * (late - early)


def step_by_step(model, x):
    """Spikes and potentials of all neurons (T, batch, N), and logits, neuron by neuron in each step."""
    graph, layer = model.graph, model.graph.layer.tolist()
    synapses = list(zip(*graph.edge_index.tolist(), graph.weights(), times_of(graph), strict=True))
    spikes = [[] for _ in layer]
    potentials = [[x.new_zeros(x.shape[1])] for _ in layer]
    fired = [x.new_zeros(x.shape[1])] * len(layer)
    for features in x:
        for place, n in enumerate(graph.inputs.tolist()):
            spikes[n].append(features[:, place])
            potentials[n].append(torch.zeros_like(features[:, place]))
        for number in range(1, max(layer) + 1):
            members = [n for n in range(len(layer)) if layer[n] == number]
            totals = {n: x.new_zeros(x.shape[1]) for n in members}
            for source, target, weight, time in synapses:
                if target in totals:  # a train within the layer ends in the step before
                    now = spikes[source] + [0.0] * (layer[source] == number)
                    totals[target] = totals[target] + weight * arriving(now, time)
            if model.normalize and number < max(layer):
                normal = F.layer_norm(torch.stack([totals[n] for n in members], dim=1), (len(members),))
                totals = dict(zip(members, (model.drive * normal).unbind(1), strict=True))
            for n in members:
                reset = fired[n].detach() * (number < max(layer) or model.read_out == "count")
                potential = model.integrator.beta * potentials[n][-1] + totals[n] + graph.bias[n] - reset
                slope = 25.0 if number < max(layer) else 2.0
                fired[n] = step(potential - 1.0, slope)
                potentials[n].append(potential)
                spikes[n].append(fired[n])
    spikes, potentials = (
        torch.stack([torch.stack(runs[-len(x) :]) for runs in kind], -1) for kind in (spikes, potentials)
    )
    outputs = graph.outputs
    return spikes, potentials, (spikes.sum(0) if model.read_out == "count" else potentials.mean(0))[..., outputs]


def assert_same_as_step_by_step(model, x):
    """Compare a run and its gradients; return the spikes of hidden neurons."""
    spikes, potentials, logits = step_by_step(model, x)
    run, own = model.simulate(x), model(x)
    is_hidden = ~(model.graph.is_input | model.graph.is_output)
    for number, stage in enumerate(model.graph.feed_forward_projections):
        fires = stage.targets if model.read_out == "count" else stage.targets[: stage.hidden]
        assert torch.equal(run.spikes[number][..., : len(fires)], spikes[..., fires])
        assert_close(run.potentials[number], potentials[..., stage.targets], 1e-9)
    assert_close(own, logits, 1e-9)
    names, values = zip(*((n, p) for n, p in model.named_parameters() if p.requires_grad), strict=True)
    grads = [torch.autograd.grad(y.square().sum(), values, retain_graph=True, allow_unused=True) for y in (own, logits)]
    for name, gradient, right in zip(names, *grads, strict=True):
        zero = torch.zeros(()).double()
        largest = 1.0 if right is None else max(1.0, float(right.abs().max()))
        difference = (zero if gradient is None else gradient) - (zero if right is None else right)
        assert difference.abs().max() <= 1e-8 * largest, name
    return spikes[..., is_hidden]


# Against the loop ----


@given(
    seed=st.integers(0, 10**6),
    velocity=st.sampled_from([None, 0.3, 0.7, 2.5]),
    read_out=st.sampled_from(["potential", "count"]),
)
@settings(max_examples=50, deadline=None)
def test_a_network_with_cycles_is_computed_step_by_step(seed, velocity, read_out):
    graph = cyclic_graph(seed, velocity=velocity, gain=2.0)
    model = sg.SpatialSNN(graph, num_steps=T, coding=None, normalize=False, read_out=read_out)
    generator = torch.Generator().manual_seed(seed)
    assert_same_as_step_by_step(model, torch.rand(T, 2, len(graph.inputs), dtype=torch.float64, generator=generator))


@every_wiring
@every_velocity
@pytest.mark.parametrize("normalize", [True, False])
@pytest.mark.parametrize("read_out", ["potential", "count"])
def test_layers_are_computed_step_by_step(wiring, velocity, normalize, read_out):
    model = make(wiring, velocity, coding=None, normalize=normalize, read_out=read_out)
    fired = assert_same_as_step_by_step(model, series(model, 3))
    assert 0.05 < fired.mean() < 0.95


@every_velocity
def test_an_input_that_is_constant(velocity):
    model = make(velocity=velocity, normalize=True)
    same = sg.SpatialSNN(model.graph, num_steps=T, coding=None, normalize=True)
    x = torch.rand(3, 4, dtype=torch.float64)
    whole = x.expand(T, 3, 4)
    assert_same_as_step_by_step(same, whole)
    assert_close(model(x), same(whole), 1e-12)


@pytest.mark.parametrize("options", [{"weight_mode": "free"}, {"weight_mode": "both", "delay_mode": "free"}], ids=str)
def test_free_weights_and_delays(options):
    graph = sg.SpatialGraph.layered([3, 5, 2], recurrent=sg.wiring.KNN(k=3), velocity=0.7, **options).double()
    if "delay_mode" in options:
        with torch.no_grad():
            graph.free_synapses.delay.copy_(3.0 * torch.rand(graph.synapses) - 1.0)
        free = graph.free_synapses.delay.abs()
        assert_close(graph.delays(), torch.where(is_within(graph), free.clamp(min=1.0), free), 1e-15)
    else:
        assert_close(graph.delays(), times_of(graph), 1e-12)
        model = sg.SpatialSNN(graph, num_steps=T, coding=None)
        assert_same_as_step_by_step(model, 3.0 * series(model, 2))


def test_a_spike_that_crosses_a_recurrent_synapse_arrives_one_step_later():
    edges, layer = torch.tensor([[0, 1, 2, 2], [1, 2, 1, 3]]), torch.tensor([0, 1, 1, 2])
    graph = sg.SpatialGraph(torch.rand(4, 2), edges, layer=layer, gain=0.1)
    weight = dict(zip(map(tuple, graph.edge_index.t().tolist()), graph.weights().tolist(), strict=True))
    model = sg.SpatialSNN(graph, num_steps=5, coding=None, normalize=False, beta=0.0, reset_mechanism="none")
    x = torch.zeros(5, 1)
    x[1] = 2.0 / weight[0, 1]
    run = model.simulate(x)
    assert run.spikes[0].tolist() == [[0.0, 0.0], [1.0, 0.0], *[[0.0, 0.0]] * 3]
    assert run.potentials[0][:, 1].tolist() == pytest.approx([0.0, 0.0, weight[1, 2], 0.0, 0.0])
