"""The penalty on layers that stand too close."""

import pytest
import torch

from spatialgraph import SpatialGraph

DAG = torch.tensor([[0, 0, 1, 2, 3, 1], [3, 4, 3, 4, 5, 5]])


def test_collapse_penalty_by_hand():
    graph = SpatialGraph.layered([2, 2, 2, 2])
    assert graph.collapse_penalty().item() == 0.0
    with torch.no_grad():
        graph.positions.gaps.copy_(torch.tensor([0.25, -0.5, 3.0]))
    penalty = graph.collapse_penalty()
    assert penalty.item() == 0.75**2 + 0.5**2
    penalty.backward()
    assert graph.positions.gaps.grad.tolist() == [-1.5, 1.0, 0.0]


def test_collapse_penalty_of_free_layers():
    pos = torch.zeros(6, 2)
    pos[:, 1] = torch.tensor([0.0, 1.0, 0.5, 1.0, 2.0, 6.0])
    graph = SpatialGraph.layered([2, 2, 2], 2, spacing="free", init=pos)  # means are 0.5, 0.75 and 4
    penalty = graph.collapse_penalty()
    assert penalty.item() == 0.75**2
    penalty.backward()
    assert graph.positions.coords.grad[:, 1].tolist() == [0.75, 0.75, -0.75, -0.75, 0.0, 0.0]
    with pytest.raises(ValueError, match="collapse_penalty needs a network with layers"):
        SpatialGraph(torch.randn(6, 2), DAG).collapse_penalty()
