"""What is written to a network stays or raises: computed values refuse, copies are copies."""

import copy

import pytest
import torch
from torch import nn
from torch.nn.utils import parametrize, prune

from spatialgraph import SpatialGraph, SpatialMLP
from spatialgraph.wiring import KNN


class Bounded(nn.Module):
    def forward(self, values):
        return 2.0 * torch.tanh(values)


@pytest.mark.parametrize("name", ["pos", "polarity", "bias"])
@pytest.mark.parametrize("options", [{}, {"polarity_mode": "binary"}, {"weight_mode": "free", "velocity": 1.0}])
@pytest.mark.parametrize(
    "write",
    [
        lambda values: values.add_(1.0),
        lambda values: values.zero_(),
        lambda values: values.data.fill_(2.0),
        lambda values: values.__setitem__(0, 1.0),
        nn.init.normal_,
    ],
)
def test_computed_values_cannot_be_written_to(name, options, write):
    graph = SpatialGraph.layered([3, 4, 2], **options)
    with pytest.raises(TypeError, match=f"{name} of a SpatialGraph .* cannot be written to"):
        write(getattr(graph, name))


@pytest.mark.parametrize("name", ["polarity", "bias"])
def test_computed_values_are_differentiable_and_give_plain_tensors(name):
    graph = SpatialGraph.layered([3, 4, 2])
    values = getattr(graph, name)
    assert type(2.0 * values) is torch.Tensor and type(values.detach().clone()) is torch.Tensor
    values.sum().backward()
    assert getattr(graph, f"raw_{name}").grad.eq(1.0).all()


@pytest.mark.parametrize("name", ["layer", "is_input", "is_output", "edge_index", "inputs", "outputs"])
@pytest.mark.parametrize("wiring", [None, KNN(k=2)])
def test_what_is_written_to_a_copy_does_not_change_the_network(name, wiring):
    model = SpatialMLP([3, 4, 2], wiring=wiring)
    x, before = torch.rand(5, 3), getattr(model.graph, name).clone()
    expected = model(x)
    getattr(model.graph, name).zero_()
    assert torch.equal(getattr(model.graph, name), before)
    assert torch.equal(model(x), expected)


CHANGES = {
    "coords": [
        lambda graph: graph.place_(torch.zeros(3, 2), 0),
        lambda graph: graph.keep_neurons_(torch.ones(9, dtype=torch.bool)),
        lambda graph: graph.reset_parameters(),
    ],
    "raw_polarity": [
        lambda graph: graph.keep_neurons_(torch.ones(9, dtype=torch.bool)),
        lambda graph: graph.reset_parameters(),
    ],
    "weight": [
        lambda graph: graph.rewire_(KNN(k=2)),
        lambda graph: graph.keep_(graph.lengths() < 2.0),
        lambda graph: graph.reset_parameters(),
    ],
}


@pytest.mark.parametrize(("name", "change"), [(name, change) for name in CHANGES for change in CHANGES[name]])
@pytest.mark.parametrize(
    "compute",
    [
        lambda part, name: parametrize.register_parametrization(part, name, Bounded()),
        lambda part, name: prune.l1_unstructured(part, name, 0.5),
    ],
)
def test_parametrised_values_are_not_set(name, change, compute):
    model = SpatialMLP([3, 4, 2], weight_mode="both")
    graph, x = model.graph, torch.rand(5, 3)
    part = {"coords": graph.positions, "raw_polarity": graph, "weight": graph.free_synapses}[name]
    compute(part, name)
    expected = model(x).detach()
    with pytest.raises(RuntimeError, match=f"{name} must be a parameter or buffer to be set"):
        change(graph)
    assert torch.equal(model(x), expected)


def test_parametrised_positions_train_and_follow_changes_of_synapses():
    model = SpatialMLP([3, 4, 2])
    parametrize.register_parametrization(model.graph.positions, "coords", Bounded())
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    before = model.graph.pos.detach().clone()
    model(torch.rand(5, 3)).square().mean().backward()
    optimizer.step()
    assert not torch.equal(model.graph.pos, before)
    assert model.graph.rewire_(KNN(k=2)).synapses == 12
    assert torch.equal(copy.deepcopy(model).graph.weights(), model.graph.weights())
