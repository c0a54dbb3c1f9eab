"""Steps that are captured and replayed, on the CPU with a stand-in for CUDA graphs, and on a GPU."""

import contextlib
import os

import pytest
import torch
from graph_stand_in import StandIn
from lightning import Callback
from lightning.pytorch.strategies import DDPStrategy
from torch import nn
from trainings import RECIPE, images, new_model

import spatialgraph as sg
from spatialgraph.training import EverySteps, GradualPruning, RandomAffine, Rewire, captured, fit
from spatialgraph.training.captured import CapturedStep, CudaGraph


def sparse(seed=0):
    torch.manual_seed(seed)
    return sg.SpatialMLP([6, 12, 3], dim=2, wiring=sg.wiring.KNN(k=3))


def random_spikes(seed=0):
    torch.manual_seed(seed)
    return nn.Sequential(nn.Sigmoid(), sg.SpatialSNN([6, 12, 3], dim=2, num_steps=4, coding="rate"))


class Freezing(Callback):
    """Keep a bias fixed from the second epoch on."""

    def on_train_epoch_start(self, trainer, pl_module):
        if trainer.current_epoch == 1:
            pl_module.model.graph.raw_bias.requires_grad_(False)


class Stopping(Callback):
    """End a training within its third epoch."""

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
        if trainer.global_step == 13:
            raise KeyboardInterrupt


@pytest.fixture
def stand_in(monkeypatch):
    monkeypatch.setattr(captured, "DEVICES", {"cpu"})
    monkeypatch.setattr(captured, "CudaGraph", StandIn)
    for count in ("captures", "replays", "warm_ups"):
        monkeypatch.setattr(StandIn, count, 0)
    return StandIn


def train(model, folder, cuda_graph, **options):
    StandIn.model = model
    return fit(model, images(), RECIPE, folder, seed=3, cuda_graph=cuda_graph, progress=False, **options)


def assert_same(models, rows):
    for own, other in zip(*(model.state_dict().values() for model in models), strict=True):
        assert torch.equal(own, other)
    keep = [[{name: value for name, value in row.items() if name != "seconds"} for row in each] for each in rows]
    assert keep[0] == keep[1]


@pytest.mark.parametrize(
    ("make", "options"),
    [
        (new_model, {"validation": images(seed=1)}),
        (sparse, {"penalty": {"wiring": 1e-4}, "augment": RandomAffine((2, 3))}),
        (random_spikes, {}),
        (new_model, {"precision": "bf16-mixed"}),
        (lambda: nn.Sequential(nn.Linear(6, 9), nn.Dropout(0.5), nn.Linear(9, 3)), {}),
    ],
    ids=["validation", "penalty and augment", "random spikes", "bf16", "dropout"],
)
def test_replays_are_the_step(tmp_path, stand_in, make, options):
    torch.manual_seed(0)
    models = [make()]
    torch.manual_seed(0)
    models.append(make())
    rows = [train(model, tmp_path / str(on), bool(on), **options) for on, model in enumerate(models)]
    assert_same(models, rows)
    # Of 5 batches in each of 4 epochs the last is smaller.
    assert (stand_in.warm_ups, stand_in.captures, stand_in.replays) == (3, 1, 13)


@pytest.mark.parametrize(("callback", "captures"), [(lambda: Rewire(7), 3), (Freezing, 2)])
def test_after_a_change_the_step_is_captured_again(tmp_path, stand_in, callback, captures):
    models = sparse(), sparse()
    rows = [train(model, tmp_path / str(on), bool(on), callbacks=[callback()]) for on, model in enumerate(models)]
    assert_same(models, rows)
    assert (stand_in.warm_ups, stand_in.captures) == (3 * captures, captures)


def test_a_setting_that_changes_is_captured_anew(tmp_path, stand_in):
    """A recorded step holds its value, which no tensor shows."""
    dropped = nn.Dropout(0.1)
    model = nn.Sequential(dropped, new_model())
    train(model, tmp_path, True, callbacks=[EverySteps(7, lambda: setattr(dropped, "p", 0.5))])
    assert stand_in.captures == 3


@pytest.mark.parametrize("first", [True, False])
@pytest.mark.parametrize("then", [True, False])
def test_a_resumed_training_ends_at_the_same_bits(tmp_path, stand_in, first, then):
    models = new_model(), new_model(seed=9)
    rows = [train(models[0], tmp_path / "whole", True)]
    with pytest.raises(KeyboardInterrupt):
        train(new_model(), tmp_path / "halves", first, callbacks=[Stopping()])
    rows.append(train(models[1], tmp_path / "halves", then, resume=True))
    assert_same(models, rows)


def test_a_step_that_diverges_is_found(tmp_path, stand_in):
    model = new_model()
    with pytest.raises(FloatingPointError, match="train loss must be finite, got nan in epoch 2, step 4"):
        train(model, tmp_path, True, callbacks=[Breaking()])


class Breaking(Callback):
    def on_train_batch_end(self, trainer, pl_module, *ignored):
        if trainer.global_step == 8:
            pl_module.model.graph.raw_bias.data[:] = torch.nan  # in place: the captured step reads it


# The step alone ----


@pytest.fixture
def linear(stand_in):
    """A step of a linear layer, captured after one run; returns the step and the layer."""
    StandIn.model = model = nn.Linear(2, 1)

    def step(x):
        for parameter in model.parameters():
            parameter.grad = None
        loss = model(x).square().mean()
        loss.backward()
        return (loss.detach(),)

    return CapturedStep(step, model, warm_up=1), model


def gradients(model, x):
    return torch.autograd.grad(model(x).square().mean(), list(model.parameters()))


def assert_gradients(model, x):
    for own, parameter in zip(gradients(model, x), model.parameters(), strict=True):
        assert torch.equal(own, parameter.grad)


def test_smaller_batches_are_run_as_they_are(linear, stand_in):
    step, model = linear
    for size in (4, 4, 3, 4, 2, 4):
        x = torch.randn(size, 2)
        assert torch.equal(step(x)[0], model(x).square().mean())
        assert_gradients(model, x)
    assert (stand_in.warm_ups, stand_in.captures, stand_in.replays) == (1, 1, 3)


def test_a_smaller_batch_after_a_change_does_not_set_the_size(linear, stand_in):
    step, model = linear
    for size in (4, 4, 4):
        step(torch.randn(size, 2))
    model.weight.data = model.weight.data.clone()
    for size in (3, 4, 4, 4):
        x = torch.randn(size, 2)
        step(x)
        assert_gradients(model, x)
    assert (stand_in.warm_ups, stand_in.captures, stand_in.replays) == (2, 2, 4)


def change_data(model):
    model.weight.data = model.weight.data.clone()


def change_parameter(model):
    model.weight = nn.Parameter(model.weight.detach().clone())


def change_mode(model):
    model.eval()


def freeze(model):
    model.bias.requires_grad_(False)


@pytest.mark.parametrize("change", [change_data, change_parameter, change_mode, freeze])
def test_what_a_replay_cannot_follow_is_captured_again(linear, stand_in, change):
    step, model = linear
    for _ in range(3):
        step(torch.randn(4, 2))
    change(model)
    assert step.is_captured
    for _ in range(3):
        x = torch.randn(4, 2)
        assert torch.equal(step(x)[0], model(x).square().mean())
    assert stand_in.captures == 2


def test_values_that_change_in_place_are_followed(linear, stand_in):
    step, model = linear
    for _ in range(4):
        with torch.no_grad():
            model.weight += 1
        x = torch.randn(4, 2)
        assert torch.equal(step(x)[0], model(x).square().mean())
    assert stand_in.captures == 1


def test_results_are_not_those_of_the_next_replay(linear):
    step, model = linear
    x = torch.randn(4, 2)
    first = [step(x)[0] for _ in range(3)][-1]
    before = first.clone()
    step(2 * x + 1)
    assert torch.equal(first, before)


# Errors ----


def test_what_cannot_be_captured_is_refused(tmp_path, stand_in):
    pruner = sg.PruneWhileTraining(0.5).attach(new_model().graph)
    with pytest.raises(ValueError, match="cuda_graph must be False with GradualPruning"):
        train(new_model(), tmp_path, True, callbacks=[GradualPruning(pruner)])
    with pytest.raises(ValueError, match="one process trains on one device, got True with DDPStrategy"):
        train(new_model(), tmp_path, True, strategy=DDPStrategy())


def test_devices_without_graphs_are_refused(tmp_path):
    with pytest.raises(
        ValueError, match="cuda_graph must be False where the device is not one of CUDA, got True for cp"
    ):
        train(new_model(), tmp_path, True)


def test_an_operation_that_cannot_be_captured_is_named(monkeypatch):
    @contextlib.contextmanager
    def graph(held):
        yield
        raise RuntimeError("operation not permitted when stream is capturing")

    streams = []
    monkeypatch.setattr(torch.cuda, "CUDAGraph", object)
    monkeypatch.setattr(torch.cuda, "graph", graph)
    monkeypatch.setattr(torch.cuda, "current_stream", lambda: "the stream before")
    monkeypatch.setattr(torch.cuda, "set_stream", streams.append)
    with pytest.raises(RuntimeError, match=r"cuda_graph must be False for steps that wait .* stream is capturing\)"):
        CudaGraph().capture(lambda x: (x,), [torch.zeros(1)])
    assert streams == ["the stream before"]  # PyTorch leaves its own behind


# On a GPU ----


@pytest.mark.skipif(os.environ.get("SPATIALGRAPH_DEVICE") != "cuda", reason="needs a GPU")
@pytest.mark.parametrize("make", [new_model, sparse, random_spikes])
@pytest.mark.parametrize(
    "options",
    [
        {"validation": images(seed=1)},
        {"penalty": {"wiring": 1e-4}, "augment": RandomAffine((2, 3))},
        {"precision": "bf16-mixed"},
    ],
    ids=["plain", "penalty and augment", "bf16"],
)
def test_captured_steps_of_a_gpu(tmp_path, make, options):
    models = make(), make()
    rows = [train(model, tmp_path / str(on), bool(on), device="cuda", **options) for on, model in enumerate(models)]
    for row, other in zip(*rows, strict=True):
        assert row["train_loss"] == pytest.approx(other["train_loss"], rel=1e-4)
    for own, other in zip(*(model.parameters() for model in models), strict=True):
        torch.testing.assert_close(own, other, rtol=1e-3, atol=1e-4)


@pytest.mark.skipif(os.environ.get("SPATIALGRAPH_DEVICE") != "cuda", reason="needs a GPU")
def test_captured_steps_of_a_gpu_follow_rewiring(tmp_path):
    models = sparse(), sparse()
    options = {"device": "cuda", "callbacks": [Rewire(7)]}
    rows = [train(model, tmp_path / str(on), bool(on), **options) for on, model in enumerate(models)]
    assert [row["train_loss"] for row in rows[0]] == pytest.approx([row["train_loss"] for row in rows[1]], rel=1e-4)
    assert torch.equal(models[0].graph.edge_index, models[1].graph.edge_index)
