"""The state that a spiking network takes from one run to the next."""

import pytest
import torch
from references import assert_close
from spiking_networks import KINDS, T, every_kind, features, make, series

from spatialgraph import SpatialSNN


@every_kind
def test_two_runs_are_one(kind):
    whole = make(kind, coding=None, normalize=False)
    half = SpatialSNN(whole.graph, num_steps=T // 2, coding=None, normalize=False, read_out=whole.read_out)
    half.integrator = whole.integrator
    for copied, own in ((half.hidden_neurons, whole.hidden_neurons), (half.output_neurons, whole.output_neurons)):
        for number, neurons in enumerate(own):
            copied[number] = neurons
    x = series(whole, T)
    expected = whole.simulate(x)
    first = half.simulate(x[: T // 2])
    second = half.simulate(x[T // 2 :], first.state)
    assert 0 < sum(float(spikes.detach().sum()) for spikes in expected.spikes)
    for name in ("spikes", "potentials"):
        for parts in zip(*(getattr(run, name) for run in (first, second, expected)), strict=True):
            assert_close(torch.cat(parts[:2]), parts[2], 1e-12)
    parameters = list(whole.parameters())
    for run in (first, second):  # gradients reach back through the state
        assert all(p.requires_grad for p in run.potentials)
    gradients = torch.autograd.grad(second.potentials[-1].sum(), parameters, allow_unused=True)
    rights = torch.autograd.grad(expected.potentials[-1][T // 2 :].sum(), parameters, allow_unused=True)
    for gradient, right in zip(gradients, rights, strict=True):
        assert (gradient is None) == (right is None)
        assert gradient is None or assert_close(gradient, right, 1e-10) is None


def test_a_state_of_another_batch_is_refused():
    model = make("all-to-all")
    state = model.simulate(features(model, 3)).state
    with pytest.raises(ValueError, match=r"state must have shape \(4, 5\), got \(3, 5\)"):
        model.simulate(features(model, 4), state)


def test_no_state_is_kept():
    for kind in KINDS:
        model = make(kind)
        x = features(model, 3)
        assert torch.equal(model(x), model(x))
        assert torch.equal(model.simulate(x).potentials[-1], model.simulate(x).potentials[-1])


@pytest.mark.parametrize("kind", ["all-to-all", "delays"])
def test_a_state_without_its_history(kind):
    model = make(kind, torch.float64)
    x = features(model, 3, dtype=torch.float64)
    state = model.simulate(x).state
    detached = state.detach()
    tensors = [values for state in detached.neurons for group in state if group is not None for values in group]
    tensors += [line for line in detached.lines if line is not None]
    assert len(tensors) > 2 and not any(values.requires_grad for values in tensors)
    assert any(line is not None for line in detached.lines) == (kind == "delays")
    ours, right = model.simulate(x, detached), model.simulate(x, state)
    for value, expected in zip(ours.potentials, right.potentials, strict=True):
        assert torch.equal(value, expected)
    # Nothing flows back into the run before.
    (grad,) = torch.autograd.grad(ours.potentials[-1].sum(), model.graph.raw_bias, retain_graph=True)
    (through,) = torch.autograd.grad(right.potentials[-1].sum(), model.graph.raw_bias)
    assert not torch.allclose(grad, through)


def test_a_state_in_another_dtype():
    model = make("delays", torch.float64)
    state = model.simulate(features(model, 3, dtype=torch.float64)).state.to(torch.float32)
    kinds = {values.dtype for groups in state.neurons for group in groups if group is not None for values in group}
    assert kinds == {torch.float32} and {line.dtype for line in state.lines if line is not None} == {torch.float32}
    assert state.to("cpu").detach().to(dtype=torch.float64).lines[0].dtype == torch.float64


@pytest.mark.parametrize(
    ("state", "error", "message"),
    [
        (lambda: "state", TypeError, "state must be a NetworkState, got str"),
        (lambda: SpatialSNN([3, 4, 4, 2], num_steps=4).simulate(torch.rand(5, 3)).state, ValueError, "2 stages, got 3"),
        (lambda: SpatialSNN([3, 2], num_steps=4).simulate(torch.rand(5, 3)).state, ValueError, "2 stages, got 1"),
        (
            lambda: SpatialSNN([3, 4, 2], num_steps=4, velocity=0.5).simulate(torch.rand(1, 3)).state,
            ValueError,
            r"line of the state must have shape \(steps, 5, 3\), got \(\d+, 1, 3\)",
        ),
    ],
)
def test_a_state_of_another_network(state, error, message):
    with pytest.raises(error, match=message):
        SpatialSNN([3, 4, 2], num_steps=4, velocity=0.5).simulate(torch.rand(5, 3), state())
