import importlib
import os
import sys
from pathlib import Path

import pytest
import torch
from delayed_spikes import choose
from devices import prepare
from hypothesis import settings

ROOT = Path(__file__).resolve().parent.parent

settings.register_profile("short", deadline=None, max_examples=25, derandomize=True)
settings.load_profile("short")

DEVICE = prepare(os.environ.get("SPATIALGRAPH_DEVICE", "cpu"))


def pytest_configure(config):
    for line in (
        "ignore:`torch.jit.script:FutureWarning",  # importing PyG
        "ignore:`torch.jit.script:DeprecationWarning",
    ):
        config.addinivalue_line("filterwarnings", line)


@pytest.fixture(autouse=True)
def seeded():
    """Every test draws the same numbers, whichever tests ran before."""
    torch.manual_seed(0)


@pytest.fixture
def device():
    """The device that SPATIALGRAPH_DEVICE names."""
    return DEVICE


@pytest.fixture
def way(request, monkeypatch):
    """Let a way of computing delayed spikes be the only one."""
    choose(monkeypatch, request.param)
    return request.param


@pytest.fixture
def scripts_of(monkeypatch):
    """Return a function that makes the scripts of a folder importable by name; none is kept after the test."""
    folders = set()

    def of(folder):
        folders.add(ROOT / folder)
        monkeypatch.syspath_prepend(str(ROOT / folder))
        return importlib.import_module

    yield of
    for name, module in list(sys.modules.items()):
        if Path(getattr(module, "__file__", None) or "/").parent in folders:
            del sys.modules[name]
