"""A cache of compiled code that cannot be written or read: the code is compiled again, with a warning."""

import shutil

import pytest
from numba_processes import ROOT, run

pytest.importorskip("numba")

SMALL = "torch.manual_seed(0)\nprint(*step(SpatialMLP([9, 7]), torch.ones(2, 9)))"  # compiles in a few seconds


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
