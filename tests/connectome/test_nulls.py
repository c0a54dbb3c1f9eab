"""Null models keep exactly what they promise, and change the rest."""

import numpy as np
import pytest

from spatialgraph.connectome.analysis.nulls import degree_null, length_null, strength_null
from spatialgraph.connectome.analysis.weighted_edges import WeightedEdges


def network(seed):
    rng = np.random.default_rng(seed)
    count, share = int(rng.integers(5, 60)), rng.uniform(0.1, 0.6)
    matrix = (rng.random((count, count)) < share) * rng.normal(size=(count, count))
    np.fill_diagonal(matrix, 0.0)
    source, target = np.nonzero(matrix)
    return WeightedEdges(count, source, target, matrix[source, target], rng.random(len(source))), rng


def degrees(edges, chosen):
    return [edges.sums(end, chosen.astype(float)).tolist() for end in ("source", "target")]


def pairs(edges):
    return edges.source * edges.count + edges.target


@pytest.mark.parametrize("make", [degree_null, strength_null])
def test_degrees_are_kept(make):
    moved = []
    for seed in range(100):
        edges, rng = network(seed)
        before = dict(vars(edges)), [values.copy() for values in vars(edges).values() if isinstance(values, np.ndarray)]
        null = make(edges, rng)
        everything = np.ones(len(edges.weight))
        assert degrees(null, everything) == degrees(edges, everything)
        assert (null.source != null.target).all() and len(np.unique(pairs(null))) == len(edges.weight)
        moved.append(1.0 - np.isin(pairs(null), pairs(edges)).mean())
        after = [values for values in vars(edges).values() if isinstance(values, np.ndarray)]
        assert all(np.array_equal(*both) for both in zip(before[1], after, strict=True))
    assert np.mean(moved) > 0.4


def test_the_degree_null_keeps_out_strengths():
    for seed in range(20):
        edges, rng = network(seed)
        null = degree_null(edges, rng)
        assert np.array_equal(null.sums("source", null.weight), edges.sums("source", edges.weight))


def test_the_strength_null_keeps_signs_and_weights():
    for seed in range(100):
        edges, rng = network(seed)
        null = strength_null(edges, rng)
        for sign in (-1, 1):
            assert degrees(null, np.sign(null.weight) == sign) == degrees(edges, np.sign(edges.weight) == sign)
        assert np.array_equal(np.sort(null.weight), np.sort(edges.weight))


def test_the_strength_null_comes_close_to_the_strengths():
    correlations = []
    for seed in range(100):
        edges, rng = network(seed)
        null = strength_null(edges, rng)
        if edges.count < 20:
            continue
        for end in ("source", "target"):
            strengths = [each.sums(end, np.abs(each.weight)) for each in (edges, null)]
            correlations.append(np.corrcoef(*strengths)[0, 1])
    assert np.mean(correlations) > 0.9


def test_the_length_null_shuffles_lengths_only():
    edges, rng = network(3)
    null = length_null(edges, rng)
    assert not np.array_equal(null.length, edges.length) and np.array_equal(np.sort(null.length), np.sort(edges.length))
    assert null.weight is edges.weight and null.target is edges.target
