"""The loader of MNIST, without a network: which files it takes, and the validation split."""

from __future__ import annotations

import gzip
import sys
from pathlib import Path

import pytest
import torch
from idx_files import FILES, OTHER, contents, fill, snapshot

from spatialgraph.datasets import mnist as module
from spatialgraph.datasets.mnist import Mnist, load_mnist, validation_split

FASHION = Path("/usr/share/datasets/fashion-mnist")

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


def test_reads_files_without_folders_of_their_own(tmp_path, no_download):
    raw = fill(tmp_path / "in folders")
    expected = load_mnist(tmp_path / "in folders")
    raw.rename(tmp_path / "flat")
    mnist = load_mnist(tmp_path / "flat")
    assert torch.equal(mnist.train_images, expected.train_images) and mnist.source == expected.source


@pytest.mark.skipif(not FASHION.is_dir(), reason="needs Debian's package dataset-fashion-mnist")
def test_fashion_mnist_is_recognised(no_download):
    fashion = load_mnist(FASHION)
    assert fashion.source == "Fashion-MNIST" and fashion.train_images.shape == (60000, 784)


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
