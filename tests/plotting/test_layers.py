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


def test_outputs_are_references_on_every_layer():
    model = network()
    for number in range(3):
        ax = plotting.layer(model, number)
        assert [text.get_text() for text in ax.texts] == ["0", "1", "2", "3"]
        assert torch.allclose(torch.tensor([t.get_position() for t in ax.texts]), model.graph.pos[42:, :2].detach())
    assert not plotting.layer(network(outputs=21), 1).texts


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_activations_are_red_where_they_excite_and_blue_where_they_inhibit(dtype):
    model = network()
    activations = torch.randn(46).to(dtype)
    ax = plotting.layer(model, 1, activations=activations)
    (dots,) = ax.collections
    polarity, own = model.graph.polarity[30:42].detach(), activations[30:42].double()
    expected = dict(zip(model.graph.pos[30:42, 0].tolist(), (polarity.sign() * own).tolist(), strict=True))
    found = dict(zip(dots.get_offsets()[:, 0].tolist(), dots.get_array().tolist(), strict=True))
    assert found == pytest.approx(expected)
    assert dots.get_clim() == pytest.approx((-float(own.abs().max()), float(own.abs().max())))
    colors = dots.cmap(dots.norm(dots.get_array()))
    assert all((red > blue) == (value > 0) for (red, _, blue, _), value in zip(colors, dots.get_array(), strict=True))
    assert (abs(dots.get_array()[1:]) >= abs(dots.get_array()[:-1])).all()  # the strongest are on top
    plotting.layer(model, 0, ax.figure.add_subplot(), activations).figure.draw_without_rendering()


def test_activations_of_neurons_without_a_polarity():
    model = network()
    activations = torch.linspace(-1.0, 2.0, 46)
    (dots,) = plotting.layer(model, 2, activations=activations).collections
    assert sorted(dots.get_array().tolist()) == pytest.approx(activations[42:].tolist())
    assert dots.get_cmap().name == "PRGn" and dots.get_clim() == (-2.0, 2.0)
    free = sg.SpatialGraph.layered([4, 3, 2], weight_mode="free")
    (dots,) = plotting.layer(free, 1, activations=-torch.ones(9)).collections
    assert dots.get_cmap().name == "PRGn" and dots.get_array().tolist() == [-1.0] * 3
    plotting.layer(free, 1, activations=torch.zeros(9)).figure.draw_without_rendering()


@pytest.mark.parametrize(
    ("activations", "error", "message"),
    [
        (torch.zeros(12), ValueError, r"activations must have shape \(46,\), got \(12,\)"),
        (torch.zeros(1, 46), ValueError, r"activations must have shape \(46,\), got \(1, 46\)"),
        (torch.full((46,), torch.nan), ValueError, r"activations must be finite, got nan at \(0,\)"),
        ([0.0] * 46, TypeError, "activations must be a tensor, got list"),
    ],
)
def test_wrong_activations(activations, error, message):
    with pytest.raises(error, match=message):
        plotting.layer(network(), 1, activations=activations)


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
