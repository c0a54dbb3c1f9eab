"""Networks that compute in fresh processes, where Numba may be there, missing or broken."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from spatialgraph.kernels import handover

ROOT = Path(__file__).parents[1]
STEP = "print(*make()())"

# Training steps of a dense and a sparse network, large enough for several threads: their results as numbers.
NETWORKS = """
import os, signal, sys, threading, warnings
import torch
from spatialgraph import SpatialMLP
from spatialgraph.kernels import dense as kernels
from spatialgraph.wiring import Random

signal.alarm(200)

def make():
    torch.manual_seed(0)
    sizes = [200, 400, 10]
    x, models = torch.randn(300, 200), [SpatialMLP(sizes), SpatialMLP(sizes, wiring=Random(0.1))]
    return lambda: [value for model in models for value in step(model, x)]

def step(model, x):
    model.zero_grad()
    y = model(x)
    y.square().mean().backward()
    return float(y.detach().double().sum()), float(sum(p.grad.double().abs().sum() for p in model.parameters()))
"""


def run(code, path=ROOT, **environment):
    """Run code in a fresh process; return the lines of numbers it prints and the package's warnings."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("NUMBA_")}
    settings = inherited | {"PYTHONPATH": str(path), "PYTHONWARNINGS": "default"} | environment
    command = [sys.executable, "-c", NETWORKS + code]
    done = subprocess.run(command, capture_output=True, text=True, env=settings, cwd=os.sep)
    assert done.returncode == 0, f"{done.returncode} {done.stdout} {done.stderr}"
    warned = [line for line in done.stderr.splitlines() if "RuntimeWarning" in line and "Numba" in line]
    return [[float(word) for word in line.split()] for line in done.stdout.splitlines()], warned


def by_tensor_operations():
    """The same numbers, computed in this process."""
    names: dict = {}
    exec(NETWORKS.replace("signal.alarm(200)", ""), names)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(handover, "_numba_works", lambda: False)
        return names["make"]()()
