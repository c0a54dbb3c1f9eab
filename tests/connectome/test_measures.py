"""Measures of network neuroscience: by hand on small graphs, and against bctpy on random ones."""

import networkx as nx
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import spatialgraph as sg
from spatialgraph.connectome.analysis import measures
from spatialgraph.connectome.analysis.modules import find_modules
from spatialgraph.connectome.analysis.outliers import find_outliers, influence, median_lengths
from spatialgraph.connectome.analysis.small_world import small_world_propensity
from spatialgraph.connectome.analysis.weighted_edges import WeightedEdges
from spatialgraph.wiring import KNN

pytest.importorskip("igraph")


def edges_of(matrix, length=None):
    matrix = np.asarray(matrix, dtype=float)
    source, target = np.nonzero(matrix)
    length = np.ones(len(source)) if length is None else np.asarray(length, dtype=float)
    return WeightedEdges(len(matrix), source, target, matrix[source, target], length)


def random_matrix(seed, count, share):
    rng = np.random.default_rng(seed)
    matrix = (rng.random((count, count)) < share) * rng.normal(size=(count, count))
    np.fill_diagonal(matrix, 0.0)
    return matrix


random_networks = given(seed=st.integers(0, 10**6), count=st.integers(4, 25), share=st.floats(0.1, 0.8))

# 0 -> 1 -> 2 -> 0 and 1 -> 0; weights 1, 2, 4, -1.
CYCLE = edges_of([[0, 1, 0], [-1, 0, 2], [4, 0, 0]], length=[2.0, 1.0, 3.0, 1.0])


# By hand ----


def test_wiring():
    # Edges in the order of rows: (0, 1), (1, 0), (1, 2), (2, 0).
    assert measures.total_wiring(CYCLE) == 1 * 2 + 1 * 1 + 2 * 3 + 4 * 1
    best, worst = 4 * 1 + 2 * 1 + 1 * 2 + 1 * 3, 4 * 3 + 2 * 2 + 1 + 1
    assert measures.wiring_efficiency(CYCLE) == pytest.approx((worst - 13) / (worst - best))
    assert measures.excitatory_share(CYCLE) == pytest.approx(7 / 8)


def test_reciprocity_and_paths():
    assert measures.reciprocity(CYCLE) == 0.5
    # Distances 1 / |w|: 0-1: 1, 0-2: 1.5, 1-0: 0.75 by 2, 1-2: 0.5, 2-0: 0.25, 2-1: 1.25.
    mean, share = measures.path_length(CYCLE)
    assert mean == pytest.approx((1 + 1.5 + 0.75 + 0.5 + 0.25 + 1.25) / 6) and share == 1.0


def test_no_synapses():
    nothing = edges_of(np.zeros((3, 3)))
    assert measures.total_wiring(nothing) == 0.0 and not measures.clustering(nothing).any()
    assert np.isnan([measures.excitatory_share(nothing), measures.reciprocity(nothing)]).all()
    assert np.isnan(small_world_propensity(nothing, np.random.default_rng(0)))


def test_two_cliques_are_two_modules():
    graph = nx.to_directed(nx.disjoint_union(nx.complete_graph(6), nx.complete_graph(4)))
    found, modularity = find_modules(edges_of(nx.to_numpy_array(graph)))
    assert found.tolist() == [0] * 6 + [1] * 4
    inside, ends = np.array([15, 6]) / 21, np.array([15, 6]) / 21
    assert modularity == pytest.approx((inside - ends**2).sum())


def test_a_ring_a_small_world_and_a_random_network():
    def propensity(rewired):
        graph = nx.to_directed(nx.watts_strogatz_graph(200, 8, rewired, seed=1))
        return small_world_propensity(edges_of(nx.to_numpy_array(graph)), np.random.default_rng(0))

    lattice = 1.0 - np.sqrt(0.5)  # as far from the paths of a random network as can be, or from a lattice's clustering
    assert propensity(0.0) == pytest.approx(lattice, abs=0.05) and propensity(1.0) == pytest.approx(lattice, abs=0.05)
    assert propensity(0.05) > 0.7


# Against bctpy ----


@pytest.mark.filterwarnings("ignore")  # divisions by zero in bctpy
@random_networks
def test_they_equal_those_of_bctpy(seed, count, share):
    bct = pytest.importorskip("bct")
    matrix = random_matrix(seed, count, share)
    edges, size = edges_of(matrix), np.abs(matrix)
    if not size.any():
        return
    assert measures.clustering(edges) == pytest.approx(bct.clustering_coef_wd(size / size.max()), abs=1e-12)
    distance = bct.distance_wei(np.divide(1.0, size, out=np.zeros_like(size), where=size > 0))[0]
    others = distance[~np.eye(count, dtype=bool)]
    mean, reachable = measures.path_length(edges)
    assert mean == pytest.approx(others[np.isfinite(others)].mean()) and reachable == np.isfinite(others).mean()
    own, theirs = measures.rich_club(edges), bct.rich_club_bd((size > 0).astype(float))[0]
    assert own[1 : len(theirs)] == pytest.approx(theirs[: len(own) - 1][: len(theirs) - 1], nan_ok=True)


# Outliers ----


@pytest.mark.parametrize("options", [{}, {"wiring": KNN(k=5), "recurrent": KNN(k=3)}], ids=["all", "nearest"])
def test_neurons_that_were_moved_away_are_named(options):
    torch.manual_seed(0)
    graph = sg.SpatialGraph.layered([50, 40, 10], spacing="free", **options)
    pos = graph.pos.detach().clone()
    pos[[3, 60, 77]] += torch.tensor([[90.0, 0.0, 0.0], [0.0, -80.0, 10.0], [50.0, 50.0, 50.0]])
    found = find_outliers(graph.place_(pos))
    assert [outlier.neuron for outlier in found if outlier.reason.startswith("far: median length")] == [3, 60, 77]


def test_a_partner_of_a_neuron_far_away_is_not_far():
    # Lengths by hand: neuron 0 has 1 and 100 (lower median 1), 1 has 1 and 1, 2 has 1 and 1, 3 has 100 and 99.
    edges = WeightedEdges(4, np.array([0, 0, 1, 2]), np.array([1, 3, 2, 3]), np.ones(4), np.array([1.0, 100, 1, 99]))
    assert median_lengths(edges).tolist() == [1.0, 1.0, 1.0, 99.0]


def test_neurons_without_influence_are_named():
    edges = torch.tensor([[0, 1, 2, 0, 3], [3, 3, 4, 4, 5]])  # 4 leads nowhere, so 2 does not either
    pos = torch.randn(6, 2)
    roles = torch.tensor([0, 0, 0, 1, 1, 2])
    graph = sg.SpatialGraph(pos, edges, layer=roles)
    assert [outlier.neuron for outlier in find_outliers(graph) if "no path" in outlier.reason] == [2, 4]


@random_networks
def test_influence_is_the_sum_over_all_paths(seed, count, share):
    matrix = np.triu(random_matrix(seed, count, share))
    edges = edges_of(matrix)
    is_output = edges.sums("source", np.ones(len(edges.weight))) == 0
    size = np.abs(matrix)
    shares = np.divide(size, size.sum(0), out=np.zeros_like(size), where=size.sum(0) > 0)
    expected = np.linalg.solve(np.eye(count) - shares, is_output.astype(float))
    assert influence(edges, is_output) == pytest.approx(expected, abs=1e-9)
