"""Pruning removes edges: which ones, and what stays."""

import pytest
import torch
import torch.nn.functional as F
from references import random_dag

from spatialgraph import SpatialGraph, SpatialMLP, SpatialSNN, drop_isolated, isolated, prune, prune_
from spatialgraph.laws import InversePower
from spatialgraph.wiring import Radius


def network(sizes=(9, 12, 4), **options):
    torch.manual_seed(0)
    graph = SpatialGraph.layered(list(sizes), **options)
    graph.raw_bias.data.normal_()
    return graph


def pairs(graph):
    return set(map(tuple, graph.edge_index.t().tolist()))


@pytest.mark.parametrize("amount", [0.0, 0.3, 0.8, 0.95, 1.0])
def test_the_longest_of_each_projection_go(amount):
    graph = network()
    lengths = dict(zip(map(tuple, graph.edge_index.t().tolist()), graph.lengths().tolist(), strict=True))
    expected = set()
    for targets in (range(9, 21), range(21, 25)):
        own = sorted((edge for edge in lengths if edge[1] in targets), key=lengths.get)
        expected |= set(own[: len(own) - round(amount * len(own))])
    assert pairs(prune_(graph, amount)) == expected


def test_the_smallest_weights_of_all_go():
    graph = network()
    weights = graph.weights().abs().detach()
    border = weights.sort().values[graph.synapses // 2]
    kept = prune(graph, 0.5, by="weight", scope="global").weights().abs()
    assert len(kept) == graph.synapses - graph.synapses // 2
    assert bool((kept >= border).all())


def test_random_pruning_follows_its_generator():
    graph = network()
    first, second, other = (
        pairs(prune(graph, 0.5, by="random", generator=torch.Generator().manual_seed(seed))) for seed in (1, 1, 2)
    )
    assert first == second != other


@pytest.mark.parametrize("polarity", ["binary", "graded"])
@pytest.mark.parametrize("amount", [0.3, 0.95])
def test_pruned_equals_masked(polarity, amount):
    graph = network(polarity_mode=polarity).double()
    model = SpatialMLP(graph, normalize=False)
    x = torch.randn(7, 9, dtype=torch.float64, requires_grad=True)
    pruned = SpatialMLP(prune(graph, amount), normalize=False)
    kept = pairs(pruned.graph)
    matrices = []
    for low, high, targets in ((0, 9, range(9, 21)), (9, 21, range(21, 25))):
        chosen = torch.tensor([[(i, j) in kept for i in range(low, high)] for j in targets])
        difference = graph.pos[list(targets)][:, None] - graph.pos[low:high]
        weight = graph.polarity[low:high] / (difference.square().sum(-1) + graph.law.softening**2).sqrt()
        matrices.append(graph.gain * torch.where(chosen, weight, torch.zeros_like(weight)))
    hidden = F.relu(x @ matrices[0].t() + graph.bias[9:21])
    expected = hidden @ matrices[1].t() + graph.bias[21:]
    y = pruned(x)
    torch.testing.assert_close(y, expected, rtol=1e-10, atol=1e-10)
    grads = torch.autograd.grad(y.square().sum(), [x, *pruned.parameters()])
    references = torch.autograd.grad(expected.square().sum(), [x, *model.parameters()])
    for grad, reference in zip(grads, references, strict=True):
        torch.testing.assert_close(grad, reference, rtol=1e-9, atol=1e-9)


def test_parameters_and_the_optimiser_go_on():
    model = SpatialMLP(network())
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    x, labels = torch.randn(20, 9), torch.randint(4, (20,))
    parameters = list(model.parameters())
    for _ in range(2):
        optimizer.zero_grad()
        F.cross_entropy(model(x), labels).backward()
        optimizer.step()
        prune_(model.graph, 0.5)
    assert all(a is b for a, b in zip(parameters, model.parameters(), strict=True))
    assert len(optimizer.state) == len(parameters)


def test_a_copy_leaves_the_original_alone():
    graph = network()
    before = graph.synapses
    copy = prune(graph, 0.5)
    assert graph.synapses == before
    assert copy.positions.coords is not graph.positions.coords


def test_free_weights_and_delays_stay_with_their_synapses():
    graph = network(weight_mode="free", velocity=0.5, delay_mode="free")
    weights = dict(zip(map(tuple, graph.edge_index.t().tolist()), graph.weights().tolist(), strict=True))
    delays = dict(zip(map(tuple, graph.edge_index.t().tolist()), graph.delays().tolist(), strict=True))
    prune_(graph, 0.7, by="weight")
    left = list(map(tuple, graph.edge_index.t().tolist()))
    assert len(left) == graph.synapses == 156 - round(0.7 * 108) - round(0.7 * 48)
    assert graph.weights().tolist() == [weights[edge] for edge in left]
    assert graph.delays().tolist() == [delays[edge] for edge in left]


@pytest.mark.parametrize("model_of", [SpatialMLP, SpatialSNN])
def test_a_state_fits_into_a_freshly_built_model(model_of, tmp_path):
    model = model_of(prune_(network(), 0.95))
    torch.save(model.state_dict(), tmp_path / "pruned.pt")
    again = model_of(network())
    again.load_state_dict(torch.load(tmp_path / "pruned.pt", weights_only=True))
    x = torch.randn(5, 9)
    assert pairs(again.graph) == pairs(model.graph)
    assert torch.equal(again(x), model(x))


def test_neurons_without_edges_are_found():
    graph = SpatialGraph(torch.tensor([[0.0], [1.0], [5.0], [6.0]]), torch.tensor([[0, 0, 1], [1, 2, 3]]))
    assert isolated(graph).tolist() == []
    assert isolated(prune_(graph, 2 / 3, scope="global")).tolist() == [2, 3]


def test_a_pruned_network_has_no_wiring_to_select_by():
    graph = prune_(network(), 0.5)
    with pytest.raises(ValueError, match="wiring must be given"):
        graph.rewire_()


# Neurons without synapses ----


def without_layers(**options):
    torch.manual_seed(0)
    graph = SpatialGraph(torch.randn(40, 3), random_dag(40, 0.15, 3), **options)
    graph.raw_bias.data.normal_()
    return graph


def last_all_to_all(graph):
    """Few edges into the hidden layers, and all into the outputs."""
    return graph.keep_((torch.rand(graph.synapses) < 0.05) | graph.is_output[graph.edge_index[1]])


SPARSE = {
    "graded": lambda: prune_(network(), 0.93),
    "binary": lambda: prune_(network(polarity_mode="binary", spacing="fixed"), 0.93),
    "free spacing": lambda: prune_(network(spacing="free"), 0.93),
    "free weights": lambda: prune_(network(weight_mode="free"), 0.93),
    "factors": lambda: prune_(network(weight_mode="both", law=InversePower(1.3, learnable=True)), 0.93),
    "anchored": lambda: prune_(network(anchored=torch.arange(25) % 2 == 0), 0.93),
    "anchored inputs": lambda: prune_(network(anchored=[0]), 0.93),
    "last all-to-all": lambda: last_all_to_all(network((9, 12, 7, 4))),
    "three projections": lambda: prune_(network((9, 12, 7, 4), init="grid"), 0.9),
    "without layers": lambda: prune_(without_layers(), 0.8),
    "without layers, factors": lambda: prune_(
        without_layers(weight_mode="both", anchored=torch.arange(40) % 3 == 0), 0.8
    ),
}


@pytest.mark.parametrize("inputs", [False, True])
@pytest.mark.parametrize("make", SPARSE.values(), ids=SPARSE)
def test_isolated_neurons_go_with_all_that_is_theirs(make, inputs):
    graph = make()
    state = {name: values.clone() for name, values in graph.state_dict().items()}
    small = drop_isolated(graph, inputs=inputs)
    ends = set(graph.edge_index.flatten().tolist()) | set(graph.outputs.tolist())
    kept = sorted(ends if inputs else ends | set(graph.inputs.tolist()))
    assert small.neurons == len(kept) < graph.neurons
    assert pairs(small) == {(kept.index(i), kept.index(j)) for i, j in pairs(graph)}
    for name in ("pos", "polarity", "bias", "layer", "is_input", "is_output"):
        assert torch.equal(getattr(small, name), getattr(graph, name)[kept]), name
    assert torch.equal(small.positions.anchored, graph.positions.anchored[kept])
    for name in ("weights", "lengths"):  # the order of the edges is the same
        torch.testing.assert_close(getattr(small, name)(), getattr(graph, name)())  # engines may round differently
    assert torch.equal(torch.tensor(kept)[small.edge_index], graph.edge_index)
    pairs_of_projections = list(zip(small.projections, graph.projections, strict=True))
    assert all(mine.is_complete for mine, theirs in pairs_of_projections if theirs.is_complete)
    for mine, theirs in zip(small.parameters(), graph.parameters(), strict=True):
        assert mine is not theirs and (not mine.numel() or mine.data_ptr() != theirs.data_ptr())
    assert all(torch.equal(values, state[name]) for name, values in graph.state_dict().items())
    assert set(isolated(small).tolist()) <= set(
        small.outputs.tolist() if inputs else torch.cat([small.inputs, small.outputs]).tolist()
    )


@pytest.mark.parametrize("inputs", [False, True])
@pytest.mark.parametrize("make", SPARSE.values(), ids=SPARSE)
def test_without_isolated_neurons_values_and_gradients_are_the_same(make, inputs):
    graph = make().double()
    small = drop_isolated(graph, inputs=inputs)
    x = torch.randn(7, len(graph.inputs), dtype=torch.float64)
    keep = ~torch.isin(graph.inputs, isolated(graph)) if inputs else slice(None)
    y, expected = SpatialMLP(small, normalize=False)(x[:, keep]), SpatialMLP(graph, normalize=False)(x)
    torch.testing.assert_close(y, expected, rtol=1e-12, atol=1e-12)
    y.square().sum().backward()
    expected.square().sum().backward()
    kept = torch.ones(graph.neurons, dtype=torch.bool)
    kept[isolated(graph)] = False
    kept |= graph.is_output if inputs else graph.is_output | graph.is_input
    rows = {
        "raw_polarity": kept[~graph.is_output],
        "raw_bias": kept[~graph.is_input],
        "positions.coords": kept[~graph.positions.anchored],
    }
    parameters = dict(small.named_parameters())
    for name, parameter in graph.named_parameters():
        own, reference = parameters[name].grad, parameter.grad
        if reference is None:
            assert own is None, name
            continue
        if name in rows and reference.numel():
            assert not reference[~rows[name]].any(), name
            reference = reference[rows[name]]
        torch.testing.assert_close(own, reference, rtol=1e-9, atol=1e-12, msg=name)


def test_nothing_goes_where_nothing_is_isolated():
    graph = network()
    small = drop_isolated(graph, inputs=True)
    assert small.wiring == graph.wiring and all(projection.is_complete for projection in small.projections)
    assert all(torch.equal(values, graph.state_dict()[name]) for name, values in small.state_dict().items())


def test_spikes_and_delays_are_those_of_before():
    graph = prune_(network(velocity=0.5, delay_mode="free", weight_mode="both", gain=3.0), 0.93)
    small = drop_isolated(graph, inputs=True)
    assert small.neurons < graph.neurons and torch.equal(small.delays(), graph.delays())
    keep = ~torch.isin(graph.inputs, isolated(graph))
    spikes = (torch.rand(20, 5, 9) < 0.5).float()
    before = SpatialSNN(graph, num_steps=20, coding=None, normalize=False)(spikes)
    torch.testing.assert_close(SpatialSNN(small, num_steps=20, coding=None, normalize=False)(spikes[..., keep]), before)
    assert before.any()


@pytest.mark.parametrize("make", SPARSE.values(), ids=SPARSE)
def test_a_smaller_network_is_a_network(make, tmp_path):
    graph = make()
    small = drop_isolated(graph, inputs=True)
    again = drop_isolated(small, inputs=True)
    assert again.neurons == small.neurons and pairs(again) == pairs(small)
    model = SpatialMLP(small, normalize=False)
    x = torch.randn(3, len(small.inputs))
    before = model(x)
    model.load_state_dict(model.state_dict())
    assert torch.equal(model(x), before)
    model.reset_parameters()
    assert model(x).shape == before.shape and not torch.equal(model(x), before)
    assert torch.equal(small.pos[small.positions.anchored], again.pos[again.positions.anchored])
    if not isinstance(graph.init, str):  # listed positions: neurons go back to them
        kept = torch.ones(graph.neurons, dtype=torch.bool)
        kept[isolated(graph)] = False
        torch.testing.assert_close(small.pos.detach(), graph.init[kept | graph.is_output])


def test_frozen_parameters_stay_frozen():
    graph = prune_(network(), 0.95)
    graph.raw_polarity.requires_grad_(False)
    graph.positions.coords.requires_grad_(False)
    frozen = {name for name, parameter in drop_isolated(graph).named_parameters() if not parameter.requires_grad}
    assert frozen == {"raw_polarity", "positions.coords"}


def test_a_wiring_goes_on_with_the_neurons_that_stay():
    graph = network(wiring=Radius(r=1.2), spacing="fixed")
    small = drop_isolated(graph)
    assert small.neurons < graph.neurons
    before = pairs(small)
    assert pairs(small.rewire_()) == before


def test_a_normalised_layer_changes():
    graph = prune_(network(), 0.95)
    x = torch.randn(5, 9)
    assert len(isolated(graph)) and not torch.allclose(SpatialMLP(drop_isolated(graph))(x), SpatialMLP(graph)(x))


def wholly_isolated(layer):
    graph = network((4, 3, 3, 2))
    return graph.keep_((graph.layer[graph.edge_index] != layer).all(0))


def chain():
    return SpatialGraph(torch.randn(3, 2), torch.tensor([[0, 1], [1, 2]]))


def test_edges_may_be_listed_anew():
    graph = network(weight_mode="free")
    before = dict(zip(map(tuple, graph.edge_index.t().tolist()), graph.weights().tolist(), strict=True))
    graph.connect_(torch.tensor([[9, 0, 0], [21, 24, 9]]))
    assert pairs(graph) == {(0, 9), (9, 21), (0, 24)}
    after = dict(zip(map(tuple, graph.edge_index.t().tolist()), graph.weights().tolist(), strict=True))
    assert [after[pair] == before[pair] for pair in ((0, 9), (9, 21))] == [True, True]


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: prune_(network(), 1.5), ValueError, "amount must be between 0 and 1, got 1.5"),
        (lambda: prune_(network(), "half"), TypeError, r"amount must be a number, got 'half' \(str\)"),
        (lambda: prune_(network(), 0.5, by="size"), ValueError, "by must be one of 'length', 'weight', 'random'"),
        (lambda: prune(network(), 0.5, scope="layer"), ValueError, "scope must be one of 'projection', 'global'"),
        (lambda: prune_(torch.nn.Linear(3, 2), 0.5), TypeError, "network must be a SpatialGraph .*got Linear"),
        (lambda: prune(None, 0.5), TypeError, "network must be a SpatialGraph .*got NoneType"),
        (lambda: drop_isolated(None), TypeError, "network must be a SpatialGraph .*got NoneType"),
        (lambda: drop_isolated(network(), inputs=1), TypeError, "inputs must be True or False, got 1"),
        (lambda: drop_isolated(wholly_isolated(1)), ValueError, "a neuron in each layer, got none of layer 1"),
        (lambda: drop_isolated(wholly_isolated(2)), ValueError, "a neuron in each layer, got none of layer 2"),
        (lambda: drop_isolated(wholly_isolated(0), inputs=True), ValueError, "inputs must be False .*, got True"),
        (lambda: drop_isolated(prune_(without_layers(), 1.0), inputs=True), ValueError, "inputs must be False"),
        (lambda: isolated(None), TypeError, "network must be a SpatialGraph .*got NoneType"),
        (lambda: network().connect_(torch.ones(2, 3)), TypeError, "edge_index must be int64"),
        (
            lambda: network().connect_(torch.tensor([[9], [0]])),
            ValueError,
            r"must not lead into an input, got \(9, 0\)",
        ),
        (lambda: network().connect_(torch.tensor([[10], [9]])), ValueError, "edge_index must lead to later layers"),
        (lambda: chain().connect_(torch.tensor([[2], [1]])), ValueError, r"lead out of an output, got \(2, 1\)"),
        (lambda: chain().connect_(torch.tensor([[0, 1, 2], [1, 2, 0]])), ValueError, r"an input, got \(2, 0\)"),
        (lambda: network().keep_(torch.ones(3)), TypeError, "synapses must be a boolean mask, got torch.float32"),
        (lambda: network().keep_(torch.ones(3, dtype=torch.bool)), ValueError, r"synapses must have shape \(156,\)"),
    ],
)
def test_wrong_calls(call, error, message):
    with pytest.raises(error, match=message):
        call()
