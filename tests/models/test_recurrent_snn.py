"""Spiking networks with recurrent synapses, against a loop over neurons and time steps."""

import hypothesis.strategies as st
import pytest
import torch
from cyclic_graphs import cyclic_graph, is_within
from hypothesis import given, settings
from recurrent_spiking import (
    WIRINGS,
    T,
    assert_same_as_step_by_step,
    every_velocity,
    every_wiring,
    make,
    series,
    times_of,
)
from references import assert_close

import spatialgraph as sg

# Against the loop ----


@given(
    seed=st.integers(0, 10**6),
    velocity=st.sampled_from([None, 0.3, 0.7, 2.5]),
    read_out=st.sampled_from(["potential", "count"]),
)
@settings(max_examples=50, deadline=None)
def test_a_network_with_cycles_is_computed_step_by_step(seed, velocity, read_out):
    graph = cyclic_graph(seed, velocity=velocity, gain=2.0)
    model = sg.SpatialSNN(graph, num_steps=T, coding=None, normalize=False, read_out=read_out)
    generator = torch.Generator().manual_seed(seed)
    assert_same_as_step_by_step(model, torch.rand(T, 2, len(graph.inputs), dtype=torch.float64, generator=generator))


@every_wiring
@every_velocity
@pytest.mark.parametrize("normalize", [True, False])
@pytest.mark.parametrize("read_out", ["potential", "count"])
def test_layers_are_computed_step_by_step(wiring, velocity, normalize, read_out):
    model = make(wiring, velocity, coding=None, normalize=normalize, read_out=read_out)
    fired = assert_same_as_step_by_step(model, series(model, 3))
    assert 0.05 < fired.mean() < 0.95


@every_velocity
def test_an_input_that_is_constant(velocity):
    model = make(velocity=velocity, normalize=True)
    same = sg.SpatialSNN(model.graph, num_steps=T, coding=None, normalize=True)
    x = torch.rand(3, 4, dtype=torch.float64)
    whole = x.expand(T, 3, 4)
    assert_same_as_step_by_step(same, whole)
    assert_close(model(x), same(whole), 1e-12)


@pytest.mark.parametrize("options", [{"weight_mode": "free"}, {"weight_mode": "both", "delay_mode": "free"}], ids=str)
def test_free_weights_and_delays(options):
    graph = sg.SpatialGraph.layered([3, 5, 2], recurrent=sg.wiring.KNN(k=3), velocity=0.7, **options).double()
    if "delay_mode" in options:
        with torch.no_grad():
            graph.free_synapses.delay.copy_(3.0 * torch.rand(graph.synapses) - 1.0)
        free = graph.free_synapses.delay.abs()
        assert_close(graph.delays(), torch.where(is_within(graph), free.clamp(min=1.0), free), 1e-15)
    else:
        assert_close(graph.delays(), times_of(graph), 1e-12)
        model = sg.SpatialSNN(graph, num_steps=T, coding=None)
        assert_same_as_step_by_step(model, 3.0 * series(model, 2))


def test_a_spike_that_crosses_a_recurrent_synapse_arrives_one_step_later():
    edges, layer = torch.tensor([[0, 1, 2, 2], [1, 2, 1, 3]]), torch.tensor([0, 1, 1, 2])
    graph = sg.SpatialGraph(torch.rand(4, 2), edges, layer=layer, gain=0.1)
    weight = dict(zip(map(tuple, graph.edge_index.t().tolist()), graph.weights().tolist(), strict=True))
    model = sg.SpatialSNN(graph, num_steps=5, coding=None, normalize=False, beta=0.0, reset_mechanism="none")
    x = torch.zeros(5, 1)
    x[1] = 2.0 / weight[0, 1]
    run = model.simulate(x)
    assert run.spikes[0].tolist() == [[0.0, 0.0], [1.0, 0.0], *[[0.0, 0.0]] * 3]
    assert run.potentials[0][:, 1].tolist() == pytest.approx([0.0, 0.0, weight[1, 2], 0.0, 0.0])


@every_velocity
def test_delays_of_every_synapse(velocity):
    graph = make(velocity=velocity).graph
    assert_close(graph.delays(), times_of(graph), 1e-12)
    assert (graph.delays()[is_within(graph)] >= 1).all()
    if velocity is not None:
        expected = dict(zip(map(tuple, graph.edge_index.t().tolist()), graph.delays().tolist(), strict=True))
        assert torch.equal(graph.to_data().edge_delay, graph.delays())
        assert {(s, t): delay for s, t, delay in sg.to_networkx(graph).edges(data="delay")} == expected


@pytest.mark.parametrize("leading", [(), (0,), (2, 3)], ids=str)
@every_velocity
def test_leading_axes(leading, velocity):
    model = make(velocity=velocity)
    x = torch.rand(*leading, 4, dtype=torch.float64)
    for mode in (model.train(), model.eval()):
        with torch.set_grad_enabled(mode.training):
            y = mode(x)
            assert_close(y.reshape(-1, 3), mode(x.reshape(-1, 4)), 1e-12)
        assert y.shape == (*leading, 3)


# Without recurrent synapses ----


@every_velocity
@pytest.mark.parametrize("read_out", ["potential", "count"])
def test_without_recurrent_synapses_it_is_a_network_without_recurrence(velocity, read_out):
    model = make(velocity=velocity, read_out=read_out)
    graph = model.graph.keep_(~is_within(model.graph))
    same = sg.SpatialSNN(
        sg.SpatialGraph(
            graph.pos.detach(), graph.edge_index, layer=graph.layer, velocity=velocity, gain=graph.gain, spacing="free"
        ),
        num_steps=T,
        read_out=read_out,
    )
    with torch.no_grad():
        same.graph.raw_polarity.copy_(graph.raw_polarity)
        same.graph.raw_bias.copy_(graph.raw_bias)
    x = torch.rand(3, 4, dtype=torch.float64)
    assert graph.is_recurrent and not same.graph.is_recurrent
    assert torch.equal(model(x), same(x))
    runs = model.simulate(x), same.simulate(x)
    for own, right in zip(*(run.potentials for run in runs), strict=True):
        assert torch.equal(own, right)
    assert len(runs[0].state.lines) == len(runs[1].state.lines) == 3


@pytest.mark.parametrize("recurrent", [None, [WIRINGS[0], None], [None, WIRINGS[0]]], ids=repr)
def test_spikes_are_averaged_before_the_outputs_unless_recurrent_synapses_need_them(recurrent):
    model = sg.SpatialSNN([4, 6, 5, 3], recurrent=recurrent, num_steps=T, gain=1.0)
    assert model._is_averaged(2) == (recurrent is None or recurrent[1] is None)
    x = torch.rand(3, 4)
    assert_close(model(x), model.simulate(x).potentials[-1].mean(0), 1e-5)
