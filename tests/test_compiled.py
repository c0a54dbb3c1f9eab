"""torch.compile takes every model and layer whole, and what it makes of them is never older than they are."""

from functools import partial

import pytest
import torch
from references import Exponential, assert_close, randomise
from torch import nn
from torch._dynamo.testing import CompileCounterWithBackend

import spatialgraph as sg
from spatialgraph.kernels.cuda import launching
from spatialgraph.wiring import KNN, AllToAll, Random

DOUBLE = torch.float64
SIZES = [6, 5, 3]
FEW = KNN(k=2)
mlp = partial(sg.SpatialMLP, SIZES, dtype=DOUBLE)
snn = partial(sg.SpatialSNN, SIZES, num_steps=3, gain=2.0, dtype=DOUBLE)
rnn = partial(sg.SpatialRNN, SIZES, dtype=DOUBLE)


@pytest.fixture(autouse=True)
def fresh_compiler():
    torch.compiler.reset()
    yield
    torch.compiler.reset()


class Part(nn.Module):
    """A function of a module as a module."""

    def __init__(self, module, function):
        super().__init__()
        self.module, self.function = module, function

    def forward(self, *inputs):
        return self.function(self.module, *inputs)


def masked(model, share=0.4):
    model.graph.masked_share = share
    return model


def any_graph():
    edges = torch.tensor([[0, 0, 1, 2, 3, 4, 1], [2, 3, 3, 4, 5, 5, 6]])
    return sg.SpatialMLP(sg.SpatialGraph(torch.rand(7, 2, dtype=DOUBLE), edges), normalize=False, activation="gelu")


def quantised():
    model = mlp()
    model.held = [sg.QuantizeWhileTraining(8).attach(model.graph)]
    return model


def counting():
    model = masked(snn(read_out="count"), 0.2)
    randomise(model.graph)
    return model


def penalties(graph):
    return torch.stack([sg.wiring_cost(graph), sg.communicability_cost(graph), sg.collapse_cost(graph)])


def features(count=6):
    return (torch.rand(4, count, dtype=DOUBLE, requires_grad=True),)


def nodes():
    """Features, positions, edges and the graph of seven nodes."""
    edges = torch.tensor([[0, 1, 2, 3, 1, 4, 5, 6], [1, 2, 3, 0, 0, 5, 6, 4]])
    x, pos = torch.rand(7, 4, dtype=DOUBLE, requires_grad=True), torch.rand(7, 3, dtype=DOUBLE, requires_grad=True)
    return x, pos, edges, torch.tensor([0, 0, 0, 0, 1, 1, 1])


def levels():
    x, pos, _, _ = nodes()
    places = [pos, torch.rand(2, 3, dtype=DOUBLE), torch.rand(1, 3, dtype=DOUBLE)]
    edges = [torch.tensor([[0, 1, 2, 3, 4, 5, 6], [0, 0, 0, 1, 1, 1, 1]]), torch.tensor([[0, 1], [0, 0]])]
    return x, places, edges


def sequence():
    return (torch.rand(3, 4, 6, dtype=DOUBLE, requires_grad=True),)


PERCEPTRONS = {
    "dense": mlp,
    "skip, free spacing": partial(mlp, wiring=AllToAll(reach="all"), spacing="free"),
    "nearest": partial(mlp, wiring=FEW, polarity_mode="binary", spacing="fixed", normalize=False, activation="tanh"),
    "masked, anchored": lambda: masked(mlp(anchored=[0])),
    "masked, nearest": lambda: masked(mlp(wiring=FEW)),
    "pruned": lambda: sg.SpatialMLP(sg.prune(mlp().graph, 0.4)),
    "live": partial(mlp, normalize="live", wiring=Random(0.4)),
    "free weights": partial(mlp, weight_mode="free"),
    "factors": partial(mlp, weight_mode="both", wiring=FEW),
    "grids": lambda: sg.SpatialMLP(sg.SpatialGraph.layered([(3, 2), 5, 3], grid_polarity="axes", dtype=DOUBLE)),
    "any graph": any_graph,
    "learnt law": partial(mlp, law=sg.laws.InversePower(learnable=True)),
    "own law": partial(mlp, law=Exponential()),
    "quantised": quantised,
}
SPIKING = {
    "current": counting,
    "rate": partial(snn, coding="rate", wiring=FEW),
    "latency": partial(snn, coding="latency", reset_mechanism="zero", threshold=0.5),
    "delays": partial(snn, velocity=2.0, wiring=FEW, drive=2.0),
    "free delays": partial(snn, velocity=2.0, delay_mode="free", weight_mode="both"),
    "recurrent": partial(snn, recurrent=FEW, drive=2.0),
    "recurrent, delays": partial(snn, recurrent=AllToAll(), velocity=2.0, drive=2.0),
}
RECURRENT = {
    "plain": rnn,
    "leaky": partial(rnn, cell="leaky", recurrent=FEW, nonlinearity="relu", normalize=False, read_out="all"),
    "gated": partial(rnn, cell="gated", recurrent=FEW, wiring=FEW, read_out="mean"),
}
LAYERS = {
    "linear": (lambda: sg.SpatialLinear(6, 4, polarity_mode="binary").double(), features),
    "simple convolution": (partial(sg.SpatialSimpleConv, normalize="gcn"), lambda: nodes()[:3]),
    "largest of neighbours": (
        partial(sg.SpatialSimpleConv, aggr="max", flow="target_to_source", decomposed_layers=2),
        lambda: nodes()[:3],
    ),
    "convolution": (lambda: sg.SpatialConv(4, 3, normalize="sum").double(), lambda: nodes()[:3]),
    "mean of messages": (lambda: sg.SpatialConv(4, 3, dim=4, pos_dim=3, aggr="mean").double(), lambda: nodes()[:3]),
    "graph network": (lambda: sg.SpatialGNN(4, 5, 2, 3, pool="mean", head="spatial").double(), nodes),
    "coarsening": (lambda: sg.SpatialGNN(4, [5, 6], 2, 3, law=Exponential()).double(), levels),
    "neurons": (
        lambda: Part(sg.neurons.Leaky(0.9), lambda neuron, x: neuron.run(4.0 * x, 3).potentials),
        lambda: (torch.rand(3, 2, 4, dtype=DOUBLE, requires_grad=True),),
    ),
    "activations": (lambda: Part(mlp(), sg.SpatialMLP.activations), features),
    "simulation": (lambda: Part(snn(), lambda model, x: torch.cat(model.simulate(x).potentials, -1)), features),
    "penalties": (lambda: Part(mlp().graph, penalties), tuple),
}
CASES = {name: (make, features) for name, make in {**PERCEPTRONS, **SPIKING}.items()}
CASES["any graph"] = any_graph, partial(features, 2)
CASES |= {f"{name} units": (make, sequence) for name, make in RECURRENT.items()}
CASES |= LAYERS


def run(module, inputs):
    """Outputs and gradients by all inputs and parameters."""
    torch.manual_seed(1)
    y = module(*inputs)
    y = y[0] if isinstance(y, tuple) else y
    leaves = [x for x in (*inputs, *module.parameters()) if isinstance(x, torch.Tensor) and x.requires_grad]
    return [y, *torch.autograd.grad(y.square().sum(), leaves, allow_unused=True)]


def assert_same(compiled, model, inputs):
    found, right = run(compiled, inputs), run(model, inputs)
    assert right[0].std() > 0  # a network that is silent would agree with anything
    for own, expected in zip(found, right, strict=True):
        if expected is not None and own is not None:
            assert_close(own, expected.detach(), 1e-10)
        else:
            assert all(value is None or not value.any() for value in (own, expected))


@pytest.mark.parametrize("name", CASES)
def test_outputs_and_gradients_in_training(name):
    make, inputs = CASES[name]
    model = make()
    assert_same(torch.compile(model, backend="eager", fullgraph=True), model, inputs())


@pytest.mark.parametrize("name", ["dense", "masked, nearest", "live", "grids", "delays", "leaky units", "convolution"])
def test_outputs_in_evaluation(name):
    make, inputs = CASES[name]
    model, inputs = make().eval(), inputs()
    compiled = torch.compile(model, backend="eager", fullgraph=True)
    with torch.no_grad():
        for _ in range(2):  # weights that the model keeps must not take the place of the compiled ones, or the reverse
            right, found = model(*inputs), compiled(*inputs)
            pairs = zip(found, right, strict=True) if isinstance(right, tuple) else [(found, right)]
            for own, expected in pairs:
                assert_close(own, expected, 1e-10)


@pytest.mark.filterwarnings("ignore::UserWarning")  # of breaks
@pytest.mark.parametrize("name", ["adj_t", "adj_t of channels", "lazy", "masked, live", "repulsion"])
def test_what_has_breaks_gives_the_same(name):
    x, pos, edges, _ = nodes()
    adj_t = torch.sparse_coo_tensor(edges.flip(0), torch.rand(8, dtype=DOUBLE), (7, 7)).coalesce()
    model, inputs = {
        "adj_t": lambda: (sg.SpatialSimpleConv(), (x, pos, adj_t)),
        "adj_t of channels": lambda: (sg.SpatialConv(4, 3).double(), (x, pos, adj_t.to_sparse_csr())),
        "lazy": lambda: (sg.SpatialConv(-1, 3).double(), (x, pos, edges)),
        "masked, live": lambda: (
            masked(sg.SpatialMLP([6, 9, 7, 3], normalize="live", dtype=DOUBLE), 0.8),
            features(),
        ),
        "repulsion": lambda: (Part(mlp().graph, lambda graph: sg.repulsion_cost(graph, 2.0)[None].expand(2)), ()),
    }[name]()
    compiled = torch.compile(model, backend="eager")
    found = run(compiled, inputs)
    for own, expected in zip(found, run(model, inputs), strict=True):
        if expected is not None:  # a gradient that nothing leads to
            assert_close(own, expected.detach(), 1e-10)


class Counted:
    """A model and its compiled form, which counts how often it is compiled."""

    def __init__(self, model, backend="eager"):
        self.counter = CompileCounterWithBackend(backend)
        self.model, self.compiled = model, torch.compile(model, backend=self.counter, fullgraph=True)

    def compilations(self, *inputs):
        """Compare a pass, and return how often the model has been compiled."""
        assert_same(self.compiled, self.model, inputs)
        return self.counter.frame_count


def rows(count):
    return torch.rand(count, 6, dtype=DOUBLE)


@pytest.mark.parametrize("make", [mlp, partial(mlp, wiring=FEW), partial(snn, wiring=FEW)])
def test_batches_of_other_sizes_and_training_steps(make):
    own = Counted(make())
    assert own.compilations(rows(4)) == 1
    assert [own.compilations(rows(batch)) for batch in (5, 7, 9)] == [2, 2, 2]
    optimizer = torch.optim.AdamW(own.model.parameters(), lr=0.1)
    for _ in range(3):
        own.compiled(rows(4)).square().sum().backward()
        optimizer.step()
        assert own.compilations(rows(4)) == 2


def test_graphs_of_other_sizes():
    own = Counted(sg.SpatialGNN(4, 5, 1, 3, pool="add").double())
    counts = []
    for size in (5, 6, 8, 9):
        ring = torch.stack([torch.arange(size), torch.arange(size).roll(1)])
        counts.append(own.compilations(torch.rand(size, 4, dtype=DOUBLE), torch.rand(size, 3, dtype=DOUBLE), ring))
    assert counts == [1, 2, 2, 2]


def test_changed_values_and_settings():
    own = Counted(mlp(law=Exponential()))
    graph = own.model.graph
    assert own.compilations(rows(4)) == 1
    graph.positions.coords.data.add_(0.3)
    graph.raw_bias.detach().numpy()[0] = 5.0
    assert own.compilations(rows(4)) == 1
    for gain in (0.5, 2.0, 3.0):  # the second value makes the gain a variable
        graph.gain = gain
        assert own.compilations(rows(4)) == 2
    graph.law.softening = 0.3
    own.compilations(rows(4))
    graph.law = sg.laws.Gaussian()
    own.compilations(rows(4))


@pytest.mark.parametrize("make", [mlp, partial(mlp, wiring=FEW)])
def test_a_schedule_of_masked_shares(make):
    own = Counted(make(activation="tanh"))
    pruner = sg.PruneWhileTraining(0.05).attach(own.model)
    for share in (0.05, 0.1, 0.3, 0.4):
        pruner.amount = share
        assert own.compilations(rows(4)) <= 2
    pruner.amount = 1.0
    with torch.no_grad():
        assert_close(own.compiled(rows(4)), own.model(rows(4)), 1e-10)  # biases alone


def test_repeated_pruning():
    """An engine is compiled twice at most, for one number of synapses and then for any."""
    own = Counted(sg.SpatialMLP([20, 9], dtype=DOUBLE))
    counts = []
    for _ in range(9):
        counts.append(own.compilations(torch.rand(4, 20, dtype=DOUBLE)))
        sg.prune_(own.model, 0.25)
    assert counts[0] == 1
    assert counts[-1] <= 5  # all pairs, most of them, few of them
    assert counts[-1] == counts[-3]


def test_other_synapses_of_the_same_number():
    own = Counted(mlp(wiring=FEW))
    before = own.model.graph.edge_index
    for _ in range(3):
        assert own.compilations(rows(4)) == 1
        own.model.graph.place_(torch.randn(14, 2, dtype=DOUBLE)).rewire_()
    assert not torch.equal(before, own.model.graph.edge_index)


def test_compiled_passes_ask_for_no_kernels(monkeypatch):
    """What is recorded are tensor operations, which the compiler fuses."""
    monkeypatch.setattr(launching, "DEVICES", {"cpu"})
    monkeypatch.setattr(launching, "_triton_works", lambda: True)

    def asks(x):
        return x + launching.available(x)

    x = torch.zeros(1)
    assert asks(x) == 1
    assert torch.compile(asks, backend="eager", fullgraph=True)(x) == 0
