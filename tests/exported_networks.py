"""Networks of every kind for export to networkx."""

import pytest
import torch
from references import random_dag, randomise

from spatialgraph import SpatialGraph, from_networkx
from spatialgraph.laws import InversePower
from spatialgraph.wiring import KNN

NAN, INF = float("nan"), float("inf")


def layered(**options):
    return randomise(SpatialGraph.layered([4, 3, 2], **options))


def dag(**options):
    return randomise(SpatialGraph(torch.randn(9, 2), random_dag(9, 0.4, 1), **options))


def pruned_dag():
    """Without layers; an output, a hidden neuron and an input have lost their last edges."""
    edges = torch.tensor([[0, 0, 3, 3, 4, 1, 2], [3, 4, 5, 6, 6, 6, 6]])
    graph = randomise(SpatialGraph(torch.randn(7, 2), edges))
    gone = [(3, 5), (0, 4), (4, 6), (2, 6)]
    return graph.keep_(torch.tensor([tuple(edge) not in gone for edge in graph.edge_index.t().tolist()]))


NETWORKS = {
    "layers": lambda: layered(wiring=KNN(k=2), gain=0.3),
    "binary": lambda: layered(
        spacing="fixed", polarity_mode="binary", anchored=[1], law=InversePower(1.5, learnable=True)
    ),
    "free": lambda: layered(spacing="free", weight_mode="free", wiring=KNN(k=2)).double(),
    "both": lambda: layered(weight_mode="both", velocity=0.5, delay_mode="free", law="yukawa"),
    "dag": lambda: dag(polarity_mode="binary", law="gaussian", anchored=torch.arange(9) % 4 == 0),
    "pruned": pruned_dag,
}


def refused(graph, *parts, error=(ValueError, TypeError)):
    with pytest.raises(error) as caught:
        from_networkx(graph)
    for part in parts:
        assert part in str(caught.value)
