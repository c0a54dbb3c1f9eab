"""Launches of Triton kernels."""

import contextlib

import pytest
import torch
from conftest import DEVICE

from spatialgraph.kernels.cuda import launching


class Kernel:
    """A kernel that records what it is launched with."""

    def __init__(self, events):
        self.events = events

    def __getitem__(self, grid):
        return lambda *operands, **constants: self.events.append((grid, operands, constants))


@pytest.mark.skipif(DEVICE.type == "sim", reason="the simulated device launches in a way of its own")
def test_a_kernel_runs_on_the_device_of_its_tensors(monkeypatch):
    """Triton launches on the current device, which may be another."""
    events = []

    @contextlib.contextmanager
    def device_of(tensor):
        events.append(tensor)
        yield
        events.append("back")

    monkeypatch.setattr(torch.cuda, "device_of", device_of)
    tensor = torch.ones(2)
    launching.launch(Kernel(events), (3,), 5, tensor, SIZE=4)
    assert events[0] is tensor and events[1] == ((3,), (5, tensor), {"SIZE": 4}) and events[2] == "back"
    launching.launch(Kernel(events), (3, 0), tensor)
    assert len(events) == 3  # an empty grid launches nothing
