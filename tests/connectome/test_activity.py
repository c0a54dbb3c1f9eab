"""What neurons do, in networks of every kind and within larger models."""

import pytest
import recurrent_spiking
import spiking_networks
import torch
from changed_graphs import dag_graph, renumbered
from perceptrons import every_kind as every_perceptron
from references import assert_close
from torch import nn

import spatialgraph as sg
from spatialgraph.wiring import KNN, AllToAll


def spiking_inputs(model, *leading):
    return torch.rand(*leading, len(model.graph.inputs), dtype=model.graph.raw_bias.dtype)


@spiking_networks.every_kind
def test_spiking_networks_have_spikes_and_read_potentials(kind):
    model = spiking_networks.make(kind)
    graph, x = model.graph, spiking_inputs(model, 3)
    run, found = model.simulate(x), model.activations(x)
    assert found.shape == (model.num_steps, 3, graph.neurons)
    assert torch.equal(found[..., graph.is_input], x.expand(model.num_steps, 3, -1))
    for stage, spikes, potentials in zip(graph.feed_forward_projections, run.spikes, run.potentials, strict=True):
        for place, neuron in enumerate(stage.targets.tolist()):
            is_read = graph.is_output[neuron] and model.read_out == "potential"
            assert torch.equal(found[..., neuron], (potentials if is_read else spikes)[..., place])
    outputs = found[..., graph.outputs]
    assert_close(outputs.sum(0) if model.read_out == "count" else outputs.mean(0), model(x), 1e-10)
    assert torch.equal(sg.activations(model, x), found)


@pytest.mark.parametrize("velocity", [None, 1.5])
def test_recurrent_spiking_networks_agree_with_loops(velocity):
    model = recurrent_spiking.make(KNN(k=2), velocity, coding=None)
    x = recurrent_spiking.series(model, 2)
    spikes, potentials, _ = recurrent_spiking.step_by_step(model, x)
    is_output = model.graph.is_output
    found = sg.activations(model, x)
    assert_close(found[..., ~is_output], spikes[..., ~is_output], 1e-12)
    assert_close(found[..., is_output], potentials[..., is_output], 1e-9)


def test_renumbered_spiking_networks_do_the_same():
    graph = dag_graph(gain=0.6)
    other, former = renumbered(graph)
    one, two = (sg.SpatialSNN(each, num_steps=9) for each in (graph, other))
    x = torch.rand(4, len(graph.inputs))
    place = {neuron: k for k, neuron in enumerate(graph.inputs.tolist())}
    y = x[:, [place[neuron] for neuron in former[other.inputs].tolist()]]
    assert_close(sg.activations(two, y), sg.activations(one, x)[..., former], 1e-4)


def test_the_other_neurons_of_snntorch():
    snntorch = pytest.importorskip("snntorch")
    model = sg.SpatialSNN([5, 6, 3], num_steps=8, neuron=lambda n: snntorch.Synaptic(alpha=0.9, beta=0.8))
    x = torch.rand(4, 5)
    found = sg.activations(model, x)
    assert torch.equal(found[..., 5:11], model.simulate(x).spikes[0]) and found[..., 5:11].any()


@every_perceptron
def test_perceptrons_give_what_their_method_gives(make):
    model = make()
    x = torch.randn(2, 3, len(model.graph.inputs))
    found = sg.activations(model, x)
    assert torch.equal(found, model.activations(x)) and found.requires_grad
    assert_close(found[..., model.graph.outputs], model(x), 1e-6)


@pytest.mark.parametrize("cell", ["plain", "leaky", "gated"])
@pytest.mark.parametrize("batch_first", [False, True])
def test_recurrent_networks_give_time_steps(cell, batch_first):
    model = sg.SpatialRNN([3, 5, 2], cell=cell, batch_first=batch_first, read_out="all")
    x, state = torch.randn(7, 4, 3), torch.randn(1, 7 if batch_first else 4, 5)
    found = sg.activations(model, x, state)
    assert torch.equal(found[..., model.graph.is_output], model(x, state)[0])


class Sequences(nn.Module):
    """Passes a state by name, and returns a dictionary."""

    def __init__(self):
        super().__init__()
        self.part = nn.ModuleDict({"network": sg.SpatialRNN([3, 5, 2])})

    def forward(self, x, state):
        return {"y": self.part["network"](2.0 * x, state=state)[0]}


def test_arguments_reach_a_network_within():
    model, x, state = Sequences(), torch.randn(7, 4, 3), torch.randn(1, 4, 5)
    right = model.part["network"].activations(2.0 * x, state)
    assert torch.equal(sg.activations(model, x, state), right)
    assert torch.equal(sg.activations(model, x, state, part="part.network"), right)


def larger():
    network = sg.SpatialMLP([32, 9, 4], wiring=KNN(k=5))
    return nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.Dropout(0.5), nn.Flatten(), network, nn.Linear(4, 2))


@pytest.mark.parametrize("training", [True, False])
def test_a_larger_model_is_left_as_found(training):
    model, images = larger().train(training), torch.rand(3, 1, 6, 6)
    torch.manual_seed(0)
    right = model[4].activations(model[:4](images))
    torch.manual_seed(0)
    found = sg.activations(model, images)
    after = torch.get_rng_state()
    torch.manual_seed(0)
    model(images)
    assert torch.equal(torch.get_rng_state(), after)
    assert torch.equal(found, right)
    assert [module.training for module in model.modules()].count(training) == len(list(model.modules()))
    assert not model[4]._forward_pre_hooks and not model[4]._forward_pre_hooks_with_kwargs
    found[:, model[4].graph.is_output].sum().backward()
    assert model[0].weight.grad.abs().sum() > 0


def test_random_spikes_are_those_of_the_pass():
    model = nn.Sequential(nn.Sigmoid(), sg.SpatialSNN([5, 6, 3], coding="rate", read_out="count", num_steps=9))
    x = torch.randn(4, 5)
    torch.manual_seed(0)
    found = sg.activations(model, x)
    after = torch.rand(1)
    torch.manual_seed(0)
    assert torch.equal(found[..., model[1].graph.is_output].sum(0), model(x))
    assert torch.equal(torch.rand(1), after)


def test_a_given_generator_is_used_up_once():
    class Random(nn.Module):
        def __init__(self):
            super().__init__()
            self.network = sg.SpatialSNN([5, 6, 3], coding="rate", read_out="count", num_steps=9)

        def forward(self, x, generator):
            return self.network(x, generator=generator)

    model, x, first, second = Random(), torch.rand(4, 5), torch.Generator(), torch.Generator()
    found = sg.activations(model, x, first)
    assert torch.equal(found[..., model.network.graph.is_output].sum(0), model(x, second))
    assert torch.equal(first.get_state(), second.get_state())


def test_a_module_of_lightning():
    lightning = pytest.importorskip("lightning")

    class Module(lightning.LightningModule):
        def __init__(self):
            super().__init__()
            self.network = sg.SpatialMLP([4, 5, 2])

        def forward(self, x):
            return self.network(x.flatten(1))

    model, x = Module(), torch.rand(3, 2, 2)
    assert torch.equal(sg.activations(model, x), model.network.activations(x.flatten(1)))


def test_compiled_parts_run_as_they_were_before():
    model, x = nn.Sequential(nn.Flatten(), sg.SpatialMLP([4, 5, 2])), torch.rand(3, 2, 2)
    right = sg.activations(model, x)
    compiled = torch.compile(model, backend="eager")
    compiled(x)
    assert torch.equal(sg.activations(compiled, x), right)
    parts = nn.Sequential(nn.Flatten(), torch.compile(model[1], backend="eager"))
    assert torch.equal(sg.activations(parts, x), right)
    assert torch.equal(sg.activations(torch.compile(model[1], backend="eager"), x.flatten(1)), right)
    model.compile(backend="eager")
    assert torch.equal(sg.activations(model, x), right)


def test_one_of_several_networks_has_to_be_named():
    model, x = nn.Sequential(sg.SpatialMLP([4, 5]), sg.SpatialMLP([5, 6, 2], wiring=AllToAll())), torch.rand(3, 4)
    with pytest.raises(
        ValueError, match=r"part must name one of the spatial networks of the model \('0', '1'\), got No"
    ):
        sg.activations(model, x)
    assert torch.equal(sg.activations(model, x, part="1"), model[1].activations(model[0](x)))
    with pytest.raises(ValueError, match="part must be one of '0', '1', got '2'"):
        sg.activations(model, x, part="2")


def test_models_that_have_no_network_to_ask():
    with pytest.raises(TypeError, match="model must be or hold a spatial network such as SpatialMLP, got Linear"):
        sg.activations(nn.Linear(3, 2), torch.rand(2, 3))
    with pytest.raises(TypeError, match="model must be or hold a spatial network such as SpatialMLP, got SpatialGraph"):
        sg.activations(sg.SpatialGraph.layered([3, 2]), torch.rand(2, 3))
    with pytest.raises(TypeError, match="model must be a module, got function"):
        sg.activations(lambda x: x, torch.rand(2, 3))


class Calls(nn.Module):
    def __init__(self, count):
        super().__init__()
        self.network, self.count = sg.SpatialMLP([3, 3]), count

    def forward(self, x):
        for _ in range(self.count):
            x = self.network(x)
        return x


@pytest.mark.parametrize(("count", "got"), [(0, "no call"), (2, "2 calls or more"), (5, "2 calls or more")])
def test_a_network_is_called_once(count, got):
    model = Calls(count)
    for ask in (sg.activations, lambda *given: sg.relevance(*given, target=0)):
        with pytest.raises(ValueError, match=f"must call its spatial network once in a forward pass, got {got}"):
            ask(model, torch.rand(2, 3))
        assert not model.network._forward_pre_hooks and not model.network._forward_hooks


def test_no_hook_is_left_after_an_error():
    model = nn.Sequential(sg.SpatialMLP([5, 3]), nn.Linear(2, 2))
    with pytest.raises(RuntimeError, match="mat1 and mat2"):
        sg.activations(model, torch.rand(4, 5))
    with pytest.raises(ValueError, match=r"x must have shape \(..., 5\)"):
        sg.activations(model, torch.rand(4, 6))
    assert not model[0]._forward_pre_hooks
