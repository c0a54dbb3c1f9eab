"""Spiking networks of every kind, and the same by loops over neurons and time."""

from functools import partial

import numpy as np
import pytest
import torch
from changed_graphs import dag_graph
from references import assert_close, randomise

from spatialgraph import SpatialSNN
from spatialgraph.neurons import Leaky
from spatialgraph.wiring import KNN, AllToAll, Random

SIZES = [6, 5, 4, 3]
T = 12
# Gains and velocities that let some neurons fire and let spikes arrive within the run.
LOUD = {"num_steps": T, "gain": 0.6}


KINDS = {
    "all-to-all": partial(SpatialSNN, SIZES, **LOUD),
    "plain": partial(SpatialSNN, SIZES, normalize=False, spacing="fixed", **LOUD),
    "count": partial(SpatialSNN, SIZES, read_out="count", normalize=False, **LOUD),
    "zero": partial(SpatialSNN, SIZES, reset_mechanism="zero", beta=0.8, threshold=0.5, **LOUD),
    "skip": partial(SpatialSNN, SIZES, wiring=AllToAll(reach="all"), spacing="free", **LOUD),
    "nearest": partial(SpatialSNN, SIZES, wiring=KNN(k=2), polarity_mode="binary", **LOUD),
    "random, count": partial(SpatialSNN, SIZES, wiring=Random(density=0.6), read_out="count", **LOUD),
    "free weights": partial(SpatialSNN, SIZES, weight_mode="free", **LOUD),
    "both weights": partial(SpatialSNN, SIZES, weight_mode="both", wiring=KNN(k=3), **LOUD),
    "delays": partial(SpatialSNN, SIZES, velocity=0.8, **LOUD),
    "delays, nearest": partial(SpatialSNN, SIZES, velocity=0.8, wiring=KNN(k=2), read_out="count", **LOUD),
    "free delays": partial(SpatialSNN, SIZES, velocity=0.8, delay_mode="free", weight_mode="both", **LOUD),
    "dag": lambda **o: SpatialSNN(dag_graph(gain=0.6), num_steps=T, **o),
    "dag, count": lambda **o: SpatialSNN(dag_graph(gain=0.6), num_steps=T, read_out="count", **o),
    "dag, delays": lambda **o: SpatialSNN(dag_graph(gain=0.6, velocity=1.5), num_steps=T, **o),
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
        kept = potential * (1.0 - spike) if fires and neuron["reset_mechanism"] == "zero" else potential
        potential = neuron["beta"] * kept + arriving
        if fires and neuron["reset_mechanism"] == "subtract":
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
    neuron = {"beta": model.integrator.beta, "threshold": leaky.threshold, "reset_mechanism": leaky.reset_mechanism}
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


both_wirings = pytest.mark.parametrize("wiring", [AllToAll(), KNN(k=2)], ids=repr)
