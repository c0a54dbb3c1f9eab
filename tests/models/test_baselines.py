"""The dense baselines, by hand and against spatial networks of the same weights."""

import numpy as np
import pytest
import torch
from perceptrons import SIZES, layer_norm
from references import assert_close, randomise
from spiking_networks import T

from spatialgraph import DenseMLP, DenseSNN, SpatialMLP


def test_the_dense_baseline_is_averaged_too(monkeypatch):
    model = DenseSNN([6, 5, 3], num_steps=T).double()
    x = torch.rand(4, 6).double()
    short = model(x)
    assert model._is_averaged(1)
    monkeypatch.setattr(DenseSNN, "_is_averaged", lambda self, number: False)
    assert_close(short, model(x), 1e-12)


@pytest.mark.parametrize(("hidden", "count"), [(14, 11_140), (2048, 1_628_170)])
def test_number_of_parameters_of_the_spiking_baseline(hidden, count):
    assert sum(p.numel() for p in DenseSNN([784, hidden, 10]).parameters()) == count


@pytest.mark.parametrize(("hidden", "count"), [(14, 11_140), (17, 13_525), (2048, 1_628_170)])
def test_number_of_parameters_of_the_baseline(hidden, count):
    assert sum(p.numel() for p in DenseMLP([784, hidden, 10]).parameters()) == count


@pytest.mark.parametrize("normalize", [True, False])
def test_baseline_by_hand(normalize):
    model = DenseMLP(SIZES, normalize=normalize).double()
    x = torch.randn(7, 6).double()
    y = x.numpy()
    for number, layer in enumerate(model):
        weight, bias = layer.weight.detach().numpy(), layer.bias.detach().numpy()
        y = y @ weight.T
        if number < 2:
            y = np.maximum((layer_norm(y) if normalize else y) + bias, 0.0)
        else:
            y = y + bias
    assert_close(model(x), y, 1e-12)


def test_baseline_learns_the_same_function_as_the_weights_of_a_spatial_network():
    spatial = SpatialMLP(SIZES, normalize=False).double()
    dense = DenseMLP(SIZES, normalize=False).double()
    graph = randomise(spatial.graph)
    with torch.no_grad():
        for number, stage in enumerate(dense, start=1):
            own = graph.layer[graph.edge_index[1]] == number
            stage.weight.copy_(graph.weights()[own].view(SIZES[number], SIZES[number - 1]))
            stage.bias.copy_(graph.bias[graph.layer == number])
    x = torch.randn(7, 6).double()
    assert_close(spatial(x), dense(x), 1e-12)
