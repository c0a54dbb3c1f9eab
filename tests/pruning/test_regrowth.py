"""Regrowth moves synapses to the nearest pairs: which ones, how many, and what stays."""

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial import cKDTree
from torch.utils._python_dispatch import TorchDispatchMode

from spatialgraph import SpatialGraph, SpatialMLP, SpatialSNN, prune_, regrow_
from spatialgraph.pruning import regrowth
from spatialgraph.wiring import KNN, AllToAll, Radius, Random


def network(sizes=(9, 12, 8, 4), wiring=None, seed=0, **options):
    torch.manual_seed(seed)
    return SpatialGraph.layered(list(sizes), wiring=wiring or Random(0.4), **options)


def pairs(graph):
    return set(map(tuple, graph.edge_index.t().tolist()))


def per_projection(graph):
    return [projection.synapses for projection in graph.projections]


def canonical(pos, pair):
    """Sorting key of a pair: squared length in float64, summed axis by axis, then target, then source."""
    total = 0.0
    for a, b in zip(pos[pair[0]], pos[pair[1]], strict=True):
        total += (a - b) * (a - b)
    return total, pair[1], pair[0]


def by_brute_force(graph, share, scope="projection"):
    """Drop and grow by sorting all pairs."""
    pos = graph.pos.detach().double().tolist()
    is_output = graph.is_output.tolist()
    parts = []
    for projection in graph.projections:
        present = set(map(tuple, projection.edge_index().t().tolist()))
        possible = {
            (i, j) for i in projection.sources.tolist() for j in projection.targets.tolist() if not is_output[i]
        }
        parts.append((present, possible))
    if scope == "global":
        parts = [tuple(set().union(*sets) for sets in zip(*parts, strict=True))]
    result = set()
    for present, possible in parts:
        ordered = sorted(present, key=lambda pair: canonical(pos, pair))
        wanted = round(share * len(ordered))
        kept = set(ordered[: len(ordered) - wanted])
        result |= kept | set(sorted(possible - kept, key=lambda pair: canonical(pos, pair))[:wanted])
    return result


@pytest.mark.parametrize("scope", ["projection", "global"])
@pytest.mark.parametrize("share", [0.0, 0.004, 0.1, 0.5, 1.0])
@pytest.mark.parametrize(
    "wiring", [Random(0.3), Random(0.1, reach="all"), KNN(k=2), AllToAll()], ids=["random", "skip", "knn", "all"]
)
def test_the_longest_go_and_the_nearest_come(wiring, share, scope):
    graph = network(wiring=wiring)
    before, expected = per_projection(graph), by_brute_force(graph, share, scope)
    assert regrow_(graph, share, scope=scope) is graph
    assert pairs(graph) == expected
    assert graph.synapses == sum(before)
    if scope == "projection":
        assert per_projection(graph) == before


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_any_layered_network(data):
    sizes = data.draw(st.lists(st.integers(2, 7), min_size=2, max_size=4))
    dim = data.draw(st.integers(1, 3))
    # whole coordinates tie often; a free spacing lets layers coincide
    coordinates = st.integers(-2, 2) if data.draw(st.booleans()) else st.floats(-1e3, 1e3, width=32)
    count = sum(sizes)
    pos = torch.tensor(
        data.draw(st.lists(st.lists(coordinates, min_size=dim, max_size=dim), min_size=count, max_size=count)),
        dtype=torch.float32,
    )
    layer = torch.arange(len(sizes)).repeat_interleave(torch.tensor(sizes))
    possible = [(i, j) for i in range(count) for j in range(count) if layer[i] < layer[j]]
    edges = data.draw(st.lists(st.sampled_from(possible), unique=True, min_size=1))
    graph = SpatialGraph(pos, torch.tensor(edges).t().contiguous(), layer=layer)
    share, scope = data.draw(st.floats(0, 1)), data.draw(st.sampled_from(["projection", "global"]))
    if all(per_projection(graph)):
        expected = by_brute_force(graph, share, scope)
        assert pairs(regrow_(graph, share, scope=scope)) == expected
    else:
        before = graph.synapses
        assert regrow_(graph, share, scope=scope).synapses == before
    assert bool((layer[graph.edge_index[0]] < layer[graph.edge_index[1]]).all())


@pytest.mark.parametrize("same", ["grid", "point"])
@pytest.mark.parametrize("spare", [0, 4096])
def test_ties_go_by_target_then_source(same, spare, monkeypatch):
    monkeypatch.setattr(regrowth, "_SPARE_PAIRS", spare)
    init = "grid" if same == "grid" else lambda layer, n, axes: torch.zeros(n, axes)
    graph = network((120, 110), Random(0.03), init=init)
    expected = by_brute_force(graph, 0.5)
    assert pairs(regrow_(graph, 0.5)) == expected


def test_it_ends_at_the_nearest_pairs_and_stays():
    graph = network((40, 60, 10), Random(0.1))
    nearest = by_brute_force(graph, 1.0, "global")
    while len(pairs(graph) - nearest):
        before = pairs(graph)
        assert pairs(regrow_(graph, 0.2, scope="global")) != before
    index, projections = graph.edge_index, graph.projections
    regrow_(graph, 0.2, scope="global")
    assert torch.equal(graph.edge_index, index)
    assert graph.projections is projections


def test_nothing_to_change_leaves_the_wiring():
    graph = network(wiring=Radius(1.5))
    regrow_(graph, 1.0)
    assert graph.wiring == Radius(1.5)
    graph = network(wiring=Random(0.4))
    regrow_(graph, 0.5)
    assert graph.wiring is None


def test_all_to_all_projections_stay():
    graph = network((30, 20, 5), Random(0.1))
    to_outputs = torch.cartesian_prod(torch.arange(30, 50), torch.arange(50, 55)).t()
    graph.connect_(torch.cat([graph.projections[0].edge_index(), to_outputs], 1))
    assert graph.projections[1].is_complete
    before = pairs(graph)
    regrow_(graph, 0.3)
    assert graph.projections[1].is_complete
    assert graph.projections[0].synapses == 60
    assert pairs(graph) != before


def test_synapses_move_between_projections_with_global_scope():
    graph = network((30, 20, 5), spacing="learned")
    graph.positions.gaps.data = torch.tensor([1.0, 9.0])
    budget = graph.synapses
    regrow_(graph, 0.5, scope="global")
    assert per_projection(graph) == [budget, 0]
    graph.positions.gaps.data = torch.tensor([9.0, 1.0])
    regrow_(graph, 0.2, scope="global")
    # a projection without synapses grows from the layer before, not from the inputs
    assert per_projection(graph) == [budget - round(0.2 * budget), round(0.2 * budget)]
    assert {int(i) for i in graph.projections[1].sources} == set(range(30, 50))


def test_a_network_without_layers_stays_acyclic_and_keeps_its_roles():
    generator = torch.Generator().manual_seed(3)
    for _ in range(30):
        count = 14
        upper = torch.triu(torch.rand(count, count, generator=generator) < 0.25, 1)
        graph = SpatialGraph(torch.randn(count, 2, generator=generator), upper.nonzero().t().contiguous())
        inputs, outputs, budget = graph.inputs, graph.outputs, graph.synapses
        for scope in ("projection", "global"):
            expected = by_brute_force(graph, 0.4, scope)
            assert pairs(regrow_(graph, 0.4, scope=scope)) == expected  # a cycle would raise
            assert graph.synapses == budget
        assert torch.equal(graph.inputs, inputs)
        assert torch.equal(graph.outputs, outputs)
        assert not set(graph.edge_index[1].tolist()) & set(inputs.tolist())
        assert not set(graph.edge_index[0].tolist()) & set(outputs.tolist())
        SpatialMLP(graph)(torch.ones(2, len(inputs)))


class Largest(TorchDispatchMode):
    """Notes the number of elements of the largest tensor that any operation returns."""

    def __init__(self):
        super().__init__()
        self.elements = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        result = func(*args, **(kwargs or {}))
        for value in result if isinstance(result, tuple | list) else (result,):
            if isinstance(value, torch.Tensor):
                self.elements = max(self.elements, value.numel())
        return result


@pytest.mark.parametrize("scope", ["projection", "global"])
def test_memory_goes_with_the_synapses(scope):
    graph = network((800, 700, 600), Random(0.01))
    with Largest() as largest:
        regrow_(graph, 0.3, scope=scope)
    assert graph.synapses <= largest.elements < 8 * graph.synapses + regrowth._SPARE_PAIRS < 560_000


def test_no_list_of_all_pairs_of_a_large_network():
    n, wanted = 200_000, 1000
    generator = torch.Generator().manual_seed(0)
    pos = torch.randn(2 * n, 2, generator=generator)
    edges = torch.stack([torch.randperm(n, generator=generator)[:wanted], n + torch.arange(wanted)])
    graph = SpatialGraph(pos, edges, layer=torch.arange(2).repeat_interleave(n))
    with Largest() as largest:  # 4e10 pairs
        regrow_(graph, 1.0)
    assert graph.synapses == wanted
    assert largest.elements <= 4 * n
    # each target's nearest source bounds the longest synapse: the wanted nearest pairs are at least as near
    points = pos.double().numpy()
    nearest = np.sort(cKDTree(points[:n]).query(points[n:])[0])
    assert graph.lengths().max().item() <= nearest[wanted - 1] * (1 + 1e-5)


# What stays ----


@pytest.mark.parametrize("model_of", [SpatialMLP, SpatialSNN])
def test_parameters_and_the_optimiser_go_on(model_of):
    model = model_of(network())
    optimizer = torch.optim.Adam(model.parameters(), lr=0.05)
    x, labels = torch.rand(20, 9), torch.randint(4, (20,))
    parameters, synapses = list(model.parameters()), model.graph.synapses
    for _ in range(5):
        optimizer.zero_grad()
        out = model(x)
        F.cross_entropy(out, labels).backward()
        optimizer.step()
        regrow_(model.graph, 0.3)
        assert model.graph.synapses == synapses
    assert all(a is b for a, b in zip(parameters, model.parameters(), strict=True))
    assert len(optimizer.state) == len(parameters)


@pytest.mark.parametrize("scope", ["projection", "global"])
def test_free_weights_and_delays_stay_with_their_synapses(scope):
    graph = network(weight_mode="free", velocity=0.5, delay_mode="free")
    graph.free_synapses.delay.data.uniform_(0, 9)
    weights = dict(zip(map(tuple, graph.edge_index.t().tolist()), graph.weights().tolist(), strict=True))
    delays = dict(zip(map(tuple, graph.edge_index.t().tolist()), graph.delays().tolist(), strict=True))
    parameters = list(graph.parameters())
    regrow_(graph, 0.4, scope=scope, generator=torch.Generator().manual_seed(5))
    assert all(a is b for a, b in zip(parameters, graph.parameters(), strict=True))
    stayed = 0
    for edge, weight, delay, length in zip(
        map(tuple, graph.edge_index.t().tolist()),
        graph.weights().tolist(),
        graph.delays().tolist(),
        graph.lengths().tolist(),
        strict=True,
    ):
        if edge in weights:
            stayed += 1
            assert (weight, delay) == (weights[edge], delays[edge])
        else:
            assert delay == pytest.approx(length / 0.5)
            assert 0 < abs(weight) <= 1
    assert graph.synapses // 2 < stayed < graph.synapses


def test_the_same_seed_gives_the_same_network():
    graphs = [network(weight_mode="free") for _ in range(2)]
    for graph in graphs:
        regrow_(graph, 0.4, generator=torch.Generator().manual_seed(1))
    first, second = (graph.state_dict() for graph in graphs)
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_a_state_fits_into_a_freshly_built_model():
    model = SpatialMLP(regrow_(network(), 0.5))
    again = SpatialMLP(network(seed=7))
    again.load_state_dict(model.state_dict())
    x = torch.randn(5, 9)
    assert pairs(again.graph) == pairs(model.graph)
    assert torch.equal(again(x), model(x))


def test_it_computes_what_the_matrices_say():
    graph = regrow_(network((9, 12, 4)).double(), 0.6)
    x = torch.randn(7, 9, dtype=torch.float64)
    matrix = torch.zeros(25, 25, dtype=torch.float64)
    for (i, j), weight in zip(graph.edge_index.t().tolist(), graph.weights().tolist(), strict=True):
        matrix[j, i] = weight
    hidden = F.relu(x @ matrix[9:21, :9].t() + graph.bias[9:21])
    expected = hidden @ matrix[21:, 9:21].t() + graph.bias[21:]
    torch.testing.assert_close(SpatialMLP(graph, normalize=False)(x), expected, rtol=1e-10, atol=1e-10)


def test_training_with_regrowth_resumes_exactly(tmp_path):
    training = pytest.importorskip("spatialgraph.training")
    x = torch.randn(100, 9, generator=torch.Generator().manual_seed(0))
    data = x, x[:, :4].argmax(1)
    recipe = training.Recipe(epochs=4, batch_size=20)

    class Stop(Exception):
        pass

    def train(seed, folder, stop_at=None, resume=False):
        model = SpatialMLP(network(seed=seed))
        calls = []

        def regrow():
            calls.append(pairs(model.graph))
            if len(calls) == stop_at:
                raise Stop
            regrow_(model.graph, 0.3, scope="global")

        rewiring = training.EverySteps(2, regrow, until=0.9)
        training.fit(model, data, recipe, tmp_path / folder, callbacks=[rewiring], progress=False, resume=resume)
        return model, calls

    whole, calls = train(0, "whole")
    assert len(calls) == 8 and len(set(map(frozenset, calls))) > 4
    with pytest.raises(Stop):
        train(0, "halves", stop_at=6)
    again, _ = train(9, "halves", resume=True)
    for (name, expected), (_, found) in zip(whole.state_dict().items(), again.state_dict().items(), strict=True):
        assert torch.equal(expected, found), name
    assert whole.graph.synapses == again.graph.synapses == network().synapses


def test_a_network_without_synapses_grows_none():
    assert regrow_(prune_(network(), 1.0), 0.5).synapses == 0


def broken():
    graph = network()
    graph.positions.coords.data[0, 0] = math.nan
    return graph


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: regrow_(network(), 1.5), ValueError, "share must be between 0 and 1, got 1.5"),
        (lambda: regrow_(network(), -0.1), ValueError, "share must be between 0 and 1, got -0.1"),
        (lambda: regrow_(network(), math.nan), ValueError, "share must be finite, got nan"),
        (lambda: regrow_(network(), "half"), TypeError, r"share must be a number, got 'half' \(str\)"),
        (lambda: regrow_(network(), True), TypeError, r"share must be a number, got True \(bool\)"),
        (lambda: regrow_(network(), 0.5, scope="layer"), ValueError, "scope must be one of 'projection', 'global'"),
        (lambda: regrow_(torch.nn.Linear(3, 2), 0.5), TypeError, "network must be a SpatialGraph .*got Linear"),
        (lambda: regrow_(None, 0.5), TypeError, "network must be a SpatialGraph .*got NoneType"),
        (lambda: regrow_(broken(), 0.5), ValueError, "graph.pos must be finite, got NaN"),
    ],
)
def test_wrong_calls(call, error, message):
    with pytest.raises(error, match=message):
        call()
