"""Numba that is there and cannot be used: a broken installation, few threads, no compiler.

Each case runs in a fresh process and prints what a network computes there; nothing may be killed, hang or raise, and
the numbers are those of tensor operations.
"""

import os

import pytest
from numba_processes import ROOT, STEP, by_tensor_operations, run

pytest.importorskip("numba")


@pytest.fixture(scope="module")
def expected():
    return pytest.approx(by_tensor_operations(), rel=1e-4)


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
