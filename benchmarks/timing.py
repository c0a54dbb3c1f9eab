"""Times of steps that take turns, by the clock of the device that runs them."""

import statistics
import time
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import torch

Step = Callable[[], object]
Result = TypeVar("Result")


class HostClock:
    """The clock of the CPU, where a step is over when its function returns."""

    def mark(self) -> float:
        """Return the time of now."""
        return time.perf_counter()

    def wait(self) -> None:
        """Return when all steps are over, which they are."""

    def seconds(self, first: float, last: float) -> float:
        """Return the time between two marks."""
        return last - first


class EventClock:
    """The clock of a GPU, which runs a step after its function has returned: events in the queue of its work."""

    def __init__(self, kind: str) -> None:
        self.module = getattr(torch, kind)

    def mark(self) -> Any:  # noqa: ANN401 - the class of an event depends on the device
        """Return an event for the time at which the work queued so far is done."""
        event = self.module.Event(enable_timing=True)
        event.record()
        return event

    def wait(self) -> None:
        """Return when all steps are over."""
        self.module.synchronize()

    def seconds(self, first: Any, last: Any) -> float:  # noqa: ANN401
        """Return the time between two events that are over."""
        return 1e-3 * float(first.elapsed_time(last))


def clock_of(device: torch.device | str) -> HostClock | EventClock:
    """Return the clock that measures what runs on a device."""
    kind = torch.device(device).type
    return HostClock() if kind == "cpu" else EventClock(kind)


def in_turn(
    steps: Mapping[str, Step],
    rounds: int,
    device: torch.device | str = "cpu",
    *,
    in_a_row: int = 1,
    warm_up: int = 3,
    is_turned: bool = False,
) -> dict[str, list[float]]:
    """Return the seconds of each step of several candidates, which run alternately.

    A GPU is waited for between two candidates, so that the launches of one are not hidden by work that the other left
    in the queue, and not between the steps of one.

    Args:
        steps: the candidates by name.
        rounds: turns of each candidate that are measured.
        device: where the steps run.
        in_a_row: steps of a candidate in each turn.
        warm_up: rounds before those that are measured.
        is_turned: whether every second round is in reverse order.
    """
    clock = clock_of(device)
    marks: dict[str, list[tuple[Any, Any]]] = {name: [] for name in steps}
    for number in range(warm_up + rounds):
        for name in reversed(list(steps)) if is_turned and number % 2 else steps:
            step = steps[name]
            clock.wait()
            for _ in range(in_a_row):
                first = clock.mark()
                step()
                last = clock.mark()
                if number >= warm_up:
                    marks[name].append((first, last))
    clock.wait()
    return {name: [clock.seconds(*pair) for pair in pairs] for name, pairs in marks.items()}


def compare(
    ours: Step, theirs: Step, rounds: int, device: torch.device | str = "cpu", in_a_row: int = 1
) -> dict[str, float]:
    """Return the median milliseconds of both, run alternately for several steps, and the ratio of the medians."""
    seconds = in_turn({"ours": ours, "theirs": theirs}, rounds, device, in_a_row=in_a_row)
    mine, other = (1e3 * statistics.median(record) for record in seconds.values())
    return {"ours_ms": mine, "theirs_ms": other, "ours_over_theirs": mine / other}


def timed(work: Callable[[], Result], device: torch.device | str = "cpu") -> tuple[Result, float]:
    """Return the result of work that runs once, and the seconds that host and device take for it."""
    clock = clock_of(device)
    clock.wait()
    began = time.perf_counter()
    result = work()
    clock.wait()
    return result, time.perf_counter() - began
