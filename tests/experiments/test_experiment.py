"""Experiments: lists of runs that several processes work on, and that survive kills and full disks."""

import contextlib
import dataclasses
import functools
import json
import os
import pickle
import random
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from digit_files import write_digits
from small_experiment import EPOCHS, measured, small_experiment
from torch import nn

pytest.importorskip("lightning")
pytest.importorskip("matplotlib")

import spatialgraph as sg
from spatialgraph import experiments, training
from spatialgraph.experiments import records

PROGRAM = Path(__file__).resolve().parents[1] / "small_experiment.py"
SHORT = training.Recipe(epochs=1, learning_rate=0.05, batch_size=25)


@pytest.fixture(scope="module")
def digits(tmp_path_factory):
    return write_digits(tmp_path_factory.mktemp("digits"))


@pytest.fixture(scope="module")
def undisturbed(digits, tmp_path_factory):
    """What the small experiment measures when nothing interrupts it."""
    folder, experiment = tmp_path_factory.mktemp("undisturbed"), small_experiment(digits)
    experiment.run(folder, threads=1)
    return measured(experiment, folder)


def started(folder, digits, jobs=1, *epochs):
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(PROGRAM.parents[1])}
    command = [sys.executable, "-W", "ignore", str(PROGRAM), str(folder), digits, str(jobs), *map(str, epochs)]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    return subprocess.Popen(command, text=True, env=environment, start_new_session=True, **pipes)


def ended(process):
    printed, said = process.communicate(timeout=300)
    assert process.returncode == 0, said[-3000:]
    return json.loads(printed.splitlines()[-1])


def epochs_in(folder):
    return sum(len(json.loads(path.read_text())) for path in Path(folder).rglob("history.json"))


@pytest.mark.skipif(not hasattr(os, "killpg"), reason="needs process groups")
def test_killed_three_times_and_continued_by_two_processes(digits, undisturbed, tmp_path):
    draw = random.Random(0)
    for _ in range(3):
        process, before = started(tmp_path, digits), epochs_in(tmp_path)
        while epochs_in(tmp_path) == before and process.poll() is None:  # no kill before the first epoch ends
            time.sleep(0.01)
        time.sleep(draw.uniform(0.0, 0.3))
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
    assert None in small_experiment(digits).metrics(tmp_path)
    both = [started(tmp_path, digits) for _ in range(2)]
    assert [ended(process) for process in both] == [undisturbed] * 2


def test_several_jobs_measure_the_same(digits, undisturbed, tmp_path):
    assert ended(started(tmp_path, digits, jobs=2)) == undisturbed
    trained = Path(f"{tmp_path}.log").read_text().split()
    assert sorted(trained) == ["DenseMLP"] * 2 + ["SpatialMLP"] * 2


def test_workers_end_with_the_process_that_started_them(digits, tmp_path):
    process = started(tmp_path, digits, 2, 10_000)
    while not epochs_in(tmp_path):
        assert process.poll() is None
        time.sleep(0.01)
    process.kill()
    process.communicate()
    time.sleep(2.5)  # workers look once a second
    done = epochs_in(tmp_path)
    time.sleep(0.5)
    assert epochs_in(tmp_path) == done


def dense(digits, seeds=(0, 1), **options):
    models = [experiments.Candidate("dense", functools.partial(sg.DenseMLP, [784, 4, 10]), **options)]
    return experiments.Experiment(experiments.runs_of(models, SHORT, seeds), experiments.LazyMnist(digits))


def test_a_run_that_another_process_trains_is_waited_for(digits, tmp_path, monkeypatch):
    experiment, pauses = dense(digits), []
    lock = training.claim(records.lock_of(experiment.runs[0].folder(tmp_path)))
    lock.__enter__()

    def pause(seconds):
        pauses.append([figures is not None for figures in experiment.metrics(tmp_path)])
        lock.__exit__(None, None, None)

    monkeypatch.setattr(time, "sleep", pause)
    experiment.work(tmp_path)
    assert pauses == [[False, True]]
    assert None not in experiment.metrics(tmp_path)


def test_jobs_of_submitit(digits, tmp_path):
    submitit = pytest.importorskip("submitit")
    experiment = dense(digits)
    executor = submitit.AutoExecutor(folder=tmp_path / "logs", cluster="local")
    executor.update_parameters(timeout_min=5)
    jobs = [executor.submit(experiment.work, tmp_path / "runs", threads=1) for _ in range(2)]
    assert [job.result() for job in jobs] == [None, None]
    assert [len(result.accuracies) for result in experiment.results(tmp_path / "runs")] == [2]


def test_tasks_of_ray(digits, tmp_path):
    pytest.importorskip("ray")
    program = f"""
import functools, ray, spatialgraph as sg
from spatialgraph import experiments, training
models = [experiments.Candidate("dense", functools.partial(sg.DenseMLP, [784, 4, 10]))]
recipe = training.Recipe(epochs=1, batch_size=25)
experiment = experiments.Experiment(experiments.runs_of(models, recipe, (0, 1)), experiments.LazyMnist({digits!r}))
ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False)
work = ray.remote(lambda: experiment.work({str(tmp_path)!r}, threads=1))
print(ray.get([work.remote() for _ in range(2)]))
print([len(result.accuracies) for result in experiment.results({str(tmp_path)!r})])
"""
    ours = {"RAY_USAGE_STATS_ENABLED": "0", "RAY_worker_niceness": "0", "PYTHONPATH": str(PROGRAM.parents[1])}
    command = [sys.executable, "-W", "ignore", "-c", program]
    printed = subprocess.run(
        command, capture_output=True, text=True, env=os.environ | ours, timeout=300, check=True
    ).stdout
    assert printed.splitlines()[-2:] == ["[None, None]", "[2]"]


def test_a_full_disk_ends_with_a_sentence_and_is_continued(digits, undisturbed, tmp_path, monkeypatch):
    experiment, written, fsync = small_experiment(digits), [], os.fsync

    def full(descriptor):
        written.append(descriptor)
        if len(written) > 50:
            raise OSError(28, "No space left on device")
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(SystemExit, match=r"No space left on device: '.*'\. The same command with --resume continues"):
        experiments.as_script(lambda: experiment.run(tmp_path, threads=1))
    monkeypatch.undo()
    assert 0 < epochs_in(tmp_path) < 4 * EPOCHS
    assert not list(tmp_path.rglob("*.part"))
    experiment.run(tmp_path, threads=1)
    assert measured(experiment, tmp_path) == undisturbed


def test_a_run_that_is_continued_keeps_its_number_of_threads(digits, tmp_path):
    seen = []

    def threads(model):
        seen.append(torch.get_num_threads())
        return ()

    experiment = dense(digits, callbacks=threads)
    before = torch.get_num_threads()
    experiment.run(tmp_path, threads=2)
    (tmp_path / "dense" / "seed-1" / "metrics.json").unlink()
    experiment.run(tmp_path, threads=1)
    assert seen == [2, 2, 2] and torch.get_num_threads() == before
    assert [figures["threads"] for figures in experiment.metrics(tmp_path)] == [2, 2]


def test_a_run_that_diverges_leaves_the_others_alone(digits, tmp_path):
    def infinite():
        model = sg.DenseMLP([784, 4, 10])
        model[-1].register_forward_hook(lambda *call: call[2] * float("inf") if model.training else None)
        return model

    models = [experiments.Candidate("bad", infinite), experiments.Candidate("good", lambda: sg.DenseMLP([784, 4, 10]))]
    experiment = experiments.Experiment(experiments.runs_of(models, SHORT), experiments.LazyMnist(digits))
    with pytest.raises(FloatingPointError, match=r"1 of 2 runs failed: bad, seed 0: .*loss"):
        experiment.run(tmp_path)
    assert [result.model for result in experiment.results(tmp_path)] == ["good"]


def test_synapses_of_parametrized_layers_are_those_of_their_matrices(digits, tmp_path):
    def normalized():
        model = sg.DenseMLP([784, 3, 10])
        nn.utils.parametrizations.weight_norm(model.linears()[0])
        return model

    runs = experiments.runs_of([experiments.Candidate("normalized", normalized)], SHORT)
    (result,) = experiments.Experiment(runs, experiments.LazyMnist(digits)).run(tmp_path)
    assert result.synapses == 784 * 3 + 3 * 10
    assert result.parameters == 784 * 3 + 3 * 10 + 3 + 3 + 10


def test_images_are_loaded_once_and_not_sent_to_other_processes(digits):
    data = experiments.LazyMnist(digits)
    assert data() is data()
    assert len(pickle.dumps(data)) < 1000
    assert torch.equal(pickle.loads(pickle.dumps(data))().train_images, data().train_images)


def test_resume_off_starts_over(digits, tmp_path, capsys):
    experiment = dense(digits)
    experiment.run(tmp_path)
    model = tmp_path / "dense" / "seed-0" / "model.pt"
    model.write_bytes(b"")
    experiment.run(tmp_path)
    assert "2 of 2 runs: finished before" in capsys.readouterr().out
    assert model.read_bytes() == b""
    experiment.run(tmp_path, resume=False)
    assert model.stat().st_size > 0


def test_progress_bars_name_the_runs(digits, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("spatialgraph.experiments.progress._PAUSE", 0.01)
    small_experiment(digits).run(tmp_path, threads=1, progress=True)
    captured = capsys.readouterr()
    assert "runs: 100%" in captured.err and "spatial, seed 0" in captured.err
    assert captured.out.count("% after") == 4


@pytest.mark.parametrize(("name", "value"), [("jobs", 0), ("threads", 0), ("jobs", -2)])
def test_numbers_that_make_no_sense(digits, tmp_path, name, value):
    with pytest.raises(ValueError, match=f"{name} must be at least 1, got {value}"):
        dense(digits).run(tmp_path, **{name: value})


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="needs a file system of limited size")
def test_a_disk_that_really_fills_up(digits, undisturbed, tmp_path):
    mount = ["mount", "-t", "tmpfs", "-o", "size=400k", "tmpfs", str(tmp_path)]
    if shutil.which("mount") is None or subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("no file system can be mounted")
    try:
        stopped = started(tmp_path, digits)
        _, said = stopped.communicate(timeout=300)
        assert re.search("No space left on device: .* The same command continues once this is fixed", said)
        assert stopped.returncode == 1 and 0 < epochs_in(tmp_path) < 4 * EPOCHS
        subprocess.run(["mount", "-o", "remount,size=50m", str(tmp_path)], check=True)
        assert ended(started(tmp_path, digits)) == undisturbed
    finally:
        subprocess.run(["umount", "--lazy", str(tmp_path)], check=True)


# What is not taken for another run ----


def test_another_network_of_the_same_name_is_refused(digits, tmp_path):
    def experiment(hidden, gain=None):
        build = functools.partial(sg.SpatialMLP, [784, hidden, 10], gain=gain)
        runs = experiments.runs_of([experiments.Candidate("net", build)], SHORT)
        return experiments.Experiment(runs, experiments.LazyMnist(digits))

    experiment(4).run(tmp_path)
    experiment(4).run(tmp_path)
    with pytest.raises(experiments.OtherSettings, match=r"network of the run in .*: parameters was"):
        experiment(5).run(tmp_path)
    with pytest.raises(experiments.OtherSettings, match=r"network of the run in .*: gain was .*, got 0.5"):
        experiment(4, gain=0.5).run(tmp_path)


@pytest.mark.parametrize("before", [{"twisted": True}, {}])
def test_settings_are_compared_both_ways(digits, tmp_path, before):
    def experiment(settings):
        runs = experiments.runs_of([experiments.Candidate("net", lambda: sg.DenseMLP([784, 4, 10]))], SHORT)
        runs = [dataclasses.replace(run, settings=settings) for run in runs]
        return experiments.Experiment(runs, experiments.LazyMnist(digits))

    other = {} if before else {"twisted": True}
    experiment(before).run(tmp_path)
    assert experiment(other).metrics(tmp_path) == [None]
    with pytest.raises(experiments.OtherSettings, match="twisted was"):
        experiment(other).run(tmp_path)


def test_starting_over_deletes_all_or_nothing(digits, tmp_path):
    experiment = dense(digits)
    experiment.run(tmp_path)
    last = training.claim(records.lock_of(experiment.runs[-1].folder(tmp_path)))
    with last, pytest.raises(BlockingIOError):
        experiment.run(tmp_path, resume=False)
    assert None not in experiment.metrics(tmp_path)


def test_several_processes_need_locks(digits, tmp_path, monkeypatch):
    @contextlib.contextmanager
    def without_locks(folder):
        Path(folder).mkdir(parents=True, exist_ok=True)
        yield False

    monkeypatch.setattr(training, "claim", without_locks)
    with pytest.raises(OSError, match="folder must be on a file system with locks for several processes"):
        dense(digits).work(tmp_path)
    dense(digits).run(tmp_path)


def test_torchrun_shares_batches_and_not_runs(digits, tmp_path, monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(ValueError, match="jobs must be 1 under torchrun"):
        dense(digits).run(tmp_path, jobs=2)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"seed": -1}, ValueError, "seed must be at least 0, got -1"),
        ({"seed": 0.5}, TypeError, "seed must be an int"),
        ({"recipe": 3}, TypeError, "recipe must be a Recipe, got int"),
        ({"candidate": "net"}, TypeError, "candidate must be a Candidate, got str"),
        ({"patience": 2}, ValueError, "patience needs validate=True, got patience=2"),
        ({"penalty": {"wiring": "much"}}, TypeError, "penalty"),
        ({"settings": {"epochs": 3}}, ValueError, "settings must have other names than those of a run, got 'epochs'"),
        ({"settings": {"threads": 3}}, ValueError, "got 'threads'"),
        ({"settings": {"build": len}}, TypeError, "settings must hold JSON values"),
    ],
)
def test_runs_that_make_no_sense(options, error, message):
    given = {"candidate": experiments.Candidate("net", nn.Identity), "recipe": SHORT} | options
    with pytest.raises(error, match=message):
        experiments.Run(**given)


def test_runs_take_numbers_of_numpy_and_tuples(digits):
    run = dense(digits, seeds=np.arange(1)).runs[0]
    assert type(run.seed) is int
    assert dataclasses.replace(run, settings={"sizes": (1, 2)}).settings == {"sizes": [1, 2]}


def test_folders_that_differ_in_case_only_are_refused():
    pair = [experiments.Candidate(name, nn.Identity) for name in "aA"]
    with pytest.raises(ValueError, match="runs must have different folders"):
        experiments.Experiment(experiments.runs_of(pair, SHORT))
