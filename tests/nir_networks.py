"""Networks of every kind for export to NIR."""

import pytest
import torch
from references import random_dag, randomise

from spatialgraph import SpatialGraph, SpatialSNN
from spatialgraph.wiring import KNN, AllToAll

nir = pytest.importorskip("nir")
snntorch = pytest.importorskip("snntorch")
DT = 1e-4


def layered(**options):
    graph = SpatialGraph.layered([6, 9, 8, 4], gain=0.8, **options)
    return randomise(graph)


def dag(edges, **options):
    return randomise(SpatialGraph(torch.randn(int(edges.max()) + 1, 3), edges, **options))


def chain():
    """Eleven stages, so that names of groups have two digits, and shortcuts to an output in the midst."""
    numbers = torch.arange(11)
    edges = torch.stack([numbers, numbers + 1])
    return dag(torch.cat([edges, torch.tensor([[0, 4, 2], [7, 12, 12]])], dim=1), gain=5.0)


def with_silent_groups():
    """Of the two hidden layers nothing leads to the first, and nothing from the second."""
    edges = torch.tensor([[0, 1, 0, 2, 3], [6, 7, 4, 7, 6]])
    pos = SpatialGraph.layered([2, 2, 2, 2]).pos.detach()
    return randomise(SpatialGraph(pos, edges, layer=torch.arange(8) // 2, spacing="learned"))


GRAPHS = {
    "layers": layered,
    "neighbours": lambda: layered(wiring=KNN(k=3), spacing="free", polarity_mode="binary", law="gaussian"),
    "all before": lambda: layered(wiring=AllToAll(reach="all"), spacing="fixed", anchored=[1]),
    "some before": lambda: layered(wiring=KNN(k=4, reach="all"), law="yukawa"),
    "free": lambda: layered(weight_mode="free"),
    "both": lambda: layered(weight_mode="both", wiring=KNN(k=3)),
    "dag": lambda: dag(random_dag(20, 0.25, 3), gain=2.0),
    "chain": chain,
    "silent": with_silent_groups,
}
SYNAPTIC = {"alpha": 0.8, "beta": 0.9, "threshold": 1.5, "reset_mechanism": "zero", "reset_delay": False}
NEURONS = {
    "leaky": {"beta": 0.9, "threshold": 0.75, "reset_mechanism": "zero"},
    "synaptic": {"neuron": lambda _: snntorch.Synaptic(**SYNAPTIC)},
    "snntorch leaky": {"neuron": lambda n: snntorch.Leaky(torch.linspace(0.6, 0.95, n), reset_mechanism="zero")},
}
CASES = [(graph, "leaky") for graph in GRAPHS] + [("layers", "synaptic"), ("dag", "snntorch leaky")]


def make(graph, read_out="count", **options):
    options = NEURONS["leaky"] | options
    return SpatialSNN(graph, normalize=False, read_out=read_out, num_steps=15, **options).eval()


def inputs(model, batch=3):
    return 2.0 * torch.rand(batch, len(model.graph.inputs), dtype=model.graph.pos.dtype)


def through_file(graph, folder):
    nir.write(folder / "network.nir", graph)
    return nir.read(folder / "network.nir")


def simulate(model, x):
    """Spikes and potentials of each neuron that is not an input, shape ``(T, batch, N)``."""
    with torch.no_grad():
        result = model.simulate(x)
    everyone = torch.zeros(2, model.num_steps, len(x), model.graph.neurons, dtype=x.dtype)
    for projection, *recorded in zip(model.graph.projections, result.spikes, result.potentials, strict=True):
        everyone[..., projection.targets] = torch.stack(recorded)
    return everyone.numpy()
