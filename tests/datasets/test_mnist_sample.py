"""The bundled sample of MNIST, and the full set that it is drawn from, where that is at hand."""

from __future__ import annotations

import importlib.util
import os
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from idx_files import FILES

from spatialgraph.datasets import mnist as module
from spatialgraph.datasets.mnist import load_mnist

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


# --- The full set, where it is at hand


FULL = os.environ.get("SPATIALGRAPH_DATA", "")


def script():
    path = Path(__file__).parents[2] / "scripts" / "make_mnist_sample.py"
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
