"""The loader of MNIST, without a network: small idx files, a local server, and the bundled sample."""

from __future__ import annotations

import functools
import gc
import gzip
import hashlib
import http.server
import importlib.util
import os
import re
import socket
import sys
import threading
import time
import tracemalloc
import urllib.error
import urllib.request
import warnings
import zlib
from pathlib import Path

import numpy as np
import pytest
import torch

from spatialgraph.datasets import downloads
from spatialgraph.datasets import idx as idx_module
from spatialgraph.datasets import mnist as module
from spatialgraph.datasets.mnist import Mnist, load_mnist, validation_split

# What a set of 28 x 28 images that is not MNIST is called.
OTHER = re.compile(r"other 28 x 28 images \(sha256 [0-9a-f]{12}\)")

FILES = [
    "train-images-idx3-ubyte",
    "train-labels-idx1-ubyte",
    "t10k-images-idx3-ubyte",
    "t10k-labels-idx1-ubyte",
]


def idx(array):
    header = np.array([0x800 + array.ndim, *array.shape], ">u4")
    return header.tobytes() + array.astype(np.uint8).tobytes()


def contents(train=20, test=10, seed=0):
    generator = np.random.default_rng(seed)
    arrays = []
    for count in (train, test):
        arrays += [generator.integers(0, 256, (count, 28, 28)), np.arange(count) % 10]
    return arrays, {file: idx(array) for file, array in zip(FILES, arrays, strict=True)}


def fill(root, files=None):
    raw = root / "MNIST" / "raw"
    raw.mkdir(parents=True, exist_ok=True)
    for file, content in (contents()[1] if files is None else files).items():
        (raw / file).write_bytes(content)
    return raw


def snapshot(root):
    return {path: path.read_bytes() for path in sorted(root.rglob("*")) if path.is_file()}


@pytest.fixture(autouse=True)
def isolated(monkeypatch, tmp_path):
    """No test sees the user's folders, proxies, or network."""
    monkeypatch.delenv("SPATIALGRAPH_DATA", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("no_proxy", "*")

    def unplugged(*args, **kwargs):
        raise urllib.error.URLError("the cable is unplugged")

    monkeypatch.setattr(urllib.request, "urlopen", unplugged)


@pytest.fixture
def no_download(monkeypatch):
    def never(folder):
        raise AssertionError(f"tried to download into {folder}")

    monkeypatch.setattr(downloads, "fetch", never)


@pytest.fixture(scope="module")
def sample():
    return module._read_sample()


# --- Files on disk


def test_reads_the_files_exactly(tmp_path, no_download):
    fill(tmp_path)
    before = snapshot(tmp_path)
    mnist = load_mnist(tmp_path)
    arrays, _ = contents()
    assert OTHER.fullmatch(mnist.source)
    for images, labels, pixels, digits in (
        (mnist.train_images, mnist.train_labels, arrays[0], arrays[1]),
        (mnist.test_images, mnist.test_labels, arrays[2], arrays[3]),
    ):
        assert images.dtype == torch.float32 and labels.dtype == torch.int64
        # Bit for bit what torchvision's ToTensor gives.
        assert torch.equal(images, torch.from_numpy(pixels).to(torch.float32).div(255).flatten(1))
        assert torch.equal(labels, torch.from_numpy(digits))
    assert snapshot(tmp_path) == before


def test_agrees_with_torchvision(tmp_path, no_download):
    datasets = pytest.importorskip("torchvision.datasets")
    fill(tmp_path)
    mnist = load_mnist(str(tmp_path))
    train, test = datasets.MNIST(tmp_path, train=True), datasets.MNIST(tmp_path, train=False)
    assert torch.equal((mnist.train_images * 255).round().byte(), train.data.flatten(1))
    assert torch.equal((mnist.test_images * 255).round().byte(), test.data.flatten(1))
    assert torch.equal(mnist.train_labels, train.targets)
    assert torch.equal(mnist.test_labels, test.targets)


def test_reads_packed_files(tmp_path, no_download):
    raw = fill(tmp_path)
    expected = load_mnist(tmp_path)
    for file in FILES[:3]:
        (raw / f"{file}.gz").write_bytes(gzip.compress((raw / file).read_bytes()))
        (raw / file).unlink()
    before = snapshot(tmp_path)
    mnist = load_mnist(tmp_path)
    assert torch.equal(mnist.train_images, expected.train_images)
    assert torch.equal(mnist.test_labels, expected.test_labels)
    assert snapshot(tmp_path) == before


def test_a_read_only_folder_is_enough(tmp_path, no_download):
    raw = fill(tmp_path)
    raw.chmod(0o555)
    try:
        assert OTHER.fullmatch(load_mnist(tmp_path).source)
    finally:
        raw.chmod(0o755)


def test_files_are_used_without_download_and_without_torchvision(tmp_path, monkeypatch, no_download):
    monkeypatch.setitem(sys.modules, "torchvision", None)
    fill(tmp_path)
    assert OTHER.fullmatch(load_mnist(tmp_path, download=False).source)


def test_order_of_the_folders(tmp_path, monkeypatch, no_download):
    cache, variable, given = tmp_path / "cache" / "spatialgraph", tmp_path / "variable", tmp_path / "given"
    fill(cache, contents(train=11)[1])
    assert len(load_mnist().train_labels) == 11
    monkeypatch.setenv("SPATIALGRAPH_DATA", "")
    assert len(load_mnist().train_labels) == 11
    monkeypatch.setenv("SPATIALGRAPH_DATA", str(variable))
    assert len(load_mnist().train_labels) == 11  # nothing there yet: the next one is asked
    fill(variable, contents(train=12)[1])
    assert len(load_mnist().train_labels) == 12
    fill(given, contents(train=13)[1])
    assert len(load_mnist(given).train_labels) == 13
    with pytest.warns(UserWarning, match="bundled sample"):
        assert load_mnist(tmp_path / "elsewhere", download=False).source == "bundled sample"


def test_cache_is_in_the_home_folder_by_default(tmp_path, monkeypatch):
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert module._folders(None) == [tmp_path / ".cache" / "spatialgraph"]
    assert module._folders("~/data") == [tmp_path / "data"]


def test_a_file_is_no_folder(tmp_path, monkeypatch, no_download):
    path = tmp_path / "digits.txt"
    path.write_text("0123456789")
    with pytest.raises(NotADirectoryError, match=r"data_dir must be a folder.*digits\.txt"):
        load_mnist(path)
    monkeypatch.setenv("SPATIALGRAPH_DATA", str(path))
    with pytest.raises(NotADirectoryError, match=r"SPATIALGRAPH_DATA must be a folder.*digits\.txt"):
        load_mnist(download=False)


# --- Damaged files

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
    "half a gzip": (f"{FILES[0]}.gz", gzip.compress(IMAGES)[:5000], "complete gzip file, found 5000 bytes"),
    "flipped gzip": (f"{FILES[1]}.gz", gzip.compress(LABELS)[:-8] + bytes(8), "complete gzip file"),
    "no gzip": (f"{FILES[1]}.gz", LABELS, "complete gzip file"),
    "empty gzip": (f"{FILES[1]}.gz", b"", "header of 8 bytes, found 0|complete gzip file, found 0"),
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
    monkeypatch.setattr(idx_module, "_MNIST", dict(zip(idx_module.FILES, sums, strict=True)))
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


# --- Downloads


def publish(monkeypatch, folder, files):
    """Make torchvision look for packed files in a local folder, served over HTTP; return the server."""
    datasets = pytest.importorskip("torchvision.datasets")
    folder.mkdir()
    packed = {f"{file}.gz": gzip.compress(content, mtime=0) for file, content in files.items()}
    for file, content in packed.items():
        (folder / file).write_bytes(content)

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *args):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=folder))
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
    monkeypatch.setattr(datasets.MNIST, "mirrors", [f"http://127.0.0.1:{server.server_port}/"])
    sums = [(file, hashlib.md5(content).hexdigest()) for file, content in packed.items()]
    monkeypatch.setattr(datasets.MNIST, "resources", sums)
    return server


@pytest.fixture
def server(monkeypatch, tmp_path, isolated):
    monkeypatch.undo()  # the cable is plugged in again
    monkeypatch.setenv("no_proxy", "*")
    server = publish(monkeypatch, tmp_path / "server", contents()[1])
    yield server
    server.shutdown()
    server.server_close()


def test_downloads_once_in_silence(tmp_path, server, capfd):
    folder = tmp_path / "new" / "folder"
    timeout = socket.getdefaulttimeout()
    mnist = load_mnist(folder)
    assert OTHER.fullmatch(mnist.source) and repr(mnist) == f"Mnist(train=20, test=10, source={mnist.source!r})"
    assert capfd.readouterr() == ("", "")
    assert socket.getdefaulttimeout() == timeout
    assert {path.name: path.read_bytes() for path in (folder / "MNIST" / "raw").iterdir()} == contents()[1]
    server.shutdown()
    assert torch.equal(load_mnist(folder).train_images, mnist.train_images)


def test_downloads_into_the_first_folder(tmp_path, monkeypatch, server):
    monkeypatch.setenv("SPATIALGRAPH_DATA", str(tmp_path / "variable"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    assert OTHER.fullmatch(load_mnist().source)
    assert (tmp_path / "variable" / "MNIST" / "raw" / FILES[0]).is_file()
    assert not (tmp_path / "cache").exists()


def test_completes_a_partial_set_and_keeps_what_is_there(tmp_path, server):
    folder = tmp_path / "data"
    raw = fill(folder, {FILES[0]: contents(seed=1)[1][FILES[0]]})
    kept = snapshot(folder)
    assert OTHER.fullmatch(load_mnist(folder).source)
    assert kept.items() <= snapshot(folder).items()
    assert sorted(path.name for path in raw.iterdir()) == sorted(FILES)


def test_torchvisions_old_processed_files_are_no_substitute(tmp_path, server):
    processed = tmp_path / "data" / "MNIST" / "processed"
    processed.mkdir(parents=True)
    for file in ("training.pt", "test.pt"):
        (processed / file).write_bytes(b"not a tensor")
    assert OTHER.fullmatch(load_mnist(tmp_path / "data").source)


def test_a_download_with_a_wrong_checksum_is_not_kept(tmp_path, server):
    (tmp_path / "server" / f"{FILES[2]}.gz").write_bytes(gzip.compress(b"something else"))
    with pytest.warns(UserWarning, match="failed: RuntimeError.*corrupted"):
        assert load_mnist(tmp_path / "data").source == "bundled sample"
    assert snapshot(tmp_path / "data") == {}
    assert list((tmp_path / "data" / "MNIST" / "raw").iterdir()) == []


@pytest.mark.filterwarnings("ignore::ResourceWarning")  # torchvision leaves the refused connection open
def test_a_file_the_server_does_not_have(tmp_path, server):
    for file in FILES:
        (tmp_path / "server" / f"{file}.gz").unlink()
    with pytest.warns(UserWarning, match="failed: RuntimeError.*404"):
        assert load_mnist(tmp_path / "data").source == "bundled sample"
    gc.collect()  # closes it here, not in the middle of another test


def test_no_network(tmp_path):
    pytest.importorskip("torchvision")
    with pytest.warns(UserWarning) as caught:
        mnist = load_mnist(tmp_path / "data")
    assert mnist.source == "bundled sample"
    assert len(caught) == 1 and caught[0].filename == __file__
    message = str(caught[0].message)
    for part in (
        "bundled sample of 10,000 training and 2,000 test images",
        "not comparable to those of the full set",
        str(tmp_path / "data"),
        "URLError: <urlopen error the cable is unplugged>",
        "SPATIALGRAPH_DATA",
    ):
        assert part in message
    assert "\n" not in message
    assert not (tmp_path / "data").exists()


def test_no_network_and_a_partial_set(tmp_path):
    pytest.importorskip("torchvision")
    files = contents()[1]
    fill(tmp_path, {FILES[0]: files[FILES[0]], FILES[3]: files[FILES[3]]})
    before = snapshot(tmp_path)
    with pytest.warns(UserWarning, match=f"lacks {FILES[1]}, {FILES[2]}; the download into .* failed"):
        assert load_mnist(tmp_path).source == "bundled sample"
    assert snapshot(tmp_path) == before


@pytest.mark.parametrize("error", [RuntimeError("no\nmirror"), TimeoutError("timed out"), EOFError("cut off")])
def test_a_download_that_breaks_off(tmp_path, monkeypatch, error):
    datasets = pytest.importorskip("torchvision.datasets")
    monkeypatch.setattr(downloads, "_contact", lambda urls: None)
    timeout = socket.getdefaulttimeout()

    def download(self):
        Path(self.raw_folder).mkdir(parents=True)
        (Path(self.raw_folder) / f"{FILES[0]}.gz").write_bytes(b"half")
        raise error

    monkeypatch.setattr(datasets.MNIST, "download", download)
    with pytest.warns(UserWarning, match=f"failed: {type(error).__name__}: [a-z ]+[.]"):
        assert load_mnist(tmp_path / "data").source == "bundled sample"
    assert snapshot(tmp_path / "data") == {}
    assert socket.getdefaulttimeout() == timeout


def test_a_folder_that_cannot_be_written(tmp_path, monkeypatch):
    pytest.importorskip("torchvision")
    monkeypatch.setattr(downloads, "_contact", lambda urls: None)
    (tmp_path / "MNIST").write_text("a file where a folder should be")
    with pytest.warns(UserWarning, match="download into .* failed: (FileExists|NotADirectory)Error"):
        assert load_mnist(tmp_path).source == "bundled sample"


def test_a_silent_server_does_not_hang_the_loader(tmp_path, server, monkeypatch):
    from torchvision import datasets

    with socket.create_server(("127.0.0.1", 0)) as silent:
        monkeypatch.setattr(downloads, "_PATIENCE", 0.3)
        address = f"http://127.0.0.1:{silent.getsockname()[1]}/"
        monkeypatch.setattr(datasets.MNIST, "mirrors", [address, address])
        start = time.monotonic()
        with pytest.warns(UserWarning, match="no server answered within 0.3 seconds|timed out"):
            assert load_mnist(tmp_path / "data").source == "bundled sample"
        assert time.monotonic() - start < 5


def test_torchvision_is_asked_for(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "torchvision", None)
    with pytest.raises(ImportError, match=r'pip install "spatialgraph\[train\]"'):
        load_mnist(tmp_path)
    with pytest.warns(UserWarning, match="download=False"):
        assert load_mnist(tmp_path, download=False).source == "bundled sample"


# --- The bundled sample


def test_sample_is_balanced_and_looks_like_mnist(sample):
    assert sample.source == "bundled sample"
    assert sample.train_images.shape == (10000, 784) and sample.test_images.shape == (2000, 784)
    for images, labels, each in (
        (sample.train_images, sample.train_labels, 1000),
        (sample.test_images, sample.test_labels, 200),
    ):
        assert images.dtype == torch.float32 and labels.dtype == torch.int64
        assert labels.bincount().tolist() == [each] * 10
        assert images.min() == 0 and images.max() == 1
        # The full training set has mean 0.1307 and standard deviation 0.3081.
        assert images.mean().item() == pytest.approx(0.1307, abs=0.004)
        assert images.std().item() == pytest.approx(0.3081, abs=0.005)
        assert len(labels[:100].unique()) == 10  # mixed, not sorted by digit


def test_sample_images_fit_their_labels(sample):
    """Nearest class mean reaches about 82 % on MNIST: enough to see that no row was shifted."""
    means = torch.stack([sample.train_images[sample.train_labels == digit].mean(0) for digit in range(10)])
    guess = torch.cdist(sample.test_images, means).argmin(1)
    assert 0.75 < (guess == sample.test_labels).float().mean() < 0.9


def test_sample_has_no_image_in_both_parts(sample):
    train, test = ({row.tobytes() for row in part.numpy()} for part in (sample.train_images, sample.test_images))
    assert len(train) == 10000 and len(test) == 2000
    assert not train & test


def test_sample_is_small():
    assert module._SAMPLE.stat().st_size < 2_000_000


def test_download_false_says_what_it_gives(tmp_path):
    with pytest.warns(UserWarning, match="bundled sample.*not comparable.*holds no MNIST file; download=False"):
        mnist = load_mnist(download=False)
    assert repr(mnist) == "Mnist(train=10000, test=2000, source='bundled sample')"
    assert not (tmp_path / "cache").exists()


def test_a_damaged_sample_is_named(tmp_path, monkeypatch):
    good = module._SAMPLE.read_bytes()
    path = tmp_path / "mnist_sample.npz"
    monkeypatch.setattr(module, "_SAMPLE", path)
    middle = bytearray(good)
    middle[len(good) // 2] ^= 0xFF
    for content in (b"", b"PK", good[: len(good) // 2], good[1000:], bytes(middle)):
        path.write_bytes(content)
        with pytest.raises(ValueError, match="bundled sample .*mnist_sample.npz is damaged.*install"):
            module._read_sample()
    path.unlink()
    with pytest.raises(FileNotFoundError, match="bundled sample .*mnist_sample.npz is missing"):
        load_mnist(download=False)


def test_a_sample_of_the_wrong_kind_is_named(tmp_path, monkeypatch):
    path = tmp_path / "mnist_sample.npz"
    monkeypatch.setattr(module, "_SAMPLE", path)
    labels, images = np.zeros(3, np.uint8), np.zeros((3, 28, 28), np.uint8)
    whole = {"train_images": images, "train_labels": labels, "test_images": images, "test_labels": labels}
    for change in (
        {"train_images": images.astype(float)},
        {"train_images": images.reshape(3, 784)},
        {"train_labels": labels[:2]},
        {"test_labels": np.array([None, 1, 2], dtype=object)},  # would need pickle, which may run code
    ):
        np.savez(path, **whole | change)
        with pytest.raises(ValueError, match="bundled sample .*mnist_sample.npz is damaged"):
            module._read_sample()


# --- Validation split


def numbered(count):
    images = torch.arange(count, dtype=torch.float32)[:, None].expand(count, 784)
    return Mnist(images, torch.arange(count), images[:2], torch.arange(2), source="MNIST")


def test_split_is_a_partition_with_matching_labels():
    train_images, train_labels, val_images, val_labels = validation_split(numbered(100), size=30)
    assert train_images.shape == (70, 784) and val_images.shape == (30, 784)
    assert torch.equal(torch.cat([train_labels, val_labels]).sort().values, torch.arange(100))
    assert torch.equal(train_images[:, 5].long(), train_labels)
    assert torch.equal(val_images[:, 5].long(), val_labels)


def test_split_depends_on_its_seed_only():
    torch.manual_seed(1)
    first = validation_split(numbered(100), size=30)[3]
    torch.manual_seed(2)
    state = torch.get_rng_state()
    assert torch.equal(validation_split(numbered(100), size=30)[3], first)
    assert torch.equal(torch.get_rng_state(), state)
    assert not torch.equal(validation_split(numbered(100), size=30, seed=1)[3], first)


def test_split_of_the_sample_by_default(sample):
    train_images, train_labels, val_images, val_labels = validation_split(sample)
    assert train_images.shape == val_images.shape == (5000, 784)
    assert min(train_labels.bincount().min(), val_labels.bincount().min()) > 400


@pytest.mark.parametrize("size", [1, 99])
def test_split_sizes_at_the_limits(size):
    assert len(validation_split(numbered(100), size=size)[3]) == size


@pytest.mark.parametrize("size", [-1, 0, 100, 101])
def test_split_refuses_a_size_that_leaves_nothing(size):
    with pytest.raises(ValueError, match=rf"size must be between 1 and .* \(99\), got {size}"):
        validation_split(numbered(100), size=size)


def test_mnist_is_frozen():
    with pytest.raises(AttributeError):
        numbered(3).source = "elsewhere"


# --- The full set, where it is at hand

FULL = os.environ.get("SPATIALGRAPH_DATA", "")


def script():
    path = Path(__file__).parents[1] / "scripts" / "make_mnist_sample.py"
    if not path.is_file():
        pytest.skip("the scripts are not part of this installation")
    spec = importlib.util.spec_from_file_location("make_mnist_sample", path)
    made = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(made)
    return made


@pytest.mark.skipif(
    not (Path(FULL) / "MNIST" / "raw" / FILES[0]).is_file(), reason="SPATIALGRAPH_DATA does not hold MNIST"
)
def test_the_full_set_and_the_sample_drawn_from_it(monkeypatch, no_download):
    monkeypatch.setenv("SPATIALGRAPH_DATA", FULL)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        mnist = load_mnist()
    assert repr(mnist) == "Mnist(train=60000, test=10000, source='MNIST')"
    assert mnist.train_images.mean().item() == pytest.approx(0.1307, abs=1e-4)
    assert mnist.train_images.std().item() == pytest.approx(0.3081, abs=1e-4)
    arrays = script().draw(mnist)
    with np.load(module._SAMPLE, allow_pickle=False) as file:
        assert sorted(file) == sorted(arrays)
        for name, array in arrays.items():
            assert np.array_equal(file[name], array)


def test_the_sample_is_drawn_from_the_full_set_only(sample):
    with pytest.raises(ValueError, match=r"drawn from the full MNIST .* got Mnist\(train=10000"):
        script().draw(sample)


def test_the_script_writes_the_same_bytes_each_time(tmp_path):
    arrays = {"images": np.arange(784, dtype=np.uint8).reshape(1, 28, 28), "labels": np.array([3], np.uint8)}
    first, second = tmp_path / "first.npz", tmp_path / "second.npz"
    write = script().write
    write(arrays, first)
    os.utime(first, (0, 0))
    write(arrays, second)
    assert first.read_bytes() == second.read_bytes()
    with np.load(first, allow_pickle=False) as file:
        assert {name: file[name].tolist() for name in file} == {k: v.tolist() for k, v in arrays.items()}
