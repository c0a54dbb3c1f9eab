"""Compiled code on disk: files of their own for each version of the source and each combination of dtypes."""

import importlib.util
import os

import numpy as np
import pytest

from spatialgraph.kernels import compilation

pytest.importorskip("numba")

SOURCE = """
from numba import prange
from spatialgraph.kernels.compilation import kernel

@kernel()
def fill(values, parts):
    for part in prange(parts):
        values[:] = {}
"""


def loaded(path, number):
    """Write the loops to a file that always has the same size and time, and load it."""
    path.write_text(SOURCE.format(number))
    os.utime(path, (1e9, 1e9))
    compilation._source.cache_clear()
    specification = importlib.util.spec_from_file_location("filling", path)
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module.fill


def filled(fill, kind):
    values = np.zeros(2, kind)
    fill(values, 1)
    return values.tolist()


@pytest.fixture
def path(tmp_path, monkeypatch):
    from numba import config

    monkeypatch.setattr(config, "CACHE_DIR", "")
    yield tmp_path / "filling.py"
    compilation._source.cache_clear()


def test_each_combination_of_dtypes_has_files_of_its_own(path):
    fill = loaded(path, 1)
    for kind in (np.float32, np.float64, np.float32):
        assert filled(fill, kind) == [1, 1]
    assert len(list(path.parent.rglob("*.nbi"))) == len(list(path.parent.rglob("*.nbc"))) == 2


def test_compiled_code_of_another_source_is_not_used(path, monkeypatch):
    monkeypatch.setattr("sys.dont_write_bytecode", True)  # Python's own cache goes by size and time
    assert filled(loaded(path, 1), np.float32) == [1, 1]
    assert filled(loaded(path, 2), np.float32) == [2, 2]
    assert len(list(path.parent.rglob("*.nbi"))) == 2
