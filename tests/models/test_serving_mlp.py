"""Weights that perceptrons keep in eval()."""

import copy

import pytest
import torch
from perceptrons import SIZES, every_kind, features, step
from references import assert_close, randomise

from spatialgraph import SpatialMLP
from spatialgraph.wiring import KNN, AllToAll


@every_kind
def test_weights_are_computed_once(make, builds):
    model = make()
    x = features(model, 4)
    expected = model(x).detach()
    model.eval()
    with torch.no_grad():
        for _ in range(3):
            assert_close(model(x), expected.double(), 1e-5)
    assert len(builds) == 1
    model.train()
    model(x)
    assert len(builds) == 1


CHANGES = {
    "step": lambda model: step(model),
    "load": lambda model: model.load_state_dict(another_state(model)),
    "assign": lambda model: model.load_state_dict(another_state(model), assign=True),
    "double": lambda model: model.double(),
    "place": lambda model: model.graph.place_(2.0 * model.graph.pos.detach()[:, :2]),
    "reset": lambda model: model.reset_parameters(),
    "in place": lambda model: randomise(model.graph),
}


def another_state(model):
    state = model.state_dict()
    return {
        name: value + torch.rand_like(value) if value.is_floating_point() else value for name, value in state.items()
    }


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES.keys())
@every_kind
def test_changes_are_noticed(make, change):
    model = make().eval()
    x = features(model, 4)
    with torch.no_grad():
        before = model(x)
        change(model)
        x = x.to(model.graph.raw_bias.dtype)
        after = model(x)
    again = copy.deepcopy(model)(x).detach()
    right = model.train()(x).detach()
    assert_close(after, right.double(), 1e-4)
    assert_close(again, right.double(), 1e-4)
    if change is not CHANGES["double"]:
        assert (after - before).abs().max() > 1e-3 * before.abs().max()


def test_rewiring_is_noticed():
    model = SpatialMLP(SIZES, wiring=KNN(k=2)).eval()
    x = features(model, 4)
    with torch.no_grad():
        before = model(x)
        model.graph.place_(torch.randn(18, 2)).rewire_()
        after = model(x)
        dense = model.graph.rewire_(AllToAll()) and model(x)
    assert not torch.equal(after, before) and not torch.equal(dense, after)
    assert_close(dense, model.train()(x).detach().double(), 1e-5)


def test_other_parameters_for_one_call_are_noticed():
    # Temporary tensors may follow each other in the same memory under the same identity.
    model = SpatialMLP(SIZES).eval()
    x = features(model, 4)
    state = {name: value.detach().clone() for name, value in model.named_parameters()}
    with torch.no_grad():
        for factor in (1.0, 2.0, 3.0, 4.0):
            other = {name: value * factor for name, value in state.items()}
            result = torch.func.functional_call(model, other, (x,))
            del other
            fresh = copy.deepcopy(model)
            fresh.load_state_dict({name: value * factor for name, value in state.items()}, strict=False)
            assert_close(result, fresh(x).double(), 1e-6)


@every_kind
def test_gradients_flow_in_eval(make):
    model = make().double()
    x = features(model, 4, dtype=torch.float64).requires_grad_()
    expected = torch.autograd.grad(model(x).square().sum(), [x, *model.parameters()], allow_unused=True)
    model.eval()
    with torch.no_grad():
        model(x)
    gradients = torch.autograd.grad(model(x).square().sum(), [x, *model.parameters()], allow_unused=True)
    for gradient, right in zip(gradients, expected, strict=True):
        assert (gradient is None) == (right is None)
        assert gradient is None or torch.equal(gradient, right)


@every_kind
def test_gradients_of_the_input_of_a_frozen_model_after_inference_mode(make, builds):
    model = make().double()
    x = features(model, 4, dtype=torch.float64)
    y = model(x.requires_grad_())
    (expected,) = torch.autograd.grad(y.square().sum(), x)
    model.eval().requires_grad_(False)
    with torch.inference_mode():
        inferred = model(x.detach())
    assert inferred.is_inference()
    kept = model(x)
    (gradient,) = torch.autograd.grad(kept.square().sum(), x)
    assert len(builds) == 1
    assert_close(inferred.clone(), y, 1e-12)
    assert_close(kept, y, 1e-12)
    assert_close(gradient, expected, 1e-12)


@every_kind
def test_autocast(make):
    model = make()
    x = features(model, 16)
    exact = model(x).detach().double()
    with torch.autocast("cpu", torch.bfloat16):
        y = model(x)
        with torch.no_grad():
            kept = model.eval()(x)
    y.float().square().sum().backward()
    assert all(p.grad is None or p.grad.dtype == torch.float32 for p in model.parameters())
    assert_close(y, exact, 0.05)
    assert_close(kept, exact, 0.05)


@every_kind
def test_saving_and_copying(make, tmp_path):
    model, other = make(), make()
    randomise(model.graph)
    x = features(model, 4)
    with torch.no_grad():
        model.eval()(x)
    torch.save(model.state_dict(), tmp_path / "model.pt")
    other.load_state_dict(torch.load(tmp_path / "model.pt", weights_only=True))
    torch.save(model, tmp_path / "whole.pt")
    whole = torch.load(tmp_path / "whole.pt", weights_only=False)
    expected = model.train()(x)
    for twin in (other, copy.deepcopy(model), whole.train()):
        assert torch.equal(twin(x), expected)
