import itertools

import networkx as nx
import numpy as np
import pytest
import scipy.sparse
import torch
from hypothesis import given
from hypothesis import strategies as st
from references import complete_edges, engines_of, random_dag, with_masked_from

from spatialgraph import SpatialGraph, SpatialMLP
from spatialgraph.functional.compressed_edges import CompressedEdges
from spatialgraph.functional.compressed_engine import CompressedEngine
from spatialgraph.functional.dense_engine import DenseEngine
from spatialgraph.graph.projections import fold_complete, generations, make_projections
from spatialgraph.wiring import KNN, Random

dags = st.builds(random_dag, st.integers(2, 25), st.floats(0.02, 0.6), st.integers(0, 2**31))


def network_of(edges, count):
    network = nx.DiGraph()
    network.add_nodes_from(range(count))
    network.add_edges_from(edges.t().tolist())
    return network


@given(edges=dags, spare=st.integers(0, 3))
def test_generations_are_those_of_networkx(edges, spare):
    count = int(edges.max()) + 1 + spare
    network = network_of(edges, count)
    is_input = torch.tensor([network.in_degree(neuron) == 0 for neuron in range(count)])
    result = generations(edges, is_input)
    assert result.dtype == torch.int64 and result.shape == (count,)
    expected = [sorted(members) for members in nx.topological_generations(network)]
    assert [torch.nonzero(result == g)[:, 0].tolist() for g in range(int(result.max()) + 1)] == expected


@given(edges=dags, seed=st.integers(0, 1000))
def test_generation_is_the_longest_path(edges, seed):
    count = int(edges.max()) + 1
    network = network_of(edges, count)
    rng = np.random.default_rng(seed)
    # Some neurons without incoming edges are no inputs, as after pruning: they are of generation 1.
    is_input = torch.tensor([network.in_degree(neuron) == 0 and rng.random() < 0.7 for neuron in range(count)])
    expected = {}
    for neuron in nx.topological_sort(network):
        own = 0 if is_input[neuron] else 1
        expected[neuron] = max([own, *(expected[source] + 1 for source in network.predecessors(neuron))])
    assert generations(edges, is_input).tolist() == [expected[neuron] for neuron in range(count)]


@pytest.mark.parametrize(
    "edges", [[[0, 1, 2], [1, 2, 0]], [[0, 1, 2, 2], [1, 2, 1, 3]], [[0, 1], [1, 1]], [[0, 1, 1], [1, 0, 2]]]
)
def test_cycles_are_refused(edges):
    edges = torch.tensor(edges)
    is_input = torch.bincount(edges[1], minlength=int(edges.max()) + 1) == 0
    with pytest.raises(ValueError, match="edge_index must not contain a cycle, got one among or before the neurons"):
        generations(edges, is_input)


@given(n=st.integers(1, 12), m=st.integers(1, 12), density=st.floats(0.0, 1.0), seed=st.integers(0, 2**31))
def test_compressed_edges_are_those_of_scipy(n, m, density, seed):
    rng = np.random.default_rng(seed)
    exists = rng.random((m, n)) < density
    targets, sources = np.nonzero(exists)
    edges = CompressedEdges.from_edges(torch.from_numpy(np.stack([sources, targets])), n, m)
    weight = rng.standard_normal(len(sources))
    matrix = scipy.sparse.csr_array((weight, (targets, sources)), shape=(m, n))
    transposed = matrix.T.tocsr()
    assert edges.target_pointer.tolist() == matrix.indptr.tolist()
    assert edges.sources.tolist() == matrix.indices.tolist()
    assert edges.source_pointer.tolist() == transposed.indptr.tolist()
    assert edges.targets[edges.by_source].tolist() == transposed.indices.tolist()
    weight = torch.from_numpy(weight)
    for result, right in ((edges.matrix(weight), matrix), (edges.turned().matrix(weight[edges.by_source]), transposed)):
        assert result.layout == torch.sparse_csr and result.shape == right.shape
        assert np.array_equal(result.to_dense().numpy(), right.toarray())


def layered_edges(sizes, reaches, missing=()):
    """Edges of layers that hear all of the last ``reach`` layers, without the ``missing`` ones."""
    starts = [0, *itertools.accumulate(sizes)]
    edges = [
        (source, target)
        for layer, reach in enumerate(reaches, start=1)
        for target in range(starts[layer], starts[layer + 1])
        for source in range(starts[layer - reach], starts[layer])
    ]
    return [edge for edge in edges if edge not in missing]


@given(sizes=st.lists(st.integers(1, 4), min_size=2, max_size=5), data=st.data())
def test_complete_generations_are_folded(sizes, data):
    generation = torch.repeat_interleave(torch.arange(len(sizes)), torch.tensor(sizes))
    reaches = [data.draw(st.integers(0, number)) for number in range(1, len(sizes))]
    complete = layered_edges(sizes, reaches)
    missing = data.draw(st.lists(st.sampled_from(complete), unique=True)) if complete else []
    edges = data.draw(st.permutations([edge for edge in complete if edge not in missing]))
    edge_index = torch.tensor(edges, dtype=torch.int64).reshape(-1, 2).t()
    listed, all_to_all = fold_complete(edge_index, generation)
    # What was folded and what stays listed are together all edges, each once.
    starts = [0, *itertools.accumulate(sizes)]
    folded = layered_edges(sizes, all_to_all.tolist())
    assert sorted(folded + list(map(tuple, listed.t().tolist()))) == sorted(edges)
    # Every generation without a missing edge was folded; others only if complete by less reach.
    for number, reach in enumerate(reaches, start=1):
        into = [edge for edge in edges if starts[number] <= edge[1] < starts[number + 1]]
        sources = {source for source, _ in into}
        whole = bool(into) and len(into) == len(sources) * sizes[number]
        nearest = any(sources == set(range(starts[number - r], starts[number])) for r in range(1, reach + 1))
        assert bool(all_to_all[number - 1]) == (whole and nearest)


@given(edges=dags)
def test_projections_hold_every_edge_once(edges):
    count = int(edges.max()) + 1
    incoming, outgoing = (torch.bincount(ends, minlength=count) for ends in (edges[1], edges[0]))
    is_output = (incoming > 0) & (outgoing == 0)
    generation = generations(edges, incoming == 0)
    nothing_folded = torch.zeros(int(generation.max()), dtype=torch.int64)
    projections = make_projections(generation, is_output, edges, nothing_folded)
    found = torch.cat([projection.edge_index() for projection in projections], dim=1)
    assert sorted(found.t().tolist()) == sorted(edges.t().tolist())
    for number, projection in enumerate(projections, start=1):
        own = projection.edge_index()
        assert projection.synapses == own.shape[1]
        assert torch.equal(projection.targets.sort().values, torch.nonzero(generation == number)[:, 0])
        assert is_output[projection.targets].tolist() == sorted(is_output[projection.targets].tolist())
        assert int((~is_output[projection.targets]).sum()) == projection.hidden
        place = {neuron: k for k, neuron in enumerate(projection.targets.tolist())}
        order = [place[target] for target in own[1].tolist()]
        assert order == sorted(order)
        assert projection.blocks == tuple(generation[own[0]].unique().tolist())


def test_all_to_all_projection_lists_its_edges():
    generation = torch.tensor([0, 0, 1, 1, 1])
    none = torch.empty(2, 0, dtype=torch.int64)
    (projection,) = make_projections(generation, generation == 1, none, torch.tensor([1]))
    assert type(projection.engine) is DenseEngine and projection.synapses == 6
    assert torch.equal(projection.edge_index(), complete_edges(2, 3) + torch.tensor([[0], [2]]))
    assert projection.layout.order is None and projection.layout.sizes == [2, 3]


# Masked dense products ----


def holed(density, spacing="learned", polarity_mode="graded", gain=1.0):
    torch.manual_seed(0)
    return SpatialGraph.layered(
        [9, 8, 5], wiring=Random(density=density), spacing=spacing, polarity_mode=polarity_mode, gain=gain
    ).double()


def outputs_and_gradients(model, x):
    y = model(x)
    return [y, *torch.autograd.grad(y.square().sum(), [*model.parameters(), x])]


def test_projections_with_many_edges_have_a_mask():
    graph = holed(0.5)
    for projection in graph.projections:
        n, m = projection.sources.numel(), projection.targets.numel()
        engine = projection.engine
        assert engine.mask.shape == (m, n)
        listed = torch.stack([engine.edges.targets, engine.edges.sources], dim=1)
        assert torch.equal(engine.mask.nonzero(), listed)
    assert engines_of(holed(0.1)) == [CompressedEngine] * 2
    assert engines_of(SpatialGraph.layered([9, 8, 5])) == [DenseEngine] * 2


@pytest.mark.parametrize("spacing", ["fixed", "learned", "free"])
@pytest.mark.parametrize("polarity", ["binary", "graded"])
def test_a_mask_changes_neither_values_nor_gradients(spacing, polarity):
    graph = holed(0.5, spacing, polarity)
    model = SpatialMLP(graph)
    x = torch.randn(6, 9, dtype=torch.float64, requires_grad=True)
    masked = outputs_and_gradients(model, x)
    assert engines_of(with_masked_from(graph, 2.0)) == [CompressedEngine] * 2
    for dense, sparse in zip(masked, outputs_and_gradients(model, x), strict=True):
        torch.testing.assert_close(dense, sparse, rtol=1e-10, atol=1e-10)


def test_a_mask_in_evaluation():
    graph = holed(0.5)
    model = SpatialMLP(graph).eval()
    x = torch.randn(6, 9, dtype=torch.float64)
    with torch.no_grad():
        masked = model(x)
        with_masked_from(graph, 2.0)
        torch.testing.assert_close(masked, model(x), rtol=1e-12, atol=1e-12)


# Dead ends ----


def some_layered_edges(sizes, share, seed):
    """Random edges between layers that follow each other, and a few that skip one."""
    rng = np.random.default_rng(seed)
    layer = np.repeat(np.arange(len(sizes)), sizes)
    pairs = [
        (i, j)
        for i, j in itertools.product(range(len(layer)), repeat=2)
        if (layer[j] - layer[i] == 1 and rng.random() < share)
        or (layer[j] - layer[i] == 2 and rng.random() < share / 4)
    ]
    return torch.tensor(pairs, dtype=torch.int64).reshape(-1, 2).t(), torch.from_numpy(layer)


@given(share=st.sampled_from([0.0, 0.05, 0.15, 0.4, 1.0]), seed=st.integers(0, 1000))
def test_what_is_left_without_dead_ends_leads_to_an_output(share, seed):
    edges, layer = some_layered_edges([6, 8, 7, 3], share, seed)
    connectivity = SpatialGraph(torch.randn(24, 2), edges, layer=layer).connectivity
    network = network_of(edges, 24)
    reaching = {neuron for output in range(21, 24) for neuron in nx.ancestors(network, output)}
    live = connectivity.live_projections
    for whole, projection in reversed(list(zip(connectivity.projections, live, strict=True))):
        hidden = projection.targets[: projection.hidden].tolist()
        expected = [neuron for neuron in whole.targets[: whole.hidden].tolist() if neuron in reaching]
        if len(expected) < 2:  # so few cannot be normalised
            expected = whole.targets[: whole.hidden].tolist()
            reaching.update(expected, *(nx.ancestors(network, neuron) for neuron in expected))
        assert hidden == expected
        assert projection.targets[projection.hidden :].tolist() == whole.targets[whole.hidden :].tolist()
        kept = {(i, j) for i, j in whole.edge_index().t().tolist() if j in projection.targets.tolist()}
        assert set(map(tuple, projection.edge_index().t().tolist())) == kept
    if live is not connectivity.projections:
        assert sum(p.synapses for p in live) <= sum(p.synapses for p in connectivity.projections)


@given(share=st.sampled_from([0.05, 0.15, 0.4]), seed=st.integers(0, 1000), masked_from=st.sampled_from([0.0, 2.0]))
def test_dead_ends_change_nothing(share, seed, masked_from):
    edges, layer = some_layered_edges([6, 8, 7, 3], share, seed)
    torch.manual_seed(seed)
    graph = SpatialGraph(torch.randn(24, 2), edges, layer=layer).double()
    with_masked_from(graph, masked_from)
    model, x = SpatialMLP(graph, normalize=False), torch.randn(5, 6, dtype=torch.float64, requires_grad=True)
    results = []
    for projections in (graph.projections, graph.connectivity.live_projections):
        model._projections = lambda projections=projections: projections
        y = model(x)
        results.append([y, *torch.autograd.grad(y.square().sum(), [x, graph.positions.coords, graph.raw_bias])])
    for whole, live in zip(*results, strict=True):
        torch.testing.assert_close(live, whole, rtol=1e-12, atol=1e-12)


def test_a_network_without_dead_ends_is_left_as_it_is():
    connectivity = SpatialGraph.layered([4, 5, 2]).connectivity
    assert connectivity.live_projections is connectivity.projections


def test_normalised_networks_compute_dead_ends():
    graph = SpatialGraph(torch.randn(4, 2), torch.tensor([[0, 0, 1], [1, 2, 3]]), layer=torch.tensor([0, 1, 1, 2]))
    sums = graph.weights()[:2].detach()
    expected = torch.nn.functional.layer_norm(sums[None], (2,)).relu()[0, 0] * graph.weights()[2]
    torch.testing.assert_close(SpatialMLP(graph)(torch.ones(1, 1))[0, 0], expected)


def test_a_setting_that_changes_what_is_computed_is_noticed():
    edges, layer = some_layered_edges([6, 8, 7, 3], 0.2, 1)
    model = SpatialMLP(SpatialGraph(torch.randn(24, 2), edges, layer=layer)).eval()
    x = torch.randn(5, 6)
    with torch.no_grad():
        model(x)
        model.normalize = False
        y = model(x)
    torch.testing.assert_close(y, model(x).detach())


def test_a_rewiring_that_changes_nothing_keeps_the_projections():
    graph = SpatialGraph.layered([9, 8, 3], wiring=KNN(k=2))
    before = graph.projections
    assert graph.rewire_().projections is before
    with torch.no_grad():
        graph.positions.coords.copy_(torch.randn_like(graph.positions.coords))
    assert graph.rewire_().projections is not before
    graph.connect_(graph.edge_index)  # chooses engines again
    assert graph.projections is not before
