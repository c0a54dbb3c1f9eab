"""Times of steps in benchmarks: by the clock of the CPU, and by events of a GPU that a stand-in plays."""

import time

import pytest
import torch


class StandIn:
    """A GPU whose work is queued, and done when it is waited for; with the functions of ``torch.cuda``."""

    def __init__(self):
        self.queue, self.now, self.waits = [], 0.0, 0

    def synchronize(self):
        self.waits += 1
        for work in self.queue:
            if isinstance(work, StandInEvent):
                work.at = self.now
            else:
                self.now += work
        self.queue.clear()

    def Event(self, enable_timing=False):  # noqa: N802 - as in PyTorch
        assert enable_timing
        return StandInEvent(self)


class StandInEvent:
    def __init__(self, gpu):
        self.gpu, self.at = gpu, None

    def record(self):
        self.gpu.queue.append(self)

    def elapsed_time(self, other):
        if self.at is None or other.at is None:
            raise RuntimeError("both events must be completed before calculating elapsed time")
        return 1e3 * (other.at - self.at)


@pytest.fixture
def timing(scripts_of):
    return scripts_of("benchmarks")("timing")


@pytest.mark.parametrize("kind", ["cuda", "mps"])
def test_steps_on_a_gpu_are_timed_between_its_events(timing, monkeypatch, kind):
    gpu = StandIn()
    monkeypatch.setattr(torch, kind, gpu)
    steps = {"short": lambda: gpu.queue.append(0.25), "long": lambda: gpu.queue.append(0.5)}
    found = timing.in_turn(steps, 4, kind, in_a_row=3, warm_up=2)
    assert found == {"short": [0.25] * 12, "long": [0.5] * 12}
    assert gpu.waits == 2 * (4 + 2) + 1  # once before each turn, and at the end
    assert gpu.now == (4 + 2) * 3 * 0.75
    row = timing.compare(steps["short"], steps["long"], 2, kind)
    assert row == {"ours_ms": 250.0, "theirs_ms": 500.0, "ours_over_theirs": 0.5}


def test_work_that_runs_once_is_waited_for(timing, monkeypatch):
    gpu = StandIn()
    monkeypatch.setattr(torch, "cuda", gpu)
    monkeypatch.setattr(time, "perf_counter", lambda: gpu.now)
    gpu.queue.append(7.0)  # of others, before
    assert timing.timed(lambda: gpu.queue.append(2.0) or "result", "cuda") == ("result", 2.0)


def test_steps_on_the_cpu_are_timed_by_its_clock(timing, monkeypatch):
    now, order = [0.0], []
    monkeypatch.setattr(time, "perf_counter", lambda: now[0])

    def step(name, seconds):
        def run():
            order.append(name)
            now[0] += seconds * (4 if len(order) <= 2 else 1)  # the first of each takes longer

        return run

    steps = {"a": step("a", 0.25), "b": step("b", 0.5)}
    assert timing.in_turn(steps, 3, warm_up=1) == {"a": [0.25] * 3, "b": [0.5] * 3}
    assert order == ["a", "b"] * 4


def test_every_second_round_may_be_in_reverse_order(timing):
    order = []
    steps = {name: lambda name=name: order.append(name) for name in "abc"}
    timing.in_turn(steps, 2, warm_up=1, is_turned=True)
    assert "".join(order) == "abccbaabc"


def test_peak_memory_is_that_of_the_step(scripts_of, monkeypatch):
    memory = scripts_of("benchmarks")("memory")
    held = {"now": 100, "peak": 900}  # of others, before

    def step():
        held["peak"] = max(held["peak"], held["now"] + 50)

    for name, function in {
        "synchronize": lambda: None,
        "reset_peak_memory_stats": lambda: held.update(peak=held["now"]),
        "memory_allocated": lambda: held["now"],
        "max_memory_allocated": lambda: held["peak"],
    }.items():
        monkeypatch.setattr(torch.cuda, name, function)
    assert memory.step_bytes(step, "cuda") == 50
    assert memory.step_bytes(step, "cpu") is None
