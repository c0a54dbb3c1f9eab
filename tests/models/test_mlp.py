"""SpatialMLP, against loops over layers and neurons."""

import copy

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from changed_graphs import dag_graph, each_without_one_edge, in_the_order_of, moved, paths, renumbered
from hypothesis import given
from hypothesis import strategies as st
from perceptrons import KINDS, SIZES, every_kind, features, layer_norm
from references import LAWS, assert_close, law_weight, neuron_by_neuron, random_dag, randomise, softened_squares
from torch import nn

from spatialgraph import DenseMLP, SpatialGraph, SpatialMLP, SpatialSNN, drop_isolated
from spatialgraph.laws import InversePower
from spatialgraph.models.activations import ACTIVATIONS
from spatialgraph.wiring import KNN, AllToAll, Random

# Against loops ----


@pytest.mark.parametrize("normalize", [True, False, None])
@pytest.mark.parametrize("polarity", ["graded", "binary"])
@pytest.mark.parametrize("spacing", ["fixed", "learned", "free"])
@pytest.mark.parametrize("law", LAWS.values(), ids=LAWS.keys())
def test_layers_are_a_dense_loop(law, spacing, polarity, normalize):
    model = SpatialMLP(
        SIZES, law=law(), spacing=spacing, polarity_mode=polarity, normalize=normalize, gain=0.3
    ).double()
    graph = randomise(model.graph)
    pos, scale, bias = (t.detach().numpy() for t in (graph.pos, 0.3 * graph.polarity, graph.bias))
    x = features(model, 8, dtype=torch.float64)
    y, layer = x.numpy(), graph.layer.numpy()
    for number in range(1, len(SIZES)):
        source, target = layer == number - 1, layer == number
        weight = law_weight(graph.law, softened_squares(pos[source], pos[target], graph.law.softening))
        y = y @ (weight * scale[source]).T
        if number < len(SIZES) - 1:
            y = np.maximum((y if normalize is False else layer_norm(y)) + bias[target], 0.0)
        else:
            y = y + bias[target]
    for mode in (model.train(), model.eval()):
        assert_close(mode(x), y, 1e-10)
        with torch.no_grad():
            assert_close(mode(x), y, 1e-10)


@given(
    neurons=st.integers(2, 14),
    density=st.floats(0.05, 0.7),
    seed=st.integers(0, 2**31),
    polarity_mode=st.sampled_from(["graded", "binary"]),
)
def test_any_acyclic_graph_is_a_loop_over_neurons(neurons, density, seed, polarity_mode):
    torch.manual_seed(seed)
    edges = random_dag(neurons, density, seed)
    graph = randomise(SpatialGraph(torch.randn(neurons, 2).double(), edges, polarity_mode=polarity_mode, gain=0.5))
    model = SpatialMLP(graph, activation="tanh")
    assert not model.normalize
    x = features(model, 3, dtype=torch.float64)
    expected = neuron_by_neuron(graph, x.numpy(), np.tanh)
    assert_close(model(x), expected, 1e-10)
    with torch.no_grad():
        assert_close(model.eval()(x), expected, 1e-10)


def test_outputs_in_different_generations_and_skip_connections():
    #  0 -> 3 -> 4 -> 2 (output), 0 -> 1 (output of generation 1), 5 -> 4, 0 -> 2 skips two generations
    edges = torch.tensor([[0, 3, 4, 0, 5, 0], [3, 4, 2, 1, 4, 2]])
    graph = randomise(SpatialGraph(torch.randn(6, 3).double(), edges))
    assert graph.inputs.tolist() == [0, 5] and graph.outputs.tolist() == [1, 2]
    model = SpatialMLP(graph, activation="sigmoid")
    x = features(model, 4, dtype=torch.float64)
    assert_close(model(x), neuron_by_neuron(graph, x.numpy(), lambda total: 1 / (1 + np.exp(-total))), 1e-12)


@pytest.mark.parametrize("edges", [[[0, 0, 2], [2, 4, 4]], [[0, 1], [2, 2]], [[0, 0], [4, 5]], [[], []]], ids=str)
def test_neurons_without_incoming_edges(edges):
    edges = torch.tensor(edges, dtype=torch.int64)
    layer = torch.tensor([0, 0, 1, 1, 2, 2])
    graph = randomise(SpatialGraph(torch.randn(6, 2).double(), edges, layer=layer))
    model = SpatialMLP(graph, activation="tanh", normalize=False)
    x = features(model, 4, dtype=torch.float64).requires_grad_()
    expected = neuron_by_neuron(graph, x.detach().numpy(), np.tanh)
    assert_close(model(x), expected, 1e-12)
    model(x).sum().backward()
    assert all(torch.isfinite(p.grad).all() for p in model.parameters())
    with torch.no_grad():
        assert_close(model.eval()(x), expected, 1e-12)


def test_an_edge_less_may_leave_a_hidden_neuron_without_input():
    edges = torch.tensor([[0, 1, 1, 2, 3], [2, 2, 3, 4, 4]])
    model = SpatialMLP(SpatialGraph(torch.randn(5, 2).double(), edges), activation="tanh")
    pruned = copy.deepcopy(model)
    pruned.graph.connect_(edges[:, [0, 1, 3, 4]])  # neuron 3 has no incoming edge any more, but is no input
    model.load_state_dict(pruned.state_dict())
    randomise(model.graph)
    assert model.graph.synapses == 4 and model.graph.inputs.tolist() == [0, 1]
    x = features(model, 4, dtype=torch.float64)
    assert_close(model(x), neuron_by_neuron(model.graph, x.numpy(), np.tanh), 1e-12)


@pytest.mark.parametrize("name", sorted(ACTIVATIONS))
def test_activations(name):
    model = SpatialMLP(dag_graph(8, 0.5, 1).double(), activation=name)
    function = ACTIVATIONS[name]
    x = features(model, 4, dtype=torch.float64)
    expected = neuron_by_neuron(model.graph, x.numpy(), lambda total: function(torch.from_numpy(total)).numpy())
    assert_close(model(x), expected, 1e-10)
    assert torch.equal(SpatialMLP(model.graph, activation=function)(x), model(x))
    assert f"activation={name}" in repr(model)


@pytest.mark.parametrize("leading", [(), (0,), (1,), (2, 3), (2, 0)])
@pytest.mark.parametrize("mode", ["train", "eval"])
@every_kind
def test_leading_axes(make, mode, leading):
    model = make().double().train(mode == "train")
    x = features(model, *leading, dtype=torch.float64)
    with torch.set_grad_enabled(mode == "train"):
        y, flat = model(x), model(x.reshape(-1, x.shape[-1]))
    assert y.shape == (*leading, len(model.graph.outputs))
    assert_close(y.reshape(flat.shape), flat, 1e-12)


# Physics ----


@pytest.mark.parametrize("dim", [1, 2, 3, 5])
@pytest.mark.parametrize("wiring", [AllToAll(), KNN(k=2)], ids=repr)
def test_only_lengths_matter(wiring, dim):
    model = SpatialMLP(SIZES, dim, wiring=wiring, spacing="free", activation="tanh", gain=0.3).double()
    x = features(model, 5, dtype=torch.float64)
    y = model(x)
    pos = model.graph.pos.detach()
    for other in moved(pos):
        model.graph.place_(other)
        assert_close(model(x), y, 1e-10)
        with torch.no_grad():
            assert_close(model.eval()(x), y, 1e-10)
        model.train()
    model.graph.place_(pos * 1.5)
    assert (model(x) - y).abs().max() > 1e-3


@given(neurons=st.integers(3, 12), density=st.floats(0.1, 0.7), seed=st.integers(0, 2**31))
def test_numbers_of_neurons_do_not_matter(neurons, density, seed):
    torch.manual_seed(seed)
    edges = random_dag(neurons, density, seed)
    old = randomise(SpatialGraph(torch.randn(neurons, 2).double(), edges))
    new, former = renumbered(old)
    x = torch.randn(3, neurons).double()
    y = SpatialMLP(old, activation="tanh")(x[:, old.inputs])
    y_new = SpatialMLP(new, activation="tanh")(x[:, former[new.inputs]])
    assert_close(y_new, in_the_order_of(new, old, former, y), 1e-10)


def test_without_an_edge_exactly_its_jacobian_entry_is_zero():
    full = SpatialGraph.layered([5, 4]).double()
    x = torch.randn(5).double()
    whole = torch.autograd.functional.jacobian(SpatialMLP(full), x)
    assert (whole != 0).all()
    for (source, target), graph in each_without_one_edge(full):
        part = torch.autograd.functional.jacobian(SpatialMLP(graph), x)
        assert (part == 0).nonzero().tolist() == [[target - 5, source]]
        assert_close(part, torch.where(part == 0, 0.0, whole), 1e-12)


def test_without_a_path_no_influence():
    graph = dag_graph(12, 0.25, 5).double()
    model = SpatialMLP(graph, activation="tanh")
    jacobian = torch.autograd.functional.jacobian(model, features(model, dtype=torch.float64))
    assert (jacobian != 0).tolist() == paths(graph)


def test_batch_does_not_matter():
    model = SpatialMLP(SIZES).double()
    x = features(model, 50, dtype=torch.float64)
    assert_close(torch.stack([model(row) for row in x]), model(x), 1e-12)


# Gradients ----


@pytest.mark.parametrize("wiring", [AllToAll(), AllToAll(reach="all"), KNN(k=4), Random(density=0.9)], ids=repr)
@pytest.mark.parametrize("polarity", ["graded", "binary"])
@pytest.mark.parametrize("spacing", ["fixed", "learned", "free"])
def test_gradients_reach_every_parameter(spacing, polarity, wiring):
    law = InversePower(learnable=True)
    model = SpatialMLP(
        SIZES, spacing=spacing, polarity_mode=polarity, wiring=wiring, law=law, activation="tanh", gain=1.0
    ).double()
    F.cross_entropy(model(features(model, 32, dtype=torch.float64)), torch.arange(32) % 3).backward()
    names = [name for name, _ in model.named_parameters()]
    assert len(names) == (5 if spacing == "learned" else 4)
    connected = torch.isin(torch.arange(18), model.graph.edge_index)  # Random() may leave a neuron without edges
    for name, parameter in model.named_parameters():
        gradient = parameter.grad
        if name.endswith("coords"):
            gradient = gradient[connected]
        assert torch.isfinite(gradient).all(), name
        assert (gradient != 0).double().mean() > (0.9 if "raw" in name else 0.999), name


@every_kind
def test_gradient_of_the_whole_model_by_finite_differences(make):
    model = make().double()
    model.activation = torch.tanh
    x = features(model, 3, dtype=torch.float64).requires_grad_()
    names, values = zip(*model.named_parameters(), strict=True)

    def run(x, *values):
        return torch.func.functional_call(model, dict(zip(names, values, strict=True)), (x,))

    assert torch.autograd.gradcheck(run, (x, *values))


def test_training_lowers_the_loss():
    model = SpatialMLP([4, 16, 2], gain=0.5)
    x = torch.randn(64, 4)
    labels = (x[:, 0] * x[:, 1] > 0).long()
    optimizer = torch.optim.Adam(model.parameters(), lr=0.03)
    losses = []
    for _ in range(150):
        loss = F.cross_entropy(model(x), labels)
        losses.append(loss.item())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert losses[-1] < 0.5 * losses[0]


# The public face ----


@pytest.mark.parametrize("kind", ["all-to-all", "nearest", "plain"])
@pytest.mark.parametrize("training", [False, True])
def test_a_dense_copy_computes_the_same_and_shares_nothing(kind, training):
    model = randomise(KINDS[kind]()).train(training)
    dense, x = model.to_dense(), torch.randn(7, SIZES[0])
    assert (type(dense), dense.training) == (DenseMLP, training)
    assert_close(dense(x), model(x), 1e-5)
    weights = [layer.weight for layer in dense]
    assert sum(int(weight.count_nonzero()) for weight in weights) == model.graph.edge_index.shape[1]
    before = model(x).clone()
    F.cross_entropy(dense(x), torch.zeros(7).long()).backward()
    torch.optim.SGD(dense.parameters(), lr=1.0).step()
    assert torch.equal(model(x), before)
    assert not torch.allclose(dense(x), before)


def test_a_dense_copy_has_its_own_activation():
    model, x = SpatialMLP([3, 4, 2], activation=nn.PReLU()), torch.rand(5, 3)
    dense, before = model.to_dense(), model(x).clone()
    assert_close(dense(x), before, 1e-6)
    with torch.no_grad():
        for parameter in dense.parameters():
            parameter.fill_(2.0)
    assert torch.equal(model(x), before)


@pytest.mark.parametrize("kind", ["skip", "dag"])
def test_a_dense_copy_needs_a_chain_of_layers(kind):
    with pytest.raises(ValueError, match="receive from the one before alone"):
        KINDS[kind]().to_dense()


def test_a_dense_copy_keeps_the_dtype():
    assert SpatialMLP([3, 4, 2]).double().to_dense()[0].weight.dtype == torch.float64


def test_what_a_graph_settles_is_not_given_beside_it():
    graph = SpatialGraph.layered(SIZES)
    for name, value in (
        ("dim", 3),
        ("gain", 1.0),
        ("law", "gaussian"),
        ("wiring", KNN(k=2)),
        ("spacing", "free"),
    ):
        with pytest.raises(TypeError, match=f"{name} must be set where the graph is made"):
            SpatialMLP(graph, **{name: value})
    assert SpatialMLP(graph).graph is graph


def test_repr():
    text = repr(SpatialMLP(SIZES))
    assert "activation=relu, normalize=True" in text
    assert "SpatialGraph(neurons=18, synapses=62, dim=3, spacing='learned')" in text
    assert "activation=Softplus, normalize=False" in repr(SpatialMLP(SIZES, activation=nn.Softplus(), normalize=False))


@pytest.mark.parametrize(
    ("x", "error", "message"),
    [
        (torch.zeros(4, 5), ValueError, r"x must have shape \(..., 6\), got \(4, 5\)"),
        (torch.tensor(1.0), ValueError, r"x must have shape \(..., 6\), got \(\)"),
        (torch.zeros(4, 6).double(), TypeError, r"x must have the dtype of the parameters \(torch.float32\)"),
        (torch.zeros(4, 6).long(), TypeError, "got torch.int64"),
        ([0.0] * 6, TypeError, "x must be a tensor, got list"),
    ],
)
def test_wrong_features(x, error, message):
    with pytest.raises(error, match=message):
        SpatialMLP(SIZES)(x)


def test_wrong_arguments():
    with pytest.raises(ValueError, match="activation must be one of .* got 'swish'"):
        SpatialMLP(SIZES, activation="swish")
    with pytest.raises(ValueError, match="normalize must be False where a stage has a single hidden neuron, got True"):
        SpatialMLP([4, 1, 2])
    assert SpatialMLP([4, 1, 2], normalize=False)(torch.zeros(1, 4)).shape == (1, 2)


@pytest.mark.parametrize("model", [SpatialMLP, SpatialSNN])
def test_a_single_neuron_that_is_left_is_not_normalised(model):
    large = model([3, 4, 2])
    large.graph.keep_((large.graph.edge_index == 4).any(0))
    small, x = drop_isolated(large), torch.rand(5, 3)
    with pytest.raises(ValueError, match="normalize must be False where a stage has a single hidden neuron, got True"):
        small(x)
    small.normalize = False
    assert small(x).shape == (5, 2)


@pytest.mark.parametrize("model", [SpatialMLP, DenseMLP])
def test_truth_values_are_no_words(model):
    for value in ("no", 0, None if model is DenseMLP else "False"):
        with pytest.raises(TypeError, match=f"normalize must be True,? .*, got {value!r}|True or False, got {value!r}"):
            model(SIZES, normalize=value)
    assert model(SIZES, normalize=np.bool_(False))(torch.rand(2, 6)).shape == (2, 3)


def test_settings_are_checked_whenever_they_are_set():
    model = SpatialMLP(SIZES)
    with pytest.raises(TypeError, match="normalize must be True, False or 'live', got 'no'"):
        model.normalize = "no"
    for value, error in (("x", TypeError), (float("nan"), ValueError), (torch.ones(2), TypeError)):
        with pytest.raises(error, match="gain must be"):
            model.graph.gain = value
    with pytest.raises(ValueError, match="polarity_mode must be one of 'binary', 'graded', got 'Binary'"):
        model.graph.polarity_mode = "Binary"
    assert model.normalize is True and model.graph.gain == SpatialGraph.layered(SIZES).gain


@pytest.mark.parametrize("polarity", ["graded", "binary"])
@pytest.mark.parametrize(
    ("dim", "spacing", "count"),
    [(3, "fixed", 10_574), (3, "learned", 10_576), (3, "free", 13_416), (32, "fixed", 92_992)],
)
def test_number_of_parameters(dim, spacing, count, polarity):
    model = SpatialMLP([784, 2048, 10], dim, spacing=spacing, polarity_mode=polarity)
    assert sum(p.numel() for p in model.parameters()) == count
