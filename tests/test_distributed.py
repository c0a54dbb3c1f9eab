"""Two processes train as one would, whatever their random wirings and however the network changes.

As a script, ``python tests/test_distributed.py docs/results/distributed.json`` writes the figures.
"""

import contextlib
import json
import os
import subprocess
import sys
import tempfile
import warnings
from pathlib import Path

import lightning
import pytest
import torch
import torch.distributed as dist
from torch import nn
from torch.nn.parallel import DistributedDataParallel

import spatialgraph as sg
from spatialgraph.training import EverySteps, GradualPruning, Recipe, Rewire, environment, fit
from spatialgraph.wiring import KNN, Radius, Random

# Two processes have 4 and 3 samples of a batch; the last batch has a single one, so that one of them gets none.
RECIPE = Recipe(epochs=3, learning_rate=0.05, batch_size=7)
COUNT, STEPS = 36, 18


def images(count=COUNT, seed=0):
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(count, 6, generator=generator).double()
    return x, x[:, :3].argmax(1)


def layered(**options):
    return sg.SpatialGraph.layered([6, 12, 3], dim=2, **options).double()


def mlp(**options):
    return sg.SpatialMLP(layered(**options))


def pruned():
    model = mlp()
    pruner = sg.PruneWhileTraining(0.7).attach(model.graph)
    return model, [GradualPruning(pruner, end=0.5)]


def rewired(model, steps=4):
    return model, [Rewire(steps)]


def drawn_again(model, steps=4):
    return model, [EverySteps(steps, model.graph.rewire_)]


def pruned_for_good():
    model = sg.SpatialMLP(layered(wiring=Random(0.7), weight_mode="both"))
    return model, [EverySteps(5, lambda: sg.prune_(model.graph, 0.2))]


def spiking(**options):
    graph = layered(weight_mode="free", velocity=1.0, **options)
    return sg.SpatialSNN(graph, num_steps=4, read_out="potential")


CASES = {
    "layered": lambda: (mlp(), []),
    "layered, a dense model": lambda: (nn.Sequential(nn.Linear(6, 12), nn.Tanh(), nn.Linear(12, 3)).double(), []),
    "nearest": lambda: (mlp(wiring=KNN(k=4)), []),
    "nearest with rewiring": lambda: rewired(mlp(wiring=KNN(k=4))),
    "nearest with factors and rewiring": lambda: rewired(mlp(wiring=KNN(k=4), weight_mode="both")),
    "random with rewiring": lambda: drawn_again(mlp(wiring=Random(0.4))),
    "random with factors and rewiring": lambda: drawn_again(mlp(wiring=Random(0.4), weight_mode="both")),
    "pruning in training": pruned,
    "pruning for good in training": pruned_for_good,
    "spiking with free weights": lambda: (spiking(), []),
    "spiking with free weights, radius, rewiring": lambda: rewired(spiking(wiring=Radius(r=1.5))),
}


class Losses(lightning.Callback):
    """The loss of every step, before and after its update through the next."""

    def __init__(self):
        self.values = []

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
        self.values.append(outputs["loss"].item())


def train(make, folder, seed=0):
    """Train a model and return the losses of all steps and the figures of each epoch."""
    torch.manual_seed(seed)  # in each process another one
    model, callbacks = make()
    losses = Losses()
    options = {"validation": images(seed=1), "progress": False, "seed": 3}
    rows = fit(model, images(), RECIPE, folder, callbacks=[*callbacks, losses], **options)
    figures = [{name: value for name, value in row.items() if name != "seconds"} for row in rows]
    state = {name: values for name, values in model.state_dict().items()}
    return {"losses": losses.values, "rows": figures}, state


# What a process does -------------------------------------------------------------------------------------------------


def random_model(rank, **options):
    torch.manual_seed(rank)
    return mlp(wiring=Random(0.4), **options)


def unequal_wirings_are_refused(rank):
    wrapped = DistributedDataParallel(random_model(rank))
    with refusal() as found:
        wrapped(images()[0])
    return found


def a_change_in_one_process_is_refused(rank):
    model = sg.synchronize_(random_model(rank))
    wrapped = DistributedDataParallel(model)
    wrapped(images()[0]).sum().backward()
    sg.regrow_(model.graph, 0.5 * rank)
    with refusal() as found:
        wrapped(images()[0])
    return found


def models_built_unlike_are_refused_everywhere(rank):
    with refusal() as found:
        sg.synchronize_(nn.Linear(3, 2 + rank))
    return found


def free_weights_of_another_number_are_refused(rank):
    """Without the help of ``fit`` an optimiser notices that its state does not fit."""
    model = sg.synchronize_(random_model(rank, weight_mode="both"))
    wrapped = DistributedDataParallel(model)
    optimizer = torch.optim.Adam(wrapped.parameters())
    wrapped(images()[0]).sum().backward()
    optimizer.step()
    sg.prune_(model.graph, 0.5)
    with refusal() as found:
        for _ in range(2):
            optimizer.zero_grad()
            wrapped(images()[0]).sum().backward()
            optimizer.step()
    return found


def all_take_over_the_source(rank):
    model = sg.SpatialMLP(layered(wiring=Radius(r=1.5 + rank), weight_mode="both", anchored=[0]))
    batch_norm = nn.BatchNorm1d(3).double()
    batch_norm(torch.randn(4, 3).double() + rank)
    whole = nn.Sequential(model, batch_norm)
    parameters = list(whole.parameters())
    sg.synchronize_(whole, source=1)
    assert all(a is b for a, b in zip(parameters, whole.parameters(), strict=True))
    step = DistributedDataParallel(whole.eval())(images()[0])
    step.sum().backward()
    return {"synapses": model.graph.synapses, "output": step.tolist(), "mean": batch_norm.running_mean.tolist()}


CHECKS = (
    unequal_wirings_are_refused,
    a_change_in_one_process_is_refused,
    models_built_unlike_are_refused_everywhere,
    free_weights_of_another_number_are_refused,
    all_take_over_the_source,
)


@contextlib.contextmanager
def refusal():
    found = {}
    try:
        yield found
    except RuntimeError as error:
        found["message"] = str(error)


def work(folder):
    """All cases, in one of the processes that ``torchrun`` started."""
    rank = int(os.environ["RANK"])
    found = {}
    for name, make in CASES.items():
        found[name], state = train(make, folder / name, seed=rank)
        torch.save(state, folder / f"{name}.{rank}.pt")
    for check in CHECKS:
        found[check.__name__] = check(rank)
        dist.barrier()
    (folder / f"{rank}.json").write_text(json.dumps(found))
    dist.destroy_process_group()


# What is asked of it -------------------------------------------------------------------------------------------------


def launch(folder):
    """Start two processes and return what each has found."""
    command = [sys.executable, "-W", "ignore", "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    package = str(Path(sg.__file__).parent.parent)
    variables = {"OMP_NUM_THREADS": "1", "PYTHONWARNINGS": "ignore", "PYTHONPATH": package}
    done = subprocess.run(
        [*command, __file__, str(folder)], capture_output=True, env=os.environ | variables, timeout=300, check=False
    )
    assert done.returncode == 0, done.stderr.decode()[-3000:]
    return [json.loads((folder / f"{rank}.json").read_text()) for rank in range(2)]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("processes")


@pytest.fixture(scope="module")
def processes(folder):
    return launch(folder)


def largest_difference(alone, processes, name):
    together = [sum(losses) / 2 for losses in zip(*(each[name]["losses"] for each in processes), strict=True)]
    return max(abs(a - b) for a, b in zip(together, alone["losses"], strict=True))


@pytest.mark.parametrize("name", CASES)
def test_the_loss_curve_is_that_of_one_process(name, processes, folder, tmp_path):
    alone, state = train(CASES[name], tmp_path)
    assert len(set(alone["losses"])) == STEPS
    torch.manual_seed(0)
    first = CASES[name]()[0].state_dict()
    changed = [not torch.equal(first[key], state[key]) for key in state if key.endswith("_extra_state")]
    assert any(changed) == ("rewiring" in name or "pruning" in name)
    assert largest_difference(alone, processes, name) < 1e-6
    for each in processes:
        for row, expected in zip(each[name]["rows"], alone["rows"], strict=True):
            assert row == pytest.approx(expected, abs=1e-6)
    states = [torch.load(folder / f"{name}.{rank}.pt", weights_only=True) for rank in range(2)]
    for key, values in state.items():
        assert torch.equal(states[0][key], states[1][key]), key
        torch.testing.assert_close(states[0][key], values, rtol=1e-6, atol=1e-6)


def test_a_network_of_another_wiring_is_refused(processes):
    first, second = processes
    for name in ("unequal_wirings_are_refused", "a_change_in_one_process_is_refused"):
        assert not first[name]  # its own buffers were sent
        assert "sg.synchronize_(model)" in second[name]["message"]


def test_models_built_unlike_are_refused_by_all(processes):
    for each in processes:
        message = each["models_built_unlike_are_refused_everywhere"]["message"]
        assert (
            message.startswith("model of process 1 must be built like that of process 0") and "size mismatch" in message
        )


def test_free_weights_of_another_number_are_refused(processes):
    assert all(each["free_weights_of_another_number_are_refused"]["message"] for each in processes)


def test_all_take_over_the_source(processes):
    first, second = (each["all_take_over_the_source"] for each in processes)
    assert first == second and first["synapses"] > 0 and any(first["mean"])


# One process ---------------------------------------------------------------------------------------------------------


def test_a_process_alone_stays_as_it_is():
    model = mlp(wiring=Random(0.4))
    before = {name: values.clone() for name, values in model.state_dict().items()}
    assert sg.synchronize_(model) is model
    assert all(torch.equal(values, before[name]) for name, values in model.state_dict().items())


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: sg.synchronize_(3), TypeError, "model must be an nn.Module, got int"),
        (lambda: sg.synchronize_(mlp(), source=-1), ValueError, "source must be at least 0, got -1"),
        (lambda: sg.synchronize_(mlp(), source="first"), TypeError, r"source must be an int, got 'first' \(str\)"),
    ],
)
def test_wrong_calls(call, error, message):
    with pytest.raises(error, match=message):
        call()


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    target = Path(sys.argv[1])
    if "RANK" in os.environ:
        work(target)
    else:
        with tempfile.TemporaryDirectory() as name:
            apart = launch(Path(name))
            figures = {case: largest_difference(train(CASES[case], name)[0], apart, case) for case in CASES}
        about = {"command": "python tests/test_distributed.py docs/results/distributed.json", **environment()}
        about["largest difference of the losses of all steps, two processes against one"] = figures
        target.write_text(json.dumps(about, indent=1, ensure_ascii=False) + "\n")
