"""Penalties on wiring, on neurons and on layers that are too close, against their formulas."""

import pytest
import torch

import spatialgraph as sg
from spatialgraph import SpatialGraph, collapse_cost, communicability_cost, repulsion_cost, wiring_cost
from spatialgraph.graph.penalties import PENALTIES, make_penalty

DAG = torch.tensor([[0, 0, 1, 2, 3, 1], [3, 4, 3, 4, 5, 5]])


def test_collapse_cost_by_hand():
    graph = SpatialGraph.layered([2, 2, 2, 2])
    assert collapse_cost(graph).item() == 0.0
    with torch.no_grad():
        graph.positions.gaps.copy_(torch.tensor([0.25, -0.5, 3.0]))
    penalty = collapse_cost(graph)
    assert penalty.item() == 0.75**2 + 0.5**2
    penalty.backward()
    assert graph.positions.gaps.grad.tolist() == [-1.5, 1.0, 0.0]


def test_collapse_cost_of_free_layers():
    pos = torch.zeros(6, 2)
    pos[:, 1] = torch.tensor([0.0, 1.0, 0.5, 1.0, 2.0, 6.0])
    graph = SpatialGraph.layered([2, 2, 2], 2, spacing="free", init=pos)  # means are 0.5, 0.75 and 4
    penalty = collapse_cost(graph)
    assert penalty.item() == 0.75**2
    penalty.backward()
    assert graph.positions.coords.grad[:, 1].tolist() == [0.75, 0.75, -0.75, -0.75, 0.0, 0.0]
    with pytest.raises(ValueError, match="network must have layers for collapse_cost"):
        collapse_cost(SpatialGraph(torch.randn(6, 2), DAG))


def networks():
    yield SpatialGraph.layered([5, 7, 3], recurrent=sg.wiring.KNN(k=3), dtype=torch.float64)
    yield SpatialGraph.layered([5, 7, 3], recurrent=sg.wiring.AllToAll(), spacing="free", dtype=torch.float64)
    yield SpatialGraph.layered([5, 7, 3], wiring=sg.wiring.Random(0.3), law="cosine", dtype=torch.float64)
    pos = torch.randn(6, 2, dtype=torch.float64)
    yield SpatialGraph(pos, DAG, weight_mode="both")


def matrices(graph):
    """Absolute weights and lengths of all pairs, sources in rows."""
    weights, lengths = torch.zeros(2, graph.neurons, graph.neurons, dtype=torch.float64)
    for (source, target), weight in zip(graph.edge_index.t().tolist(), graph.weights().tolist(), strict=True):
        weights[source, target] = abs(weight)
        lengths[source, target] = (graph.pos[source] - graph.pos[target]).detach().norm()
    return weights, lengths


@pytest.mark.parametrize("graph", list(networks()), ids=repr)
def test_wiring_costs_by_their_formulas(graph):
    weights, lengths = matrices(graph)
    assert wiring_cost(graph).item() == pytest.approx(float((weights * lengths).sum()), rel=1e-12)
    outgoing, incoming = weights.sum(1).clamp(min=1e-300), weights.sum(0).clamp(min=1e-300)
    share = torch.diag(outgoing.rsqrt()) @ weights @ torch.diag(incoming.rsqrt())
    term, communicability = torch.eye(len(share), dtype=torch.float64), torch.zeros_like(share)
    for order in range(1, 40):
        communicability += term
        term = term @ share / order
    expected = float((weights * lengths * communicability).sum())
    assert communicability_cost(graph).item() == pytest.approx(expected, rel=1e-10)


@pytest.mark.parametrize("gain", [1e-25, 1e-6, 1e20])
def test_communicability_of_very_weak_and_very_strong_synapses(gain):
    graph = SpatialGraph.layered([5, 7, 3], recurrent=sg.wiring.KNN(k=3), gain=1.0)
    expected = communicability_cost(graph).item()  # the communicability itself is that of any gain
    graph.gain = gain
    cost = communicability_cost(graph)
    assert cost.item() / gain == pytest.approx(expected, rel=1e-4)
    cost.backward()
    assert torch.isfinite(graph.positions.coords.grad).all()


@pytest.mark.parametrize("graph", list(networks()), ids=repr)
@pytest.mark.parametrize("radius", [0.01, 0.7, 3.0])
def test_repulsion_by_its_formula(graph, radius):
    pos = graph.pos.detach()
    pairs = [(i, j) for j in range(len(pos)) for i in range(j)]
    expected = sum(max(0.0, 1.0 - float((pos[i] - pos[j]).norm()) / radius) ** 2 for i, j in pairs)
    assert repulsion_cost(graph, radius).item() == pytest.approx(expected, rel=1e-10, abs=1e-12)


@pytest.mark.parametrize("name", PENALTIES)
def test_gradients_of_penalties(name):
    graph = SpatialGraph.layered([3, 4, 2], dim=2, recurrent=sg.wiring.AllToAll(), dtype=torch.float64)
    names, values = zip(*graph.named_parameters(), strict=True)
    if name == "collapse":
        graph.positions.gaps.data.mul_(0.5)

    def cost(*values):
        return torch.func.functional_call(
            _Cost(graph, name), {f"graph.{n}": v for n, v in zip(names, values, strict=True)}, ()
        )

    assert torch.autograd.gradcheck(cost, values)


class _Cost(torch.nn.Module):
    def __init__(self, graph, name):
        super().__init__()
        self.graph, self.name = graph, name

    def forward(self):
        return PENALTIES[self.name](self.graph)


def test_training_shortens_the_wiring():
    graph = SpatialGraph.layered([5, 7, 3])
    optimizer = torch.optim.Adam(sg.parameter_groups(graph))
    before = wiring_cost(graph).item()
    for _ in range(50):
        optimizer.zero_grad()
        wiring_cost(graph).backward()
        optimizer.step()
    assert wiring_cost(graph).item() < 0.5 * before


def test_repulsion_moves_neurons_apart():
    pos = torch.tensor([[0.0, 0.0], [0.05, 0.0], [3.0, 0.0]])
    graph = SpatialGraph(pos, torch.tensor([[0, 1], [2, 2]]))
    repulsion_cost(graph).backward()
    assert graph.positions.coords.grad[:, 0].tolist() == pytest.approx([10.0, -10.0, 0.0])


def test_penalties_are_summed_by_their_factors():
    model = sg.SpatialMLP([5, 7, 3])
    total = make_penalty(model, {"wiring": 0.5, "repulsion": 2.0})()
    assert total.item() == pytest.approx(0.5 * wiring_cost(model).item() + 2.0 * repulsion_cost(model).item())


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda g: wiring_cost(torch.nn.Linear(2, 2)), TypeError, "network must be a SpatialGraph or a model"),
        (lambda g: repulsion_cost(g, 0.0), ValueError, "radius must be .* got 0"),
        (lambda g: make_penalty(g, {}), ValueError, "factors must have a factor for each penalty"),
        (lambda g: make_penalty(g, "wiring"), TypeError, "factors must be a dictionary .* got str"),
        (lambda g: make_penalty(g, {"length": 1.0}), ValueError, "penalty must be one of 'wiring'"),
        (lambda g: make_penalty(g, {"wiring": "much"}), TypeError, "factor of wiring must be a number"),
    ],
)
def test_wrong_calls(call, error, message):
    with pytest.raises(error, match=message):
        call(SpatialGraph.layered([5, 7, 3]))
