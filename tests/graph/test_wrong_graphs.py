"""Arguments from which no graph can be made."""

import pytest
import torch

from spatialgraph import SpatialGraph
from spatialgraph.wiring import KNN

POS = torch.zeros(4, 2)
EDGES = torch.tensor([[0, 1], [2, 3]])


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"pos": [[0.0]]}, TypeError, "pos must be a tensor, got list"),
        ({"pos": torch.zeros(4)}, ValueError, r"pos must have shape \(neurons, dimensions\), .* got \(4,\)"),
        (
            {"pos": torch.zeros(4, 2, dtype=torch.int64)},
            TypeError,
            "pos must be floating point, got torch.int64",
        ),
        (
            {"edges": torch.zeros(3, 2).long()},
            ValueError,
            r"edge_index must have shape \(2, edges\), got \(3, 2\)",
        ),
        ({"edges": EDGES.int()}, TypeError, "edge_index must be int64, got torch.int32"),
        ({"edges": torch.tensor([[0], [4]])}, ValueError, "edge_index must lie between 0 and 3, got 4"),
        (
            {"edges": torch.tensor([[0, 0], [1, 1]])},
            ValueError,
            r"must not list an edge twice, got \(0, 1\) again",
        ),
        ({"edges": torch.tensor([[0, 1], [1, 0]])}, ValueError, "edge_index with a cycle must have an output"),
        ({"edges": torch.empty(2, 0, dtype=torch.int64)}, ValueError, "must list at least one edge"),
        (
            {"edges": KNN(k=1)},
            ValueError,
            "edges must be an edge_index for a network without layers, got a wiring",
        ),
        ({"spacing": "learned"}, ValueError, "spacing must be one of 'free', got 'learned'"),
        ({"polarity_mode": "ternary"}, ValueError, "polarity_mode must be one of 'binary', 'graded', got 'ternary'"),
        ({"gain": float("nan")}, ValueError, "gain must be finite, got nan"),
        ({"law": 3}, TypeError, "law must be a name or a Law, got int"),
        (
            {"layer": torch.tensor([0, 0, 0, 0])},
            ValueError,
            "layer must name at least an input and an output layer",
        ),
        (
            {"layer": torch.tensor([0, 0, 2, 2])},
            ValueError,
            "layer must leave no layer empty, got no neuron in layer 1",
        ),
        (
            {"layer": torch.tensor([0, 1, 1, 0])},
            ValueError,
            r"must lead to later layers, got \(1, 3\) from layer 1 to",
        ),
        ({"layer": torch.tensor([0, 0, 1])}, ValueError, r"layer must have shape \(4,\), got \(3,\)"),
    ],
)
def test_wrong_arguments(arguments, error, message):
    arguments = {"pos": POS, "edges": EDGES} | arguments
    with pytest.raises(error, match=message):
        SpatialGraph(arguments.pop("pos"), arguments.pop("edges"), **arguments)


@pytest.mark.parametrize(
    ("sizes", "options", "error", "message"),
    [
        ([3], {}, ValueError, r"sizes must name at least an input and an output layer, got \[3\]"),
        ([3, 0], {}, ValueError, r"sizes\[1\] must be at least 1, got 0"),
        ([3, 2.0], {}, TypeError, r"sizes\[1\] must be an int, got 2\.0 \(float\)"),
        (3, {}, TypeError, "sizes must be a sequence of ints, got int"),
        ([3, 2], {"dim": 0}, ValueError, "dim must be at least 1, got 0"),
        (
            [3, 2],
            {"spacing": "open"},
            ValueError,
            "spacing must be one of 'fixed', 'learned', 'free', got 'open'",
        ),
        ([3, 2], {"wiring": "knn"}, TypeError, "wiring must be a Wiring .* got str"),
        ([3, 2], {"wiring": KNN(k=9)}, ValueError, "k must be between 1 and the number of source neurons"),
    ],
)
def test_wrong_layers(sizes, options, error, message):
    with pytest.raises(error, match=message):
        SpatialGraph.layered(sizes, **options)
