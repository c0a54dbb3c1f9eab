"""States that are none change nothing."""

import copy

import pytest
import torch
from torch.optim.swa_utils import AveragedModel

import spatialgraph as sg
from spatialgraph.graph.sealed import seal
from spatialgraph.graph.topology import Topology
from spatialgraph.wiring import KNN, Random

SIZES = [6, 7, 5, 3]


def states_that_are_none(state):
    key = "spatial_graph.connectivity._extra_state"
    other = sg.SpatialMLP(sg.SpatialGraph.layered(SIZES, wiring=Random(0.4))).state_dict()[key]
    if len(other) < len(state[key]):
        other = torch.cat([other, other.new_zeros(len(state[key]) - len(other))])
    other = other[: len(state[key])]
    flipped = state[key].clone()
    flipped[-1] ^= 1
    topology = Topology.decode(state[key])

    def changed(name, values):
        held = topology._held() | {name: values.clone()}
        return {key: torch.frombuffer(bytearray(seal("spatialgraph structure", 2, {}, held)), dtype=torch.uint8)}

    return {
        "mean": {key: (state[key].float() + other.float()) / 2},
        "mean of whole numbers": {key: state[key] // 2 + other // 2},
        "moving mean": {key: 0.9 * state[key] + 0.1 * other},
        "flipped": {key: flipped},
        "cut": {key: state[key][:-1]},
        "empty": {key: state[key][:0]},
        "NaN": {key: state[key] * torch.nan},
        "no tensor": {key: 3},
        "backwards": changed("listed_edges", topology.listed_edges.flip(0)),
        "out of range": changed("listed_edges", topology.listed_edges + 9),
        "reach": changed("all_to_all", topology.all_to_all + 9),
        "other roles": changed("is_output", topology.is_input),
        "other anchors": changed("anchored", topology.is_input),
        "other layers": changed("layer", topology.layer.flip(0)),
        "free weights of another number": {"spatial_graph.free_synapses.weight": torch.zeros(5)},
    }


@pytest.mark.parametrize("assign", [False, True])
@pytest.mark.parametrize("kind", states_that_are_none(sg.SpatialMLP(SIZES, wiring=KNN(k=3)).state_dict()))
def test_a_state_that_is_none_changes_nothing(kind, assign):
    source, model = (sg.SpatialMLP(SIZES, wiring=Random(0.4), weight_mode="both") for _ in range(2))
    state = source.state_dict()
    state.update(states_that_are_none(state)[kind])
    before, parameters = {n: v.clone() for n, v in model.state_dict().items()}, list(model.parameters())
    with pytest.raises(RuntimeError, match="spatial_graph.connectivity: "):
        model.load_state_dict(state, assign=assign, strict=False)
    assert all(torch.equal(values, before[name]) for name, values in model.state_dict().items())
    assert all(a is b for a, b in zip(parameters, model.parameters(), strict=True))
    model.load_state_dict(source.state_dict())
    assert torch.equal(model(torch.ones(6)), source(torch.ones(6)))


def test_the_mean_of_equal_states_is_a_state():
    """As of models whose parameters alone differ: whole bytes are taken in any type."""
    model = sg.SpatialMLP(SIZES, wiring=KNN(k=3))
    states = [copy.deepcopy(model.state_dict()) for _ in range(3)]
    mean = {name: torch.stack([state[name].double() for state in states]).mean(0) for name in states[0]}
    other = sg.SpatialMLP(SIZES)
    other.load_state_dict(mean)
    assert torch.equal(other.graph.edge_index, model.graph.edge_index)


@pytest.mark.parametrize("is_recurrent", [False, True])
def test_a_network_stays_recurrent_or_not(is_recurrent):
    models = [sg.SpatialMLP(SIZES, wiring=KNN(k=3)), sg.SpatialRNN(SIZES, wiring=KNN(k=3), recurrent=KNN(k=2))]
    theirs, own = models if is_recurrent else models[::-1]
    before = {name: values.clone() for name, values in own.state_dict().items()}
    rule = "must have recurrent synapses" if is_recurrent else "must have no recurrent synapses"
    with pytest.raises(RuntimeError, match=rule):
        own.load_state_dict(theirs.state_dict(), strict=False)
    assert own.graph.is_recurrent == is_recurrent
    assert all(torch.equal(values, before[name]) for name, values in own.state_dict().items())


def test_a_state_without_structure_may_keep_that_of_the_network():
    model, other = (sg.SpatialMLP(SIZES, wiring=Random(share), weight_mode="both") for share in (0.4, 0.6))
    state = {name: values for name, values in model.state_dict().items() if not name.endswith("_extra_state")}
    with pytest.raises(RuntimeError, match=r"free_synapses.weight must have shape"):
        other.load_state_dict(state, strict=False)
    del state["spatial_graph.free_synapses.weight"]
    edges = other.graph.edge_index
    missing = other.load_state_dict(state, strict=False).missing_keys
    assert len(missing) == 3 and torch.equal(other.graph.edge_index, edges)


def test_a_change_in_inference_mode_can_be_trained_on():
    model = sg.SpatialMLP(SIZES, wiring=KNN(k=3))
    with torch.inference_mode():
        model.graph.connect_(model.graph.edge_index[:, ::2].clone())
    averaged = AveragedModel(model)
    model(torch.ones(2, 6)).sum().backward()
    averaged.update_parameters(model)
    averaged(torch.ones(2, 6)).sum().backward()
