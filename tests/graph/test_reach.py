"""Which neurons paths from the inputs lead to, against networkx."""

import hypothesis.strategies as st
import networkx as nx
import pytest
import torch
from hypothesis import given, settings

import spatialgraph as sg
from spatialgraph.graph.reach import check_outputs, is_reached, shortened
from spatialgraph.graph.selection import select
from spatialgraph.wiring import KNN, AllToAll, Random

WITHIN = st.sampled_from([None, AllToAll(), KNN(k=1), Random(density=0.2)])
BETWEEN = st.sampled_from([AllToAll(), AllToAll(reach="all"), KNN(k=1), Random(density=0.2)])


def reached(edges, inputs, neurons):
    """The inputs and their descendants."""
    graph = nx.DiGraph(edges.t().tolist())
    graph.add_nodes_from(range(neurons))
    return sorted(set(inputs).union(*(nx.descendants(graph, n) for n in inputs)))


@given(
    st.lists(st.integers(0, 8), min_size=1, max_size=4),
    st.lists(st.tuples(st.integers(0, 8), st.integers(0, 8)), min_size=1, max_size=12),
)
@settings(deadline=None)
def test_reached_neurons(inputs, pairs):
    edges = torch.tensor(pairs).t()
    is_input = torch.zeros(9, dtype=torch.bool)
    is_input[inputs] = True
    assert torch.nonzero(is_reached(edges, is_input))[:, 0].tolist() == reached(edges, inputs, 9)


@given(
    st.integers(0, 10**6), st.tuples(BETWEEN, BETWEEN, BETWEEN), st.tuples(WITHIN, WITHIN), st.sets(st.integers(0, 9))
)
@settings(deadline=None)
def test_shortened_edges_lead_where_all_edges_lead(seed, between, within, starts):
    torch.manual_seed(seed)
    graph = sg.SpatialGraph.layered([3, 4, 3, 2], recurrent=AllToAll())
    topology = select(graph.pos, between, within, graph.connectivity.topology, None)
    graph = sg.SpatialGraph(graph.pos.detach(), topology, layer=graph.layer, gain=1.0)  # paths or none
    is_start = torch.zeros(12 + 2 * 4, dtype=torch.bool)
    is_start[list(starts)] = True
    found = is_reached(shortened(graph.connectivity.topology), is_start)[:12]
    # In a layer whose neurons all receive from all others, a neuron is taken to lead to itself too.
    assert torch.nonzero(found)[:, 0].tolist() == reached(graph.edge_index, starts, 12)


def test_all_synapses_are_never_listed():
    graph = sg.SpatialGraph.layered([10**4, 10**5, 10**4], recurrent=AllToAll())  # 12 billion synapses
    assert shortened(graph.connectivity.topology).shape[1] == 10**4 + 4 * 10**5 + 10**4


def test_a_single_output_may_be_left_out():
    graph = sg.SpatialGraph.layered([3, 4, 2])
    edges = graph.edge_index
    graph.connect_(edges[:, edges[1] != 8])
    check_outputs("edges", graph.connectivity.topology)
    graph.connect_(edges[:, edges[1] < 7])
    with pytest.raises(ValueError, match="edges must lead from inputs to outputs, got no path to any of the outputs"):
        check_outputs("edges", graph.connectivity.topology)
