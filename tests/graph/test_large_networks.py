"""Networks with so many synapses that a list of them would not fit in memory."""

import copy
import pickle

import torch

from spatialgraph import SpatialGraph, SpatialMLP, isolated, load, save

SIZES = [10**5, 10**5]


def test_nothing_lists_all_synapses_unasked(tmp_path):
    graph = SpatialGraph.layered(SIZES, dim=2)
    assert graph.synapses == 10**10 and "synapses=10000000000" in repr(graph)
    model = SpatialMLP(graph.double())
    assert graph.pos.dtype == torch.float64
    save(model, tmp_path / "network.safetensors")
    read = load(tmp_path / "network.safetensors")
    assert torch.equal(read.graph.pos, graph.pos) and read.graph.gain == graph.gain
    for copied in (copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        assert copied.graph.synapses == 10**10
    read.load_state_dict(model.state_dict())
    graph.rewire_()
    graph.reset_parameters()
    assert isolated(model).numel() == 0


@torch.no_grad()
def test_the_gain_keeps_the_scale_of_wide_networks():
    # Each output is a sum of 10^5 terms; a sample of 2,000 sources, scaled up, has the same root mean square.
    torch.manual_seed(0)
    graph = SpatialGraph.layered(SIZES, dim=2)
    sources = torch.arange(0, SIZES[0], 50)
    lengths = torch.cdist(graph.pos.detach()[sources], graph.pos.detach()[-20:])
    summed = (graph.law(lengths).square() * graph.polarity[sources, None].square()).sum(0) * 50 * graph.gain**2
    assert 0.3 < float(summed.mean().sqrt()) < 3.0
