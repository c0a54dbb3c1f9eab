"""Spiking networks with recurrent synapses, and the same by a loop over neurons and time steps."""

import pytest
import torch
import torch.nn.functional as F
from cyclic_graphs import is_within
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
