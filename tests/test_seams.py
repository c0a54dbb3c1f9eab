"""A new engine, law, wiring, kernel and model are each one class or module and one registration."""

import types
from dataclasses import dataclass

import networkx as nx
import pytest
import torch
from references import assert_close
from torch import nn

from spatialgraph import SpatialGraph, SpatialMLP, SpatialSNN, load, prune, save, summary, to_networkx
from spatialgraph.functional import engines
from spatialgraph.functional.compressed_engine import ListedEngine
from spatialgraph.functional.fused import NORMALIZATION
from spatialgraph.functional.pairs import pairwise_length, pairwise_weight
from spatialgraph.graph.saved_models import register_model, unregister_model
from spatialgraph.kernels import registry
from spatialgraph.laws import Law, register_law, unregister_law
from spatialgraph.wiring import KNN, AllToAll, Random, Wiring

# An engine ----


class LoopEngine(ListedEngine):
    """Computes a dense matrix and multiplies neuron by neuron."""

    @classmethod
    def serves(cls, n_sources, n_targets, edges):
        return edges is not None

    def lengths(self, source_pos, target_pos):
        return pairwise_length(source_pos, target_pos)[self.edges.targets, self.edges.sources.long()]

    def law_weight(self, synapses):
        matrix = pairwise_weight(synapses.source_pos, synapses.target_pos, synapses.scale, synapses.law)
        return matrix[self.edges.targets, self.edges.sources.long()]

    def multiply(self, x, weight, bias=None, rectify=False):
        columns = [(x * row).sum(-1) for row in self.dense(weight)]
        y = torch.stack(columns, dim=-1) + (0.0 if bias is None else bias)
        return y.relu() if rectify else y


@pytest.fixture
def loop_engine():
    engines.register(LoopEngine)
    yield
    engines.unregister(LoopEngine)


@pytest.mark.parametrize("kind", [SpatialMLP, SpatialSNN])
@pytest.mark.parametrize("wiring", [KNN(k=2), Random(0.6)])
def test_an_engine(kind, wiring, loop_engine):
    torch.manual_seed(0)
    model = kind(SpatialGraph.layered([6, 5, 4], wiring=wiring, dtype=torch.float64))
    assert all(type(projection.engine) is LoopEngine for projection in model.graph.projections)
    x = torch.rand(3, 6, dtype=torch.float64, requires_grad=True)
    y = model(x)
    found = [y, model.graph.weights(), *torch.autograd.grad(y.square().sum(), [x, *model.parameters()])]
    engines.unregister(LoopEngine)
    try:
        model.graph.connect_(model.graph.edge_index)
        y = model(x)
        expected = [y, model.graph.weights(), *torch.autograd.grad(y.square().sum(), [x, *model.parameters()])]
    finally:
        engines.register(LoopEngine)
    for mine, theirs in zip(found, expected, strict=True):
        assert_close(mine, theirs, 1e-10)


def test_an_engine_is_used_wherever_a_network_goes(loop_engine, tmp_path):
    model = SpatialMLP(SpatialGraph.layered([6, 5, 4], wiring=KNN(k=3)))
    x = torch.rand(3, 6)
    save(model, tmp_path / "network.safetensors")
    read = load(tmp_path / "network.safetensors")
    assert type(read.graph.projections[0].engine) is LoopEngine and torch.equal(read(x), model(x))
    torch.testing.assert_close(model.to_dense()(x), model(x))
    torch.testing.assert_close(model.eval()(x), read(x))
    assert summary(model, batch=2, rounds=1).pruned.synapses == model.graph.synapses
    assert prune(model, 0.5).graph.synapses < model.graph.synapses
    assert to_networkx(model).number_of_edges() == model.graph.synapses


# A law ----


class Exponential(Law):
    def __init__(self, rate=1.0):
        super().__init__()
        self.rate = rate

    def from_square(self, square):
        return torch.exp(-self.rate * square.sqrt())

    def settings(self):
        return {"rate": self.rate}


@pytest.fixture
def exponential():
    register_law("exponential", Exponential)
    yield
    unregister_law("exponential")


@pytest.mark.parametrize("wiring", [None, KNN(k=2), Random(0.6)])
def test_a_law(wiring, exponential, tmp_path):
    graph = SpatialGraph.layered([6, 5, 4], wiring=wiring, law="exponential", gain=2.0, dtype=torch.float64)
    source, target = graph.edge_index
    lengths = ((graph.pos[source] - graph.pos[target]).square().sum(1) + graph.law.softening**2).sqrt()
    assert_close(graph.weights(), 2.0 * graph.polarity[source] * torch.exp(-lengths), 1e-12)
    save(graph, tmp_path / "network.safetensors")
    read = load(tmp_path / "network.safetensors")
    assert read.law.name == "exponential" and torch.equal(read.weights(), graph.weights())
    again = SpatialGraph.from_networkx(to_networkx(graph))
    assert_close(again.weights(), graph.weights(), 1e-12)


# A wiring ----


@dataclass(frozen=True, repr=False)
class Nearest(Wiring):
    """Each target receives from its nearest source."""

    def select(self, source_pos, target_pos, generator=None):
        nearest = torch.cdist(target_pos, source_pos).argmin(1)
        return torch.stack([nearest, torch.arange(len(target_pos))])


def test_a_wiring():
    graph = SpatialGraph.layered([6, 5, 4], wiring=Nearest())
    assert graph.synapses == 9 and repr(graph.wiring) == "Nearest()"
    assert nx.is_directed_acyclic_graph(to_networkx(graph))
    assert graph.place_(torch.randn(15, 2)).rewire_().synapses == 9


@pytest.mark.parametrize(
    ("edges", "error", "message"),
    [
        (torch.tensor([[0, 1, 0], [0, 1, 0]]), ValueError, r"must not list an edge twice, got \(0, 0\) again"),
        (torch.tensor([[0, -1], [0, 1]]), ValueError, "must lie between 0 and 2, got -1"),
        (torch.tensor([[0, 1], [0, 2]]), ValueError, "must lie between 0 and 1, got 2"),
        (torch.tensor([[0.0], [1.0]]), TypeError, "must be int64, got torch.float32"),
        (torch.tensor([0, 1]), ValueError, r"must have shape \(2, edges\), got \(2,\)"),
        ([[0], [1]], TypeError, "must be a tensor, got list"),
    ],
)
def test_a_wiring_that_selects_no_edges_of_these_neurons_is_refused(edges, error, message):
    @dataclass(frozen=True, repr=False)
    class Wrong(Wiring):
        def select(self, source_pos, target_pos, generator=None):
            return edges

    with pytest.raises(error, match=rf"edges of Wrong\(\) {message}"):
        SpatialGraph.layered([3, 2], wiring=Wrong())


def test_a_wiring_derived_from_all_to_all():
    @dataclass(frozen=True, repr=False)
    class First(AllToAll):
        def select(self, source_pos, target_pos, generator=None):
            edges = super().select(source_pos, target_pos, generator)
            return edges[:, edges[0] == 0]

    assert SpatialGraph.layered([3, 2], wiring=First()).edge_index.tolist() == [[0, 0], [3, 4]]


# A kernel ----


def test_a_kernel():
    calls = []

    def normalise(total, bias, rectify=False):
        calls.append(total.shape)
        mean, scale = total.mean(0), (total.var(0, correction=0) + 1e-5).rsqrt()
        y = (total - mean) * scale + bias[:, None]
        return (y.relu() if rectify else y), mean, scale

    def unused(*arguments):
        raise AssertionError("no gradient was asked for")

    kernel = types.SimpleNamespace(normalise=normalise, gradients=unused)
    model, x = SpatialMLP([6, 5, 4]), torch.rand(3, 6)
    with torch.no_grad():
        expected = model(x)
        registry.register(NORMALIZATION, kernel, lambda *values: values[0].dtype == torch.float32)
        try:
            found = model(x)
            calls_of_others = len(calls)
            model.double()(x.double())
        finally:
            registry.unregister(NORMALIZATION, kernel)
    torch.testing.assert_close(found, expected)
    assert calls_of_others == len(calls)


# A model ----


class Autoencoder(nn.Module):
    """A network whose outputs pass through a sigmoid."""

    def __init__(self, graph, sharpness=1.0):
        super().__init__()
        self.network = SpatialMLP(graph)
        self.sharpness = sharpness

    @property
    def graph(self):
        return self.network.graph

    def forward(self, x):
        return torch.sigmoid(self.sharpness * self.network(x))

    def saved_settings(self):
        return {"sharpness": self.sharpness}

    @classmethod
    def from_saved(cls, graph, settings):
        return cls(graph, **settings)


def test_a_model(tmp_path):
    model, x = Autoencoder(SpatialGraph.layered([6, 3, 6]), sharpness=3.0), torch.rand(4, 6)
    with pytest.raises(TypeError, match="network must be a SpatialGraph, .*, got Autoencoder"):
        save(model, tmp_path / "model.safetensors")
    register_model(Autoencoder)
    try:
        save(model, tmp_path / "model.safetensors")
        read = load(tmp_path / "model.safetensors")
        assert type(read) is Autoencoder and read.sharpness == 3.0 and torch.equal(read(x), model(x))
    finally:
        unregister_model(Autoencoder)
    with pytest.raises(ValueError, match="kind must be one of"):
        load(tmp_path / "model.safetensors")
    assert prune(model, 0.5).graph.synapses == 18 and summary(model, rounds=1).pruned.synapses == 36
