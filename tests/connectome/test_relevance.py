"""Relevance: by hand, by closed forms, by loops over neurons and synapses, and what the sums must be."""

import threading

import pytest
import recurrent_spiking
import torch
from changed_graphs import dag_graph
from conductance import as_tensors, conductance, even, perceptron, recurrent
from hypothesis import given, settings
from hypothesis import strategies as st
from perceptrons import KINDS
from references import assert_close, engine_policy, randomise
from torch import nn

import spatialgraph as sg
from spatialgraph.connectome.activity import conductance as own
from spatialgraph.connectome.activity.paths import spread
from spatialgraph.wiring import KNN, AllToAll

DOUBLE = torch.float64


def identity(x):
    return x


def layered(sizes=(5, 6, 4, 3), **options):
    torch.manual_seed(2)
    graph = {name: options.pop(name) for name in ("wiring", "recurrent", "weight_mode", "velocity") if name in options}
    return sg.SpatialMLP(randomise(sg.SpatialGraph.layered(sizes, dtype=DOUBLE, **graph)), **options)


def chain(edges, weights, bias=0.0):
    """A network of neurons on a line with given weights, in the order of its edge_index."""
    count = int(torch.tensor(edges).max()) + 1
    pos = torch.arange(count, dtype=DOUBLE)[:, None]
    graph = sg.SpatialGraph(pos, torch.tensor(edges).T, weight_mode="free")
    with torch.no_grad():
        order = [edges.index(tuple(edge)) for edge in graph.edge_index.T.tolist()]
        graph.free_synapses.weight.copy_(torch.tensor(weights, dtype=DOUBLE)[order])
        graph.raw_bias.fill_(bias)
    return sg.SpatialMLP(graph), order


@pytest.fixture
def evenly(monkeypatch):
    """Steps of the same length, as in the loops."""
    monkeypatch.setattr(own, "spread", even)


def outgoing(graph, synapses):
    return torch.zeros(graph.neurons, dtype=synapses.dtype).index_add_(0, graph.edge_index[0], synapses)


def incoming(graph, synapses):
    return torch.zeros(graph.neurons, dtype=synapses.dtype).index_add_(0, graph.edge_index[1], synapses)


def by_projection(graph, found):
    return torch.stack([part.sum() for part in found.synapses.split([p.synapses for p in graph.projections])])


def by_layer(graph, found):
    return torch.stack([found.neurons[..., graph.layer == layer].sum() for layer in graph.layer.unique()])


def test_two_neurons_by_hand():
    model, _ = chain([(0, 1)], [3.0], bias=7.0)
    found = sg.relevance(model, torch.tensor([[2.0], [-1.0]], dtype=DOUBLE), 0, steps=1)
    assert_close(found.neurons, [[6.0, 6.0], [-3.0, -3.0]], 1e-15)
    assert_close(found.synapses, [3.0], 1e-15)  # 6 - 3
    assert_close(found.output, [6.0, -3.0], 1e-15)
    assert found.residual.abs().max() < 1e-15


def test_a_skip_connection_by_hand():
    edges, weights = [(0, 1), (1, 2), (0, 2)], [2.0, 3.0, -4.0]
    model, order = chain(edges, weights)
    found = sg.relevance(model, torch.tensor([1.0], dtype=DOUBLE), 0, torch.tensor([0.5], dtype=DOUBLE))
    assert_close(found.synapses, torch.tensor([3.0, 3.0, -2.0], dtype=DOUBLE)[order], 1e-14)
    assert_close(found.neurons, [1.0, 3.0, 1.0], 1e-14)
    # Behind a rectifier that is closed there is nothing.
    found = sg.relevance(model, torch.tensor([-1.0], dtype=DOUBLE), 0)
    assert_close(found.synapses, torch.tensor([0.0, 0.0, 4.0], dtype=DOUBLE)[order], 1e-14)


def test_a_rectifier_opens_on_the_way_by_hand():
    model, _ = chain([(0, 1), (1, 2)], [1.0, 5.0], bias=-0.5)
    found = sg.relevance(model, torch.tensor([1.0], dtype=DOUBLE), 0, steps=8)
    assert_close(found.synapses, [2.5, 2.5], 1e-14)  # 5 (1 - 0.5), and the kink is the end of a step


@pytest.mark.parametrize("wiring", [AllToAll(), KNN(k=3), AllToAll(reach="all")], ids=repr)
def test_linear_networks_have_a_closed_form(wiring):
    model = layered(activation=identity, normalize=False, wiring=wiring)
    graph, x, start = model.graph, torch.randn(7, 5, dtype=DOUBLE), torch.randn(5, dtype=DOUBLE)
    found = sg.relevance(model, x, 2, start, steps=1)
    matrix = torch.zeros(graph.neurons, graph.neurons, dtype=DOUBLE)
    matrix[tuple(graph.edge_index)] = graph.weights().detach()
    change = (model.activations(x) - model.activations(start)).detach()
    total = torch.linalg.inv(torch.eye(graph.neurons, dtype=DOUBLE) - matrix)[:, graph.outputs[2]]
    source, target = graph.edge_index
    assert_close(found.neurons, change * total, 1e-9)
    assert_close(found.synapses, change.sum(0)[source] * graph.weights() * total[target], 1e-9)
    assert found.residual.abs().max() <= 1e-9 * found.output.abs().max()
    if wiring != AllToAll(reach="all"):
        assert_close(by_layer(graph, found), found.output.sum().expand(4), 1e-9)
        assert_close(by_projection(graph, found), found.output.sum().expand(3), 1e-9)
    else:
        assert_close(outgoing(graph, found.synapses)[graph.is_input].sum(), found.output.sum(), 1e-9)


@pytest.mark.parametrize("kind", [*KINDS, "dag tanh"])
def test_perceptrons_agree_with_loops(kind, evenly):
    torch.manual_seed(1)
    graph = randomise(dag_graph(12, 0.3).double() if kind == "dag tanh" else KINDS[kind]().double().graph)
    is_normal = graph.is_layered and kind != "plain"
    activation = "relu" if graph.is_layered and kind != "plain" else "tanh"
    model = sg.SpatialMLP(graph, activation=activation, normalize=is_normal)
    x, start = torch.randn(2, 3, len(graph.inputs), dtype=DOUBLE)
    found = sg.relevance(model, x, 0, start, steps=5)
    neurons, synapses = as_tensors(conductance(perceptron(model, 0, activation), start, x, 5), graph)
    assert_close(found.neurons, neurons, 1e-9)
    assert_close(found.synapses, synapses, 1e-9)


@pytest.mark.parametrize("cell", ["plain", "leaky"])
@pytest.mark.parametrize("read_out", ["last", "mean"])
def test_recurrent_networks_agree_with_loops(cell, read_out, evenly):
    torch.manual_seed(4)
    graph = randomise(sg.SpatialGraph.layered([3, 4, 3, 2], recurrent=[AllToAll(), KNN(k=1)], dtype=DOUBLE))
    model = sg.SpatialRNN(graph, cell=cell, read_out=read_out, normalize=read_out == "mean")
    x, start = torch.randn(2, 5, 2, 3, dtype=DOUBLE)
    found = sg.relevance(model, x, 1, start, steps=4)
    sums = conductance(recurrent(model, 1), start, x, 4)
    assert_close(found.synapses, torch.stack([sums["synapse", e].sum() for e in range(graph.synapses)]), 1e-9)
    assert_close(outgoing(graph, found.synapses)[~graph.is_output], found.neurons.sum(0)[~graph.is_output], 1e-9)
    if cell == "plain":  # a leaky neuron also keeps what it does not send
        neurons = torch.stack([sums["neuron", n] for n in range(graph.neurons)], dim=-1)
        assert_close(found.neurons, neurons, 1e-9)


@pytest.mark.parametrize("velocity", [None, 1.5])
@pytest.mark.parametrize("read_out", ["potential", "count"])
def test_spiking_networks_agree_with_loops(velocity, read_out, evenly, monkeypatch):
    model = recurrent_spiking.make(KNN(k=2), velocity, (3, 4, 3, 2), read_out=read_out, coding=None)
    graph, layer = model.graph, model.graph.layer
    numbers = [torch.nonzero(layer[graph.edge_index[1]] == n)[:, 0].tolist() for n in range(1, 4)]
    order, plain = sum(numbers, []), recurrent_spiking.arriving
    x, start = torch.rand(2, recurrent_spiking.T, 2, 3, dtype=DOUBLE)

    def run(points, watch):
        calls = []

        def arriving(trains, time):
            value = plain(trains, time)
            calls.append(order[len(calls) % len(order)])
            return watch(calls[-1], value + torch.zeros(points.shape[1], dtype=DOUBLE))

        monkeypatch.setattr(recurrent_spiking, "arriving", arriving)
        return recurrent_spiking.step_by_step(model, points)[2][:, 1]

    sums = conductance(run, start, x, 4)
    found = sg.relevance(model, x, 1, start, steps=4)
    expected = torch.stack([sums[e].sum() for e in range(graph.synapses)])
    assert expected.abs().max() > 0
    assert_close(found.synapses, expected, 1e-8)
    assert_close(outgoing(graph, found.synapses)[~graph.is_output], found.neurons.sum(0)[~graph.is_output], 1e-8)
    assert_close(incoming(graph, found.synapses)[graph.is_output], found.neurons.sum(0)[graph.is_output], 1e-8)


@given(seed=st.integers(0, 1000), normalize=st.booleans(), k=st.sampled_from([None, 2]))
@settings(max_examples=3, deadline=None)
def test_layers_and_projections_sum_to_the_output(seed, normalize, k):
    torch.manual_seed(seed)
    graph = randomise(sg.SpatialGraph.layered([5, 8, 6, 3], wiring=KNN(k=k) if k else None, dtype=DOUBLE))
    model, x = sg.SpatialMLP(graph, normalize=normalize), torch.randn(1, 5, dtype=DOUBLE)
    found = sg.relevance(model, x, 0, steps=80)
    assert (found.neurons[..., graph.is_input].sum(-1) + found.residual - found.output).abs().max() < 1e-12
    scale = max(float(found.neurons.abs().sum()), 1e-9)  # outputs may cancel
    assert (by_layer(graph, found) - found.output.sum()).abs().max() < 1e-3 * scale
    assert (by_projection(graph, found) - found.output.sum()).abs().max() < 1e-3 * scale
    assert found.residual.abs().max() < 1e-3 * scale


def test_what_enters_a_neuron_leaves_it():
    model = sg.SpatialMLP(dag_graph(12, 0.3).double(), activation="tanh")
    graph = model.graph
    found = sg.relevance(model, torch.randn(4, len(graph.inputs), dtype=DOUBLE), 0, steps=60)
    hidden = ~(graph.is_input | graph.is_output)
    assert_close(incoming(graph, found.synapses)[hidden], outgoing(graph, found.synapses)[hidden], 1e-3)


def test_gated_networks_are_complete():
    torch.manual_seed(0)
    model = sg.SpatialRNN([3, 4, 2], cell="gated", normalize=False, dtype=DOUBLE)
    x, start = torch.randn(2, 4, 3, 3, dtype=DOUBLE)
    found = sg.relevance(model, x, 0, start, steps=60)
    whole = found.output.sum().expand(2)
    assert_close(by_projection(model.graph, found)[:2], whole, 1e-3)
    is_output = model.graph.is_output
    assert_close(outgoing(model.graph, found.synapses)[~is_output], found.neurons.sum(0)[~is_output], 1e-9)


@pytest.mark.parametrize("mode", ["law", "free", "both"])
def test_engines_agree(mode, monkeypatch):
    results = []
    for share in (0.0, 2.0):  # masked dense products, and compressed rows
        monkeypatch.setitem(engine_policy.MASKED_FROM, "cpu", share)
        model = layered(wiring=KNN(k=3), weight_mode=mode)
        model.graph.masked_share = 0.2 if mode == "law" else 0.0
        torch.manual_seed(5)
        results.append((model, sg.relevance(model, torch.randn(6, 5, dtype=DOUBLE), 1, steps=20)))
    (one, first), (other, second) = results
    assert type(one.graph.projections[0].engine) is not type(other.graph.projections[0].engine)
    assert_close(first.neurons, second.neurons, 1e-10)
    assert_close(first.synapses, second.synapses, 1e-10)
    assert mode != "law" or (first.synapses[one.graph.weights() == 0] == 0).all()


def test_a_synapse_without_relevance_can_go():
    model = layered(normalize=False)
    graph, x = model.graph, torch.rand(4, 5, dtype=DOUBLE)
    with torch.no_grad():
        graph.raw_bias[0] = -1e3  # the first hidden neuron is silent
    found = sg.relevance(model, x, 1, steps=20)
    silent = (graph.edge_index == graph.inputs.max() + 1).any(0)
    assert (found.synapses[silent] == 0).all() and (found.synapses[~silent] != 0).any()
    graph.connect_(graph.edge_index[:, ~silent])
    again = sg.relevance(model, x, 1, steps=20)
    assert_close(again.synapses, found.synapses[~silent], 1e-10)
    assert_close(again.output, found.output, 1e-12)


def test_samples_of_a_batch_are_independent(evenly):
    model = layered()
    x, target = torch.randn(2, 3, 5, dtype=DOUBLE), torch.tensor([[0, 1, 2], [2, 2, 0]])
    found = sg.relevance(model, x, target, steps=7)
    single = [[sg.relevance(model, x[i, j], int(target[i, j]), steps=7) for j in range(3)] for i in range(2)]
    for name in ("neurons", "output", "residual"):
        assert_close(
            getattr(found, name), torch.stack([torch.stack([getattr(s, name) for s in r]) for r in single]), 1e-9
        )
    assert_close(found.synapses, sum(s.synapses for row in single for s in row), 1e-9)


class Larger(nn.Module):
    """A convolution before a spatial network, and something after it."""

    def __init__(self, network):
        super().__init__()
        self.front, self.network = nn.Sequential(nn.Conv2d(1, 2, 3), nn.Tanh(), nn.Flatten()), network
        self.end = nn.Linear(4, 3)

    def forward(self, x):
        return self.end(torch.tanh(self.network(self.front(x))))


def test_a_network_within_a_larger_model():
    torch.manual_seed(0)
    model = Larger(sg.SpatialMLP([18, 9, 4], activation="tanh", normalize=False)).double()
    images = torch.rand(3, 1, 5, 5, dtype=DOUBLE)
    found = sg.relevance(model, images, 2, steps=100)
    expected = model(images)[:, 2] - model(torch.zeros_like(images))[:, 2]
    assert_close(found.output, expected, 1e-12)
    layer = model.network.graph.layer
    for number in range(3):
        assert_close(found.neurons[:, layer == number].sum(1), expected, 1e-3)
    assert not model.network._forward_hooks and not model.network._forward_pre_hooks


def test_a_compiled_model_gives_the_same():
    model, x = layered(), torch.randn(2, 5, dtype=DOUBLE)
    compiled = torch.compile(model, backend="eager")
    assert_close(compiled(x), model(x), 1e-12)
    first, second = (sg.relevance(each, x, 0, steps=6) for each in (model, compiled))
    assert torch.equal(first.synapses, second.synapses) and torch.equal(first.neurons, second.neurons)
    assert_close(compiled(x), model(x), 1e-12)


@pytest.mark.parametrize("training", [True, False])
def test_the_model_is_left_as_found(training):
    model = nn.Sequential(nn.Dropout(0.5), sg.SpatialMLP([5, 6, 3])).train(training)
    model[1].graph.raw_bias.grad = torch.full_like(model[1].graph.raw_bias, 3.0)
    x = torch.rand(4, 5, requires_grad=True)
    state, draws = (
        {n: v.clone() for n, v in model.state_dict().items() if isinstance(v, torch.Tensor)},
        torch.get_rng_state(),
    )
    found = sg.relevance(model, x, 0, steps=3)
    assert found.residual.shape == (4,) and not found.neurons.requires_grad
    assert torch.equal(torch.get_rng_state(), draws) and x.grad is None
    assert all(torch.equal(model.state_dict()[name], value) for name, value in state.items())
    assert [p.grad is None for p in model.parameters()].count(False) == 1
    assert (model[1].graph.raw_bias.grad == 3.0).all() and model[1].training == training
    assert model[1].graph.observer is None and "_observer" not in model[1].graph.__dict__


def test_no_hook_is_left_after_an_error():
    model = nn.Sequential(sg.SpatialMLP([5, 3]), nn.Linear(2, 2))
    with pytest.raises(RuntimeError, match="mat1 and mat2"):
        sg.relevance(model, torch.rand(4, 5), 0)
    assert model[0].graph.observer is None and not model[0]._forward_hooks
    with model[0].graph.observed(), pytest.raises(RuntimeError, match="one observer at a time"):
        sg.relevance(model[0], torch.rand(4, 5), 0)


def test_other_threads_are_not_observed():
    model, x = sg.SpatialMLP([5, 6, 3]), torch.rand(4, 5)
    with model.graph.observed() as observer:
        thread = threading.Thread(target=model, args=(x,))
        thread.start()
        thread.join()
        assert not observer.sendings
        model(x)
    assert [sending.number for sending in observer.sendings] == [0, 1]


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_other_dtypes(dtype):
    model = layered(normalize=False)
    x = torch.rand(6, 5, dtype=DOUBLE).to(dtype)
    right = sg.relevance(model, x.double(), 0, steps=8)
    found = sg.relevance(model.to(dtype), x, 0, steps=8)
    assert found.neurons.dtype == found.synapses.dtype == torch.float32
    assert_close(found.synapses, right.synapses, 1e-4 if dtype == torch.float32 else 0.1)


def test_with_autocast():
    model = layered(normalize=False).float()
    x = torch.rand(6, 5)
    right = sg.relevance(model, x, 0, steps=8)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = sg.relevance(model, x, 0, steps=8)
    assert found.synapses.dtype == torch.float32 and not torch.equal(found.synapses, right.synapses)
    assert_close(found.synapses, right.synapses, 0.1)


def test_under_inference_mode_and_frozen_in_eval():
    model = layered().eval().requires_grad_(False)
    x = torch.rand(6, 5, dtype=DOUBLE)
    right = sg.relevance(model, x, 0, steps=8)
    with torch.inference_mode():
        found = sg.relevance(model, x + 0.0, 0, steps=8)
    assert torch.equal(found.synapses, right.synapses) and found.synapses.abs().max() > 0


def test_random_spikes_are_the_same_all_along_the_path():
    model = sg.SpatialSNN([5, 6, 3], coding="rate", num_steps=9, dtype=DOUBLE)
    x = torch.rand(4, 5, dtype=DOUBLE)
    first, second = (sg.relevance(model, x, 0, x, steps=3) for _ in range(2))
    assert (first.neurons == 0).all() and (second.output == 0).all()  # a path of no length


def test_the_representation_tells_what_is_missing():
    found = sg.relevance(layered(), torch.rand(4, 5, dtype=DOUBLE), 0)
    assert repr(found).startswith("Relevance(neurons=(4, 18), synapses=(66,), residual=0.")
    assert repr(sg.Relevance(*torch.zeros(4, 1))).endswith("residual=0.00% of the output)")


@pytest.mark.parametrize("steps", [1, 2, 3, 4, 7, 50])
def test_steps_cover_the_path(steps):
    places = spread(lambda place: torch.tensor([max(0.0, place - 0.3) ** 2]), steps)
    assert len(places) == steps + 1 and places == sorted(set(places)) and places[0] == 0.0 and places[-1] == 1.0


WRONG = [
    ({"target": 3}, ValueError, r"target must be between 0 and the number of outputs - 1 \(2\), got 3"),
    ({"target": -1}, ValueError, "target must be at least 0, got -1"),
    ({"target": 1.0}, TypeError, "target must be an int, got 1.0"),
    ({"target": torch.tensor([0, 1])}, ValueError, r"target must have shape \(4,\), got \(2,\)"),
    ({"target": torch.tensor([0, 1, 2, 3])}, ValueError, "target must lie between 0 and 2, got 3"),
    ({"target": torch.zeros(4)}, TypeError, "target must be int64, got torch.float32"),
    (
        {"baseline": torch.zeros(3, 5)},
        ValueError,
        r"baseline must have a shape that broadcasts to \(4, 5\), got \(3, 5\)",
    ),
    ({"baseline": torch.zeros(5).double()}, TypeError, r"baseline must have the dtype of x \(torch.float32\)"),
    ({"baseline": 0.0}, TypeError, "baseline must be a tensor, got float"),
    ({"x": torch.zeros(4, 5, dtype=torch.int64)}, TypeError, "x must be floating point, got torch.int64"),
    ({"x": torch.full((4, 5), torch.nan)}, ValueError, "x must be finite, got nan"),
    ({"x": torch.zeros(4, 6)}, ValueError, r"x must have shape \(..., 5\), got \(4, 6\)"),
    ({"steps": 0}, ValueError, "steps must be at least 1, got 0"),
    ({"model": nn.Linear(5, 3)}, TypeError, "model must be or hold a spatial network such as SpatialMLP, got Linear"),
]


@pytest.mark.parametrize(("changes", "error", "message"), WRONG, ids=[message for *_, message in WRONG])
def test_wrong_arguments(changes, error, message):
    arguments = {"model": sg.SpatialMLP([5, 6, 3]), "x": torch.rand(4, 5), "target": 0} | changes
    with pytest.raises(error, match=message):
        sg.relevance(**arguments)


class Tokens(nn.Module):
    """Averages over another axis than that of the samples."""

    def __init__(self, change):
        super().__init__()
        self.network, self.change = sg.SpatialMLP([5, 6, 3]), change

    def forward(self, x):
        return self.change(self.network(x))


class Unrecorded(nn.Module):
    """Runs its network without a record, as reentrant checkpoints do."""

    def __init__(self):
        super().__init__()
        self.network = sg.SpatialMLP([5, 6, 3])

    def forward(self, x):
        with torch.no_grad():
            y = self.network(x)
        return y + x.sum(-1, keepdim=True)


def test_outputs_must_be_those_of_the_samples():
    x = torch.rand(4, 4, 5)
    with pytest.raises(ValueError, match=r"outputs of shape \(4, 4, 'outputs'\) for the samples of its network, got"):
        sg.relevance(Tokens(lambda y: y.mean(1)), x, 0)
    with pytest.raises(TypeError, match=r"model must return a tensor of shape \(..., outputs\), got dict"):
        sg.relevance(Tokens(lambda y: {"y": y}), x, 0)
    with pytest.raises(RuntimeError, match="by operations with gradients, got none"):
        sg.relevance(Tokens(torch.Tensor.detach), x, 0)
    with pytest.raises(RuntimeError, match="by operations with gradients, got none"):
        sg.relevance(Unrecorded(), x, 0)
    with pytest.raises(ValueError, match="read_out of the network must give one output for all time steps, got 'all'"):
        sg.relevance(sg.SpatialRNN([5, 6, 3], read_out="all", batch_first=True), x, 0)


class Repeated(sg.SpatialMLP):
    """Sends more than it returns."""

    def forward(self, x):
        return super().forward(torch.stack([x, x])[None])[0, 0]


def test_what_is_sent_must_be_that_of_the_samples():
    with pytest.raises(ValueError, match=r"got \(4, 'outputs'\) and \(1, 2, 4, 'neurons'\)"):
        sg.relevance(Repeated([5, 6, 3]), torch.rand(4, 5), 0)
