"""The survey of a network: its strongest synapses and the sums of its neurons, against a list of all synapses."""

import pytest
import torch

import spatialgraph as sg
from spatialgraph.connectome.survey import Survey


def layered(**options):
    torch.manual_seed(0)
    return sg.SpatialGraph.layered([7, 6, 4], **options)


def unlayered():
    torch.manual_seed(0)
    edges = torch.tensor([[0, 0, 1, 2, 3, 4, 5, 0], [3, 4, 4, 5, 6, 7, 8, 8]])
    return sg.SpatialGraph(torch.randn(12, 2), edges)


NETWORKS = {
    "all-to-all": layered,
    "sparse": lambda: layered(wiring=sg.wiring.KNN(k=2)),
    "masked": lambda: layered(wiring=sg.wiring.Random(0.6)),
    "recurrent": lambda: layered(recurrent=sg.wiring.AllToAll()),
    "free weights": lambda: layered(weight_mode="free"),
    "factors": lambda: layered(weight_mode="both"),
    "float64": lambda: layered(dtype=torch.float64),
    "float16": lambda: layered(dtype=torch.float16),
    "without layers": unlayered,
}


@pytest.fixture(params=NETWORKS)
def graph(request):
    return NETWORKS[request.param]()


@torch.no_grad()
def all_synapses(graph):
    """Every synapse by its ends, with its weight in float64."""
    return dict(zip(zip(*graph.edge_index.tolist(), strict=True), graph.weights().double().tolist(), strict=True))


@pytest.mark.parametrize("top", [0, 1, 7, 10_000])
def test_the_strongest_come_first(graph, top):
    survey, weights = Survey.of(graph, top=top), all_synapses(graph)
    ends = list(zip(survey.source.tolist(), survey.target.tolist(), strict=True))
    assert len(set(ends)) == len(ends) == min(top, graph.synapses)
    assert survey.weight.tolist() == [weights[pair] for pair in ends]
    assert survey.weight.abs().tolist() == sorted(map(abs, weights.values()), reverse=True)[:top]
    pos = graph.pos.detach().double()
    expected = [float((pos[a] - pos[b]).square().sum().sqrt()) for a, b in ends]
    assert survey.length.tolist() == pytest.approx(expected, rel=1e-12)


def test_sums_of_the_neurons(graph):
    survey, weights = Survey.of(graph, top=2), all_synapses(graph)
    for neuron in range(graph.neurons):
        assert survey.fan_in[neuron] == sum(target == neuron for _, target in weights)
        assert survey.fan_out[neuron] == sum(source == neuron for source, _ in weights)
        own = sum(abs(weight) for ends, weight in weights.items() if neuron in ends)
        assert float(survey.strength[neuron]) == pytest.approx(own, rel=1e-12, abs=1e-12)


def test_the_other_ways_to_select(graph):
    sizes = sorted(map(abs, all_synapses(graph).values()), reverse=True)
    assert len(Survey.of(graph).weight) == graph.synapses
    assert len(Survey.of(graph, fraction=0.5).weight) == round(graph.synapses * 0.5)
    limit = (sizes[2] + sizes[3]) / 2
    assert Survey.of(graph, min_weight=limit).weight.abs().tolist() == sizes[:3]


def test_the_strongest_of_each_projection():
    graph = layered()
    survey = Survey.of(graph, top=3, scope="projection")
    assert torch.bincount(graph.layer[survey.target]).tolist() == [0, 3, 3]
    assert survey.weight.abs().tolist() == sorted(survey.weight.abs().tolist(), reverse=True)


def test_masked_synapses_weigh_nothing():
    graph = layered()
    graph.masked_share = 0.5
    assert int((Survey.of(graph).weight == 0).sum()) == 33  # of 42 + 24


def test_pairs_of_a_complete_projection_are_not_listed(monkeypatch):
    graph = layered()
    monkeypatch.setattr(type(graph.projections[0].engine), "edge_index", None)
    assert len(Survey.of(graph, top=5).weight) == 5


def test_wrong_arguments():
    with pytest.raises(
        ValueError, match="at most one of min_weight, top and fraction may be given, got .* and fraction"
    ):
        Survey.of(layered(), top=1, fraction=0.5)
    with pytest.raises(ValueError, match="top must be at least 0, got -1"):
        Survey.of(layered(), top=-1)
    with pytest.raises(TypeError, match="network must be a SpatialGraph"):
        Survey.of(torch.nn.Linear(2, 2))
    graph = layered()
    with torch.no_grad():
        graph.raw_polarity[0] = float("nan")
    with pytest.raises(ValueError, match="the weights of projection 0 must be finite, got nan"):
        Survey.of(graph)
