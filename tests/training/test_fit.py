import csv
import json
import os
import signal
import subprocess
import sys
import time
import types
from pathlib import Path

import pytest
import torch
from lightning.pytorch.strategies import SingleDeviceStrategy
from torch import nn
from trainings import RECIPE, images, interrupting_after, new_model

import spatialgraph as sg
from spatialgraph.training import Recipe, Result, accuracy, fit, table, task, write_results
from spatialgraph.training.batches import ShuffledBatches
from spatialgraph.training.tally import Tally


def test_training_learns_and_records_every_epoch(tmp_path):
    model, data = new_model(), images()
    before = accuracy(model, data)
    rows = fit(model, data, Recipe(epochs=30, batch_size=20), tmp_path, validation=images(seed=1), progress=False)
    assert accuracy(model, data) > max(0.8, before)
    assert [row["epoch"] for row in rows] == list(range(1, 31))
    assert set(rows[0]) == {
        "epoch",
        "train_loss",
        "train_accuracy",
        "validation_loss",
        "validation_accuracy",
        "seconds",
    }
    assert json.loads((tmp_path / "history.json").read_text()) == rows
    with (tmp_path / "history.csv").open() as file:
        written = list(csv.DictReader(file))
    assert [float(row["train_accuracy"]) for row in written] == [row["train_accuracy"] for row in rows]


def test_recorded_accuracy_is_that_of_the_model(tmp_path):
    model, held_out = new_model(), images(seed=1)
    rows = fit(model, images(), RECIPE, tmp_path, validation=held_out, progress=False)
    assert rows[-1]["validation_accuracy"] == pytest.approx(accuracy(model, held_out))


def random_spikes(seed=0):
    torch.manual_seed(seed)
    return torch.nn.Sequential(torch.nn.Sigmoid(), sg.SpatialSNN([6, 12, 3], dim=2, num_steps=4, coding="rate"))


@pytest.mark.usefixtures("ctrl_c")
@pytest.mark.parametrize("new_model", [new_model, random_spikes])
def test_a_resumed_training_ends_at_the_same_bits(tmp_path, new_model):
    whole, halves = new_model(), new_model()
    rows = fit(whole, images(), RECIPE, tmp_path / "whole", seed=3, progress=False)
    interrupted = interrupting_after(2)
    with pytest.raises(KeyboardInterrupt):
        fit(halves, images(), RECIPE, tmp_path / "halves", seed=3, penalty=interrupted, progress=False)
    again = new_model(seed=9)  # what is resumed must come from the checkpoint
    resumed = fit(again, images(), RECIPE, tmp_path / "halves", seed=3, resume=True, progress=False)
    for (name, expected), (_, found) in zip(whole.state_dict().items(), again.state_dict().items(), strict=True):
        assert torch.equal(expected, found), name
    keep = ("epoch", "train_loss", "train_accuracy")
    assert [[row[k] for k in keep] for row in resumed] == [[row[k] for k in keep] for row in rows]


@pytest.mark.usefixtures("ctrl_c")
def test_ctrl_c_leaves_ctrl_c_working(tmp_path):
    handler = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        fit(new_model(), images(), RECIPE, tmp_path, penalty=interrupting_after(1), progress=False)
    assert signal.getsignal(signal.SIGINT) is handler


KILLED = """
import os, signal, sys, torch
sys.path.insert(0, {tests!r})
from pathlib import Path
from spatialgraph.training import fit
from trainings import RECIPE, images, new_model
steps = 0
def penalty():
    global steps
    steps += 1
    if steps == 13:
        os.kill(os.getpid(), signal.SIGKILL)
    return torch.zeros(())
fit(new_model(), images(), RECIPE, Path({folder!r}), seed=3, penalty=penalty, progress=False)
"""


def test_kill_9_loses_one_epoch_at_most(tmp_path):
    code = KILLED.format(tests=str(Path(__file__).parents[1]), folder=str(tmp_path / "killed"))
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", code], capture_output=True, timeout=120, check=False)
    assert done.returncode == -signal.SIGKILL, done.stderr.decode()[-500:]
    assert len(json.loads((tmp_path / "killed" / "history.json").read_text())) == 2
    whole, again = new_model(), new_model(seed=9)
    fit(whole, images(), RECIPE, tmp_path / "whole", seed=3, progress=False)
    fit(again, images(), RECIPE, tmp_path / "killed", seed=3, resume=True, progress=False)
    assert all(torch.equal(a, b) for a, b in zip(whole.parameters(), again.parameters(), strict=True))


def test_patience_stops_early(tmp_path):
    noise = torch.randn(60, 6), torch.randint(0, 3, (60,))
    rows = fit(
        new_model(), images(), Recipe(epochs=50, batch_size=20), tmp_path, validation=noise, patience=1, progress=False
    )
    assert len(rows) < 50


def test_patience_needs_held_out_images(tmp_path):
    with pytest.raises(ValueError, match="patience needs validation images, got patience=3 without"):
        fit(new_model(), images(), RECIPE, tmp_path, patience=3)


def test_same_seed_same_bits_other_seed_other_bits(tmp_path):
    models = [new_model() for _ in range(3)]
    for number, (model, seed) in enumerate(zip(models, (1, 1, 2), strict=True)):
        fit(model, images(), RECIPE, tmp_path / str(number), seed=seed, progress=False)
    first, second, third = (model.graph.pos for model in models)
    assert torch.equal(first, second)
    assert not torch.equal(first, third)


def test_penalty_keeps_layers_apart(tmp_path):
    gaps = []
    for number, factor in enumerate((0.0, 10.0)):
        model = new_model()
        fit(
            model,
            images(),
            Recipe(epochs=40, batch_size=20),
            tmp_path / str(number),
            penalty={"collapse": factor} if factor else None,
            progress=False,
        )
        gaps.append(model.graph.positions.gaps.abs().min().item())
    assert gaps[1] > max(0.8, gaps[0])


def test_processes_share_each_batch():
    alone = ShuffledBatches(50, batch_size=8, seed=4)
    shares = [ShuffledBatches(50, batch_size=8, seed=4, rank=rank, world=2) for rank in (0, 1)]
    for sampler in (alone, *shares):
        sampler.set_epoch(7)
    for whole, first, second in zip(alone, *shares, strict=True):
        assert sorted(whole.tolist()) == sorted(first.tolist() + second.tolist())
    assert torch.equal(torch.cat(list(alone)).sort().values, torch.arange(50))


DISTRIBUTED = """
import sys, torch
sys.path.insert(0, {tests!r})
from pathlib import Path
from spatialgraph.training import fit
from trainings import RECIPE, images, new_model
model = new_model()
fit(model, images(), RECIPE, Path({folder!r}), seed=3, progress=False)
if torch.distributed.get_rank() == 0:
    torch.save(model.state_dict(), {folder!r} + "/model.pt")
"""


def test_two_processes_train_as_one(tmp_path):
    script = tmp_path / "train.py"
    script.write_text(DISTRIBUTED.format(tests=str(Path(__file__).parents[1]), folder=str(tmp_path)))
    launch = [sys.executable, "-W", "ignore", "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONWARNINGS": "ignore"}
    done = subprocess.run([*launch, str(script)], capture_output=True, env=environment, timeout=240, check=False)
    assert done.returncode == 0, done.stderr.decode()[-2000:]
    alone = new_model()
    rows = fit(alone, images(), RECIPE, tmp_path / "alone", seed=3, progress=False)
    together = torch.load(tmp_path / "model.pt", weights_only=True)
    for name, value in alone.state_dict().items():
        torch.testing.assert_close(together[name], value, rtol=1e-4, atol=1e-5)
    written = json.loads((tmp_path / "history.json").read_text())
    assert written[-1]["train_accuracy"] == pytest.approx(rows[-1]["train_accuracy"])


def test_strategies_of_lightning(tmp_path):
    models = new_model(), new_model()
    rows = [
        fit(model, images(), RECIPE, tmp_path / str(number), strategy=strategy, progress=False)
        for number, (model, strategy) in enumerate(zip(models, ("auto", SingleDeviceStrategy()), strict=True))
    ]
    assert [row["train_loss"] for row in rows[0]] == [row["train_loss"] for row in rows[1]]
    with pytest.raises(ValueError, match="strategy='together'"):
        fit(new_model(), images(), RECIPE, tmp_path, strategy="together", progress=False)


@pytest.mark.parametrize(
    ("count", "batch_size", "world"), [(90, 20, 2), (36, 7, 2), (36, 7, 3), (10, 10, 4), (5, 2, 4)]
)
def test_every_sample_counts_once(count, batch_size, world):
    samplers = [ShuffledBatches(count, batch_size, 1, rank, world) for rank in range(world)]
    alone = list(ShuffledBatches(count, batch_size, 1))
    for number, parts in enumerate(zip(*samplers, strict=True)):
        sizes = [sampler.sizes(number) for sampler in samplers]
        assert all(len(part) and whole == len(alone[number]) for part, (_, whole) in zip(parts, sizes, strict=True))
        counted = torch.cat([part[:own] for part, (own, _) in zip(parts, sizes, strict=True)])
        assert torch.equal(counted.sort().values, alone[number].sort().values)


def test_any_module_trains(tmp_path):
    rows = fit(nn.Linear(6, 3), images(), RECIPE, tmp_path, progress=False)
    assert rows[-1]["train_accuracy"] > rows[0]["train_accuracy"]


def test_table_and_files_by_hand_arithmetic(tmp_path):
    result = Result("net", 1000, 5000, (0, 1, 2), (0.90, 0.91, 0.95), "92.17", 12.4)
    assert result.percent == "92.00 ± 2.65"  # sqrt((4 + 1 + 9) / 2) = 2.646
    assert "| net   | 1,000      | 5,000    | 92.00 ± 2.65      | 92.17     | 3     | 12      |" in table([result])
    write_results(tmp_path, [result], {"command": "python x.py"})
    written = json.loads((tmp_path / "metrics.json").read_text())
    assert written["command"] == "python x.py"
    assert written["results"][0]["mean"] == pytest.approx(0.92)
    with (tmp_path / "metrics.csv").open() as file:
        row = next(csv.DictReader(file))
    assert (row["model"], float(row["mean"])) == ("net", pytest.approx(0.92))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"epochs": 0}, "epochs must be at least 1, got 0"),
        ({"learning_rate": -1.0}, "learning_rate must be above 0, got -1.0"),
        ({"batch_size": 0}, "batch_size must be at least 1, got 0"),
        ({"schedule": "cosine"}, "schedule must be one of 'constant', 'one_cycle', got 'cosine'"),
    ],
)
def test_bad_recipes(change, message):
    with pytest.raises(ValueError, match=message):
        Recipe(**change)


def test_history_seconds_grow(tmp_path):
    began = time.perf_counter()
    rows = fit(new_model(), images(), RECIPE, tmp_path, progress=False)
    seconds = [row["seconds"] for row in rows]
    assert seconds == sorted(seconds)
    assert seconds[-1] <= time.perf_counter() - began


def test_seconds_include_what_the_device_has_still_to_do(tmp_path, monkeypatch):
    """To read the figures of an epoch waits for it."""
    clock = {"now": 0.0}
    plain = Tally.sums

    def sums(tally):
        clock["now"] += 5.0
        return plain(tally)

    monkeypatch.setattr(Tally, "sums", sums)
    monkeypatch.setattr(task, "time", types.SimpleNamespace(perf_counter=lambda: clock["now"]))
    rows = fit(new_model(), images(), Recipe(epochs=2), tmp_path, progress=False)
    assert [row["seconds"] for row in rows] == [5.0, 10.0]
