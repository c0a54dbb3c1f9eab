"""Numba that is there and cannot be used: forked processes, no cache, a broken installation, few threads, no compiler.

Each case runs in a fresh process and prints what a network computes there; nothing may be killed, hang or raise, and
the numbers are those of tensor operations.
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from spatialgraph.kernels import handover

pytest.importorskip("numba")

ROOT = Path(__file__).parents[2]

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

FORKS = """
import torch.utils.data
from spatialgraph.kernels import compilation

class Data(torch.utils.data.Dataset):
    def __len__(self):
        return 1

    def __getitem__(self, place):
        return torch.tensor(used() + make()(), dtype=torch.float64)

def in_child():
    child = os.fork()
    if child == 0:
        signal.alarm(60)
        with compilation._lock:
            pass
        print(*used(), *make()(), flush=True)
        os._exit(0)
    _, status = os.waitpid(child, 0)
    if status:
        sys.exit(f"the child ended with {status}")

def in_worker():
    print(*next(iter(torch.utils.data.DataLoader(Data(), num_workers=1, multiprocessing_context="fork")))[0].tolist())

def hold():
    with compilation._lock:
        taken.set()
        threading.Event().wait()

used = make()
for threads in (1, 2):  # before the parent itself computes by a kernel
    torch.set_num_threads(threads)
    torch.nn.Linear(200, 400)(torch.rand(300, 200)).sum().backward()
    in_child()
for threads in (2, 1):
    torch.set_num_threads(threads)
    used()
    in_child()
    in_worker()
torch.set_num_threads(2)
taken = threading.Event()
threading.Thread(target=hold, daemon=True).start()
taken.wait()
in_child()
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


@pytest.fixture(scope="module")
def expected():
    return pytest.approx(by_tensor_operations(), rel=1e-4)


STEP = "print(*make()())"
SMALL = "torch.manual_seed(0)\nprint(*step(SpatialMLP([9, 8, 7]), torch.ones(2, 9)))"  # compiles in a few seconds


def test_forked_processes_compute():
    numbers, warned = run(FORKS)
    right = by_tensor_operations()
    assert len(numbers) == 7
    assert all(line == pytest.approx(right * 2, rel=1e-4) for line in numbers)
    assert not warned


def test_an_installation_that_cannot_be_written_to(tmp_path):
    # Files stand where folders are wanted, which stops the superuser too.
    copy = tmp_path / "site" / "spatialgraph"
    shutil.copytree(ROOT / "spatialgraph", copy, ignore=shutil.ignore_patterns("__pycache__"))
    folders = [copy, *(path for path in copy.rglob("*") if path.is_dir())]
    for path in (tmp_path / "home", *(folder / "__pycache__" for folder in folders)):
        path.write_text("")
    places = {"HOME": str(tmp_path / "home"), "XDG_CACHE_HOME": str(tmp_path / "home" / "cache")}
    (numbers,), warned = run(SMALL, copy.parent, PYTHONDONTWRITEBYTECODE="1", **places)
    (right,), _ = run(SMALL)
    assert numbers == right
    assert len(warned) == 1 and "set NUMBA_CACHE_DIR to a writable folder" in warned[0]
    assert "no locator available" in warned[0]


def test_a_damaged_cache(tmp_path):
    (before,), _ = run(SMALL, NUMBA_CACHE_DIR=str(tmp_path))
    kept = [*tmp_path.rglob("*.nbi"), *tmp_path.rglob("*.nbc")]
    assert len(kept) > 4
    for path in kept:
        path.write_bytes(path.read_bytes()[:40])  # as a full disk leaves it
    (after,), warned = run(SMALL, NUMBA_CACHE_DIR=str(tmp_path))
    assert after == before
    assert len(warned) == 1 and "cannot cache compiled code on disk" in warned[0]


def test_a_numba_that_cannot_be_imported(tmp_path, expected):
    (tmp_path / "numba").mkdir()
    (tmp_path / "numba" / "__init__.py").write_text("raise ImportError('Numba needs NumPy 1.26 or less')")
    (numbers,), warned = run(STEP, path=f"{tmp_path}{os.pathsep}{ROOT}")
    assert numbers == expected
    assert len(warned) == 1 and "slower tensor operations are used instead" in warned[0]
    assert "ImportError: Numba needs NumPy 1.26 or less" in warned[0]


def test_a_numba_that_cannot_compile(tmp_path, expected):
    code = """
import numba.core.compiler
def fail(*args, **kwargs):
    raise RuntimeError("LLVM is broken")
numba.core.compiler.compile_extra = fail
"""
    (numbers,), warned = run(code + STEP, NUMBA_CACHE_DIR=str(tmp_path))
    assert numbers == expected
    assert "slower tensor operations are used instead" in warned[-1] and "LLVM is broken" in warned[-1]


def test_a_compiler_that_is_switched_off(expected):
    (numbers,), warned = run(STEP, NUMBA_DISABLE_JIT="1")
    assert numbers == expected
    assert len(warned) == 1 and "NUMBA_DISABLE_JIT is set" in warned[0]


def test_threads_that_cannot_be_started(expected):
    (numbers,), warned = run("torch.set_num_threads(2)\n" + STEP, NUMBA_THREADING_LAYER="nonsense")
    assert numbers == expected
    assert len(warned) == 1 and "kernels run on one thread" in warned[0]


def test_a_single_thread_enters_no_parallel_region(expected):
    # First one thread of PyTorch, then five of them and one of Numba.
    code = "\n".join(
        [f"torch.set_num_threads({count})\n{STEP}" for count in (1, 5)]
        + ["import numba.np.ufunc.parallel as parallel", "print(int(parallel._is_initialized))"]
    )
    (one, five, entered), warned = run(code, NUMBA_NUM_THREADS="1")
    assert one == expected and five == expected
    assert entered == [0]
    assert not warned
