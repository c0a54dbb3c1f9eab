import copy
import io
import pickle
from functools import partial

import numpy as np
import pytest
import torch
from references import LAWS, assert_close, complete_edges, engines_of, law_weight, random_dag, randomise

import spatialgraph as sg
from spatialgraph import SpatialGraph, SpatialMLP
from spatialgraph.functional.dense_engine import DenseEngine, MaskedEngine
from spatialgraph.laws import Gaussian, InversePower
from spatialgraph.wiring import KNN, AllToAll, Radius, Random, SmallWorld

SIZES = [6, 5, 4]
DAG = torch.tensor([[0, 0, 1, 2, 3, 1], [3, 4, 3, 4, 5, 5]])
KINDS = {
    "all-to-all": partial(SpatialGraph.layered, SIZES),
    "skip": partial(SpatialGraph.layered, SIZES, wiring=AllToAll(reach="all")),
    "nearest": partial(SpatialGraph.layered, SIZES, wiring=KNN(k=2), spacing="free"),
    "nearest skip": partial(SpatialGraph.layered, SIZES, wiring=KNN(k=3, reach="all"), polarity_mode="binary"),
    "radius": partial(SpatialGraph.layered, SIZES, wiring=Radius(r=1.5), law="gaussian"),
    "random": partial(SpatialGraph.layered, SIZES, wiring=Random(density=0.5), anchored=[0]),
    "small world": partial(SpatialGraph.layered, SIZES, wiring=SmallWorld(k=1, long_range=1), spacing="fixed"),
    "power": lambda: SpatialGraph.layered(SIZES, law=InversePower(1.5, learnable=True), gain=0.3),
    "dag": lambda: SpatialGraph(torch.randn(6, 2), DAG),
}
every_kind = pytest.mark.parametrize("make", KINDS.values(), ids=KINDS.keys())


def as_lists(state):
    return {name: value.tolist() for name, value in state.items()}


def same(graph, other):
    """Whether two graphs agree to the bit."""
    return (
        repr(graph) == repr(other)
        and torch.equal(graph.pos, other.pos)
        and torch.equal(graph.edge_index, other.edge_index)
        and torch.equal(graph.weights(), other.weights())
        and torch.equal(graph.bias, other.bias)
    )


# What it says of itself ----


def test_repr():
    assert repr(SpatialGraph.layered([784, 2048, 10])) == (
        "SpatialGraph(neurons=2842, synapses=1626112, dim=3, spacing='learned')"
    )
    graph = SpatialGraph.layered(SIZES, 2, wiring=KNN(k=2), spacing="free")
    assert repr(graph) == "SpatialGraph(neurons=15, synapses=18, dim=2, spacing='free')"
    assert repr(SpatialGraph(torch.randn(6, 4), DAG)) == "SpatialGraph(neurons=6, synapses=6, dim=4, spacing='free')"


@every_kind
def test_numbers(make):
    graph = make()
    assert graph.neurons == len(graph.pos) == len(graph.layer) == len(graph.polarity) == len(graph.bias)
    assert graph.synapses == graph.edge_index.shape[1] == len(graph.lengths()) == len(graph.weights())
    assert graph.dim == graph.pos.shape[1]


def test_inputs_and_outputs():
    graph = SpatialGraph.layered(SIZES)
    assert graph.inputs.tolist() == list(range(6)) and graph.outputs.tolist() == list(range(11, 15))
    assert graph.layer.tolist() == [0] * 6 + [1] * 5 + [2] * 4
    graph = SpatialGraph(torch.randn(7, 2), DAG)  # neuron 6 has no edge at all
    assert graph.inputs.tolist() == [0, 1, 2, 6] and graph.outputs.tolist() == [4, 5]
    assert graph.layer.tolist() == [-1] * 7
    assert len(graph.raw_polarity) == 5 and len(graph.raw_bias) == 3


def test_binary_polarity_is_near_minus_one_or_one():
    polarity = SpatialGraph.layered([4000, 10], polarity_mode="binary").polarity[:4000]
    assert (polarity.abs() <= 1).all()
    assert (polarity.abs() > 0.9).float().mean() > 0.7
    assert 0.4 < (polarity > 0).float().mean() < 0.6


def test_polarity_by_hand():
    for kind, expected in (("graded", [0.1, -0.2]), ("binary", [np.tanh(0.5), np.tanh(-1.0)])):
        graph = SpatialGraph(torch.randn(3, 2), torch.tensor([[0, 1], [2, 2]]), polarity_mode=kind)
        with torch.no_grad():
            graph.raw_polarity.copy_(torch.tensor([0.1, -0.2]))
        assert_close(graph.polarity, [*expected, 0.0], 1e-6)


# Lengths and weights ----


@every_kind
def test_lengths_and_weights_by_brute_force(make):
    graph = randomise(make().double())
    pos = graph.pos.detach().numpy()
    polarity = graph.polarity.detach().numpy()
    edges = graph.edge_index.t().tolist()
    lengths = np.array([np.sqrt(((pos[i] - pos[j]) ** 2).sum()) for i, j in edges])
    squares = lengths**2 + graph.law.softening**2
    factors = np.array([graph.gain * polarity[i] for i, _ in edges])
    assert_close(graph.lengths(), lengths, 1e-12)
    assert_close(graph.weights(), factors * law_weight(graph.law, squares), 1e-12)


@pytest.mark.parametrize("make", LAWS.values(), ids=LAWS.keys())
def test_listed_and_folded_edges_have_the_same_weights(make):
    folded = SpatialGraph.layered([4, 3], law=make(), spacing="free").double()
    pos = folded.pos.detach()
    one_less = complete_edges(4, 3)[:, :-1] + torch.tensor([[0], [4]])
    listed = SpatialGraph(pos, one_less, layer=folded.layer, law=make(), gain=folded.gain)
    with torch.no_grad():
        listed.raw_polarity.copy_(folded.raw_polarity)
    assert listed.synapses == 11
    assert_close(listed.weights(), folded.weights()[:-1], 1e-14)
    gradients = [torch.autograd.grad(g.weights()[:11].square().sum(), g.positions.coords)[0] for g in (listed, folded)]
    assert_close(gradients[0], gradients[1], 1e-12)


def test_short_lengths_far_away_are_accurate():
    pos = torch.tensor([[50.0, 50.0, 50.0], [50.0, 50.0, 50.001], [51.0, 52.0, 53.0], [50.001, 50.0, 50.0]])
    for edges in ([[0, 2], [1, 1]], [[0, 2, 0, 2], [1, 1, 3, 3]]):
        graph = SpatialGraph(pos, torch.tensor(edges), layer=torch.tensor([0, 1, 0, 1]))
        exact = pos.double()[graph.edge_index[0]] - pos.double()[graph.edge_index[1]]
        np.testing.assert_allclose(graph.lengths().detach(), exact.norm(dim=1), rtol=1e-6)


@every_kind
def test_meeting_neurons_have_finite_gradients(make):
    graph = make()
    with torch.no_grad():
        for parameter in graph.positions.parameters():
            parameter.zero_()
    graph.weights().sum().backward()
    assert all(torch.isfinite(p.grad).all() for p in graph.parameters() if p.grad is not None)


# Edges ----


@every_kind
def test_edges_are_sorted_and_distinct(make):
    graph = make()
    edges = graph.edge_index
    assert edges.dtype == torch.int64 and edges.shape == (2, graph.synapses)
    assert len({tuple(edge) for edge in edges.t().tolist()}) == graph.synapses
    if graph.is_layered:
        assert (graph.layer[edges[0]] < graph.layer[edges[1]]).all()
        assert edges.t().tolist() == sorted(edges.t().tolist(), key=lambda edge: (edge[1], edge[0]))


def test_order_of_edges():
    graph = SpatialGraph.layered([2, 2, 1])
    assert graph.edge_index.tolist() == [[0, 1, 0, 1, 2, 3], [2, 2, 3, 3, 4, 4]]
    shuffled = DAG[:, torch.randperm(6)]
    graph = SpatialGraph(torch.randn(6, 2), shuffled)
    # Generation 1 is 3 and 4 (an output), hidden neurons first; then 5.
    assert graph.edge_index.tolist() == [[0, 1, 0, 2, 1, 3], [3, 3, 4, 4, 5, 5]]


def test_complete_lists_of_edges_become_all_to_all():
    layered = SpatialGraph.layered(SIZES)
    listed = SpatialGraph(layered.pos, layered.edge_index[:, torch.randperm(50)], layer=layered.layer)
    assert listed.connectivity.topology.all_to_all.tolist() == [1, 1]
    assert torch.equal(listed.edge_index, layered.edge_index)
    fewer = SpatialGraph(layered.pos, layered.edge_index[:, 1:], layer=layered.layer)
    assert fewer.connectivity.topology.all_to_all.tolist() == [0, 1]
    assert engines_of(fewer) == [MaskedEngine, DenseEngine]


def test_to_data():
    graph = randomise(SpatialGraph.layered(SIZES, wiring=KNN(k=2)))
    data = graph.to_data()
    assert data.validate() and data.num_nodes == 15 and data.num_edges == graph.synapses
    assert set(data.keys()) == {"pos", "edge_index", "edge_weight", "layer", "polarity", "bias", "settings"}
    for name, expected in (
        ("pos", graph.pos),
        ("edge_index", graph.edge_index),
        ("edge_weight", graph.weights()),
        ("layer", graph.layer),
        ("polarity", graph.polarity),
        ("bias", graph.bias),
    ):
        assert torch.equal(data[name], expected) and not data[name].requires_grad
    data.pos.zero_(), data.layer.zero_(), data.bias.zero_(), data.polarity.zero_()
    assert graph.pos.abs().sum() > 0 and graph.layer.sum() > 0 and graph.bias.abs().sum() > 0


def test_rewire_follows_the_positions():
    graph = SpatialGraph.layered(SIZES, wiring=KNN(k=2))
    before, parameters = graph.edge_index, list(graph.parameters())
    assert torch.equal(graph.rewire_().edge_index, before)
    graph.place_(torch.randn(15, 2))
    assert torch.equal(graph.edge_index, before)
    assert graph.rewire_() is graph
    assert graph.synapses == before.shape[1] and not torch.equal(graph.edge_index, before)
    pos = graph.pos.detach()
    for number in (1, 2):
        targets = torch.nonzero(graph.layer == number)[:, 0]
        sources = torch.nonzero(graph.layer == number - 1)[:, 0]
        nearest = torch.cdist(pos[targets], pos[sources]).topk(2, largest=False).indices
        for target, row in zip(targets.tolist(), sources[nearest].tolist(), strict=True):
            assert graph.edge_index[0, graph.edge_index[1] == target].tolist() == sorted(row)
    assert all(a is b for a, b in zip(graph.parameters(), parameters, strict=True))


@pytest.mark.parametrize("weight_mode", ["law", "both"])
@pytest.mark.parametrize("recurrent", [None, KNN(k=2)])
def test_rewire_refuses_to_leave_no_path_to_an_output(weight_mode, recurrent):
    options = {"spacing": "free", "weight_mode": weight_mode, "recurrent": recurrent}
    graph = SpatialGraph.layered(SIZES, wiring=Radius(r=9.0), **options)
    graph.place_(graph.pos.detach() + 100.0 * graph.layer[:, None])
    before = copy.deepcopy(graph)
    for wiring in (None, Radius(r=1.0)):
        with pytest.raises(ValueError, match="wiring must lead from inputs to outputs, got no path to any"):
            graph.rewire_(wiring)
        assert same(graph, before) and graph.wiring == Radius(r=9.0) and graph.synapses == before.synapses
        graph.weights()


def test_rewire_by_another_wiring():
    graph = SpatialGraph.layered(SIZES)
    parameters = list(graph.parameters())
    assert graph.rewire_(KNN(k=2)).synapses == 18 and graph.wiring == KNN(k=2)
    assert graph.rewire_(AllToAll(reach="all")).synapses == 30 + 20 + 24
    assert graph.rewire_(Random(density=0.5), torch.Generator().manual_seed(1)).synapses == 25
    assert all(a is b for a, b in zip(graph.parameters(), parameters, strict=True))
    with pytest.raises(ValueError, match="wiring must be given for a network that was built from listed edges"):
        SpatialGraph(torch.randn(6, 2), DAG).rewire_()
    with pytest.raises(ValueError, match="without layers"):
        SpatialGraph(torch.randn(6, 2), DAG).rewire_(KNN(k=1))
    with pytest.raises(TypeError, match="wiring must be a Wiring .* got str"):
        graph.rewire_("knn")


# State ----


@every_kind
def test_reset_parameters(make):
    graph = make()
    parameters, edges = list(graph.parameters()), graph.edge_index
    reset, again = copy.deepcopy(graph), copy.deepcopy(graph)
    randomise(graph)
    for other in (graph, reset):
        torch.manual_seed(7)
        other.reset_parameters()
    assert same(graph, reset)  # nothing remains of what was there
    assert graph.bias.abs().sum() == 0 and not torch.equal(graph.raw_polarity, again.raw_polarity)
    assert torch.equal(graph.edge_index, edges)
    assert all(a is b for a, b in zip(graph.parameters(), parameters, strict=True))


@every_kind
def test_state_dict_round_trip(make):
    graph, other = randomise(make()), make()
    file = io.BytesIO()
    torch.save(graph.state_dict(), file)
    file.seek(0)
    result = other.load_state_dict(torch.load(file, weights_only=True))
    assert not result.missing_keys and not result.unexpected_keys
    assert same(graph, other) and as_lists(graph.state_dict()) == as_lists(other.state_dict())


@pytest.mark.parametrize(
    "wiring", [KNN(k=2), Random(density=0.3), KNN(k=3, reach="all"), AllToAll(reach="all")], ids=repr
)
def test_state_dict_brings_its_edges(wiring):
    sparse, dense = SpatialGraph.layered(SIZES, wiring=wiring), SpatialGraph.layered(SIZES)
    sparse_state, dense_state = (copy.deepcopy(graph.state_dict()) for graph in (sparse, dense))
    assert not torch.equal(sparse.edge_index[:, :1], dense.edge_index) and dense.synapses == 50
    fresh = SpatialGraph.layered(SIZES)
    assert fresh.synapses == 50  # its projections are known by now, and must be forgotten
    fresh.load_state_dict(sparse_state)
    assert same(fresh, sparse)
    fresh.load_state_dict(dense_state)
    assert same(fresh, dense)
    sparse.load_state_dict(dense_state)
    assert same(sparse, dense)


def test_state_dict_of_a_part_of_a_model():
    model, other = SpatialMLP(SIZES, wiring=KNN(k=2)), SpatialMLP(SIZES)
    other.load_state_dict(model.state_dict())
    assert same(model.graph, other.graph)
    x = torch.randn(3, 6)
    assert torch.equal(model(x), other(x))


def test_loading_does_not_share_memory():
    sparse, fresh = SpatialGraph.layered(SIZES, wiring=KNN(k=2)), SpatialGraph.layered(SIZES)
    state = sparse.state_dict()
    fresh.load_state_dict(state)
    pointers = {t.data_ptr() for t in state.values() if t.numel()}
    assert not pointers & {t.data_ptr() for t in fresh.state_dict().values() if t.numel()}


def test_wrong_sizes_are_refused_on_loading():
    with pytest.raises(RuntimeError, match="size mismatch"):
        SpatialGraph.layered([6, 5, 4]).load_state_dict(SpatialGraph.layered([6, 5, 3]).state_dict())


@every_kind
def test_copies(make):
    graph = randomise(make())
    graph.synapses  # noqa: B018 - projections are known from here on
    for other in (copy.deepcopy(graph), pickle.loads(pickle.dumps(graph))):
        assert same(graph, other)
        pos = graph.pos.detach().clone()
        randomise(other)
        assert torch.equal(graph.pos, pos) and not torch.equal(other.pos, pos)
        if graph.is_layered:
            assert other.rewire_(KNN(k=1)).synapses == 9 < graph.synapses


@every_kind
def test_double_precision(make):
    graph = make()
    lengths, edges = graph.lengths(), graph.edge_index
    assert graph.to(torch.float64) is graph
    for value in (graph.pos, graph.polarity, graph.bias, graph.lengths(), graph.weights()):
        assert value.dtype == torch.float64
    assert graph.edge_index.dtype == torch.int64 and torch.equal(graph.edge_index, edges)
    assert_close(graph.lengths(), lengths.double(), 1e-6)
    graph.reset_parameters()
    assert graph.pos.dtype == torch.float64


def test_precision_of_the_positions_is_that_of_the_graph():
    graph = SpatialGraph(torch.randn(6, 2).double(), DAG, law=InversePower(1.5, learnable=True))
    assert {p.dtype for p in graph.parameters()} == {torch.float64}


# Seeds ----


@every_kind
def test_same_seed_same_bits(make):
    def build_and_train():
        torch.manual_seed(5)
        graph = make()
        model = SpatialMLP(graph, activation="tanh")
        optimizer = torch.optim.AdamW(model.parameters(), lr=0.05)
        x = torch.randn(8, len(graph.inputs))
        first = as_lists(graph.state_dict())
        for _ in range(3):
            optimizer.zero_grad()
            model(x).square().sum().backward()
            optimizer.step()
        return first, as_lists(graph.state_dict())

    results = build_and_train(), build_and_train()
    assert results[0] == results[1]
    assert results[0][0] != results[0][1]


def test_generator_leaves_the_global_one_alone():
    state = torch.get_rng_state()
    make = partial(SpatialGraph.layered, SIZES, wiring=Random(density=0.5), spacing="free")
    graphs = [make(generator=torch.Generator().manual_seed(seed)) for seed in (3, 3, 4)]
    assert torch.equal(torch.get_rng_state(), state)
    assert same(graphs[0], graphs[1]) and not torch.equal(graphs[0].pos, graphs[2].pos)


# What stays as it was given ----


def test_gaussian_width_survives_copies():
    graph = SpatialGraph.layered(SIZES, law=Gaussian(sigma=3.0))
    assert copy.deepcopy(graph).law.settings() == {"sigma": 3.0}


def test_layers_need_not_be_in_order():
    layer = torch.tensor([1, 0, 2, 0, 1, 2])
    pos = torch.randn(6, 3)
    pos[:, 2] = layer
    graph = SpatialGraph(pos, AllToAll(), layer=layer, spacing="fixed")
    assert graph.inputs.tolist() == [1, 3] and graph.outputs.tolist() == [2, 5]
    assert graph.edge_index.tolist() == [[1, 3, 1, 3, 0, 4, 0, 4], [0, 0, 4, 4, 2, 2, 5, 5]]
    assert torch.equal(graph.pos, pos)


def test_random_dags_keep_their_edges():
    for seed in range(20):
        edges = random_dag(12, 0.3, seed)
        graph = SpatialGraph(torch.randn(12, 2), edges)
        assert sorted(graph.edge_index.t().tolist()) == sorted(edges.t().tolist())


def through_a_file(graph, path):
    sg.save(graph, path / "network.safetensors")
    return sg.load(path / "network.safetensors")


@pytest.mark.parametrize(
    ("back", "expected"),
    [
        (lambda graph, path: graph, 1.5),
        (lambda graph, path: copy.deepcopy(graph), 1.5),
        (through_a_file, 2.5),
        (lambda graph, path: sg.from_networkx(sg.to_networkx(graph)), 2.5),
    ],
    ids=["itself", "copy", "file", "networkx"],
)
def test_reset_parameters_gives_a_law_its_first_values_or_those_it_was_read_with(back, expected, tmp_path):
    law = InversePower(1.5, learnable=True)
    graph = SpatialGraph.layered([4, 3, 2], law=law)
    with torch.no_grad():
        graph.law.exponent.fill_(2.5)
    other = back(graph, tmp_path)
    with torch.no_grad():
        other.law.exponent.fill_(3.5)
    exponent = other.law.exponent
    other.reset_parameters()
    assert other.law.exponent is exponent and exponent.item() == expected
