"""SpatialRNN against step-by-step references, and what it owes to the conventions of nn.RNN."""

import hypothesis.strategies as st
import numpy as np
import pytest
import torch
from cyclic_graphs import cyclic_graph
from hypothesis import given, settings
from torch import nn

import spatialgraph as sg
from spatialgraph.models.gates import Gates


def step_by_step(graph, x, activation):
    """Outputs in each time step, neuron by neuron."""
    weight = {edge: w for edge, w in zip(map(tuple, graph.edge_index.t().tolist()), graph.weights(), strict=True)}
    layer, bias = graph.layer.tolist(), graph.bias
    order = sorted(range(graph.neurons), key=lambda n: layer[n])
    before = [x.new_zeros(x.shape[1])] * graph.neurons
    outputs = []
    for features in x:
        now = [None] * graph.neurons
        for place, n in enumerate(graph.inputs.tolist()):
            now[n] = features[:, place]
        for n in order:
            if now[n] is not None:
                continue
            total = bias[n].expand(x.shape[1])
            for (source, target), w in weight.items():
                if target == n:
                    total = total + w * (before if layer[source] == layer[n] else now)[source]
            now[n] = total if graph.is_output[n] else activation(total)
        before = now
        outputs.append(torch.stack([now[n] for n in graph.outputs.tolist()], dim=1))
    return torch.stack(outputs)


@given(seed=st.integers(0, 10**6), nonlinearity=st.sampled_from(["tanh", "relu"]))
@settings(max_examples=50, deadline=None)
def test_a_network_with_cycles_is_computed_step_by_step(seed, nonlinearity):
    graph = cyclic_graph(seed)
    model = sg.SpatialRNN(graph, nonlinearity=nonlinearity, read_out="all", normalize=False)
    x = torch.randn(4, 3, len(graph.inputs), dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
    outputs, _ = model(x)
    expected = step_by_step(graph, x, getattr(torch, nonlinearity))
    torch.testing.assert_close(outputs, expected, rtol=1e-9, atol=1e-9)
    parameters = [p for p in model.parameters() if p.requires_grad]
    grads = (torch.autograd.grad(y.square().sum(), parameters, retain_graph=True) for y in (outputs, expected))
    for own, reference in zip(*grads, strict=True):
        torch.testing.assert_close(own, reference, rtol=1e-8, atol=1e-9)


def test_without_recurrence_each_step_is_that_of_a_perceptron():
    graph = sg.SpatialGraph.layered([5, 7, 6, 3])
    x = torch.rand(4, 2, 5)
    outputs, state = sg.SpatialRNN(graph, nonlinearity="relu", read_out="all")(x)
    torch.testing.assert_close(outputs, sg.SpatialMLP(graph)(x))
    assert state.shape == (1, 2, 0)


def as_dense(model):
    """Weight matrices of a network of one recurrent layer: inputs, recurrent, outputs."""
    graph = model.graph
    dense = torch.zeros(graph.neurons, graph.neurons, dtype=graph.raw_bias.dtype)
    dense[graph.edge_index[1], graph.edge_index[0]] = graph.weights().detach()
    members = [graph.layer == number for number in range(3)]
    return dense[members[1]][:, members[0]], dense[members[1]][:, members[1]], dense[members[2]][:, members[1]]


@pytest.mark.parametrize("nonlinearity", ["tanh", "relu"])
def test_without_normalisation_it_is_nn_rnn(nonlinearity):
    model = sg.SpatialRNN([4, 6, 3], nonlinearity=nonlinearity, normalize=False, batch_first=True, dtype=torch.float64)
    entering, within, leaving = as_dense(model)
    rnn = nn.RNN(4, 6, nonlinearity=nonlinearity, batch_first=True, bias=False, dtype=torch.float64)
    with torch.no_grad():
        rnn.weight_ih_l0.copy_(entering)
        rnn.weight_hh_l0.copy_(within)
    x, state = torch.rand(2, 5, 4, dtype=torch.float64), torch.rand(1, 2, 6, dtype=torch.float64)
    hidden, last = rnn(x, state)
    outputs, own = model(x, state)
    torch.testing.assert_close(own, last)
    torch.testing.assert_close(outputs, hidden[:, -1] @ leaving.t())
    model.read_out = "mean"
    torch.testing.assert_close(model(x, state)[0], (hidden @ leaving.t()).mean(1))
    model.read_out = "all"
    torch.testing.assert_close(model(x, state)[0], hidden @ leaving.t())
    torch.testing.assert_close(model.activations(x, state)[..., model.graph.layer == 1], hidden)


@pytest.mark.parametrize("nonlinearity", ["tanh", "relu"])
def test_leaky_neurons_step_by_step(nonlinearity):
    model = sg.SpatialRNN([4, 6, 3], cell="leaky", nonlinearity=nonlinearity, normalize=False, dtype=torch.float64)
    model.graph.raw_bias.data.normal_()
    entering, within, leaving = (weights.numpy() for weights in as_dense(model))
    bias, outer = model.graph.bias.detach()[4:10].numpy(), model.graph.bias.detach()[10:].numpy()
    rates = 1.0 / (1.0 + np.exp(-model.leaks["0"].raw_rate.detach().numpy()))
    phi = {"tanh": np.tanh, "relu": lambda values: np.maximum(values, 0.0)}[nonlinearity]
    x, h = torch.rand(5, 2, 4, dtype=torch.float64), np.zeros((2, 6))
    for row in x.numpy():
        h = (1.0 - rates) * h + rates * phi(row @ entering.T + h @ within.T + bias)
    outputs, state = model(x)
    np.testing.assert_allclose(state[0].detach().numpy(), h, rtol=1e-12)
    np.testing.assert_allclose(outputs.detach().numpy(), h @ leaving.T + outer, rtol=1e-12, atol=1e-12)


def test_rates_of_leaky_neurons_of_1_are_plain_ones():
    leaky = sg.SpatialRNN([4, 9, 3], cell="leaky", dtype=torch.float64)
    leaky.leaks["0"].raw_rate.data.fill_(torch.inf)
    x = torch.rand(5, 2, 4, dtype=torch.float64)
    torch.testing.assert_close(leaky(x)[0], sg.SpatialRNN(leaky.graph)(x)[0], rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("cell", ["leaky", "gated"])
def test_removed_neurons_need_a_new_model(cell):
    model = sg.SpatialRNN([4, 6, 3], cell=cell)
    model.graph.keep_((model.graph.edge_index != 5).all(0))
    model.graph.keep_neurons_(torch.arange(13) != 5)
    with pytest.raises(ValueError, match="graph must have 6 neurons in a .* layer.* got 5.*: make a new model of it"):
        model(torch.rand(5, 2, 4))


def test_gates_name_the_neurons_that_changed():
    gates = Gates(4, 6, torch.zeros(1))
    with pytest.raises(ValueError, match="graph must have 6 neurons in a gated layer, .* got 5"):
        gates.check(4, 5)
    with pytest.raises(ValueError, match="graph must have 4 neurons that send to a gated layer, .* got 3"):
        gates.check(3, 6)


def test_gated_without_normalisation_it_is_nn_gru():
    model = sg.SpatialRNN([4, 6, 3], cell="gated", normalize=False, dtype=torch.float64)
    entering, within, _ = as_dense(model)
    gates, polarity = model.gates["0"], model.graph.polarity.detach()
    own = polarity[:4], polarity[4:10]
    input_scales = [*gates.raw_input_polarity.detach(), own[0]]
    recurrent_scales = [*gates.raw_recurrent_polarity.detach(), own[1]]
    gru = nn.GRU(4, 6, dtype=torch.float64)
    with torch.no_grad():
        gru.weight_ih_l0.copy_(torch.cat([entering / own[0] * scale for scale in input_scales]))
        gru.weight_hh_l0.copy_(torch.cat([within / own[1] * scale for scale in recurrent_scales]))
        gru.bias_ih_l0.copy_(torch.cat([gates.raw_bias.flatten(), model.graph.bias[4:10]]))
        gru.bias_hh_l0.zero_()
    x = torch.rand(5, 2, 4, dtype=torch.float64)
    hidden, last = gru(x)
    torch.testing.assert_close(model(x)[1], last)
    torch.testing.assert_close(model.activations(x)[..., 4:10], hidden)


@pytest.mark.parametrize("cell", ["plain", "leaky", "gated"])
@pytest.mark.parametrize("wiring", [sg.wiring.AllToAll(), sg.wiring.KNN(k=3), sg.wiring.KNN(k=1)])
def test_a_sequence_in_two_parts_is_the_whole(cell, wiring):
    model = sg.SpatialRNN([4, 9, 8, 3], cell=cell, recurrent=wiring, read_out="all")
    x = torch.rand(7, 2, 4)
    first, state = model(x[:3])
    second, end = model(x[3:], state)
    whole, last = model(x)
    torch.testing.assert_close(torch.cat([first, second]), whole)
    torch.testing.assert_close(end, last)
    assert state.shape == (1, 2, 17)


def test_a_single_sequence_is_a_batch_of_one():
    model = sg.SpatialRNN([4, 9, 3], cell="gated", batch_first=True, read_out="all")
    x = torch.rand(5, 4)
    outputs, state = model(x)
    many, states = model(x[None])
    torch.testing.assert_close(outputs, many[0])
    torch.testing.assert_close(state, states[:, 0])


@pytest.mark.parametrize("cell", ["plain", "leaky", "gated"])
def test_gradients(cell):
    model = sg.SpatialRNN([2, 3, 2], cell=cell, normalize=False, dtype=torch.float64)
    x = torch.rand(3, 2, 2, dtype=torch.float64, requires_grad=True)
    names, values = zip(*model.named_parameters(), strict=True)

    def outputs(x, *values):
        return torch.func.functional_call(model, dict(zip(names, values, strict=True)), x)

    assert torch.autograd.gradcheck(outputs, (x, *values))


@pytest.mark.parametrize("cell", ["plain", "leaky", "gated"])
def test_a_saved_network_is_read_back(tmp_path, cell):
    model = sg.SpatialRNN([4, 9, 3], cell=cell, nonlinearity="relu", read_out="mean", recurrent=sg.wiring.KNN(k=4))
    sg.prune_(model, 0.3)
    sg.save(model, tmp_path / "network.safetensors")
    again = sg.load(tmp_path / "network.safetensors")
    x = torch.rand(5, 2, 4)
    assert repr(again) == repr(model)
    assert torch.equal(again(x)[0], model(x)[0])


@pytest.mark.parametrize("cell", ["plain", "leaky", "gated"])
def test_it_learns_to_remember(cell):
    generator = torch.Generator().manual_seed(0)
    x = torch.rand(4, 64, 2, generator=generator)
    labels = (x[0, :, 0] > 0.5).long()
    model = sg.SpatialRNN([2, 32, 2], dim=4, cell=cell, generator=generator)
    optimizer = torch.optim.Adam(sg.parameter_groups(model, lr=1e-3))
    for _ in range(1500):  # how many it takes differs between processors, which round differently
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(model(x)[0], labels)
        loss.backward()
        optimizer.step()
        if loss < 0.1:
            break
    assert (model(x)[0].argmax(1) == labels).float().mean() > 0.9


def test_cells_cost_a_few_numbers_for_each_neuron():
    models = [sg.SpatialRNN([28, 100, 10], dim=8, cell=cell) for cell in ("plain", "leaky", "gated")]
    plain, leaky, gated = (sum(p.numel() for p in model.parameters()) for model in models)
    assert gated - plain == 2 * (28 + 100) + 2 * 100
    assert leaky - plain == 100


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda m: m(torch.rand(5, 2, 3)), "x must have shape"),
        (lambda m: m(torch.rand(5, 2, 2, 4)), "x must have 2 axes, or 3 with a batch"),
        (lambda m: m(torch.rand(0, 2, 4)), "at least one time step"),
        (lambda m: m(torch.rand(5, 2, 4), torch.zeros(1, 2, 5)), r"state must have shape \(1, 2, 6\)"),
        (lambda m: m(torch.rand(5, 2, 4), torch.zeros(2, 6)), r"state must have shape \(1, 2, 6\)"),
        (lambda m: setattr(m, "nonlinearity", "gelu"), "nonlinearity must be one of"),
        (lambda m: setattr(m, "read_out", "first"), "read_out must be one of"),
        (lambda m: sg.SpatialMLP(m.graph), "graph must not be recurrent"),
        (lambda m: sg.SpatialRNN([4, 6, 3], velocity=1.0), "velocity must be None"),
        (
            lambda m: sg.SpatialRNN([4, 6, 3], weight_mode="free", cell="gated"),
            "cell must not be 'gated' for weight_mode='free'",
        ),
        (lambda m: sg.SpatialRNN([4, 6, 3], cell="lstm"), r"cell must be one of .*got 'lstm'"),
        (lambda m: sg.SpatialRNN([4, 3]), "recurrent must be None for a network without hidden layers"),
    ],
)
def test_wrong_calls(call, message):
    with pytest.raises(ValueError, match=message):
        call(sg.SpatialRNN([4, 6, 3]))


X = torch.rand(5, 2, 4)


@pytest.mark.parametrize("cell", ["plain", "leaky", "gated"])
@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ((torch.rand(4),), ValueError, r"x must have 2 axes, or 3 with a batch, got shape \(4,\)"),
        ((X.double(),), TypeError, r"x must have the dtype of the parameters \(torch.float32\), got torch.float64"),
        ((nn.utils.rnn.pack_sequence([torch.rand(3, 4)]),), TypeError, "x must be a tensor, got PackedSequence"),
        ((X[:, 0], torch.zeros(1, 1, 6)), ValueError, r"state must have shape \(1, 6\), got \(1, 1, 6\)"),
        ((X, torch.zeros(1, 6)), ValueError, r"state must have shape \(1, 2, 6\), got \(1, 6\)"),
        ((X, torch.zeros(1, 3, 6)), ValueError, r"state must have shape \(1, 2, 6\), got \(1, 3, 6\)"),
        (
            (X, torch.zeros(1, 2, 6).double()),
            TypeError,
            r"state must have the dtype of the parameters \(torch.float32\), got torch.float64",
        ),
        (
            (X, torch.zeros(1, 2, 6).long()),
            TypeError,
            r"state must have the dtype of the parameters \(torch.float32\), got torch.int64",
        ),
        ((X, torch.zeros(1, 2, 6, device="meta")), ValueError, "state must be on cpu like the others, got meta"),
        ((X, (torch.zeros(1, 2, 6),) * 2), TypeError, "state must be a tensor, got tuple"),
    ],
)
def test_wrong_sequences_and_states(cell, arguments, error, message):
    model = sg.SpatialRNN([4, 6, 3], cell=cell)
    for call in (model, model.activations):
        with pytest.raises(error, match=message):
            call(*arguments)


@pytest.mark.parametrize("cell", ["plain", "leaky", "gated"])
def test_an_empty_batch_gives_an_empty_batch_as_in_nn_rnn(cell):
    outputs, state = sg.SpatialRNN([4, 6, 3], cell=cell)(X[:, :0])
    hidden, last = nn.RNN(4, 6)(X[:, :0])
    assert outputs.shape == (0, 3)
    assert state.shape == last.shape == (1, *hidden.shape[1:])
