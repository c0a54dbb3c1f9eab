"""Spiking networks with recurrent synapses: their state, other neurons, files, changed synapses, costs, wrong calls."""

import copy
import dataclasses

import pytest
import torch
import torch.nn.functional as F
from cyclic_graphs import cyclic_graph, is_within
from recurrent_spiking import WIRINGS, T, assert_same_as_step_by_step, every_velocity, every_wiring, make, series
from references import assert_close

import spatialgraph as sg

# State ----


@every_wiring
@every_velocity
def test_two_runs_are_one(wiring, velocity):
    model = make(wiring, velocity, coding=None)
    x = series(model, 2)
    whole = model.simulate(x)
    model.num_steps = 4
    first = model.simulate(x[:4])
    model.num_steps = T - 4
    second = model.simulate(x[4:], first.state)
    for name in ("spikes", "potentials"):
        for parts in zip(*(getattr(run, name) for run in (first, second, whole)), strict=True):
            assert_close(torch.cat(parts[:2]), parts[2], 1e-12)
    parameters = [p for p in model.parameters() if p.requires_grad]
    results = second.potentials[-1].square().sum(), whole.potentials[-1][4:].square().sum()
    for own, right in zip(*(torch.autograd.grad(y, parameters) for y in results), strict=True):
        assert_close(own, right, 1e-10)
    for own, right in zip(second.state.lines[3:], whole.state.lines[3:], strict=True):
        assert_close(own[-len(right) :], right[-len(own) :], 1e-12)


@every_velocity
def test_a_state_without_its_history_and_in_another_dtype(velocity):
    model = make(velocity=velocity)
    state = model.simulate(torch.rand(2, 4, dtype=torch.float64)).state
    assert [line is not None for line in state.lines] == [velocity is not None] * 3 + [True] * 2
    assert all(line.requires_grad for line in state.lines[3:])
    assert not any(line.requires_grad for line in state.detach().lines[3:])
    assert {line.dtype for line in state.to(torch.float32).lines[3:]} == {torch.float32}
    x = torch.rand(2, 4, dtype=torch.float64)
    assert torch.equal(model.simulate(x, state.detach()).potentials[-1], model.simulate(x, state).potentials[-1])


# Neurons of snnTorch ----


@pytest.mark.parametrize("kind", ["Synaptic", "RLeaky", "Leaky"])
@every_velocity
def test_neurons_of_snntorch(kind, velocity):
    snntorch = pytest.importorskip("snntorch")
    factories = {
        "Synaptic": lambda n: snntorch.Synaptic(alpha=0.8, beta=0.9),
        "RLeaky": lambda n: snntorch.RLeaky(beta=0.9, linear_features=n),
        "Leaky": lambda n: snntorch.Leaky(beta=0.95),
    }
    graph = make(velocity=velocity).graph.float()
    model = sg.SpatialSNN(graph, num_steps=T, coding=None, neuron=factories[kind])
    x = torch.rand(T, 2, 4)
    run = model.simulate(x)
    assert_close(model(x), run.potentials[-1].mean(0), 1e-5)
    if kind == "Leaky":
        own = sg.SpatialSNN(graph, num_steps=T, coding=None)
        assert torch.equal(run.spikes[1], own.simulate(x).spikes[1])
    # One step after the other, from state to state.
    model.num_steps, state, potentials = 1, None, []
    for features in x:
        part = model.simulate(features[None], state)
        state = part.state
        potentials.append(part.potentials[1])
    assert_close(torch.cat(potentials), run.potentials[1], 1e-5)
    model(x[:1]).sum().backward()
    assert torch.equal(copy.deepcopy(model)(x[:1]), model(x[:1]))


# What PyTorch and the rest of the library do with it ----


@every_wiring
@every_velocity
def test_saved_copied_and_kept_weights(tmp_path, wiring, velocity):
    model = make(wiring, velocity)
    sg.prune_(model, 0.3)
    x = torch.rand(3, 4, dtype=torch.float64)
    expected = model(x).detach()
    sg.save(model, tmp_path / "network.safetensors")
    other = make(wiring, velocity)
    other.load_state_dict(model.state_dict())
    for twin in (sg.load(tmp_path / "network.safetensors"), copy.deepcopy(model), other, model.eval()):
        with torch.no_grad():
            assert torch.equal(twin(x), expected)
            assert torch.equal(twin(x), expected)


def test_weights_that_are_kept_follow_the_positions():
    model = make().eval()
    x = torch.rand(3, 4, dtype=torch.float64)
    with torch.no_grad():
        before = model(x)
        model.graph.positions.coords[6] += 0.5
        after = model(x)
    assert not torch.equal(before, after)
    assert torch.equal(model.train()(x), after)


@pytest.mark.parametrize("velocity", [None, 0.4])
def test_synapses_that_change(velocity):
    model = make(sg.wiring.KNN(k=2), velocity, coding=None)
    x = series(model, 2)
    model.graph.masked_share = 0.4
    assert (model.graph.weights()[is_within(model.graph)] == 0).any()
    assert_same_as_step_by_step(model, x)
    model.graph.masked_share = 0.0
    model.graph.rewire_(model.graph.wiring, recurrent=sg.wiring.KNN(k=4))
    assert_same_as_step_by_step(model, x)
    model.graph.keep_(torch.rand(model.graph.synapses) > 0.3)
    assert_same_as_step_by_step(model, x)


def test_recurrent_synapses_cost_operations_too():
    model = make()
    x = torch.rand(2, 4, dtype=torch.float64)
    cost = sg.spike_cost(model, x)
    run = model.simulate(x)
    hidden = [run.spikes[number].sum().item() / 2 for number in (0, 1)]
    assert cost.spikes == sum(hidden)
    assert cost.synaptic_operations == hidden[0] * (5 + 5) + hidden[1] * (4 + 3)
    assert cost.dense_operations == T * (4 * 6 + 6 * 5 + 5 * 6 + 5 * 4 + 5 * 3)


def test_it_learns_to_remember():
    generator = torch.Generator().manual_seed(0)
    x = torch.zeros(12, 64, 2)
    labels = torch.randint(0, 2, (64,), generator=generator)
    x[0, torch.arange(64), labels] = 1.0  # a single input at the start
    x[9:] = 0.5
    options = {"num_steps": 12, "coding": None, "beta": 0.5, "generator": generator}
    model = sg.SpatialSNN([2, 32, 2], dim=4, recurrent=sg.wiring.AllToAll(), normalize=True, **options)
    optimizer = torch.optim.Adam(sg.parameter_groups(model, lr=1e-3))
    for _ in range(60):
        optimizer.zero_grad()
        F.cross_entropy(model(x), labels).backward()
        optimizer.step()
    assert (model(x).argmax(1) == labels).float().mean() > 0.9


# Wrong calls ----


def state_of(model, batch=2):
    model.num_steps = T
    return model.simulate(torch.rand(batch, 4, dtype=torch.float64)).state


def with_line(state, line):
    return dataclasses.replace(state, lines=(*state.lines[:-1], line))


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda m: m.simulate(X, state_of(make([None, WIRINGS[0]]))), ValueError, "state must have 5 lines, .* got 4"),
        (lambda m: m.simulate(X, state_of(make(None))), ValueError, "state must have 5 lines, .* got 3"),
        (lambda m: m.simulate(X, state_of(m, 3)), ValueError, "line of the state must have shape"),
        (lambda m: m.simulate(X, state_of(m).to(torch.float32)), TypeError, "line of the state must have dtype"),
        (lambda m: m.simulate(X, state_of(m).to("meta")), ValueError, "line of the state must be .* on cpu like the"),
        (lambda m: m.simulate(X[0], state_of(m)), ValueError, "line of the state must have shape"),
        (lambda m: m.simulate(X, with_line(state_of(m), X.new_zeros(0, 2, 6))), ValueError, "at least one time step"),
        (lambda m: m.simulate(X, with_line(state_of(m), 3)), TypeError, "line of the state must be a tensor, got int"),
        (lambda m: m.simulate(X, (X,)), TypeError, "state must be a NetworkState, got tuple"),
        (lambda m: m(X.float()), TypeError, "x must have the dtype of the parameters"),
        (lambda m: m(X[:, :3]), ValueError, r"x must have shape \(..., 4\)"),
        (lambda m: sg.SpatialSNN(cyclic_graph(0), normalize=True), ValueError, "normalize must be False where a stage"),
        (lambda m: make(velocity=0.05, max_delay=2), ValueError, "delays must not be longer than the line"),
        (lambda m: sg.SpatialSNN([4, 3], recurrent=WIRINGS[0]), ValueError, "recurrent must be None for a network"),
    ],
)
def test_wrong_calls(call, error, message):
    with pytest.raises(error, match=message):
        call(make())


X = torch.rand(2, 4, dtype=torch.float64)


def test_only_recurrent_synapses_may_be_longer_than_the_line():
    graph = sg.SpatialGraph(
        torch.tensor([[0.0], [1.0], [9.0], [8.0]]),
        torch.tensor([[0, 1, 2, 2], [1, 2, 1, 3]]),
        layer=torch.tensor([0, 1, 1, 2]),
        velocity=1.0,
    )
    with pytest.raises(ValueError, match=r"delays must not be longer than the line \(max_delay=7 steps\), got 8"):
        sg.SpatialSNN(graph, max_delay=7)
    assert sg.SpatialSNN(graph, max_delay=8, num_steps=3)(torch.rand(2, 1)).shape == (2, 1)


def test_nir_refuses_recurrent_synapses():
    pytest.importorskip("nir")
    model = make(normalize=False, reset_mechanism="zero")
    with pytest.raises(ValueError, match="graph must have no recurrent synapses for NIR, .* got some in 2 layers"):
        sg.to_nir(model)
    model.graph.keep_(~is_within(model.graph))
    assert set(sg.to_nir(model).nodes) > {"hidden1", "hidden2", "outputs"}
