"""Files of MNIST that are damaged are named and left alone."""

from __future__ import annotations

import gzip
import hashlib
import sys
import tracemalloc
import zlib

import numpy as np
import pytest
from idx_files import FILES, OTHER, contents, fill, idx, snapshot

from spatialgraph.datasets import idx as idx_module
from spatialgraph.datasets.mnist import load_mnist

IMAGES, LABELS = contents()[1][FILES[0]], contents()[1][FILES[1]]
DAMAGES = {
    "empty images": (FILES[0], b"", "header of 16 bytes, found 0 bytes"),
    "empty labels": (FILES[1], b"", "header of 8 bytes, found 0 bytes"),
    "half a header": (FILES[2], IMAGES[:9], "header of 16 bytes, found 9 bytes"),
    "truncated": (FILES[0], IMAGES[:-1], "expected 15696 bytes for 20 items, found 15695 bytes"),
    "header only": (FILES[0], IMAGES[:16], "expected 15696 bytes for 20 items, found 16 bytes"),
    "too long": (FILES[3], idx(np.arange(10)) + b"\0", "expected 18 bytes for 10 items, found 19 bytes"),
    "labels for images": (FILES[0], LABELS, "expected the magic number 2051, found 2049"),
    "images for labels": (FILES[1], IMAGES, "expected the magic number 2049, found 2051"),
    "a web page": (FILES[0], b"<!doctype html><html>", "expected the magic number 2051"),
    "image size": (
        FILES[0],
        idx(np.zeros((20, 32, 32))),
        r"expected images of \(28, 28\) pixels, found \(32, 32\)",
    ),
    "no item": (FILES[1], idx(np.zeros(0)), "at least one item, found 0"),
    "label": (FILES[1], idx(np.arange(20)), "labels from 0 to 9, found 19"),
    "half a gzip": (f"{FILES[0]}.gz", gzip.compress(IMAGES)[:5000], "complete gzip file, found 5000 invalid bytes"),
    "flipped gzip": (f"{FILES[1]}.gz", gzip.compress(LABELS)[:-8] + bytes(8), "complete gzip file"),
    "no gzip": (f"{FILES[1]}.gz", LABELS, "complete gzip file"),
    "empty gzip": (f"{FILES[1]}.gz", b"", "header of 8 bytes, found 0|complete gzip file, found 0 invalid"),
    "damage in a gzip": (f"{FILES[0]}.gz", gzip.compress(IMAGES[:-1]), "expected 15696 bytes"),
}


@pytest.mark.parametrize("download", [True, False])
@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_file_is_named_and_left_alone(tmp_path, no_download, damage, download):
    file, content, what = DAMAGES[damage]
    raw = fill(tmp_path)
    (raw / file.removesuffix(".gz")).unlink()
    (raw / file).write_bytes(content)
    before = snapshot(tmp_path)
    with pytest.raises(ValueError, match=what) as caught:
        load_mnist(tmp_path, download=download)
    assert str(raw / file) in str(caught.value)
    assert "Delete it and run again" in str(caught.value)
    assert snapshot(tmp_path) == before


def test_the_remains_of_an_interrupted_download_are_an_error(tmp_path, no_download):
    raw = fill(tmp_path, {f"{FILES[0]}.gz": gzip.compress(IMAGES)[:5000]})
    with pytest.raises(ValueError, match="complete gzip file"):
        load_mnist(tmp_path)
    assert (raw / f"{FILES[0]}.gz").stat().st_size == 5000


def test_a_damaged_folder_does_not_give_way_to_the_next(tmp_path, monkeypatch, no_download):
    fill(tmp_path / "cache" / "spatialgraph")
    raw = fill(tmp_path / "variable")
    (raw / FILES[0]).write_bytes(b"")
    monkeypatch.setenv("SPATIALGRAPH_DATA", str(tmp_path / "variable"))
    with pytest.raises(ValueError, match="damaged"):
        load_mnist()


def test_no_more_is_unpacked_than_the_header_promises(tmp_path, no_download):
    """A file of some kilobytes that would take 3 GB, or that says it holds that much."""
    bomb = zlib.compressobj(9, zlib.DEFLATED, 31)
    header = np.array([0x803, 20, 28, 28], ">u4").tobytes()
    block = bytes(2**24)
    packed = bomb.compress(header) + b"".join(bomb.compress(block) for _ in range(12)) + bomb.flush()
    raw = fill(tmp_path)
    (raw / FILES[0]).unlink()
    (raw / f"{FILES[0]}.gz").write_bytes(packed)
    tracemalloc.start()
    try:
        with pytest.raises(ValueError, match="expected 15696 bytes for 20 items, found more"):
            load_mnist(tmp_path)
        assert tracemalloc.get_traced_memory()[1] < 2**22
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("packed", [True, False])
@pytest.mark.parametrize("file", [FILES[0], FILES[1]])
def test_a_header_that_promises_more_than_sensible(tmp_path, no_download, file, packed):
    size = 16 if "images" in file else 8
    content = bytearray(contents()[1][file])
    content[4:8] = np.array([2**32 - 1], ">u4").tobytes()
    raw = fill(tmp_path)
    (raw / file).unlink()
    (raw / (f"{file}.gz" if packed else file)).write_bytes(gzip.compress(content[:size]) if packed else content)
    with pytest.raises(ValueError, match="damaged: expected 1000000 items at most, found 4294967295"):
        load_mnist(tmp_path)


def test_swapped_files_are_refused(tmp_path, no_download):
    files = contents()[1]
    train, test = FILES[:2], FILES[2:]
    raw = fill(tmp_path, dict(zip(test + train, (files[file] for file in FILES), strict=True)))
    with pytest.raises(ValueError, match=rf"10 training images .*{FILES[0]}.*20 test images .*swapped") as caught:
        load_mnist(tmp_path)
    assert str(raw) in str(caught.value)


def test_sets_are_named_by_their_content(tmp_path, no_download, monkeypatch):
    files = contents()[1]
    names = set()
    for number in range(5):
        changed = dict(files)
        if number < 4:
            content = bytearray(files[FILES[number]])
            content[-1] ^= 1
            changed[FILES[number]] = bytes(content)
        fill(tmp_path / str(number), changed)
        names.add(load_mnist(tmp_path / str(number)).source)
    assert len(names) == 5 and all(OTHER.fullmatch(name) for name in names)
    # What is known as MNIST are the sums of the published files, unpacked: here those of a small set.
    sums = (hashlib.sha256(files[file]).hexdigest() for file in FILES)
    monkeypatch.setattr(idx_module, "_KNOWN", {"MNIST": dict(zip(idx_module.FILES, sums, strict=True))})
    assert load_mnist(tmp_path / "4").source == "MNIST"
    assert OTHER.fullmatch(load_mnist(tmp_path / "0").source)


def test_a_broken_torchvision_is_not_called_missing(tmp_path, monkeypatch):
    (tmp_path / "torchvision.py").write_text("import a_module_that_is_not_there")
    monkeypatch.syspath_prepend(str(tmp_path))
    for name in [name for name in sys.modules if name.partition(".")[0] == "torchvision"]:
        monkeypatch.delitem(sys.modules, name)
    with pytest.raises(ModuleNotFoundError, match="a_module_that_is_not_there"):
        load_mnist(tmp_path / "data")


@pytest.mark.parametrize("part, file", [("train", FILES[1]), ("test", FILES[2])])
def test_images_and_labels_must_match(tmp_path, no_download, part, file):
    raw = fill(tmp_path)
    (raw / file).write_bytes(contents(train=7, test=7)[1][file])
    with pytest.raises(ValueError, match=rf"{part} images but \d+ {part} labels.*Delete them") as caught:
        load_mnist(tmp_path)
    assert str(raw) in str(caught.value)
