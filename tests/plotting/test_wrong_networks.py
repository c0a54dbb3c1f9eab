"""What cannot be drawn is refused, and what is empty is drawn."""

import matplotlib
import pytest
import torch

pytest.importorskip("matplotlib")

import spatialgraph as sg
from spatialgraph import plotting

DRAWINGS = {
    "network": plotting.network,
    "layer": lambda graph, ax=None: plotting.layer(graph, 0, ax),
    "depths": plotting.depths,
    "degrees": plotting.degrees,
    "lengths": plotting.lengths,
    "weights": plotting.weights,
    "adjacency": plotting.adjacency,
    "receptive_fields": lambda graph, ax=None: plotting.receptive_fields(graph, (2, 2), ax),
}


def with_bad(name, value):
    graph = sg.SpatialGraph.layered([4, 3, 2])
    dict(graph.named_parameters())[name].data.view(-1)[2] = value
    return graph


@pytest.mark.parametrize("draw", DRAWINGS.values(), ids=DRAWINGS)
def test_positions_and_polarities_must_be_finite(draw):
    with pytest.raises(ValueError, match="pos must be finite, got .* for neuron 1"):
        draw(with_bad("positions.coords", torch.nan))
    with pytest.raises(ValueError, match=r"polarity must be finite, got inf at \(2,\)"):
        draw(with_bad("raw_polarity", torch.inf))
    with pytest.raises(TypeError, match="network must be a SpatialGraph or a model that has one as graph, got Linear"):
        draw(torch.nn.Linear(4, 2))


@pytest.mark.parametrize("draw", DRAWINGS.values(), ids=DRAWINGS)
def test_networks_without_synapses(draw):
    graph = sg.prune(sg.SpatialGraph.layered([4, 3, 2]), 1.0)
    draw(graph).figure.draw_without_rendering()


@pytest.mark.parametrize("draw", DRAWINGS.values(), ids=DRAWINGS)
def test_given_axes_are_used_and_models_look_as_their_graphs(draw):
    model = sg.SpatialMLP([4, 3, 2])
    ax = draw(model)
    again = ax.figure.add_subplot(projection="3d" if ax.name == "3d" else None)
    assert draw(model.graph, again) is again
    assert again.get_title() == ax.get_title() and len(again.collections) == len(ax.collections)
    assert not model.graph.pos.grad_fn or model.graph.raw_bias.grad is None


def test_no_window_is_opened():
    pyplot = pytest.importorskip("matplotlib.pyplot")
    before, backend = pyplot.get_fignums(), matplotlib.get_backend()
    for draw in DRAWINGS.values():
        draw(sg.SpatialGraph.layered([4, 3, 2]))
    assert pyplot.get_fignums() == before and matplotlib.get_backend() == backend
