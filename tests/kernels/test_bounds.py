"""Nothing unchecked reaches compiled code: malformed calls of every operator and kernel end in an exception.

A few hundred random calls here; ten thousand, or with Numba's own bounds checks, by hand:

    python scripts/fuzz_bounds.py --calls 10000
    NUMBA_BOUNDSCHECK=1 NUMBA_CACHE_DIR=runs/checked python scripts/fuzz_bounds.py --calls 10000
"""

import json
import os
from pathlib import Path

import pytest
import torch

from spatialgraph.functional import all_to_all, edge_weight, pairwise_weight, sparse
from spatialgraph.functional.compressed_edges import CompressedEdges
from spatialgraph.functional.delays import delayed
from spatialgraph.functional.leaky import FastSigmoid, leaky_run
from spatialgraph.functional.normalization import normalised
from spatialgraph.kernels import compressed as sparse_kernels
from spatialgraph.kernels import delays as delay_kernels
from spatialgraph.kernels import handover
from spatialgraph.kernels import leaky as leaky_kernels
from spatialgraph.kernels import normalization as normalization_kernels
from spatialgraph.laws import InverseDistance

ROOT = Path(__file__).parents[2]
LAW = InverseDistance()


@pytest.mark.parametrize("more", [(), ("--without-numba",)], ids=["fused", "tensors"])
def test_random_calls_end_in_right_results_or_exceptions(more, scripts_of, monkeypatch, capsys):
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")]))  # of its workers
    script = scripts_of("scripts")("fuzz_bounds")
    assert script.main(["--calls", "300", "--seed", "7", *more]) == 0
    outcome = json.loads(capsys.readouterr().out)
    assert outcome["findings"] == []
    assert outcome["calls"] == 300
    assert outcome["outcomes"]["right"] > 100 and outcome["outcomes"]["ValueError"] > 40


# What was seen to read or write outside of arrays ----


def edges():
    """Edges from 3 sources to 2 targets."""
    return CompressedEdges.from_edges(torch.tensor([[0, 1, 2, 0], [0, 0, 0, 1]]), 3, 2)


def geometry(n=3, m=2, d=2):
    return torch.rand(n, d), torch.rand(m, d), torch.rand(n)


def leaky(current, potential, **more):
    settings = {"beta": 0.5, "threshold": 1.0, "reset_mechanism": "subtract", "spike_grad": FastSigmoid()} | more
    return leaky_run(current, 4, potential, **settings)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (
            lambda: sparse(torch.rand(5, 4), torch.rand(4), edges()),
            ValueError,
            r"x must have shape \(..., 3\), got \(5, 4",
        ),
        (
            lambda: sparse(torch.rand(5, 2), torch.rand(4), edges()),
            ValueError,
            r"x must have shape \(..., 3\), got \(5, 2",
        ),
        (
            lambda: sparse(torch.tensor(1.0), torch.rand(4), edges()),
            ValueError,
            r"x must have shape \(..., 3\), got \(\)",
        ),
        (
            lambda: sparse(torch.rand(5, 3), torch.rand(3), edges()),
            ValueError,
            r"weight must have shape \(4,\), got \(3,\)",
        ),
        (
            lambda: sparse(torch.rand(5, 3), torch.rand(4), edges(), torch.rand(3)),
            ValueError,
            r"bias must have shape \(2,",
        ),
        (
            lambda: sparse(torch.rand(5, 3), torch.rand(4), None),
            TypeError,
            "edges must be CompressedEdges, got NoneType",
        ),
        (lambda: edge_weight(*geometry(2), LAW, edges()), ValueError, r"\(3, 2\) rows like the edges, got \(2, 2\)"),
        (lambda: edge_weight(*geometry(3, 1), LAW, edges()), ValueError, r"\(3, 2\) rows like the edges, got \(3, 1\)"),
        (
            lambda: pairwise_weight(torch.rand(3, 2), torch.rand(2, 3), torch.rand(3), LAW),
            ValueError,
            r"target_pos must have shape \(2, 2\), got \(2, 3\)",
        ),
        (
            lambda: pairwise_weight(torch.rand(3, 2), torch.rand(2, 2), torch.rand(2), LAW),
            ValueError,
            r"scale must have shape \(3,\), got \(2,\)",
        ),
        (
            lambda: pairwise_weight(torch.rand(3, 2), torch.rand(2, 2).double(), torch.rand(3), LAW),
            TypeError,
            "target_pos must have dtype torch.float32 like the others, got torch.float64",
        ),
        (
            lambda: all_to_all(torch.rand(5, 4), *geometry(), LAW),
            ValueError,
            r"x must have shape \(..., 3\), got \(5, 4\)",
        ),
        (
            lambda: all_to_all(torch.rand(5, 3), *geometry(), LAW, mask=torch.ones(3, 2, dtype=torch.bool)),
            ValueError,
            r"mask must have shape \(2, 3\), got \(3, 2\)",
        ),
        (
            lambda: delayed(torch.rand(4, 5, 3), torch.rand(2, 2), torch.rand(2, 2)),
            ValueError,
            r"x must have shape \(..., 2\), got \(4, 5, 3\)",
        ),
        (
            lambda: delayed(torch.rand(4, 5, 3), torch.rand(4), torch.rand(3), edges()),
            ValueError,
            r"delay must have shape \(4,\), got \(3,\)",
        ),
        (
            lambda: delayed(torch.rand(4, 5, 3), torch.rand(2, 3), torch.full((2, 3), -0.5)),
            ValueError,
            "delay must be at least 0 and finite, got -0.5",
        ),
        (
            lambda: delayed(torch.rand(4, 5, 3), torch.rand(2, 3), torch.full((2, 3), float("nan"))),
            ValueError,
            "delay must be at least 0 and finite, got nan",
        ),
        (lambda: leaky(torch.rand(3, 2), torch.rand(2)), ValueError, "current must have 1 or 4 rows"),
        (lambda: leaky(torch.rand(4, 2), torch.rand(2).double()), TypeError, "potential must have dtype torch.float32"),
        (
            lambda: leaky(torch.rand(4, 2), torch.rand(2), shares=torch.rand(3)),
            ValueError,
            r"shares must have shape \(4,\), got \(3,\)",
        ),
        (
            lambda: leaky(torch.rand(4, 2), torch.rand(2), reset_mechanism="no"),
            ValueError,
            "reset_mechanism must be one of 'subtract'",
        ),
        (
            lambda: normalised(torch.rand(3, 5).t(), torch.rand(2)),
            ValueError,
            r"total must have shape \(..., 2\), got \(5, 3\)",
        ),
    ],
)
def test_operators_name_what_does_not_fit(call, error, message):
    with pytest.raises(error, match=message):
        call()


POINTER, COLUMN = torch.tensor([0, 1, 2]), torch.tensor([0, 1])


@pytest.mark.parametrize(
    ("pointer", "column", "message"),
    [
        (POINTER, torch.tensor([0, 2]), "column must lie between 0 and 1, got 2"),
        (POINTER, torch.tensor([-1, 0]), "column must lie between 0 and 1, got -1"),
        (POINTER, torch.tensor([0, 2**62]), "column must lie between 0 and 1, got 4611686018427387904"),
        (torch.tensor([0, 1, 3]), COLUMN, r"pointer must lead from 0 to the number of edges \(2\), got 0 to 3"),
        (torch.tensor([1, 1, 2]), COLUMN, r"pointer must lead from 0 to the number of edges \(2\), got 1 to 2"),
        (torch.tensor([0, 9, 2]), COLUMN, "pointer must not decrease, got 9 before 2"),
        (torch.tensor([], dtype=torch.int64), COLUMN, "pointer must lead from 0 .* got nothing"),
    ],
)
def test_kernels_follow_no_index_out_of_an_array(pointer, column, message):
    pytest.importorskip("numba")
    source_pos, target_pos, scale = geometry(2, 2)
    x, weight = torch.rand(2, 5), torch.rand(2)
    rows = len(pointer) - 1
    edge_kernels = sparse_kernels.EdgeKernels("inverse_distance")
    calls = [
        lambda: sparse_kernels.product(pointer, column, weight, x),
        lambda: sparse_kernels.sampled(pointer, column, torch.rand(max(rows, 0), 5), x),
        lambda: edge_kernels.weights(pointer, column, source_pos, target_pos, scale, 0.1),
        lambda: edge_kernels.gradients(pointer, column, source_pos, target_pos, scale, 0.1, weight),
    ]
    for call in calls:
        with pytest.raises(ValueError, match=message):
            call()


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda runs, edge: delay_kernels.send(runs, POINTER, COLUMN + 1, edge.long(), edge, edge, targets=2),
            "target must lie between 0 and 1, got 2",
        ),
        (
            lambda runs, edge: delay_kernels.send(runs, POINTER, COLUMN, edge.long() - 1, edge, edge, targets=2),
            "whole must lie between 0 and",
        ),
        (
            lambda runs, edge: delay_kernels.send(runs, POINTER, COLUMN, edge.long(), edge, edge, targets=2, before=5),
            r"before must be at most the number of steps \(4\), got 5",
        ),
        (
            lambda runs, edge: delay_kernels.gradients(runs, POINTER, COLUMN, edge.long(), edge, edge, runs[:, :, 1:]),
            r"grad must have shape \(3, 2, 4\), got \(3, 2, 3\)",
        ),
        (
            lambda runs, edge: leaky_kernels.run(runs, runs[0], 0.5, 1.0, reset=0, num_steps=4),
            "current must have 1 or 4 rows, one for each step, got 3",
        ),
        (
            lambda runs, edge: leaky_kernels.run(runs, runs[0], 0.5, 1.0, reset=3, num_steps=3),
            "reset must be 0, 1 or 2, got 3",
        ),
        (
            lambda runs, edge: leaky_kernels.gradients(runs, runs[0], 0.5, 1.0, 0, 25.0, 3, by_spikes=runs[:2]),
            r"by_spikes must have shape \(3, 2, 4\), got \(2, 2, 4\)",
        ),
        (
            lambda runs, edge: normalization_kernels.gradients(runs[0], edge, edge, edge, runs[0]),
            r"mean must have shape \(4,\), got \(2,\)",
        ),
    ],
)
def test_kernels_name_what_does_not_fit(call, message):
    pytest.importorskip("numba")
    with pytest.raises(ValueError, match=message):
        call(torch.rand(3, 2, 4), torch.zeros(2))


# Compressed edges ----


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"sources": torch.tensor([0, 1, 3, 0])}, "source_pointer must count the edges of each source"),
        ({"sources": torch.tensor([0, 2, 1, 0])}, "edges of a target must be sorted"),
        ({"targets_by_source": torch.tensor([0, 0, 1, 1])}, "targets_by_source must be the targets of the same edges"),
        ({"target_pointer": torch.tensor([0, 2, 4])}, "edges of a target must be sorted"),
        ({"by_source": torch.tensor([0, 0, 1, 2])}, "edges of a source must be sorted|name each edge once"),
        ({"by_source": torch.tensor([0, 3, 1, 4])}, "by_source must lie between 0 and 3, got 4"),
        ({"target_pointer": torch.tensor([0, 3])}, r"target_pointer must lead from 0 to .* \(4\), got 0 to 3"),
        ({"targets_by_source": torch.tensor([0])}, r"targets_by_source must have shape \(4,\)"),
        ({"sources": torch.zeros(2, 2, dtype=torch.int64)}, "sources must have one axis"),
    ],
)
def test_edges_that_contradict_themselves_are_refused(changed, message):
    good = edges()
    given = {
        name: getattr(good, name)
        for name in ("target_pointer", "sources", "source_pointer", "by_source", "targets_by_source")
    }
    assert torch.equal(
        CompressedEdges(**given).matrix(torch.ones(4)).to_dense(), torch.tensor([[1.0, 1, 1], [1, 0, 0]])
    )
    with pytest.raises(ValueError, match=message):
        CompressedEdges(**given | changed)


@pytest.mark.parametrize(
    ("listed", "message"),
    [
        ([[0, 3], [0, 1]], "sources must lie between 0 and 2, got 3"),
        ([[0, -1], [0, 1]], "sources must lie between 0 and 2, got -1"),
        ([[0, 1], [0, 2]], "targets must lie between 0 and 1, got 2"),
        ([[0, 1], [1, 0]], r"edges must be sorted by target, then source, got the targets \[1, 0\]"),
        ([[1, 0], [0, 0]], r"edges of a target must be sorted, got \[1, 0\] for target 0"),
    ],
)
def test_lists_of_edges_that_cannot_be_compressed_are_refused(listed, message):
    with pytest.raises(ValueError, match=message):
        CompressedEdges.from_edges(torch.tensor(listed), 3, 2)


def test_edges_do_not_follow_the_list_that_they_were_made_of():
    listed = torch.tensor([[0, 1], [0, 1]])
    compressed = CompressedEdges.from_edges(listed, 2, 2)
    listed.fill_(10**9)
    assert compressed.sources.tolist() == compressed.targets.tolist() == [0, 1]


@pytest.mark.parametrize("fused", [True, False])
@pytest.mark.parametrize("write", [lambda t: t.fill_(10**9), lambda t: t.data.fill_(-5), lambda t: t.numpy().fill(7)])
def test_edges_that_were_written_to_are_noticed_by_whatever_route(write, fused, monkeypatch):
    if not fused:
        monkeypatch.setattr(handover, "_numba_works", lambda: False)
    compressed = edges()
    weight = torch.rand(4, requires_grad=True)
    y = sparse(torch.rand(5, 3), weight, compressed)
    write(compressed.sources)
    with pytest.raises(ValueError, match="must lie between 0 and 2|must count the edges"):
        sparse(torch.rand(5, 3), weight, compressed)
    with pytest.raises((ValueError, RuntimeError, IndexError)):
        y.sum().backward()
