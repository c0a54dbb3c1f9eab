"""Precisions of training."""

import pytest
import torch
from lightning import Callback
from torch import nn
from trainings import RECIPE, images, new_model

import spatialgraph as sg
from spatialgraph.training import Distillation, Recipe, fit

SHORT = Recipe(epochs=2, batch_size=30)


def spiking(seed=0):
    torch.manual_seed(seed)
    return sg.SpatialSNN([6, 12, 3], dim=2, num_steps=4)


@pytest.fixture
def by_user():
    """What a user has set."""
    before = torch.get_float32_matmul_precision(), torch.backends.cudnn.allow_tf32
    torch.set_float32_matmul_precision("medium")
    torch.backends.cudnn.allow_tf32 = False
    yield "medium", False
    torch.set_float32_matmul_precision(before[0])
    torch.backends.cudnn.allow_tf32 = before[1]


class Watch(Callback):
    def __init__(self, fails=False):
        self.fails, self.seen = fails, set()

    def on_train_batch_end(self, *ignored):
        self.seen.add((torch.get_float32_matmul_precision(), torch.backends.cudnn.allow_tf32))
        if self.fails:
            raise OSError("disk full")


@pytest.mark.parametrize(("precision", "within"), [("tf32", ("high", True)), ("32-true", ("medium", False))])
@pytest.mark.parametrize("fails", [False, True])
def test_tf32_is_set_for_the_training_only(tmp_path, by_user, precision, within, fails):
    watch = Watch(fails)
    try:
        fit(new_model(), images(), SHORT, tmp_path, precision=precision, callbacks=[watch], progress=False)
    except OSError:
        assert fails
    assert watch.seen == {within}
    assert (torch.get_float32_matmul_precision(), torch.backends.cudnn.allow_tf32) == by_user


@pytest.mark.skipif(not hasattr(torch.backends, "fp32_precision"), reason="an older PyTorch has one way to set TF32")
def test_tf32_that_was_set_in_another_way_is_left_alone(tmp_path):
    (tmp_path / "last.ckpt").write_bytes(b"of another training")
    torch.backends.cuda.matmul.fp32_precision = "tf32"
    try:
        with pytest.raises(ValueError, match='precision must be "32-true" where torch.backends sets fp32_precision'):
            fit(new_model(), images(), SHORT, tmp_path, precision="tf32", progress=False)
        assert torch.backends.cuda.matmul.fp32_precision == "tf32"
        assert (tmp_path / "last.ckpt").read_bytes() == b"of another training"
    finally:
        torch.backends.cuda.matmul.fp32_precision = "none"


class Dtypes:
    """A cross-entropy that records the types of logits."""

    def __init__(self):
        self.seen = set()

    def __call__(self, samples, logits, labels):
        self.seen.add((samples.dtype, logits.dtype, torch.is_autocast_enabled("cpu")))
        return nn.functional.cross_entropy(logits, labels)


@pytest.mark.parametrize(("make", "kind"), [(new_model, torch.bfloat16), (spiking, torch.float32)])
def test_mixed_precision(tmp_path, make, kind):
    exact, mixed, loss, gradients = make(), make(), Dtypes(), set()
    for parameter in mixed.parameters():
        parameter.register_post_accumulate_grad_hook(lambda parameter: gradients.add(parameter.grad.dtype))
    outputs = set()
    mixed.register_forward_hook(lambda model, inputs, output: outputs.add(output.dtype))
    rows = fit(exact, images(), RECIPE, tmp_path / "exact", progress=False)
    options = {"penalty": {"wiring": 1e-9}, "progress": False}
    others = fit(mixed, images(), RECIPE, tmp_path / "mixed", precision="bf16-mixed", loss=loss, **options)
    assert gradients == {torch.float32} == {parameter.dtype for parameter in mixed.parameters()}
    assert kind in outputs and loss.seen == {(torch.float32, torch.float32, True)}
    losses = [[row["train_loss"] for row in each] for each in (rows, others)]
    assert losses[0] == pytest.approx(losses[1], rel=0.02) and losses[0] != losses[1]


def test_augmentation_and_penalty_are_in_full_precision(tmp_path):
    seen = set()

    def augment(samples):
        seen.add(("augment", (samples @ samples.T).dtype))
        return samples

    def penalty():
        ones = torch.ones(3, 3)
        seen.add(("penalty", (ones @ ones).dtype))
        return torch.zeros(())

    options = {"augment": augment, "penalty": penalty, "progress": False}
    fit(new_model(), images(), SHORT, tmp_path, precision="bf16-mixed", **options)
    assert seen == {("augment", torch.float32), ("penalty", torch.float32)}


def test_a_teacher_of_mixed_precision(tmp_path):
    loss = Distillation(nn.Linear(6, 3), teacher_share=1.0)
    rows = fit(new_model(), images(), RECIPE, tmp_path, precision="bf16-mixed", loss=loss, progress=False)
    assert rows[-1]["train_loss"] < rows[0]["train_loss"]


def test_losses_of_a_network_in_half_precision(tmp_path):
    loss = Dtypes()
    fit(nn.Linear(6, 3).bfloat16(), (images()[0].bfloat16(), images()[1]), SHORT, tmp_path, loss=loss, progress=False)
    assert loss.seen == {(torch.bfloat16, torch.float32, False)}


@pytest.mark.parametrize(
    ("precision", "message"),
    [
        ("half", "precision must be one of '32-true', 'tf32', 'bf16-mixed', '16-mixed', got 'half'"),
        (16, "precision must be one of '32-true', 'tf32', 'bf16-mixed', '16-mixed', got 16"),
        ("16-mixed", "precision must be \"bf16-mixed\" for half precision on the CPU, got '16-mixed'"),
    ],
)
def test_bad_precisions(tmp_path, precision, message):
    (tmp_path / "last.ckpt").write_bytes(b"of another training")
    with pytest.raises(ValueError, match=message):
        fit(new_model(), images(), SHORT, tmp_path, precision=precision, progress=False)
    assert (tmp_path / "last.ckpt").exists()


def without_precision(path):
    """Turn a checkpoint into one of an earlier release."""
    checkpoint = torch.load(path, weights_only=True)
    del checkpoint["spatialgraph"]["precision"]
    torch.save(checkpoint, path)


def test_a_training_is_resumed_in_its_precision(tmp_path):
    fit(new_model(), images(), SHORT, tmp_path, progress=False)
    without_precision(tmp_path / "last.ckpt")
    with pytest.raises(ValueError, match="precision was '32-true', got 'bf16-mixed'"):
        fit(new_model(), images(), SHORT, tmp_path, precision="bf16-mixed", resume=True, progress=False)
    assert len(fit(new_model(), images(), SHORT, tmp_path, resume=True, progress=False)) == 2
