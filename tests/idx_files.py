"""Small idx files, as MNIST is published."""

from __future__ import annotations

import re

import numpy as np

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
