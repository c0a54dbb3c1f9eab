"""Relevance by loops over neurons, synapses and time steps."""

import torch
import torch.nn.functional as F

ACTIVATIONS = {"relu": torch.relu, "tanh": torch.tanh, "linear": lambda x: x}


class Watch:
    """Keeps what passes, and each as a tensor of its own."""

    def __init__(self):
        self.passed = {}

    def __call__(self, key, value):
        value = value.view_as(value) if value.requires_grad else value.detach().requires_grad_()
        self.passed.setdefault(key, []).append(value)
        return value


def even(_, steps):
    """Steps of the same length."""
    return [number / steps for number in range(steps + 1)]


def conductance(run, start, x, steps):
    """Sums of gradients times differences of all that a run watches, by key, for each sample.

    ``run`` takes inputs ``(..., samples, inputs)`` and a watch and returns the output of each sample.
    """
    places = torch.linspace(0, 1, steps + 1, dtype=x.dtype)
    samples = x.shape[-2]
    passed = []
    for at in (places, (places[1:] + places[:-1]) / 2):
        points = torch.cat([start + place * (x - start) for place in at], dim=-2)
        watch = Watch()
        output = run(points.requires_grad_(), watch)
        passed.append(watch.passed)
    ends, middles = passed
    found = {}
    for key, values in middles.items():
        grads = torch.autograd.grad(output.sum(), values, retain_graph=True, allow_unused=True)
        pairs = [(grad, end.detach()) for grad, end in zip(grads, ends[key], strict=True) if grad is not None]
        by_step = [(g.view(steps, samples) * e.view(steps + 1, samples).diff(dim=0)).sum(0) for g, e in pairs]
        found[key] = sum(by_step, torch.zeros(samples).to(x))
    return found


def as_tensors(found, graph):
    """Relevance of neurons ``(samples, N)`` and synapses ``(E,)`` from sums by key."""
    neurons = torch.stack([found["neuron", n] for n in range(graph.neurons)], dim=-1)
    synapses = torch.stack([found["synapse", e].sum() for e in range(graph.synapses)])
    return neurons, synapses


def perceptron(model, target, activation="relu"):
    """A run of a SpatialMLP, neuron by neuron."""
    graph = model.graph
    edges, weights = graph.edge_index.T.tolist(), graph.weights().detach()
    stages = [(p.targets.tolist(), p.hidden) for p in graph.feed_forward_projections]

    def run(x, watch):
        sent = {n: watch(("neuron", n), x[:, place]) for place, n in enumerate(graph.inputs.tolist())}
        for targets, hidden in stages:
            totals = dict.fromkeys(targets, torch.zeros(len(x)).to(x))
            for e, (i, j) in enumerate(edges):
                if j in totals:
                    totals[j] = totals[j] + watch(("synapse", e), weights[e] * sent[i])
            inner = [totals[j] for j in targets[:hidden]]
            if model.normalize and hidden:
                inner = F.layer_norm(torch.stack(inner, -1), (hidden,)).unbind(-1)
            values = [ACTIVATIONS[activation](z + graph.bias[j]) for z, j in zip(inner, targets[:hidden], strict=True)]
            values += [totals[j] + graph.bias[j] for j in targets[hidden:]]
            sent |= {j: watch(("neuron", j), value) for j, value in zip(targets, values, strict=True)}
        return sent[graph.outputs[target].item()]

    return run


def recurrent(model, target):
    """A run of a SpatialRNN with plain or leaky cells, neuron by neuron and step by step."""
    graph, layer = model.graph, model.graph.layer.tolist()
    edges, weights = graph.edge_index.T.tolist(), graph.weights().detach()
    places = dict.fromkeys(graph.inputs.tolist())
    places = {n: place for place, n in enumerate(places)}
    rates = {n: 1.0 for n in range(graph.neurons)}
    for number, leaks in model.leaks.items():
        targets = graph.feed_forward_projections[int(number)].targets.tolist()
        rates |= dict(zip(targets, leaks.rates.detach(), strict=True))

    def run(x, watch):
        before, outputs = {n: torch.zeros(x.shape[1]).to(x) for n in range(graph.neurons)}, []
        for features in x:
            sent = {n: watch(("neuron", n), features[:, place]) for n, place in places.items()}
            for number in range(1, max(layer) + 1):
                members = [n for n in range(graph.neurons) if layer[n] == number]
                totals = {n: torch.zeros(x.shape[1]).to(x) for n in members}
                for e, (i, j) in enumerate(edges):
                    if j in totals:
                        value = before[i] if layer[i] == number else sent[i]
                        totals[j] = totals[j] + watch(("synapse", e), weights[e] * value)
                if number == max(layer):
                    sent |= {n: watch(("neuron", n), totals[n] + graph.bias[n]) for n in members}
                    continue
                inner = torch.stack(list(totals.values()), -1)
                inner = F.layer_norm(inner, (len(members),)) if model.normalize else inner
                for n, z in zip(members, inner.unbind(-1), strict=True):
                    reached = torch.tanh(z + graph.bias[n])
                    value = before[n] + rates[n] * (reached - before[n])
                    sent[n] = watch(("neuron", n), value) if model.cell == "plain" else value
            before = sent
            outputs.append(sent[graph.outputs[target].item()])
        return outputs[-1] if model.read_out == "last" else torch.stack(outputs).mean(0)

    return run
