"""The shortest pairs by trees, against a table of all pairs."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import spatialgraph as sg
from spatialgraph.functional import memory
from spatialgraph.wiring.shortest import shortest_pairs


def all_pairs(source, target, count):
    """The same by sorting all lengths; of equal ones the last in the order of edges."""
    lengths = torch.cdist(target.double(), source.double(), compute_mode="donot_use_mm_for_euclid_dist").flatten()
    order = torch.argsort(-lengths, stable=True)[len(lengths) - count :].sort().values
    return torch.stack([order % len(source), order // len(source)])


@given(
    st.integers(0, 10**6),
    st.integers(1, 30),
    st.integers(1, 30),
    st.integers(1, 4),
    st.sampled_from([0.0, 0.01, 0.2, 0.7, 1.0]),
    st.booleans(),
)
def test_they_are_those_of_a_table(seed, n, m, dim, share, on_a_lattice):
    torch.manual_seed(seed)
    source, target = torch.randn(n, dim), torch.randn(m, dim)
    if on_a_lattice:  # many pairs are equally long
        source, target = source.round(), target.round()
    count = round(share * n * m)
    assert torch.equal(shortest_pairs(source, target, count), all_pairs(source, target, count))


def test_planes_far_apart():
    torch.manual_seed(0)
    source, target = torch.randn(300, 3), torch.randn(200, 3)
    source[:, -1], target[:, -1] = 0.0, 50.0
    assert torch.equal(shortest_pairs(source, target, 700), all_pairs(source, target, 700))


def test_all_at_one_place():
    assert shortest_pairs(torch.ones(3, 2), torch.ones(2, 2), 2).tolist() == [[1, 2], [1, 1]]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"count": 7}, "count must be at most 6, the number of pairs, got 7"),
        ({"count": -1}, "count must be"),
        ({"source_pos": torch.full((3, 2), torch.nan)}, "source_pos must be finite"),
    ],
)
def test_wrong_arguments(change, message):
    with pytest.raises(ValueError, match=message):
        shortest_pairs(**{"source_pos": torch.rand(3, 2), "target_pos": torch.rand(2, 2), "count": 2} | change)


def networks(monkeypatch, **options):
    """The same network pruned with all synapses listed, and without."""
    torch.manual_seed(0)
    graph = sg.SpatialGraph.layered([60, 50, 4], **options)
    listed = sg.prune(graph, 0.9)
    monkeypatch.setattr(memory, "memory_bytes", lambda: 16 * 4 * 1000)
    monkeypatch.setattr("spatialgraph.pruning.removal.check_fits", lambda *given, **named: None)
    return graph, listed


def test_pruning_without_a_list_of_all_synapses(monkeypatch):
    graph, listed = networks(monkeypatch)
    monkeypatch.setattr(type(graph), "lengths", lambda self: pytest.fail("lists all synapses"))
    pruned = sg.prune(graph, 0.9)
    assert torch.equal(pruned.edge_index, listed.edge_index)


def test_what_needs_a_list_is_refused(monkeypatch):
    graph, _ = networks(monkeypatch)
    for options, message in (
        ({"by": "weight"}, "by must be 'length' where synapses are too many to list, got 'weight'"),
        ({"scope": "global"}, "scope must be 'projection' where synapses are too many to list, got 'global'"),
    ):
        with pytest.raises(ValueError, match=message):
            sg.prune(graph, 0.9, **options)


def test_too_many_synapses_that_are_left():
    with pytest.raises(ValueError, match=r"synapses that are left must fit into half of the memory"):
        sg.prune(sg.SpatialGraph.layered([10**6, 10**6]), 0.01)
