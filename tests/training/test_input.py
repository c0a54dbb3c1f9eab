"""What training refuses, before the first step or as soon as it happens, and what it says."""

import copy
import importlib
import sys

import numpy as np
import pytest
import torch
from torch import nn
from trainings import RECIPE, images, new_model

from spatialgraph.training import Recipe, accuracy, fit
from spatialgraph.training.finite import check_model
from spatialgraph.training.samples import checked, checksum


def with_value(values, place, value):
    values = values.clone()
    values[place] = value
    return values


X, Y = images()

BAD_IMAGES = {
    "no pair": (X, TypeError, r"{} must be a pair of tensors, samples and their classes, got Tensor"),
    "three": ((X, Y, Y), TypeError, r"{} must be a pair .* got 3 things"),
    "numpy": ((X.numpy(), Y), TypeError, r"{}\[0\] must be a tensor, got ndarray"),
    "labels as list": ((X, Y.tolist()), TypeError, r"{}\[1\] must be a tensor, got list"),
    "no samples": ((X[:0], Y[:0]), ValueError, r"{}\[0\] must hold at least one sample, got shape \(0, 6\)"),
    "one axis": ((X[:, 0], Y), ValueError, r"{}\[0\] must have shape \(samples, features\), got \(90,\)"),
    "nan": (
        (with_value(X, (17, 3), torch.nan), Y),
        ValueError,
        r"{}\[0\] must be finite, got nan in sample 17, feature 3",
    ),
    "inf": ((with_value(X, (89, 0), -torch.inf), Y), ValueError, r"finite, got -inf in sample 89, feature 0"),
    "half the labels": (
        (X, Y[:45]),
        ValueError,
        r"{}\[1\] must have shape \(90,\), a class for each sample, got \(45,\)",
    ),
    "one-hot": ((X, nn.functional.one_hot(Y)), ValueError, r"{}\[1\] must have shape \(90,\).*got \(90, 3\)"),
    "a column": ((X, Y[:, None]), ValueError, r"{}\[1\] must have shape \(90,\).*got \(90, 1\)"),
    "float labels": ((X, Y.float()), TypeError, r"{}\[1\] must be integers \(int64\).*got torch.float32"),
    "bool labels": ((X, Y > 0), TypeError, r"{}\[1\] must be integers \(int64\).*got torch.bool"),
    "too large": (
        (X, with_value(Y, 12, 3)),
        ValueError,
        r"{}\[1\] must be between 0 and 2, the classes of a model with 3 outputs, got 3 for sample 12",
    ),
    "negative": ((X, with_value(Y, 5, -100)), ValueError, r"{}\[1\] must be between 0 and 2.*got -100 for sample 5"),
    "wide": (
        (torch.cat([X, X], 1), Y),
        ValueError,
        r"{}\[0\] must hold samples that the model takes, got torch.float32 of shape \(12,\) for each \(.*6.*\)",
    ),
    "float64": ((X.double(), Y), ValueError, r"{}\[0\] must hold samples that the model takes, got torch.float64"),
    "bytes": ((X.byte(), Y), ValueError, r"{}\[0\] must hold samples that the model takes, got torch.uint8"),
}


@pytest.mark.parametrize("case", BAD_IMAGES)
@pytest.mark.parametrize("build", [new_model, lambda: nn.Linear(6, 3)])
def test_images_that_cannot_be_learned_from(tmp_path, case, build):
    bad, error, message = BAD_IMAGES[case]
    for name, train, validation in (("train", bad, None), ("validation", (X, Y), bad)):
        model = build()
        before = copy.deepcopy(model.state_dict())
        with pytest.raises(error, match=message.format(name)):
            fit(model, train, RECIPE, tmp_path / "new", validation=validation, progress=False)
        assert all(torch.equal(before[key], value) for key, value in model.state_dict().items())
        assert not (tmp_path / "new").exists()
    with pytest.raises(error, match=message.format("images")):
        accuracy(build(), bad)


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"model": len}, TypeError, "model must be a torch.nn.Module, got builtin_function_or_method"),
        ({"model": nn.ReLU()}, ValueError, "model must have parameters that can be trained, got none"),
        ({"model": nn.Linear(6, 3).requires_grad_(False)}, ValueError, "parameters that can be trained, got none"),
        ({"model": nn.LSTM(6, 3)}, TypeError, "model must return a tensor of logits, got tuple"),
        ({"model": nn.Sequential(nn.Linear(6, 1), nn.Flatten(0))}, ValueError, r"logits of shape .*got \(1,\) for one"),
        ({"recipe": {"epochs": 3}}, TypeError, "recipe must be a Recipe, got dict"),
        ({"seed": 0.5}, TypeError, r"seed must be an int, got 0.5 \(float\)"),
        ({"seed": -1}, ValueError, "seed must be between 0 and 4294967295, got -1"),
        ({"seed": 2**40}, ValueError, "seed must be between 0 and 4294967295, got 1099511627776"),
        ({"validation": (X, Y), "patience": -1}, ValueError, "patience must be at least 0, got -1"),
        ({"validation": (X, Y), "patience": 1.5}, TypeError, r"patience must be an int, got 1.5 \(float\)"),
    ],
)
def test_other_arguments(tmp_path, change, error, message):
    arguments = {"model": new_model(), "train": (X, Y), "recipe": RECIPE, "folder": tmp_path / "new"} | change
    with pytest.raises(error, match=message):
        fit(**arguments, progress=False)
    assert not (tmp_path / "new").exists()


def test_a_parameter_that_is_not_finite_is_named(tmp_path):
    model = new_model()
    with torch.no_grad():
        model.graph.raw_bias[3] = torch.nan
    with pytest.raises(FloatingPointError, match="parameter 'spatial_graph.raw_bias' must be finite, got nan before"):
        fit(model, (X, Y), RECIPE, tmp_path / "new", progress=False)


@pytest.mark.parametrize(
    ("values", "error", "message"),
    [
        ({"epochs": 1.5}, TypeError, r"epochs must be an int, got 1.5 \(float\)"),
        ({"epochs": True}, TypeError, r"epochs must be an int, got True \(bool\)"),
        ({"batch_size": "20"}, TypeError, r"batch_size must be an int, got '20' \(str\)"),
        ({"learning_rate": "fast"}, TypeError, r"learning_rate must be a number, got 'fast' \(str\)"),
        ({"learning_rate": float("nan")}, ValueError, "learning_rate must be finite, got nan"),
        ({"learning_rate": float("inf")}, ValueError, "learning_rate must be finite, got inf"),
        ({"rates": {"bias": -1.0}}, ValueError, r"rates\['bias'\] must be above 0, got -1.0"),
    ],
)
def test_recipes(values, error, message):
    with pytest.raises(error, match=message):
        Recipe(**values)


def test_numbers_of_numpy_are_numbers(tmp_path):
    values = {"epochs": np.int64(2), "learning_rate": np.float32(0.5), "batch_size": np.uint8(20)}
    recipe = Recipe(**values, rates={"weight": np.float64(0.25)})
    assert recipe == Recipe(2, 0.5, "one_cycle", 20, {"weight": 0.25})
    assert [type(value) for value in (recipe.epochs, recipe.learning_rate, recipe.batch_size)] == [int, float, int]
    rows = fit(
        nn.Linear(6, 3),
        (X, Y),
        recipe,
        tmp_path,
        seed=np.int32(3),
        validation=(X, Y),
        patience=np.int64(5),
        progress=False,
    )
    assert len(rows) == 2


def test_labels_of_any_whole_type_are_the_same_labels(tmp_path):
    models = []
    for kind in (torch.int64, torch.uint8, torch.int32):
        model = nn.Linear(6, 3)
        nn.init.zeros_(model.weight)
        nn.init.zeros_(model.bias)
        fit(model, (X, Y.to(kind)), RECIPE, tmp_path, resume=True, progress=False)  # all are the same data
        models.append(model)
        assert accuracy(model, (X, Y.to(kind))) == accuracy(model, (X, Y))
    assert all(torch.equal(models[0].weight, model.weight) for model in models)


class Shy(nn.Module):
    """A model that shows whether it was asked before training: it draws numbers, counts and normalises."""

    def __init__(self):
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(6, 3), nn.BatchNorm1d(3), nn.Dropout(0.5))
        self.frozen = nn.BatchNorm1d(3).eval()

    def forward(self, x):
        return self.frozen(self.layers(x)) + torch.rand(())


def test_a_check_leaves_no_trace():
    model = Shy()
    state, random = copy.deepcopy(model.state_dict()), torch.get_rng_state()
    checked("train", (X, Y), model)
    assert torch.equal(torch.get_rng_state(), random)
    assert all(torch.equal(state[name], value) for name, value in model.state_dict().items())
    assert model.training and model.layers[2].training and not model.frozen.training
    model.eval()
    checked("train", (X, Y), model)
    assert not any(module.training for module in model.modules())


def test_checksums_tell_data_apart():
    same = checksum((X, Y))
    assert checksum((X.clone(), Y.clone())) == same
    assert checksum((X.t().contiguous().t(), Y)) == same  # the same numbers, laid out another way
    others = [
        (with_value(X, (0, 0), 0.0), Y),
        (X, with_value(Y, 0, 2 - Y[0])),
        (X.flip(0), Y),
        (X.reshape(45, 12), Y),
        (X.double(), Y),
        (X[:80], Y[:80]),
    ]
    sums = {checksum(other) for other in others} | {same}
    assert len(sums) == len(others) + 1
    many = torch.arange(10000.0)[:, None].bfloat16(), torch.arange(10000)  # more than are hashed at a time
    assert checksum(many) != checksum((with_value(many[0], 9999, 0.0), many[1]))


# Numbers that are lost while training ----


def losing_at(step, value):
    """A penalty that is no longer finite from a step on."""
    steps = 0

    def penalty():
        nonlocal steps
        steps += 1
        return torch.tensor(value if steps >= step else 0.0)

    return penalty


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_loss_that_is_not_finite_ends_the_training(tmp_path, value):
    with pytest.raises(FloatingPointError, match=rf"penalty must be finite, got {value} in epoch 3, step 2\. Likely"):
        fit(new_model(), (X, Y), RECIPE, tmp_path, seed=3, penalty=losing_at(12, value), progress=False)
    whole, again = new_model(), new_model(seed=9)
    fit(whole, (X, Y), RECIPE, tmp_path / "whole", seed=3, progress=False)
    rows = fit(again, (X, Y), RECIPE, tmp_path, seed=3, resume=True, progress=False)
    assert [row["epoch"] for row in rows] == [1, 2, 3, 4]
    assert all(torch.equal(a, b) for a, b in zip(whole.parameters(), again.parameters(), strict=True))


class Exploding(nn.Linear):
    """A model whose logits, or gradients only, are not finite from a step on."""

    def __init__(self, step, where):
        super().__init__(6, 3)
        self.step, self.where, self.steps = step, where, 0

    def forward(self, x):
        logits = super().forward(x)
        if not self.training:
            return logits * torch.nan if self.where == "validation" and self.steps >= self.step else logits
        self.steps += 1
        if self.steps >= self.step and self.where == "logits":
            return logits * torch.nan
        if self.steps >= self.step and self.where == "gradient":
            return (
                logits + 0.0 * (self.bias - self.bias.detach()).abs().sqrt()
            )  # 0, with a gradient of 0 times infinity
        return logits


@pytest.mark.parametrize(
    ("where", "message"),
    [
        ("logits", "train loss must be finite, got nan in epoch 2, step 5"),
        ("gradient", "parameter 'model.bias' must be finite, got nan at the end of epoch 2"),
        ("validation", "validation loss must be finite, got nan in epoch 2, step 1"),
    ],
)
def test_a_model_that_is_not_finite_is_not_saved(tmp_path, where, message):
    with pytest.raises(FloatingPointError, match=message):
        held_out = (X, Y) if where == "validation" else None
        fit(Exploding(10, where), (X, Y), RECIPE, tmp_path, validation=held_out, progress=False)
    last = torch.load(tmp_path / "last.ckpt", weights_only=True)
    assert last["epoch"] == 0
    assert all(values.isfinite().all() for values in last["state_dict"].values())


def test_gradients_and_memories_of_optimisers_are_checked():
    model = nn.Linear(2, 1)
    optimizer = torch.optim.Adam(model.parameters())
    model(torch.ones(1, 2)).sum().backward()
    optimizer.step()
    check_model(model, [optimizer], "now")
    optimizer.state[model.weight]["exp_avg_sq"][0, 1] = torch.inf
    with pytest.raises(FloatingPointError, match="exp_avg_sq of the parameter 'weight' in the optimiser.*got inf now"):
        check_model(model, [optimizer], "now")
    model.weight.grad[0, 0] = torch.nan
    with pytest.raises(FloatingPointError, match="gradient of the parameter 'weight' must be finite, got nan now"):
        check_model(model, [optimizer], "now")


@pytest.mark.parametrize("count", range(8, 13))
def test_one_cycle_of_any_number_of_steps(tmp_path, count):
    model = nn.Linear(6, 3)
    fit(model, images(count), Recipe(epochs=1, batch_size=1), tmp_path, progress=False)
    assert model.weight.isfinite().all()


# Imports ----


@pytest.mark.parametrize(
    ("code", "error", "said"),
    [
        (None, ImportError, r'training needs Lightning; install it with: pip install "spatialgraph\[train\]"'),
        ("import a_module_that_is_not_there", ModuleNotFoundError, "No module named 'a_module_that_is_not_there'"),
        ("from math import no_such_name", ImportError, "cannot import name 'no_such_name' from 'math'"),
    ],
)
def test_only_lightning_itself_is_called_missing(tmp_path, monkeypatch, code, error, said):
    monkeypatch.delitem(sys.modules, "spatialgraph.training")
    if code is None:
        monkeypatch.setitem(sys.modules, "lightning", None)
    else:
        monkeypatch.delitem(sys.modules, "lightning")
        (tmp_path / "lightning.py").write_text(code)
        monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(error, match=said) as caught:
        importlib.import_module("spatialgraph.training")
    assert caught.type is error
