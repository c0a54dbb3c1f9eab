"""Replicas of a network equal it, whatever has changed its synapses; one that has been left behind says so."""

import copy
import io
import pickle

import numpy as np
import pytest
import safetensors.torch
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from references import random_dag, randomise
from torch.optim.swa_utils import AveragedModel, get_ema_avg_fn, get_ema_multi_avg_fn, get_swa_multi_avg_fn

import spatialgraph as sg
from spatialgraph.laws import InversePower
from spatialgraph.wiring import KNN, AllToAll, Radius, Random

SIZES = [6, 7, 5, 3]
WIRINGS = [AllToAll(), AllToAll(reach="all"), KNN(k=3), Random(0.4), Random(0.6, reach="all"), Radius(r=2.0)]
LEFT_BEHIND = (
    "the structure, gain or masked share of this copy is not that of the network whose parameters it was given"
)


@st.composite
def makers(draw):
    """A function that builds a model of some kind from a seed, of the same neurons each time."""
    is_spiking = draw(st.booleans())
    velocity = draw(st.sampled_from([None, 1.0])) if is_spiking else None
    options = {
        "weight_mode": draw(st.sampled_from(["law", "free", "both"])),
        "polarity_mode": draw(st.sampled_from(["graded", "binary"])),
        "velocity": velocity,
        "delay_mode": "length" if velocity is None else draw(st.sampled_from(["length", "free"])),
    }
    if draw(st.integers(0, 3)):
        options["wiring"] = draw(st.sampled_from(WIRINGS))
        options["spacing"] = draw(st.sampled_from(["fixed", "learned", "free"]))
        options["dim"] = draw(st.integers(1, 3))
        options["anchored"] = draw(st.sampled_from([None, [0], [1, 2], [0, 1, 2, 3]]))
        build = sg.SpatialGraph.layered
        arguments = (SIZES,)
    else:
        options["anchored"] = draw(st.sampled_from([None, torch.arange(12) % 3 == 0]))
        build, arguments = sg.SpatialGraph, (torch.zeros(12, 2), random_dag(12, 0.4, draw(st.integers(0, 20))))

    def make(seed):
        torch.manual_seed(seed)
        law = InversePower(1.3, learnable=True) if options["polarity_mode"] == "binary" else "inverse_distance"
        positions = (torch.randn(12, 2), *arguments[1:]) if len(arguments) > 1 else arguments
        graph = randomise(build(*positions, law=law, **options))
        if is_spiking:
            return sg.SpatialSNN(graph, num_steps=4, coding=None, normalize=False)
        return sg.SpatialMLP(graph, normalize=False)

    return make


CHANGES = {
    "prune": lambda graph: sg.prune_(graph, 0.3),
    "prune all": lambda graph: sg.prune_(graph, 0.3, by="weight", scope="global"),
    "keep": lambda graph: graph.keep_(torch.rand(graph.synapses) < 0.7),
    "connect": lambda graph: graph.connect_(graph.edge_index[:, torch.randperm(graph.synapses)]),
    "rewire": lambda graph: graph.rewire_(Random(0.5)) if graph.is_layered else graph,
    "regrow": lambda graph: sg.regrow_(graph, 0.4),
    "double": lambda graph: graph.double(),
    "half": lambda graph: graph.to(torch.bfloat16).float(),
}


def through_file(model):
    file = io.BytesIO()
    torch.save(model, file)
    file.seek(0)
    return torch.load(file, weights_only=False)


def through_empty(model):
    other = copy.deepcopy(model).to("meta")
    other.to_empty(device="cpu").load_state_dict(model.state_dict())
    return other


def through_assignment(model):
    other = copy.deepcopy(model).to("meta")
    other.load_state_dict(model.state_dict(), assign=True)
    return other


REPLICAS = {
    "deepcopy": copy.deepcopy,
    "pickle": lambda model: pickle.loads(pickle.dumps(model)),
    "torch.save": through_file,
    "to_empty": through_empty,
    "assigned to meta": through_assignment,
}


def into_another(model, make, assign):
    """A model that was built with another seed, given the state as a safetensors file brings it."""
    other = make(99).to(model.graph.raw_bias.dtype)
    state = safetensors.torch.load(safetensors.torch.save({n: v.clone() for n, v in model.state_dict().items()}))
    other.load_state_dict(state, assign=assign)
    return other


def through_network_file(model, path):
    sg.save(model.graph, path)
    other = copy.deepcopy(model)
    other.spatial_graph = sg.load(path)
    return other


def features(model):
    torch.manual_seed(5)
    x = torch.rand(4, 2, len(model.graph.inputs)).to(model.graph.raw_bias.dtype)
    return x if isinstance(model, sg.SpatialMLP) else (x > 0.4).to(x)


@settings(max_examples=40, deadline=None)
@given(make=makers(), changes=st.lists(st.sampled_from(list(CHANGES)), max_size=4), assign=st.booleans())
def test_replicas_equal_the_network_to_the_bit(make, changes, assign, tmp_path_factory):
    model = make(0)
    for change in changes:
        CHANGES[change](model.graph)
    x = features(model)
    expected = model(x)
    replicas = {name: replicate(model) for name, replicate in REPLICAS.items()}
    replicas["state"] = into_another(model, make, assign)
    replicas["file"] = through_network_file(model, tmp_path_factory.mktemp("file") / "network.safetensors")
    for name, other in replicas.items():
        assert torch.equal(other(x), expected), name
        assert torch.equal(other.graph.edge_index, model.graph.edge_index), name
        assert torch.equal(other.graph.connectivity.fingerprint, model.graph.connectivity.fingerprint), name
        assert [p.shape for p in other.parameters()] == [p.shape for p in model.parameters()], name
    assert torch.equal(model(x), expected)


@settings(max_examples=15, deadline=None)
@given(make=makers(), changes=st.lists(st.sampled_from(list(CHANGES)[:3]), max_size=2))
def test_dropping_isolated_neurons_makes_a_replica_of_its_own(make, changes):
    graph = make(0).graph
    for change in changes:
        CHANGES[change](graph)
    small = sg.drop_isolated(graph)
    again = copy.deepcopy(small)
    again.connect_(small.edge_index.flip(1))
    assert again.connectivity.topology.equals(small.connectivity.topology)
    assert torch.equal(again.weights(), small.weights())
    sg.prune_(small, 0.5)
    again.load_state_dict(small.state_dict())
    assert torch.equal(again.edge_index, small.edge_index) and torch.equal(again.weights(), small.weights())


# What belongs to nobody else -----------------------------------------------------------------------------------------


@settings(max_examples=40, deadline=None)
@given(make=makers())
def test_a_network_has_only_the_parameters_that_it_uses(make):
    model = make(0)
    model(features(model)).sum().backward()
    for name, parameter in model.named_parameters():
        assert parameter.numel() and parameter.grad is not None, name
    for name, values in model.named_buffers():
        assert values.is_floating_point(), name
    model.reset_parameters()
    model.graph.place_(model.graph.pos.detach())
    assert all(values.isfinite().all() for values in model.state_dict().values() if values.is_floating_point())


def test_adafactor_takes_a_network_whose_positions_are_fixed():
    model = sg.SpatialMLP([6, 5, 3], dim=1, anchored=[0])
    optimizer = torch.optim.Adafactor(model.parameters())
    model(torch.randn(4, 6)).sum().backward()
    optimizer.step()
    assert all(parameter.isfinite().all() for parameter in model.parameters())


def test_positions_that_a_network_has_no_use_for_stay_in_its_files(tmp_path):
    graph = sg.SpatialGraph.layered(SIZES, weight_mode="free", law=InversePower(2.0, learnable=True))
    assert {name for name, _ in graph.named_parameters()} == {"raw_bias", "free_synapses.weight"}
    sg.save(graph, tmp_path / "network.safetensors")
    for other in (sg.load(tmp_path / "network.safetensors"), sg.from_networkx(sg.to_networkx(graph))):
        assert torch.equal(other.pos, graph.pos) and torch.equal(other.weights(), graph.weights())
        assert other.law.settings() == graph.law.settings()


def test_a_law_that_another_network_learns_stays_its_parameter():
    law = InversePower(2.0, learnable=True)
    sg.SpatialGraph.layered(SIZES, weight_mode="free", law=law)
    assert len(list(law.parameters())) == 1


@pytest.mark.parametrize("weight_mode", ["law", "both", "free"])
def test_networks_built_with_one_law_have_a_law_of_their_own_each(weight_mode):
    law = InversePower(1.3, learnable=True)
    first, second = (
        sg.SpatialGraph.layered(SIZES, law=law, dtype=dtype, weight_mode=weight_mode)
        for dtype in (torch.float64, torch.bfloat16)
    )
    assert first.law.exponent.dtype == torch.float64 and second.law.exponent.dtype == torch.bfloat16
    assert law.exponent.dtype == torch.float32
    with torch.no_grad():
        first.law.exponent.fill_(3.0)
    assert law.exponent == second.law.exponent.float().round(decimals=1) == torch.tensor(1.3)


# Averaged copies -----------------------------------------------------------------------------------------------------


AVERAGES = {
    "swa": {},
    "ema": {"multi_avg_fn": get_ema_multi_avg_fn(0.9)},
    "ema, one by one": {"avg_fn": get_ema_avg_fn(0.99)},
    "own": {"avg_fn": lambda mean, value, count: 0.9 * mean + 0.1 * value},
    "swa with buffers": {"use_buffers": True},
    "swa with buffers, many": {"use_buffers": True, "multi_avg_fn": get_swa_multi_avg_fn()},
    "ema with buffers": {"use_buffers": True, "multi_avg_fn": get_ema_multi_avg_fn(0.999)},
    "own with buffers": {"use_buffers": True, "avg_fn": lambda mean, value, count: 0.9 * mean + 0.1 * value},
}


def step(model):
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize("options", AVERAGES.values(), ids=AVERAGES)
def test_averages_over_the_same_synapses_are_silent_and_exact(options, dtype):
    model = sg.SpatialMLP(sg.SpatialGraph.layered(SIZES, wiring=KNN(k=3))).to(dtype)
    averaged = AveragedModel(model, **options)
    for _ in range(50):
        step(model)
        averaged.update_parameters(model)
    reference = sg.SpatialMLP(copy.deepcopy(model.graph))
    reference.load_state_dict(averaged.module.state_dict())
    x = torch.randn(3, 6, dtype=dtype)
    assert torch.equal(averaged(x), reference(x))
    assert torch.equal(averaged.module.graph.edge_index, model.graph.edge_index)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
@pytest.mark.parametrize("change", ["rewire", "regrow", "prune"])
@pytest.mark.parametrize("options", AVERAGES.values(), ids=AVERAGES)
def test_an_averaged_copy_that_was_left_behind_says_so(options, change, dtype):
    model = sg.SpatialMLP(sg.SpatialGraph.layered(SIZES, wiring=Random(0.4))).to(dtype)
    averaged = AveragedModel(model, **options)
    averaged.update_parameters(model)
    CHANGES[change](model.graph)
    averaged.update_parameters(model)
    x = torch.randn(3, 6, dtype=dtype)
    calls = (
        lambda: averaged(x),
        lambda: averaged.module.double()(x.double()),  # a cast does not hide it
        averaged.module.graph.weights,
        averaged.module.graph.rewire_,
        lambda: sg.save(averaged.module.graph, "nowhere"),
        lambda: sg.drop_isolated(averaged.module.graph),
        lambda: sg.isolated(averaged.module),
        lambda: sg.regrow_(averaged.module, 0.5),
        lambda: sg.prune_(averaged.module, 0.5),
        lambda: averaged.module.activations(x.double()),
        averaged.module.to_dense,
        lambda: copy.deepcopy(averaged)(x.double()),
    )
    for call in calls:
        with pytest.raises(RuntimeError, match=LEFT_BEHIND):
            call()
    averaged.module.graph.connect_(model.graph.edge_index)
    averaged(x.double())


@pytest.mark.parametrize("weights", ["law", "both", "free"])
def test_an_averaged_copy_follows_and_keeps_its_averages(weights):
    """Beside each change of the network, ``connect`` on the copy; averages are those of synapses that stay."""
    torch.manual_seed(0)
    model = sg.SpatialMLP(sg.SpatialGraph.layered(SIZES, wiring=KNN(k=3), weight_mode=weights).double())
    averaged = AveragedModel(model)
    sums = {name: torch.zeros_like(values) for name, values in model.named_parameters()}
    for _ in range(3):
        step(model)
        averaged.update_parameters(model)
        sums = {name: sums[name] + values.detach() for name, values in model.named_parameters()}
    kept = torch.rand(model.graph.synapses) < 0.6
    model.graph.keep_(kept)
    averaged.module.graph.connect_(model.graph.edge_index)
    for _ in range(2):
        step(model)
        averaged.update_parameters(model)
        for name, values in model.named_parameters():
            total = sums[name][kept] if sums[name].shape != values.shape else sums[name]
            sums[name] = total + values.detach()
    for name, values in averaged.module.named_parameters():
        torch.testing.assert_close(values, sums[name] / 5, rtol=1e-12, atol=1e-12)
    averaged(torch.randn(3, 6).double())


def test_free_weights_that_were_mixed_cannot_be_told_apart_again():
    model = sg.SpatialMLP(sg.SpatialGraph.layered(SIZES, wiring=KNN(k=3), weight_mode="both"))
    averaged = AveragedModel(model)
    averaged.update_parameters(model)
    sg.regrow_(model.graph, 0.5)  # as many synapses as before, others
    averaged.update_parameters(model)
    with pytest.raises(RuntimeError, match=LEFT_BEHIND):
        averaged.module.graph.connect_(model.graph.edge_index)
    averaged.module.load_state_dict(model.state_dict())
    assert torch.equal(averaged(torch.ones(6)), model(torch.ones(6)))


def test_models_stacked_for_vmap_are_looked_at_too():
    models = [sg.SpatialMLP(sg.SpatialGraph.layered(SIZES, wiring=Random(0.4))) for _ in range(2)]
    _, same = torch.func.stack_module_state([models[0], copy.deepcopy(models[0])])
    _, mixed = torch.func.stack_module_state(models)

    class Verified(torch.nn.Module):
        def __init__(self, model):
            super().__init__()
            self.model = model

        def forward(self, x):
            self.model.graph.connectivity.verify()
            return x

    def run(buffers):
        values = {f"model.{name}": value for name, value in buffers.items()}
        return torch.func.functional_call(Verified(models[0]), values, (torch.ones(1),))

    torch.vmap(run)(same)
    with pytest.raises(RuntimeError, match=LEFT_BEHIND):
        torch.vmap(run)(mixed)


@pytest.mark.parametrize("options", AVERAGES.values(), ids=AVERAGES)
def test_an_averaged_copy_does_not_mask_what_the_network_masks(options):
    model = sg.SpatialMLP(sg.SpatialGraph.layered(SIZES, wiring=KNN(k=3)))
    averaged = AveragedModel(model, **options)
    model.graph.masked_share = 0.5
    averaged.update_parameters(model)
    with pytest.raises(RuntimeError, match=LEFT_BEHIND):
        averaged(torch.ones(6))
    averaged.module.graph.masked_share = 0.5
    assert torch.equal(averaged(torch.ones(6)), model(torch.ones(6)))


@pytest.mark.parametrize("same", [2, 2.0, np.float32(2.0), np.float64(2.0), np.int64(2)], ids=repr)
def test_a_gain_is_the_same_in_whatever_type_it_was_given(same):
    model = sg.SpatialMLP(sg.SpatialGraph.layered(SIZES, gain=2.0))
    averaged = AveragedModel(model)
    model.graph.gain = same
    averaged.update_parameters(model)
    averaged(torch.ones(6))


def test_a_state_holds_the_masked_share():
    model, other, older = (sg.SpatialMLP(sg.SpatialGraph.layered(SIZES, gain=2.0)) for _ in range(3))
    model.graph.masked_share = 0.4
    other.load_state_dict(model.state_dict())
    assert other.graph.masked_share == 0.4 and torch.equal(other(torch.ones(6)), model(torch.ones(6)))
    state = model.state_dict()
    state["spatial_graph._extra_state"] = torch.tensor([3.0], dtype=torch.float64)  # as before the share was in it
    older.load_state_dict(state)
    assert older.graph.gain == 3.0 and older.graph.masked_share == 0.0
    for wrong, message in (
        (torch.ones(3), "shape"),
        (torch.tensor([1.0, 2.0]), "masked_share must be between 0 and 1"),
    ):
        with pytest.raises(ValueError, match=message):
            other.load_state_dict(state | {"spatial_graph._extra_state": wrong})
        assert other.graph.masked_share == 0.4 and other.graph.gain == 2.0


# Optimisers ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("left", [1, 70])
@pytest.mark.parametrize("name", ["Adam", "AdamW", "RMSprop"])
def test_an_optimizer_does_not_go_on_with_what_does_not_fit(name, left):
    model = sg.SpatialMLP(SIZES, weight_mode="both")
    weight = model.graph.free_synapses.weight
    optimizer = getattr(torch.optim, name)(model.parameters())
    model(torch.randn(4, 6)).sum().backward()
    optimizer.step()
    sg.prune_(model.graph, 1 - left / model.graph.synapses, scope="global")
    assert model.graph.free_synapses.weight is weight and len(weight) == model.graph.synapses == left
    assert weight.grad is None
    model(torch.randn(4, 6)).sum().backward()
    with pytest.raises(RuntimeError, match="size|shape"):
        optimizer.step()
    del optimizer.state[weight]
    before = weight.detach().clone()
    optimizer.step()
    assert left == 1 or (weight != before).any()  # a single synapse may lead nowhere
