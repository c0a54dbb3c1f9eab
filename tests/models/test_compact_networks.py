"""With a law of finite reach, a network of the synapses within reach is the all-to-all network."""

import pytest
import torch

import spatialgraph as sg
from spatialgraph.laws import Compact
from spatialgraph.wiring import AllToAll, Radius

R = 1.5
OPTIONS = {"dim": 3, "law": Compact(radius=R), "gain": 1.0, "dtype": torch.float64}


def pair(build, wiring, **options):
    """The all-to-all network and the sparse one, of the same parameters."""
    networks = []
    for chosen in (AllToAll(), wiring):
        torch.manual_seed(0)
        networks.append(build(chosen, **OPTIONS, **options))
    whole, sparse = networks
    assert sparse.graph.synapses < 0.7 * whole.graph.synapses
    assert all(torch.equal(a, b) for a, b in zip(whole.parameters(), sparse.parameters(), strict=True))
    return whole, sparse


def perceptron(wiring, **options):
    return sg.SpatialMLP([20, 40, 30, 5], wiring=wiring, **options)


def recurrent(wiring, **options):
    return sg.SpatialRNN([20, 40, 5], wiring=wiring, recurrent=wiring, **options)


def assert_equal(whole, sparse, x):
    outputs, gradients = [], []
    for model in (whole, sparse):
        y = model(x)
        y = y[0] if isinstance(y, tuple) else y
        outputs.append(y)
        gradients.append(torch.autograd.grad(y.sin().sum(), [*model.parameters()]))
    torch.testing.assert_close(*outputs, rtol=1e-10, atol=1e-10)
    assert outputs[0].abs().max() > 1e-3
    for mine, theirs in zip(*gradients, strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-10, atol=1e-10)


@torch.no_grad()
def move(networks, distance):
    """Move every neuron by at most a distance, all networks alike."""
    for model in networks:
        generator = torch.Generator().manual_seed(1)
        coords = model.graph.positions.coords
        step = torch.randn(coords.shape, generator=generator, dtype=coords.dtype)
        coords += distance * step / step.norm(dim=1, keepdim=True)


@pytest.mark.parametrize("spacing", ["fixed", "learned", "free"])
@pytest.mark.parametrize(("build", "shape"), [(perceptron, (7, 20)), (recurrent, (4, 7, 20))])
def test_a_radius_of_the_reach_is_exact(build, shape, spacing):
    networks = pair(build, Radius(r=R), spacing=spacing)
    x = torch.rand(shape, dtype=torch.float64)
    assert_equal(*networks, x)
    before = networks[1].graph.edge_index
    move(networks, 0.5)
    networks[1].graph.rewire_()
    assert not torch.equal(before, networks[1].graph.edge_index)
    assert_equal(*networks, x)


def test_outdated_edges_are_not_exact():
    networks = pair(perceptron, Radius(r=R))
    move(networks, 0.5)
    with pytest.raises(AssertionError):
        assert_equal(*networks, torch.rand(7, 20, dtype=torch.float64))


def test_a_margin_keeps_it_exact_until_neurons_have_moved_half_of_it():
    networks = pair(perceptron, Radius(r=R + 0.4), spacing="fixed")
    x = torch.rand(7, 20, dtype=torch.float64)
    move(networks, 0.199)
    assert_equal(*networks, x)
