"""Groups of parameters for optimisers: each parameter once, with the rate of its kind."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import spatialgraph as sg
from spatialgraph import parameter_groups


class Mixed(nn.Module):
    """A graph, a layer, an operator with a law that learns, and positions of the user's own."""

    def __init__(self):
        super().__init__()
        self.pos = nn.Parameter(torch.randn(8, 2))
        self.conv = sg.SpatialSimpleConv(law=sg.laws.InversePower(2.0, learnable=True))
        self.first = sg.SpatialLinear(4, 8)
        self.norm = nn.BatchNorm1d(8)
        self.last = sg.SpatialMLP([8, 6, 3])


def named_rates(model, groups):
    """The rate of each parameter by name."""
    names = {parameter: name for name, parameter in model.named_parameters()}
    return {names[parameter]: group["lr"] for group in groups for parameter in group["params"]}


def test_rates_follow_the_kinds():
    model = Mixed()
    expected = {
        "pos": 0.001,
        "conv.law.exponent": 0.001,
        "first.source_pos": 0.01,
        "first.target_pos": 0.01,
        "first.raw_polarity": 0.05,
        "first.bias": 0.03,
        "norm.weight": 0.001,
        "norm.bias": 0.001,
        "last.spatial_graph.raw_polarity": 0.05,
        "last.spatial_graph.raw_bias": 0.03,
        "last.spatial_graph.positions.coords": 0.01,
        "last.spatial_graph.positions.gaps": 0.01,
    }
    assert named_rates(model, parameter_groups(model)) == pytest.approx(expected)
    tenfold = {name: 10 * rate for name, rate in expected.items()}
    assert named_rates(model, parameter_groups(model, lr=0.01)) == pytest.approx(tenfold)


@pytest.mark.parametrize("weights", ["free", "both"])
def test_numbers_of_single_synapses_have_groups(weights):
    graph = sg.SpatialGraph.layered([3, 2], weight_mode=weights, velocity=1.0, delay_mode="free")
    groups = parameter_groups(graph)
    rates = named_rates(graph, groups)
    assert rates["free_synapses.weight"] == rates["free_synapses.delay"] == pytest.approx(0.03)
    assert {"free_weights", "free_delays"} < {group["name"] for group in groups}


@pytest.mark.parametrize(
    "model",
    [
        Mixed(),
        sg.SpatialGraph.layered([3, 2]),
        sg.SpatialSNN([3, 4, 2], weight_mode="both"),
        sg.DenseMLP([3, 2]),
        sg.SpatialLinear(3, 2, bias=False),
        nn.Sequential(sg.SpatialMLP([3, 2]), nn.Sequential(sg.SpatialLinear(2, 2), nn.PReLU())),
    ],
    ids=lambda model: type(model).__name__,
)
def test_every_parameter_is_there_once(model):
    listed = [parameter for group in parameter_groups(model) for parameter in group["params"]]
    assert len(listed) == len(set(listed)) and set(listed) == set(model.parameters())
    torch.optim.Adam(parameter_groups(model))  # refuses empty groups and parameters in two of them


def test_shared_and_frozen_parameters():
    shared = sg.SpatialLinear(3, 3)
    shared.raw_polarity.requires_grad_(False)
    model = nn.ModuleList([shared, nn.ModuleList([shared])])
    model.again = shared.source_pos
    listed = [parameter for group in parameter_groups(model) for parameter in group["params"]]
    assert len(listed) == 4 and any(parameter is shared.raw_polarity for parameter in listed)


def test_own_positions_are_named():
    model = Mixed()
    groups = parameter_groups(model, 0.01, {"pos": 10, "positions.gaps": 1, "last.spatial_graph.raw_bias": 2})
    rates = named_rates(model, groups)
    assert rates["pos"] == pytest.approx(0.1)
    assert rates["first.source_pos"] == pytest.approx(0.1)  # "pos" is a whole word of the name
    assert rates["last.spatial_graph.positions.gaps"] == pytest.approx(0.01)
    assert rates["last.spatial_graph.positions.coords"] == pytest.approx(0.1)
    assert rates["last.spatial_graph.raw_bias"] == pytest.approx(0.02)
    assert len({group["name"] for group in groups}) == len(groups)


def test_a_class_may_say_what_its_parameters_are():
    class Cells(nn.Module):
        parameter_kinds = {"pos": "positions"}

        def __init__(self):
            super().__init__()
            self.pos, self.size = nn.Parameter(torch.zeros(3, 2)), nn.Parameter(torch.ones(3))

    rates = {group["name"]: group["lr"] for group in sg.parameter_groups(Cells(), lr=1.0)}
    assert rates == {"positions": 10.0, "others": 1.0}


def test_a_key_is_no_kind():
    model = Mixed()
    rates = named_rates(model, parameter_groups(model, 1.0, {"bias": 2}))
    assert rates["first.bias"] == rates["norm.bias"] == 2.0
    assert rates["last.spatial_graph.raw_bias"] == pytest.approx(30.0)
    with pytest.raises(ValueError, match="got 'biases', which applies to none"):
        parameter_groups(model, multipliers={"biases": 2})


@pytest.mark.parametrize(
    "scheduler",
    [
        lambda optimizer: torch.optim.lr_scheduler.StepLR(optimizer, 1, gamma=0.3),
        lambda optimizer: torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 7),
        lambda optimizer: torch.optim.lr_scheduler.OneCycleLR(
            optimizer, [group["lr"] for group in optimizer.param_groups], total_steps=10
        ),
    ],
)
def test_schedulers_keep_the_ratios(scheduler):
    optimizer = torch.optim.SGD(parameter_groups(Mixed()), momentum=0.9)
    before = torch.tensor([group["lr"] for group in optimizer.param_groups])
    schedule = scheduler(optimizer)
    ratios = []
    for _ in range(5):
        optimizer.step()
        schedule.step()
        ratio = torch.tensor([group["lr"] for group in optimizer.param_groups]) / before
        assert torch.allclose(ratio, ratio[:1].expand_as(ratio))
        ratios.append(float(ratio[0]))
    assert len(set(ratios)) > 1


def test_the_first_step_of_adam_has_the_length_of_each_rate():
    torch.manual_seed(0)
    model = sg.SpatialMLP([6, 5, 3])
    before = {name: parameter.detach().clone() for name, parameter in model.named_parameters()}
    groups = parameter_groups(model)
    optimizer = torch.optim.Adam(groups)
    F.cross_entropy(model(torch.randn(9, 6)), torch.arange(9) % 3).backward()
    optimizer.step()
    rates = named_rates(model, groups)
    for name, parameter in model.named_parameters():
        moved = (parameter.detach() - before[name]).abs().max()
        assert moved == pytest.approx(rates[name], rel=1e-2), name


def test_a_model_without_parameters_is_refused():
    with pytest.raises(ValueError, match="model must have parameters, got none"):
        parameter_groups(nn.Sequential(nn.ReLU(), sg.SpatialSimpleConv()))


def test_wrong_arguments_are_named():
    model = sg.SpatialLinear(3, 2)
    with pytest.raises(TypeError, match="model must be an nn.Module, got list"):
        parameter_groups(list(model.parameters()))
    with pytest.raises(ValueError, match="lr must be above 0, got 0"):
        parameter_groups(model, 0)
    with pytest.raises(TypeError, match="lr must be a number"):
        parameter_groups(model, "fast")
    with pytest.raises(ValueError, match=r"multipliers\['bias'\] must be above 0, got -1"):
        parameter_groups(model, multipliers={"bias": -1})
    with pytest.raises(ValueError, match="got 'ias', which applies to none"):
        parameter_groups(model, multipliers={"ias": 2})
    with pytest.raises(TypeError, match="multipliers must be a mapping"):
        parameter_groups(model, multipliers=[("bias", 2)])
