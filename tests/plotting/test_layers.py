"""Figures of layers hold every neuron, on the scales of the whole network."""

import pytest
import torch

pytest.importorskip("matplotlib")

import spatialgraph as sg
from spatialgraph import plotting


def network(dim=3, outputs=4):
    model = sg.SpatialMLP([30, 12, outputs], dim=dim)
    with torch.no_grad():
        model.graph.place_(3 * model.graph.pos[:30], 0)
    return model


@pytest.mark.parametrize("dim", [1, 2, 3, 5])
def test_dots_are_where_the_neurons_are(dim):
    model = network(dim)
    (dots,) = plotting.layer(model, 1).collections
    found = torch.tensor(dots.get_offsets().tolist())
    pos = model.graph.pos[30:42].detach()
    assert torch.allclose(found[:, 0], pos[:, 0])
    assert torch.allclose(found[:, 1], pos[:, 1] if dim > 1 else torch.zeros(12))
    assert torch.allclose(torch.tensor(dots.get_array().tolist()), model.graph.polarity[30:42].detach())


def test_a_model_and_its_graph_look_alike():
    model = network()
    first, second = (plotting.layer(each, 0).collections[0] for each in (model, model.graph))
    assert (first.get_offsets() == second.get_offsets()).all()


def test_layers_share_their_scales():
    model = network()
    axes = [plotting.layer(model, number) for number in range(3)]
    assert len({ax.get_xlim() for ax in axes}) == len({ax.get_ylim() for ax in axes}) == 1
    assert len({ax.collections[0].get_clim() for ax in axes[:2]}) == 1
    x, y = model.graph.pos.detach()[:, :2].double().t()
    assert axes[0].get_xlim()[0] < x.min() and x.max() < axes[0].get_xlim()[1]
    assert axes[0].get_ylim()[0] < y.min() and y.max() < axes[0].get_ylim()[1]
    assert {(ax.get_xlabel(), ax.get_ylabel()) for ax in axes} == {("x (length units)", "y (length units)")}


def test_outputs_are_drawn_as_their_numbers():
    model = network()
    ax = plotting.layer(model, 2)
    assert [text.get_text() for text in ax.texts] == ["0", "1", "2", "3"]
    assert torch.allclose(torch.tensor([t.get_position() for t in ax.texts]), model.graph.pos[42:, :2].detach())
    many = plotting.layer(network(outputs=21), 2)
    assert not many.texts and len(many.collections[0].get_offsets()) == 21


def test_a_layer_is_drawn_on_the_axes_it_is_given():
    ax = plotting.layer(network(), 0).figure.add_subplot()
    assert plotting.layer(network(), 0, ax) is ax
    ax.figure.draw_without_rendering()


def test_all_neurons_at_one_place():
    graph = sg.SpatialGraph(torch.zeros(3, 2), torch.tensor([[0, 1], [2, 2]]), layer=torch.tensor([0, 0, 1]))
    plotting.layer(graph, 0).figure.draw_without_rendering()


def test_what_has_no_graph():
    with pytest.raises(TypeError, match="network must be a SpatialGraph or a model that has one as graph, got Linear"):
        plotting.layer(torch.nn.Linear(2, 1), 0)
