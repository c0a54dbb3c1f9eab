"""Training on an accelerator, the simulated one: no step waits, and a model comes back as on the CPU."""

import os

import lightning.pytorch.trainer.connectors.accelerator_connector as connector
import pytest
import torch
from lightning import Callback
from torch import nn
from trainings import RECIPE, images, new_model

import spatialgraph as sg
from spatialgraph.training import RandomAffine, Recipe, Rewire, accuracy, batches, fit, tally

if os.environ.get("SPATIALGRAPH_DEVICE") != "sim":
    pytest.skip("needs the simulated device", allow_module_level=True)

import simulated_device
from simulated_training import Scaled, Waits, bytes_in_use, fit_there

SHORT = Recipe(epochs=2, batch_size=30)  # 6 steps of 90 images


def sparse(seed=0):
    torch.manual_seed(seed)
    return sg.SpatialMLP([6, 12, 3], dim=2, wiring=sg.wiring.KNN(k=3))


def spiking(seed=0):
    torch.manual_seed(seed)
    return sg.SpatialSNN([6, 12, 3], dim=2, num_steps=4)


@pytest.fixture
def scaled(monkeypatch):
    monkeypatch.setattr(connector, "MixedPrecision", Scaled)


@pytest.mark.usefixtures("scaled")
@pytest.mark.parametrize(
    ("make", "options"),
    [
        (new_model, {"validation": images(seed=1)}),
        (new_model, {"precision": "16-mixed"}),
        (new_model, {"progress": True}),
        (new_model, {"augment": RandomAffine((2, 3)), "penalty": {"wiring": 1e-4}}),
        (sparse, {}),
        (spiking, {}),
    ],
    ids=["validation", "16 bits", "progress", "augment", "sparse", "spiking"],
)
def test_no_step_waits(tmp_path, make, options):
    waits = Waits()
    fit_there(make(), images(), SHORT, tmp_path, callbacks=[waits], **options)
    assert waits.steps == 6 and waits.waits == []


def test_data_that_do_not_fit_are_copied_batch_by_batch(tmp_path, monkeypatch):
    rows = [fit_there(new_model(), images(), SHORT, tmp_path / "kept")]
    monkeypatch.setattr(batches, "_free_memory", lambda device: 4 * 90 * (6 * 4 + 8) - 1)
    waits = Waits()
    rows.append(fit_there(new_model(), images(), SHORT, tmp_path / "copied", callbacks=[waits]))
    assert len(waits.waits) == 2 * 2 * 2  # samples and classes of all batches of an epoch but the first
    assert [row["train_loss"] for row in rows[0]] == [row["train_loss"] for row in rows[1]]


@pytest.mark.parametrize("make", [new_model, sparse])
def test_a_training_is_that_of_the_cpu(tmp_path, make):
    here, there = make(), make()
    options = {"validation": images(seed=1), "penalty": {"wiring": 1e-4}}
    rows = fit(here, images(), SHORT, tmp_path / "here", progress=False, **options)
    others = fit_there(there, images(), SHORT, tmp_path / "there", **options)
    assert [set(row) for row in rows] == [set(row) for row in others]
    for row, other in zip(rows, others, strict=True):
        assert row["train_loss"] == pytest.approx(other["train_loss"], rel=1e-4)
        assert row["validation_accuracy"] == other["validation_accuracy"]
    for own, other in zip(here.parameters(), there.parameters(), strict=True):
        torch.testing.assert_close(own, other, rtol=1e-3, atol=1e-4)


class Failing(Callback):
    def on_train_epoch_end(self, trainer, pl_module):
        raise OSError("disk full")


@pytest.mark.parametrize("fails", [False, True])
def test_nothing_stays_on_the_device(tmp_path, fails):
    model, before = new_model(), bytes_in_use()
    try:
        fit_there(model, images(), SHORT, tmp_path, callbacks=[Failing()] if fails else [])
    except OSError:
        assert fails
    assert {parameter.device.type for parameter in model.parameters()} == {"cpu"}
    assert bytes_in_use() == before
    assert model(torch.rand(2, 6)).device.type == "cpu"


@pytest.mark.parametrize("fails", [False, True])
@pytest.mark.parametrize("train", [fit, fit_there])
def test_a_model_of_the_device_stays_there(tmp_path, device, train, fails):
    model = new_model().to(device)
    try:
        train(model, images(), SHORT, tmp_path, callbacks=[Failing()] if fails else [], progress=False)
    except OSError:
        assert fails
    assert {parameter.device.type for parameter in model.parameters()} == {device.type}
    assert 0 <= accuracy(model, images()) <= 1


def test_no_double_precision_on_the_device(tmp_path, monkeypatch):
    """Some devices have none."""
    dtypes, wrapped = set(), simulated_device._wrapped

    def watched(value):
        dtypes.add(value.dtype if isinstance(value, torch.Tensor) else None)
        return wrapped(value)

    monkeypatch.setattr(simulated_device, "_wrapped", watched)
    model = sparse()
    options = {"validation": images(seed=1), "penalty": {"wiring": 1e-4}, "augment": RandomAffine((2, 3))}
    fit_there(model, images(), SHORT, tmp_path, **options)
    assert accuracy(model.to(simulated_device.NAME), images()) > 0
    assert torch.float32 in dtypes and torch.float64 not in dtypes


def test_accuracy_waits_for_the_answers_only(device):
    model = nn.Linear(6, 3).to(device)
    data = images(5000)
    with simulated_device.recorded() as record:
        share = accuracy(model, data)
    # A sample to check the shape, the samples, the classes, and in the end the number of right answers.
    assert len(record.waits) == 4 and record.waits[-1][0] == "_local_scalar_dense"
    assert share == accuracy(model.cpu(), data)


def breaking(step, value):
    """A penalty that is not finite in one step."""
    count = 0

    def penalty():
        nonlocal count
        count += 1
        return torch.full((), value if count == step else 0.0)

    return penalty


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_loss_that_is_not_finite_is_found_at_the_end_of_its_epoch(tmp_path, value):
    match = rf"penalty must be finite, got {value} in epoch 2, step 2\."
    with pytest.raises(FloatingPointError, match=match):
        fit_there(new_model(), images(), SHORT, tmp_path, validation=images(seed=1), penalty=breaking(5, value))
    with torch.serialization.safe_globals([simulated_device._rebuilt]):
        checkpoint = torch.load(tmp_path / "last.ckpt", weights_only=True)
    assert checkpoint["epoch"] == 0 and not (tmp_path / "previous.ckpt").exists()


def test_a_loss_that_is_not_finite_is_found_before_a_network_changes(tmp_path):
    steps = Waits()
    with pytest.raises(FloatingPointError, match=r"penalty must be finite, got nan in epoch 1, step 2\."):
        fit_there(sparse(), images(), RECIPE, tmp_path, callbacks=[steps, Rewire(3)], penalty=breaking(2, float("nan")))
    assert steps.steps == 3


def test_long_epochs_are_checked_on_the_way(tmp_path, monkeypatch):
    monkeypatch.setattr(tally, "_TOGETHER", 4)
    steps = Waits()
    with pytest.raises(FloatingPointError, match=r"penalty must be finite, got nan in epoch 1, step 2\."):
        fit_there(new_model(), images(), RECIPE, tmp_path, callbacks=[steps], penalty=breaking(2, float("nan")))
    assert steps.steps == 3  # the fourth raised


class Stopping(Callback):
    """End a training after its second epoch."""

    def on_train_epoch_end(self, trainer, pl_module):
        if trainer.current_epoch == 2:
            raise KeyboardInterrupt


@pytest.mark.usefixtures("scaled")
@pytest.mark.parametrize("precision", ["32-true", "16-mixed"])
def test_a_resumed_training_ends_at_the_same_bits(tmp_path, precision):
    whole, halves = new_model(), new_model()
    rows = fit_there(whole, images(), RECIPE, tmp_path / "whole", precision=precision)
    with pytest.raises(KeyboardInterrupt):
        fit_there(halves, images(), RECIPE, tmp_path / "halves", precision=precision, callbacks=[Stopping()])
    again = new_model(seed=9)
    resumed = fit_there(again, images(), RECIPE, tmp_path / "halves", precision=precision, resume=True)
    assert [row["train_loss"] for row in resumed] == [row["train_loss"] for row in rows]
    assert all(torch.equal(a, b) for a, b in zip(whole.parameters(), again.parameters(), strict=True))
    if precision == "16-mixed":
        with torch.serialization.safe_globals([simulated_device._rebuilt]):
            scales = torch.load(tmp_path / "halves" / "last.ckpt", weights_only=True)["Scaled"]
        assert scales["_growth_tracker"] == 20  # the steps of both halves


@pytest.mark.parametrize(("first", "then"), [(fit, fit_there), (fit_there, fit)])
def test_a_training_moves_between_devices(tmp_path, first, then):
    whole, again = new_model(), new_model(seed=9)
    rows = fit(whole, images(), RECIPE, tmp_path / "whole", progress=False)
    with pytest.raises(KeyboardInterrupt):
        first(new_model(), images(), RECIPE, tmp_path / "halves", callbacks=[Stopping()], progress=False)
    with torch.serialization.safe_globals([simulated_device._rebuilt]):
        resumed = then(again, images(), RECIPE, tmp_path / "halves", resume=True, progress=False)
    assert [row["train_loss"] for row in resumed] == pytest.approx([row["train_loss"] for row in rows], rel=1e-4)


def steep(samples, logits, labels):
    return 1e37 * logits.mean()


@pytest.mark.usefixtures("scaled")
def test_a_step_whose_scaled_gradients_overflow_is_left_out(tmp_path):
    model = nn.Linear(6, 3)
    before = [parameter.detach().clone() for parameter in model.parameters()]
    assert len(fit_there(model, images(), SHORT, tmp_path, precision="16-mixed", loss=steep)) == 2
    assert all(torch.equal(own, other) for own, other in zip(before, model.parameters(), strict=True))
