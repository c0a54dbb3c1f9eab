"""Spiking networks whose edges have changed."""

import copy

import pytest
import torch
from references import randomise
from spiking_networks import LOUD, SIZES, T, assert_same_run, features, neuron_by_neuron

from spatialgraph import SpatialGraph, SpatialSNN
from spatialgraph.wiring import KNN, AllToAll, Radius, Random


@pytest.mark.parametrize(
    "options", [{"weight_mode": "free"}, {"weight_mode": "both", "velocity": 1.0, "delay_mode": "free"}], ids=str
)
def test_rewiring_keeps_what_stays(options):
    graph = SpatialGraph.layered([9, 8, 7], wiring=KNN(k=4), **options)
    values = {name: 100.0 * graph.edge_index[0] + graph.edge_index[1] for name in ("weight", "delay")}
    free = {name: p for name, p in graph.free_synapses.named_parameters()}
    with torch.no_grad():
        for name, parameter in free.items():
            parameter.copy_(values[name])
    before = set(map(tuple, graph.edge_index.t().tolist()))
    for wiring in (None, KNN(k=6), KNN(k=2), AllToAll()):
        graph.place_(torch.randn(24, 2)).rewire_(wiring)
        edges = list(map(tuple, graph.edge_index.t().tolist()))
        for name, parameter in graph.free_synapses.named_parameters():
            assert parameter.shape == (graph.synapses,) and parameter.requires_grad
            for edge, value in zip(edges, parameter.tolist(), strict=True):
                assert (value == 100.0 * edge[0] + edge[1]) == (edge in before), name
        before &= set(edges)
        SpatialSNN(graph, num_steps=3)(torch.rand(2, 9)).sum().backward()
    assert before


@pytest.mark.parametrize(
    "options", [{}, {"weight_mode": "free"}, {"weight_mode": "both", "velocity": 1.0, "delay_mode": "free"}], ids=str
)
def test_removing_all_edges_and_rewiring(options):
    graph = SpatialGraph.layered([4, 3, 2], wiring=Random(density=0.5), **options)
    with pytest.raises(ValueError, match="wiring must lead from inputs to outputs"):
        graph.rewire_(Radius(r=1e-9))
    assert graph.synapses == 9
    graph.keep_(torch.zeros(9, dtype=torch.bool))  # what is removed by hand may be all
    assert graph.synapses == 0
    model = SpatialSNN(graph, num_steps=3, normalize=False)
    assert torch.equal(model(torch.rand(2, 4)), torch.zeros(2, 2))
    graph.rewire_(AllToAll())
    assert graph.synapses == 18 and (graph.free_synapses is not None) == bool(options)
    assert all(p.shape == (18,) for name, p in graph.named_parameters() if "free" in name)


@pytest.mark.parametrize(
    "options", [{"weight_mode": "free"}, {"weight_mode": "both", "velocity": 0.8, "delay_mode": "free"}], ids=str
)
@pytest.mark.parametrize("wiring", [KNN(k=2), AllToAll(), Random(density=0.3)], ids=repr)
def test_a_state_of_other_edges_is_loaded(wiring, options):
    model = SpatialSNN(SIZES, wiring=KNN(k=3), **options, **LOUD)
    other = SpatialSNN(SIZES, wiring=KNN(k=3), **options, **LOUD)
    model.graph.rewire_(wiring)
    randomise(model.graph)
    other.load_state_dict(model.state_dict())
    x = torch.rand(3, 6)
    assert torch.equal(other.graph.edge_index, model.graph.edge_index)
    assert torch.equal(other(x), model(x))
    other(x).sum().backward()


def load_edges(model, edges):
    """Give a network without layers other edges, as loading a pruned one does; inputs and outputs stay."""
    pruned = copy.deepcopy(model)
    pruned.graph.connect_(edges)
    model.load_state_dict(pruned.state_dict())


@pytest.mark.parametrize("read_out", ["potential", "count"])
def test_fewer_edges_may_change_the_generations(read_out):
    # 0 -> 1 -> 2 -> 3 with the skip 0 -> 2; without 1 -> 2 the output 3 is in the second generation, not the third.
    edges = torch.tensor([[0, 1, 2, 0, 1], [1, 2, 3, 2, 3]])
    model = SpatialSNN(randomise(SpatialGraph(torch.randn(4, 2).double(), edges)), num_steps=T, read_out=read_out)
    load_edges(model, edges[:, [0, 2, 3, 4]])
    assert model.graph.synapses == 4 and len(model.graph.projections) == 2
    x = features(model, 3)
    assert_same_run(model, x, *neuron_by_neuron(model, x.expand(T, *x.shape).numpy()))


@pytest.mark.parametrize("read_out", ["potential", "count"])
def test_more_edges_may_add_a_generation(read_out):
    edges = torch.tensor([[0, 2, 0, 1, 1], [1, 3, 2, 3, 2]])
    fewer = randomise(SpatialGraph(torch.randn(4, 2).double(), edges[:, :4]))
    model = SpatialSNN(fewer, num_steps=T, read_out=read_out)
    load_edges(model, edges)
    assert len(model.graph.projections) == 3
    x = features(model, 3)
    assert_same_run(model, x, *neuron_by_neuron(model, x.expand(T, *x.shape).numpy()))
    with pytest.raises(ValueError, match="neuron must have made 1 neurons for stage 0, got 2: edges have changed"):
        snntorch = pytest.importorskip("snntorch")
        model = SpatialSNN(SpatialGraph(fewer.pos, edges[:, :4]), neuron=lambda n: snntorch.Leaky(beta=0.9))
        load_edges(model, edges)
        model(x)


@pytest.mark.parametrize("read_out", ["potential", "count"])
def test_outputs_stay_in_order_where_a_hidden_neuron_has_lost_its_targets(read_out):
    # Outputs 1 and 2; without 5 -> 1 and 4 -> 5 the hidden 4 and output 1 are last, and output 2 comes before them.
    edges = torch.tensor([[0, 3, 3, 4, 5, 0], [3, 1, 4, 5, 1, 2]])
    model = SpatialSNN(randomise(SpatialGraph(torch.randn(6, 2).double(), edges)), num_steps=T, read_out=read_out)
    assert model.graph.outputs.tolist() == [1, 2]
    load_edges(model, torch.tensor([[0, 3, 3, 0], [3, 1, 4, 2]]))
    assert [p.targets.tolist() for p in model.graph.projections] == [[3, 5, 2], [4, 1]]
    x = features(model, 3)
    assert_same_run(model, x, *neuron_by_neuron(model, x.expand(T, *x.shape).numpy()))
