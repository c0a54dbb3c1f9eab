"""Checkpoints that are damaged, missing, of another training, or cut off by a full disk."""

import io
import json
import os
import re
import shutil
import signal
import threading
import warnings
import zipfile

import lightning
import pytest
import torch
from lightning.pytorch.callbacks import ModelCheckpoint
from torch import nn
from trainings import RECIPE, images

import spatialgraph as sg
from spatialgraph.training import Recipe, claim, fit
from spatialgraph.wiring import KNN


def new_model(seed=0, hidden=5):
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(6, hidden), nn.Tanh(), nn.Dropout(0.1), nn.Linear(hidden, 3))


def train(folder, model=None, data=None, recipe=RECIPE, **options):
    model = new_model() if model is None else model
    rows = fit(model, images() if data is None else data, recipe, folder, progress=False, **{"seed": 3} | options)
    return model, rows


def failing_after(epochs):
    steps = 0

    def penalty():
        nonlocal steps
        steps += 1
        if steps > 5 * epochs + 2:
            raise RuntimeError("stop")
        return torch.zeros(())

    return penalty


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """An uninterrupted training."""
    return train(tmp_path_factory.mktemp("whole"))


@pytest.fixture(scope="module")
def _stopped(tmp_path_factory):
    folder = tmp_path_factory.mktemp("stopped")
    with pytest.raises(RuntimeError, match="stop"):
        train(folder, penalty=failing_after(3))
    return folder


@pytest.fixture
def stopped(_stopped, tmp_path):
    """The folder of a training that stopped after three epochs."""
    return shutil.copytree(_stopped, tmp_path / "stopped")


def assert_goes_on(folder, whole, notes=None):
    again = new_model(seed=9)  # what is resumed must come from the checkpoint
    if notes is None:
        _, rows = train(folder, again, resume=True)
    else:
        with pytest.warns(UserWarning, match=notes):
            _, rows = train(folder, again, resume=True)
    figures = [{name: value for name, value in row.items() if name != "seconds"} for row in rows]
    assert figures == [{name: value for name, value in row.items() if name != "seconds"} for row in whole[1]]
    assert json.loads((folder / "history.json").read_text()) == rows
    for (name, expected), (_, found) in zip(whole[0].state_dict().items(), again.state_dict().items(), strict=True):
        assert torch.equal(expected, found), name


def epoch_of(path):
    return torch.load(path, weights_only=True)["epoch"]


def test_the_last_two_epochs_are_kept(stopped, whole):
    assert (epoch_of(stopped / "last.ckpt"), epoch_of(stopped / "previous.ckpt")) == (2, 1)
    assert sorted(os.listdir(stopped)) == ["history.csv", "history.json", "last.ckpt", "previous.ckpt"]
    assert_goes_on(stopped, whole)
    assert (epoch_of(stopped / "last.ckpt"), epoch_of(stopped / "previous.ckpt")) == (3, 2)


def flipped_tensor(content):
    """Flip a bit in the middle of the weights, which PyTorch reads without a word."""
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        data = archive.read(next(name for name in archive.namelist() if name.endswith("/data/0")))
    place = content.index(data) + len(data) // 2
    changed = bytearray(content)
    changed[place] ^= 1
    return bytes(changed)


def of_another_program(content):
    file = io.BytesIO()
    torch.save({"weights": torch.zeros(3)}, file)
    return file.getvalue()


DAMAGES = {
    "empty": (lambda content: b"", "is empty"),
    "half": (lambda content: content[: len(content) // 2], r"is damaged \(BadZipFile: .+\)"),
    "one byte less": (lambda content: content[:-1], r"is damaged \(.+\)"),
    "zeros at the end": (lambda content: content[:3000] + bytes(len(content) - 3000), r"is damaged \(.+\)"),
    "a flipped bit": (flipped_tensor, r"is damaged \(the checksum of its part .+data/0 is wrong\)"),
    "text": (lambda content: b"hello", r"is damaged \(.+\)"),
    "another program": (
        of_another_program,
        "has no record of its training: another program or an earlier release wrote it",
    ),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_checkpoint_gives_way_to_the_one_before(stopped, whole, damage):
    change, what = DAMAGES[damage]
    last = stopped / "last.ckpt"
    last.write_bytes(change(last.read_bytes()))
    note = rf"{re.escape(str(last))} {what}: the training continues from the previous one, .*previous.ckpt"
    assert_goes_on(stopped, whole, note)


def test_a_missing_checkpoint_gives_way_to_the_one_before(stopped, whole):
    (stopped / "last.ckpt").unlink()
    assert_goes_on(stopped, whole, r"last\.ckpt does not exist: the training continues from .*previous\.ckpt")


def test_a_damaged_one_before_does_no_harm(stopped, whole):
    (stopped / "previous.ckpt").write_bytes(b"")
    assert_goes_on(stopped, whole)


def test_a_damaged_checkpoint_never_becomes_the_one_before(stopped):
    (stopped / "last.ckpt").write_bytes(b"damaged")
    seen = []

    class Look(lightning.Callback):
        def on_train_epoch_start(self, trainer, pl_module):
            seen.append((epoch_of(stopped / "previous.ckpt"), (stopped / "last.ckpt").read_bytes() == b"damaged"))

    with pytest.warns(UserWarning, match="continues"):
        train(stopped, resume=True, callbacks=[Look()])
    assert seen == [(1, True), (1, False)]


@pytest.mark.parametrize("damage", DAMAGES)
def test_two_damaged_checkpoints_are_an_error_that_names_both(stopped, damage):
    change, what = DAMAGES[damage]
    for name in ("last.ckpt", "previous.ckpt"):
        (stopped / name).write_bytes(change((stopped / name).read_bytes()))
    before = {path.name: path.read_bytes() for path in stopped.iterdir()}
    with pytest.raises(ValueError, match=rf"no checkpoint in .*: last\.ckpt {what}; previous\.ckpt {what}\. Delete"):
        train(stopped, resume=True)
    assert {path.name: path.read_bytes() for path in stopped.iterdir()} == before


def test_a_lone_damaged_checkpoint(stopped):
    (stopped / "last.ckpt").unlink()
    (stopped / "previous.ckpt").write_bytes(b"")
    with pytest.raises(ValueError, match=r"last\.ckpt does not exist; previous\.ckpt is empty\. Delete"):
        train(stopped, resume=True)


def test_a_checkpoint_that_may_not_be_read_is_not_called_damaged(stopped):
    (stopped / "last.ckpt").unlink()
    (stopped / "last.ckpt").mkdir()
    with pytest.raises(IsADirectoryError, match=r"last\.ckpt"):
        train(stopped, resume=True)


def test_a_new_training_removes_what_could_be_resumed(stopped, whole):
    with pytest.raises(RuntimeError, match="stop"):
        train(stopped, penalty=failing_after(0))
    assert not list(stopped.glob("*.ckpt"))
    again, _ = train(stopped, resume=True)
    assert all(torch.equal(a, b) for a, b in zip(again.parameters(), whole[0].parameters(), strict=True))


def test_what_killed_trainings_left_is_removed(stopped, whole):
    for name in ("last.ckpt", "history.csv", "network.safetensors"):
        (stopped / f"{name}.17-0123abcd.part").touch()
    assert_goes_on(stopped, whole)
    assert [path.name for path in stopped.glob("*.part")] == ["network.safetensors.17-0123abcd.part"]


# What is resumed ----


@pytest.mark.parametrize(
    ("change", "what"),
    [
        ({"data": images(seed=1)}, "data was 'sha256 [0-9a-f]{64}', got 'sha256 [0-9a-f]{64}'"),
        ({"validation": images(seed=1)}, "validation was None, got 'sha256 [0-9a-f]{64}'"),
        ({"recipe": Recipe(epochs=5, learning_rate=0.05, batch_size=20)}, "recipe.epochs was 4, got 5"),
        ({"recipe": Recipe(epochs=4, learning_rate=0.01, batch_size=20)}, "recipe.learning_rate was 0.05, got 0.01"),
        ({"recipe": Recipe(4, 0.05, "one_cycle", 20, {"bias": 0.1})}, "recipe.rates was {}, got {'bias': 0.1}"),
        ({"seed": 4}, "seed was 3, got 4"),
        ({"model": new_model(hidden=6)}, r"the shape of parameter '0.weight' was \[5, 6\], got \[6, 6\]"),
        ({"model": nn.Linear(6, 3)}, r"the shape of parameter '0.weight' was \[5, 6\], got None"),
    ],
)
def test_another_training_is_not_continued(stopped, whole, change, what):
    before = {path.name: path.read_bytes() for path in stopped.iterdir()}
    with pytest.raises(ValueError, match=rf"resume must continue the training that .*last\.ckpt is of: {what}\."):
        train(stopped, resume=True, **change)
    assert {path.name: path.read_bytes() for path in stopped.iterdir()} == before
    assert_goes_on(stopped, whole)


def test_a_training_that_stopped_early_is_over(tmp_path):
    noise = torch.randn(60, 6), torch.randint(0, 3, (60,))
    options = {"validation": noise, "patience": 1, "recipe": Recipe(epochs=50, batch_size=20)}
    first, rows = train(tmp_path, **options)
    again, rows_again = train(tmp_path, new_model(seed=9), resume=True, **options)
    assert len(rows) < 50 and rows_again == rows
    assert all(torch.equal(a, b) for a, b in zip(first.parameters(), again.parameters(), strict=True))


def test_files_of_a_finished_training_are_written_again(stopped, whole):
    assert_goes_on(stopped, whole)
    for name in ("history.json", "history.csv"):
        (stopped / name).unlink()
    assert_goes_on(stopped, whole)
    assert (stopped / "history.csv").exists()


def test_own_checkpoints_of_lightning_go_on_working(tmp_path, whole):
    best = ModelCheckpoint(tmp_path / "best", monitor="train_accuracy", mode="max")
    model, _ = train(tmp_path, callbacks=[best])
    assert torch.load(best.best_model_path, weights_only=True)["state_dict"]
    assert sorted(path.name for path in tmp_path.glob("*.ckpt")) == ["last.ckpt", "previous.ckpt"]
    assert all(torch.equal(a, b) for a, b in zip(model.parameters(), whole[0].parameters(), strict=True))


def test_a_state_that_could_not_be_read_again_is_refused_at_once(tmp_path):
    class Keeper(lightning.Callback):
        def state_dict(self):
            return {"any": threading.Thread}

    with pytest.raises(TypeError, match="checkpoint must hold tensors, numbers, .*callback's state_dict may return"):
        train(tmp_path, callbacks=[Keeper()])


# Folders and disks ----


def test_folders_that_cannot_be_used(tmp_path):
    path = tmp_path / "file"
    path.write_text("no folder")
    with pytest.raises(NotADirectoryError, match=f"folder must be a folder, got the file {path}"):
        train(path)
    with pytest.raises(NotADirectoryError, match="file"):
        train(path / "inner")
    assert path.read_text() == "no folder"


def test_a_folder_that_must_not_be_written_is_noticed_before_training(tmp_path, monkeypatch):
    access = os.access
    monkeypatch.setattr(os, "access", lambda path, mode: path != tmp_path and access(path, mode))
    with pytest.raises(PermissionError, match=f"folder must be one that can be written, got {tmp_path}"):
        train(tmp_path, penalty=failing_after(0))


def test_one_training_at_a_time_uses_a_folder(tmp_path, whole):
    pytest.importorskip("fcntl")
    with claim(tmp_path), pytest.raises(BlockingIOError, match=f"another running training, got {tmp_path}"):
        train(tmp_path)
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(RuntimeError, match="stop"):
        train(tmp_path, penalty=failing_after(1))
    assert_goes_on(tmp_path, whole)  # also after an error the folder is free


@pytest.mark.parametrize("write", range(1, 4))
def test_a_full_disk_leaves_the_checkpoints_before(tmp_path, whole, monkeypatch, write):
    """After two epochs the disk takes no more files, or no more after one or two of the three of an epoch."""
    written, fsync = [], os.fsync

    def full(descriptor):
        written.append(descriptor)
        if len(written) >= 2 * 6 + 2 * write - 1:  # each file, and the folder after it
            raise OSError(28, "No space left on device")
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match=r"No space left on device: '.*/(history\.json|history\.csv|last\.ckpt)'"):
        train(tmp_path)
    monkeypatch.undo()
    assert (epoch_of(tmp_path / "last.ckpt"), epoch_of(tmp_path / "previous.ckpt")) == (1, 0)
    assert not list(tmp_path.glob("*.part"))
    assert_goes_on(tmp_path, whole)


def test_ctrl_c_while_a_checkpoint_is_written(tmp_path, whole, monkeypatch):
    handler = signal.signal(signal.SIGINT, signal.default_int_handler)
    moves, replace = [], os.replace

    def interrupted(source, target):
        moves.append(target)
        replace(source, target)
        if len(moves) == 2 * 3 + 3:  # history twice, then the checkpoint that becomes the one before
            signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr(os, "replace", interrupted)
    try:
        with pytest.raises(KeyboardInterrupt):
            train(tmp_path)
    finally:
        signal.signal(signal.SIGINT, handler)
    monkeypatch.undo()
    assert not list(tmp_path.glob("*.part"))
    model, rows = new_model(seed=9), whole[1]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        _, again = train(tmp_path, model, resume=True)
    assert len(again) == len(rows)
    assert all(torch.equal(a, b) for a, b in zip(model.parameters(), whole[0].parameters(), strict=True))


def spatial(folder, options=None, **others):
    torch.manual_seed(0)
    model = sg.SpatialMLP([6, 12, 3], dim=2, **{"wiring": KNN(k=3), "law": "gaussian"} | (options or {}))
    return train(folder, model, recipe=Recipe(epochs=1, batch_size=20), **others)


@pytest.mark.parametrize(
    ("options", "others", "message"),
    [
        ({}, {"penalty": {"wiring": 1e-3}}, r"penalty was {'wiring': 0.5}, got {'wiring': 0.001}"),
        ({}, {"penalty": None}, r"penalty was {'wiring': 0.5}, got {}"),
        ({"law": "yukawa"}, {}, "law of the network 'spatial_graph' was 'gaussian', got 'yukawa'"),
        ({"law": sg.laws.Gaussian(2.0)}, {}, "law_sigma of the network 'spatial_graph' was 1.0, got 2.0"),
        ({"polarity_mode": "binary"}, {}, "polarity_mode of the network .* was 'graded', got 'binary'"),
        ({"wiring": KNN(k=4)}, {}, r"wiring of the network .* was 'KNN\(k=3\)', got 'KNN\(k=4\)'"),
    ],
)
def test_another_penalty_or_network_does_not_continue(tmp_path, options, others, message):
    spatial(tmp_path, penalty={"wiring": 0.5})
    with pytest.raises(ValueError, match=f"resume must continue the training .*: {message}"):
        spatial(tmp_path, options, resume=True, **{"penalty": {"wiring": 0.5}} | others)


def test_what_training_changes_does_not_hinder_a_resume(tmp_path):
    law = sg.laws.InversePower(1.5, learnable=True)
    model, rows = spatial(tmp_path, {"law": law})
    model.graph.masked_share = 0.5
    sg.regrow_(model, 0.5)  # it has no wiring any more
    model.graph.gain = 2.0
    assert train(tmp_path, model, recipe=Recipe(epochs=1, batch_size=20), resume=True)[1] == rows
    checkpoint = torch.load(tmp_path / "last.ckpt", weights_only=True)
    for part in ("penalty", "networks"):  # as of an earlier release
        del checkpoint["spatialgraph"][part]
    torch.save(checkpoint, tmp_path / "last.ckpt")
    assert spatial(tmp_path, {"law": law}, resume=True, penalty={"wiring": 1.0})[1] == rows


def test_a_resume_with_another_measuring_callback_adds_its_columns(tmp_path):
    class Measure(lightning.Callback):
        def epoch_metrics(self):
            return {"measured": 1.0}

    with pytest.raises(RuntimeError, match="stop"):
        train(tmp_path, penalty=failing_after(2))
    rows = train(tmp_path, resume=True, callbacks=[Measure()])[1]
    assert ["measured" in row for row in rows] == [False, False, True, True]
    head, *lines = (tmp_path / "history.csv").read_text().splitlines()
    assert head.split(",")[-1] == "measured" and [line.split(",")[-1] for line in lines] == ["", "", "1.0", "1.0"]
