"""Pruning removes edges: which ones, and what stays."""

import pytest
import torch
import torch.nn.functional as F

from spatialgraph import SpatialGraph, SpatialMLP, SpatialSNN, isolated, prune, prune_


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
    graph = network(polarity=polarity).double()
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
    graph = network(weights="free", velocity=0.5, delays="free")
    weights = dict(zip(map(tuple, graph.edge_index.t().tolist()), graph.weights().tolist(), strict=True))
    delays = dict(zip(map(tuple, graph.edge_index.t().tolist()), graph.delays().tolist(), strict=True))
    prune_(graph, 0.7, by="weight")
    for edge, weight, delay in zip(
        map(tuple, graph.edge_index.t().tolist()), graph.weights().tolist(), graph.delays().tolist(), strict=True
    ):
        assert (weight, delay) == (weights[edge], delays[edge])


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
        graph.rewire()


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: prune_(network(), 1.5), ValueError, "amount must be between 0 and 1, got 1.5"),
        (lambda: prune_(network(), "half"), TypeError, "amount must be a number, got str"),
        (lambda: prune_(network(), 0.5, by="size"), ValueError, "by must be one of 'length', 'weight', 'random'"),
        (lambda: prune(network(), 0.5, scope="layer"), ValueError, "scope must be one of 'projection', 'global'"),
        (lambda: prune_(SpatialMLP([3, 2]), 0.5), TypeError, "graph must be a SpatialGraph .*got SpatialMLP"),
        (lambda: prune(None, 0.5), TypeError, "graph must be a SpatialGraph .*got NoneType"),
        (lambda: isolated(None), TypeError, "graph must be a SpatialGraph .*got NoneType"),
        (lambda: network().keep(torch.ones(3)), TypeError, "synapses must be a boolean mask, got torch.float32"),
        (lambda: network().keep(torch.ones(3, dtype=torch.bool)), ValueError, r"synapses must have shape \(156,\)"),
    ],
)
def test_wrong_calls(call, error, message):
    with pytest.raises(error, match=message):
        call()
