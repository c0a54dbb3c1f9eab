"""What a user sees who imports, builds, trains and prunes for the first time: no warning of another package."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent

SCRIPT = """
import sys, warnings
if "without-numba" in sys.argv:
    sys.modules["numba"] = None
import torch
import spatialgraph as sg

# Nothing that takes long is imported before it is used.
assert not {"torch_geometric", "lightning", "networkx", "pandas", "matplotlib"} & sys.modules.keys()
assert {"SpatialConv", "SpatialGNN", "SpatialSimpleConv"} <= set(dir(sg))
assert not hasattr(sg, "SpatialLayer") and "torch_geometric" not in sys.modules
from spatialgraph import *
assert issubclass(SpatialConv, sys.modules["torch_geometric"].nn.MessagePassing) and sg.SpatialConv is SpatialConv

torch.manual_seed(0)
model = sg.SpatialMLP([12, 8, 3])
optimizer = torch.optim.AdamW(model.parameters())
x, y = torch.rand(8, 12), torch.randint(3, (8,))


def step():
    optimizer.zero_grad()
    torch.nn.functional.cross_entropy(model(x), y).backward()
    optimizer.step()


step()
sg.prune_(model.graph, 0.9)
step()
model.eval()(x)
sg.summary(model)
sg.save(model.graph, "network.safetensors")
sg.load("network.safetensors").to_data()
sg.from_networkx(sg.to_networkx(model.graph))
sg.SpatialMLP([12, 8, 3], wiring=sg.wiring.KNN(k=2))(x).sum().backward()
sg.SpatialSNN([12, 8, 3])(x).sum().backward()
if "without-numba" not in sys.argv:
    from spatialgraph import training

    mlp = sg.SpatialMLP([12, 8, 3], wiring=sg.wiring.KNN(k=2))
    training.fit(mlp, (x, y), training.Recipe(epochs=1), "run", progress=False)
# The user's own filters stay: what says the same elsewhere is shown.
for category in (FutureWarning, DeprecationWarning, UserWarning):
    warnings.warn("`torch.jit.script` of my own", category)
    warnings.warn("Sparse CSR tensor support is in beta, of my own", category)
"""


def screen(code, folder, *arguments):
    environment = os.environ | {"PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'examples'}", "OMP_NUM_THREADS": "1"}
    environment.pop("PYTHONWARNINGS", None)
    command = [sys.executable, "-W", "default", *code, *arguments]
    done = subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stderr


@pytest.mark.parametrize("arguments", [(), ("without-numba",)], ids=["with numba", "without numba"])
def test_no_warnings_of_others(arguments, tmp_path):
    if not arguments:
        pytest.importorskip("lightning")
    shown = screen(["-c", SCRIPT], tmp_path, *arguments).splitlines()
    assert [line for line in shown if "of my own" not in line] == []
    assert len(shown) == 6
