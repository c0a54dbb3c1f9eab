"""Pruning while training: which weights a pass leaves out, what is learned meanwhile, and what is left in the end."""

import copy

import pytest
import torch
import torch.nn.functional as F

from spatialgraph import PruneWhileTraining, SpatialGraph, SpatialMLP, SpatialSNN
from spatialgraph.wiring import Random


def network(**options):
    torch.manual_seed(0)
    graph = SpatialGraph.layered([9, 12, 4], **options)
    graph.raw_bias.data.normal_()
    return graph


KINDS = {
    "all-to-all": {},
    "many edges": {"wiring": Random(density=0.6)},
    "few edges": {"wiring": Random(density=0.15)},
    "binary": {"polarity_mode": "binary"},
    "free weights": {"weight_mode": "free"},
    "factors": {"weight_mode": "both"},
    "another law": {"law": "gaussian"},
}


def matrices(graph, amount):
    """Weights of each projection as a matrix by sorting, those left out being 0; differentiable."""
    weights = graph.weights()
    source, target = graph.edge_index
    parts = []
    for low, high, first, last in ((0, 9, 9, 21), (9, 21, 21, 25)):
        own = (target >= first) & (target < last)
        values = weights[own]
        order = values.abs().argsort()
        kept = torch.ones_like(values)
        kept[order[: round(amount * len(order))]] = 0
        matrix = values.new_zeros(last - first, high - low)
        parts.append(matrix.index_put((target[own] - first, source[own] - low), values * kept))
    return parts


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("amount", [0.0, 0.35, 0.8, 1.0])
def test_a_pass_leaves_out_the_smallest_weights_and_their_gradients(kind, amount):
    graph = network(**KINDS[kind]).double()
    model = SpatialMLP(graph, normalize=False)
    PruneWhileTraining(amount).attach(graph)
    x = torch.randn(7, 9, dtype=torch.float64, requires_grad=True)
    first, second = matrices(graph, amount)
    expected = F.relu(x @ first.t() + graph.bias[9:21]) @ second.t() + graph.bias[21:]
    y = model(x)
    torch.testing.assert_close(y, expected, rtol=1e-10, atol=1e-10)
    inputs = [x, *model.parameters()]
    grads = torch.autograd.grad(y.square().sum(), inputs, allow_unused=True, materialize_grads=True)
    references = torch.autograd.grad(expected.square().sum(), inputs, allow_unused=True, materialize_grads=True)
    for grad, reference in zip(grads, references, strict=True):
        torch.testing.assert_close(grad, reference, rtol=1e-8, atol=1e-8)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("amount", [0.35, 0.9])
def test_removing_what_is_left_out_changes_no_output(kind, amount):
    graph = network(**KINDS[kind])
    model = SpatialMLP(graph).eval()
    pruner = PruneWhileTraining(amount).attach(graph)
    x = torch.randn(5, 9)
    before, counts = model(x), [projection.synapses for projection in graph.projections]
    pruner.remove()
    torch.testing.assert_close(model(x), before, rtol=1e-5, atol=1e-5)
    assert [p.synapses for p in graph.projections] == [count - round(amount * count) for count in counts]
    pruner.remove()
    assert graph.masked_share == 0.0


def test_synapses_return():
    graph = SpatialGraph(torch.tensor([[0.0, 0.0], [3.0, 0.0], [0.0, 2.0]]), torch.tensor([[0, 1], [2, 2]]))
    graph.raw_polarity.data.fill_(1.0)
    model = SpatialMLP(graph)
    pruner = PruneWhileTraining(0.5).attach(graph)
    x = torch.eye(2)
    assert [bool(value) for value in model(x)[:, 0] != 0] == [True, False]
    graph.place_(torch.tensor([[0.0, 1.0]]), torch.tensor([1]))
    assert [bool(value) for value in model(x)[:, 0] != 0] == [False, True]
    pruner.remove()
    assert graph.edge_index.tolist() == [[1], [2]]


def test_the_amount_may_change_at_any_time():
    graph = network()
    model = SpatialMLP(graph, normalize=False).eval()
    pruner = PruneWhileTraining(0.0).attach(graph)
    x = torch.randn(5, 9)
    with torch.no_grad():  # cached weights must notice
        whole = model(x)
        pruner.amount = 0.9
        assert not torch.allclose(model(x), whole)
        pruner.amount = 0.0
        torch.testing.assert_close(model(x), whole)


def test_training_goes_on_below_the_threshold():
    graph = network(gain=1.0)
    model = SpatialMLP(graph)
    pruner = PruneWhileTraining(0.7).attach(graph)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.05)
    x, labels = torch.randn(60, 9), torch.randint(4, (60,))
    losses = []
    for _ in range(40):
        optimizer.zero_grad()
        loss = F.cross_entropy(model(x), labels)
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    pruner.remove()
    assert losses[-1] < 0.7 * losses[0]
    assert F.cross_entropy(model(x), labels).item() < 0.7 * losses[0]


@pytest.mark.parametrize("options", [{}, {"velocity": 0.5}])
def test_spiking_networks(options):
    graph = network(**options)
    model = SpatialSNN(graph, num_steps=12)
    pruner = PruneWhileTraining(0.6).attach(graph)
    x = torch.rand(3, 9)
    left_out = model(x)
    pruner.remove()
    torch.testing.assert_close(model(x), left_out, rtol=1e-4, atol=1e-5)
    assert graph.synapses == 156 - round(0.6 * 108) - round(0.6 * 48)


def test_it_compiles():
    torch.compiler.reset()
    model = SpatialMLP(network(), normalize=False)
    PruneWhileTraining(0.6).attach(model.graph)
    x = torch.randn(5, 9)
    expected = model(x)
    torch.testing.assert_close(torch.compile(model, backend="aot_eager")(x), expected, rtol=1e-5, atol=1e-5)


def test_one_pruner_at_a_time():
    graph = network()
    first, second = PruneWhileTraining(0.0), PruneWhileTraining(0.6)
    first.attach(graph).attach(graph)
    with pytest.raises(ValueError, match="network must have no other pruner, .* got one of amount 0"):
        second.attach(SpatialMLP(graph))
    assert graph.masked_share == 0.0
    second.attach(copy.deepcopy(graph))
    first.remove()
    third = PruneWhileTraining(0.3).attach(graph)
    del third  # nobody can set its amount any more
    PruneWhileTraining(0.4).attach(graph)
    assert graph.masked_share == 0.4


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: PruneWhileTraining(1.5), ValueError, "amount must be between 0 and 1, got 1.5"),
        (lambda: PruneWhileTraining("most"), TypeError, r"amount must be a number, got 'most' \(str\)"),
        (lambda: setattr(PruneWhileTraining(0.5), "amount", -1), ValueError, "amount must be between 0 and 1, got -1"),
        (lambda: PruneWhileTraining(0.5).attach(torch.nn.Linear(3, 2)), TypeError, "network must be a SpatialGraph"),
        (lambda: PruneWhileTraining(0.5).attach(network()).attach(network()), ValueError, "network must be the one"),
        (lambda: setattr(network(), "masked_share", 2), ValueError, "masked_share must be between 0 and 1, got 2"),
    ],
)
def test_wrong_calls(call, error, message):
    with pytest.raises(error, match=message):
        call()
