"""Perceptrons, compiled and exported by PyTorch."""

import pytest
import torch
from perceptrons import DENSE, KINDS, features, step
from references import assert_close


@pytest.mark.parametrize(("kind", "backend"), [*((kind, "eager") for kind in DENSE), ("all-to-all", "aot_eager")])
def test_compile_all_to_all(kind, backend, fresh_compiler):
    model = KINDS[kind]()
    compiled = torch.compile(model, backend=backend, fullgraph=True)
    x = features(model, 8).requires_grad_()
    y = compiled(x)
    assert_close(y, model(x).detach().double(), 1e-5)
    right = torch.autograd.grad(model(x).square().sum(), [x, *model.parameters()])
    for gradient, expected in zip(torch.autograd.grad(y.square().sum(), [x, *model.parameters()]), right, strict=True):
        assert_close(gradient, expected.double(), 1e-5)
    step(model)
    assert_close(compiled(x), model(x).detach().double(), 1e-5)
    model.eval()
    with torch.no_grad():
        assert_close(compiled(x), model(x).double(), 1e-5)


@pytest.mark.filterwarnings("ignore::UserWarning")  # Dynamo warns of the breaks at sparse products
@pytest.mark.parametrize("kind", ["nearest", "dag"])
def test_compile_listed_edges(kind, fresh_compiler):
    model = KINDS[kind]()
    compiled = torch.compile(model, backend="eager")
    x = features(model, 8)
    y = compiled(x)
    assert_close(y, model(x).detach().double(), 1e-5)
    model.zero_grad()
    y.square().sum().backward()
    gradients = [p.grad for p in model.parameters()]
    right = torch.autograd.grad(model(x).square().sum(), list(model.parameters()), allow_unused=True)
    for gradient, expected in zip(gradients, right, strict=True):
        assert expected is None or assert_close(gradient, expected.double(), 1e-5) is None
    with torch.no_grad():
        assert_close(compiled.eval()(x), y.detach().double(), 1e-5)


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("kind", DENSE)
def test_export(kind, training):
    model = KINDS[kind]().train(training)
    x = features(model, 8)
    batch = torch.export.Dim("batch", min=2)
    for shapes in (None, {"x": {0: batch}}):
        exported = torch.export.export(model, (x,), dynamic_shapes=shapes).module()
        assert_close(exported(x), model(x).detach().double(), 1e-5)
    more = features(model, 13)
    assert_close(exported(more), model(more).detach().double(), 1e-5)
