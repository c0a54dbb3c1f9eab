"""Spiking networks with recurrent synapses, against a loop over neurons and time steps, and what else they must do."""

import copy

import hypothesis.strategies as st
import pytest
import torch
import torch.nn.functional as F
from cyclic_graphs import cyclic_graph, is_within
from hypothesis import given, settings
from references import assert_close, randomise

import spatialgraph as sg

T = 9
WIRINGS = [sg.wiring.AllToAll(), sg.wiring.KNN(k=2), sg.wiring.Random(0.8)]
every_wiring = pytest.mark.parametrize("wiring", WIRINGS, ids=repr)
VELOCITIES = [None, 0.4, 3.0]
every_velocity = pytest.mark.parametrize("velocity", VELOCITIES)


def make(wiring=WIRINGS[0], velocity=None, sizes=(4, 6, 5, 3), **options):
    """A network of layers in which neurons of every layer fire."""
    torch.manual_seed(1)
    graph = sg.SpatialGraph.layered(sizes, recurrent=wiring, velocity=velocity, gain=2.0, dtype=torch.float64)
    return sg.SpatialSNN(randomise(graph), num_steps=T, **options)


def series(model, *leading):
    return torch.rand(T, *leading, len(model.graph.inputs), dtype=torch.float64)


def step(u, slope):
    """A spike with the gradient of a fast sigmoid."""
    smooth = u / (1 + slope * u.abs())
    return (u > 0).to(u) + (smooth - smooth.detach())


def times_of(graph):
    """Delays by the rule for each kind of synapse."""
    is_recurrent = is_within(graph)
    if graph.velocity is None:
        return is_recurrent.to(graph.raw_bias)
    source, target = graph.pos[graph.edge_index[0]], graph.pos[graph.edge_index[1]]
    times = (source - target).square().sum(1).sqrt() / graph.velocity
    return torch.where(is_recurrent & (times < 1), 1.0, times)


def arriving(trains, time):
    """What arrives now of the spikes of the steps so far, of which the last may be this step's."""
    whole = int(time.detach().floor())
    early, late = (trains[-1 - lag] if lag < len(trains) else 0.0 for lag in (whole, whole + 1))
    return early + (time - whole) * (late - early)


def step_by_step(model, x):
    """Spikes and potentials of all neurons (T, batch, N), and logits, neuron by neuron in each step."""
    graph, layer = model.graph, model.graph.layer.tolist()
    synapses = list(zip(*graph.edge_index.tolist(), graph.weights(), times_of(graph), strict=True))
    spikes = [[] for _ in layer]
    potentials = [[x.new_zeros(x.shape[1])] for _ in layer]
    fired = [x.new_zeros(x.shape[1])] * len(layer)
    for features in x:
        for place, n in enumerate(graph.inputs.tolist()):
            spikes[n].append(features[:, place])
            potentials[n].append(torch.zeros_like(features[:, place]))
        for number in range(1, max(layer) + 1):
            members = [n for n in range(len(layer)) if layer[n] == number]
            totals = {n: x.new_zeros(x.shape[1]) for n in members}
            for source, target, weight, time in synapses:
                if target in totals:  # a train within the layer ends in the step before
                    now = spikes[source] + [0.0] * (layer[source] == number)
                    totals[target] = totals[target] + weight * arriving(now, time)
            if model.normalize and number < max(layer):
                normal = F.layer_norm(torch.stack([totals[n] for n in members], dim=1), (len(members),))
                totals = dict(zip(members, (model.drive * normal).unbind(1), strict=True))
            for n in members:
                reset = fired[n].detach() * (number < max(layer) or model.read_out == "count")
                potential = model.integrator.beta * potentials[n][-1] + totals[n] + graph.bias[n] - reset
                slope = 25.0 if number < max(layer) else 2.0
                fired[n] = step(potential - 1.0, slope)
                potentials[n].append(potential)
                spikes[n].append(fired[n])
    spikes, potentials = (
        torch.stack([torch.stack(runs[-len(x) :]) for runs in kind], -1) for kind in (spikes, potentials)
    )
    outputs = graph.outputs
    return spikes, potentials, (spikes.sum(0) if model.read_out == "count" else potentials.mean(0))[..., outputs]


def assert_same_as_step_by_step(model, x):
    """Compare a run and its gradients; return the spikes of hidden neurons."""
    spikes, potentials, logits = step_by_step(model, x)
    run, own = model.simulate(x), model(x)
    is_hidden = ~(model.graph.is_input | model.graph.is_output)
    for number, stage in enumerate(model.graph.feed_forward_projections):
        fires = stage.targets if model.read_out == "count" else stage.targets[: stage.hidden]
        assert torch.equal(run.spikes[number][..., : len(fires)], spikes[..., fires])
        assert_close(run.potentials[number], potentials[..., stage.targets], 1e-9)
    assert_close(own, logits, 1e-9)
    names, values = zip(*((n, p) for n, p in model.named_parameters() if p.requires_grad), strict=True)
    grads = [torch.autograd.grad(y.square().sum(), values, retain_graph=True, allow_unused=True) for y in (own, logits)]
    for name, gradient, right in zip(names, *grads, strict=True):
        zero = torch.zeros(()).double()
        largest = 1.0 if right is None else max(1.0, float(right.abs().max()))
        difference = (zero if gradient is None else gradient) - (zero if right is None else right)
        assert difference.abs().max() <= 1e-8 * largest, name
    return spikes[..., is_hidden]


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


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda m: m.simulate(X, state_of(make([None, WIRINGS[0]]))), ValueError, "state must have 5 lines, .* got 4"),
        (lambda m: m.simulate(X, state_of(make(None))), ValueError, "state must have 5 lines, .* got 3"),
        (lambda m: m.simulate(X, state_of(m, 3)), ValueError, "line of the state must have shape"),
        (lambda m: m.simulate(X, state_of(m).to(torch.float32)), TypeError, "line of the state must have dtype"),
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
