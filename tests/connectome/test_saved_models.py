"""A model goes into a file and comes back to the bit, with its neurons and settings."""

import perceptrons
import pytest
import spiking_networks
import torch
from references import randomise

from spatialgraph import SpatialGraph, SpatialSNN, load, save
from spatialgraph.functional.leaky import FastSigmoid
from spatialgraph.neurons import Leaky

SHORT = torch.tensor([[0, 2, 0, 1], [1, 3, 2, 3]])
LONG = torch.tensor([[0, 2, 0, 1, 1], [1, 3, 2, 3, 2]])  # one generation more


def round_trip(model, path):
    save(model, path)
    return load(path)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize("make", perceptrons.KINDS.values(), ids=perceptrons.KINDS)
def test_perceptrons(make, dtype, path):
    model = randomise(make()).to(dtype)
    x = perceptrons.features(model, 5).to(dtype)
    other = round_trip(model, path)
    assert torch.equal(other(x), model(x)) and repr(other) == repr(model)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32, torch.float64], ids=str)
@spiking_networks.every_kind
def test_spiking_networks(kind, dtype, path):
    model = spiking_networks.make(kind, dtype)
    x = spiking_networks.features(model, 5, dtype=dtype)
    other = round_trip(model, path)
    assert torch.equal(other(x), model(x)) and repr(other) == repr(model)
    for one, another in zip(model.simulate(x).spikes, other.simulate(x).spikes, strict=True):
        assert torch.equal(one, another)


@pytest.mark.parametrize("read_out", ["potential", "count"])
def test_a_spiking_network_that_has_lost_a_generation(read_out, path):
    model = SpatialSNN(SpatialGraph(torch.randn(4, 2), LONG), num_steps=5, read_out=read_out)
    model.graph.connect_(SHORT)
    x = torch.rand(3, 1)
    assert torch.equal(round_trip(model, path)(x), model(x))


def test_neurons_of_a_generation_that_comes_later(path):
    graph = SpatialGraph(torch.randn(4, 2), SHORT)
    options = {"num_steps": 9, "threshold": 0.3, "reset_mechanism": "zero", "spike_grad": FastSigmoid(4.0)}
    model = SpatialSNN(graph, read_out="count", **options)
    other = round_trip(model, path)
    x = 5 * torch.rand(3, 1)
    for network in (model, other):
        network.graph.connect_(LONG)
    assert torch.equal(other(x), model(x))
    assert [each.spike_grad.slope for each in other.hidden_neurons[:2]] == [4.0, 4.0]
    assert repr(other) == repr(model)


def test_neurons_of_a_factory_stay_as_many(path):
    model = SpatialSNN(SpatialGraph(torch.randn(4, 2), SHORT), neuron=lambda n: Leaky(0.5))
    other = round_trip(model, path)
    for network in (model, other):
        network.graph.connect_(LONG)
        with pytest.raises(ValueError, match="neuron must have made"):
            network(torch.rand(3, 1))


class Quiet(Leaky):
    """Neurons that compute their spikes in their own way."""

    def run(self, current, num_steps, state=None, record="spikes potentials"):
        recording = super().run(current, num_steps, state)
        return recording._replace(spikes=torch.zeros_like(recording.spikes))


def test_neurons_of_a_subclass_are_refused(path):
    with pytest.raises(ValueError, match="neuron must be a Leaky of this library to be saved, got Quiet"):
        save(SpatialSNN([3, 4, 2], neuron=lambda n: Quiet()), path)
