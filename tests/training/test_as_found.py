"""A training or an evaluation gives a model back where and how it found it."""

import re

import pytest
import torch
from lightning import Callback
from torch import nn

import spatialgraph as sg
from spatialgraph.training import Recipe, accuracy, fit
from spatialgraph.training.as_found import as_found

RECIPE = Recipe(epochs=2, batch_size=20)
X = torch.randn(40, 6, generator=torch.Generator().manual_seed(0))
DATA = X, X[:, :3].argmax(1)


def build():
    """A model with a part that trains, one whose statistics are frozen, and one whose parameters are."""
    model = nn.Sequential(nn.Linear(6, 6), nn.BatchNorm1d(6), sg.SpatialMLP([6, 8, 3], dim=2))
    model[1].eval()
    model[0].requires_grad_(False)
    model[2].register_forward_hook(lambda *_: None)
    return model


def state(model):
    modules, parameters = list(model.modules()), list(model.parameters())
    hooks = [len(module._forward_hooks) + len(module._forward_pre_hooks) for module in modules]
    hooks += [len(parameter._backward_hooks or ()) for parameter in parameters]
    modes = [module.training for module in modules]
    return modes, [p.requires_grad for p in parameters], [p.device for p in parameters], hooks


class Meddling(Callback):
    """What callbacks may do to a model for the time of a training."""

    def on_train_start(self, trainer, pl_module):
        model = pl_module.model
        model.eval()
        model[2].train()
        model.requires_grad_(True)
        for module in model:
            module.register_forward_pre_hook(lambda *_: None)
        model[2].graph.raw_bias.register_hook(lambda gradient: gradient)


@pytest.mark.parametrize("mode", [True, False])
def test_fit(tmp_path, mode):
    model = build()
    model.training = mode
    before = state(model)
    fit(model, DATA, RECIPE, tmp_path, callbacks=[Meddling()], validation=DATA, progress=False)
    assert state(model) == before


class Failing(Callback):
    def on_train_epoch_end(self, trainer, pl_module):
        raise OSError("disk full")


class Interrupting(Callback):
    def on_train_epoch_end(self, trainer, pl_module):
        raise KeyboardInterrupt


class TakingAway(Callback):
    def on_train_batch_end(self, trainer, pl_module, *ignored):
        with torch.no_grad():
            pl_module.model[2].graph.raw_bias.fill_(float("nan"))


@pytest.mark.parametrize(
    ("callback", "error"), [(Failing, OSError), (Interrupting, KeyboardInterrupt), (TakingAway, FloatingPointError)]
)
def test_fit_that_fails(tmp_path, callback, error):
    model = build().eval()
    before = state(model)
    with pytest.raises(error):
        fit(model, DATA, RECIPE, tmp_path, callbacks=[Meddling(), callback()], progress=False)
    assert state(model) == before


@pytest.mark.parametrize("mode", [True, False])
def test_a_model_trains_in_training_mode(tmp_path, mode):
    model = nn.Sequential(nn.Linear(6, 4), nn.BatchNorm1d(4), nn.Linear(4, 3)).train(mode)
    fit(model, DATA, RECIPE, tmp_path, progress=False)
    assert model[1].num_batches_tracked == 4 and model[1].training == mode


def test_parts_in_evaluation_mode_stay_so(tmp_path):
    model = build()
    fit(model, DATA, RECIPE, tmp_path, progress=False)
    assert model[1].num_batches_tracked == 0


@pytest.mark.parametrize("mode", [True, False])
def test_accuracy(mode):
    model = build()
    model.training = mode
    before = state(model)
    accuracy(model, DATA)
    assert state(model) == before
    with pytest.raises(ValueError, match=re.escape("images[0] must hold samples that the model takes")):
        accuracy(model, (torch.zeros(3, 5), torch.zeros(3, dtype=torch.int64)))
    assert state(model) == before


def test_the_device_is_restored():
    model = nn.Linear(2, 1, device="meta")
    with pytest.raises(OSError), as_found(model):
        model.to_empty(device="cpu")
        raise OSError("disk full")
    assert {parameter.device.type for parameter in model.parameters()} == {"meta"}


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize(("home", "device"), [("cuda", "cpu"), ("cpu", "cuda"), ("cuda", "cuda")])
@pytest.mark.parametrize("callbacks", [[], [Failing()]])
def test_device(tmp_path, home, device, callbacks):
    model = build().to(home)
    before = state(model)
    try:
        fit(model, DATA, RECIPE, tmp_path, callbacks=callbacks, device=device, progress=False)
    except OSError:
        assert callbacks
    assert state(model) == before
    assert 0 <= accuracy(model, DATA) <= 1
