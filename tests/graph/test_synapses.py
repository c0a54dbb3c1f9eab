"""Free weights of synapses."""

import pytest
import torch
from spiking_networks import SIZES

from spatialgraph import SpatialGraph


def test_free_weights_start_as_those_of_a_linear_layer():
    graph = SpatialGraph.layered([400, 30, 5], weight_mode="free", gain=1.0)
    first = graph.weights()[: 400 * 30]
    assert first.abs().max() <= 1 / 20 and first.std().item() == pytest.approx(1 / 20 / 3**0.5, rel=0.02)
    assert graph.raw_polarity.numel() == 0 and torch.equal(graph.polarity[:430], torch.ones(430))
    init = torch.cat([torch.randn(18, 2), torch.arange(4.0).repeat_interleave(torch.tensor(SIZES))[:, None]], dim=1)
    both, law = (
        SpatialGraph.layered(SIZES, weight_mode=kind, init=init, generator=torch.Generator().manual_seed(0))
        for kind in ("both", "law")
    )
    assert torch.equal(both.weights(), law.weights())  # factors of 1
