"""Sets of 28 x 28 images in four idx files, the format of MNIST, and their identification by content."""

from __future__ import annotations

import gzip
import hashlib
import zlib
from pathlib import Path
from typing import BinaryIO

import numpy as np
import numpy.typing as npt

__all__ = ["FILES", "Bytes", "name_of", "place_of", "raw", "read_folder"]

Bytes = npt.NDArray[np.uint8]

# The arrays of a set, their files, and the shape of one item in each file.
FILES: dict[str, tuple[str, tuple[int, ...]]] = {
    "train_images": ("train-images-idx3-ubyte", (28, 28)),
    "train_labels": ("train-labels-idx1-ubyte", ()),
    "test_images": ("t10k-images-idx3-ubyte", (28, 28)),
    "test_labels": ("t10k-labels-idx1-ubyte", ()),
}

# SHA-256 of each uncompressed file of the sets that are known.
_KNOWN = {
    "MNIST": {
        "train_images": "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
        "train_labels": "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
        "test_images": "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
        "test_labels": "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
    },
    "Fashion-MNIST": {
        "train_images": "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888",
        "train_labels": "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9",
        "test_images": "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b",
        "test_labels": "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34",
    },
}

# Limit on the number of items, which as floats would take 3 GB.
_MOST = 1_000_000


def raw(folder: Path) -> Path:
    """Return the folder below `folder` in which torchvision stores the files."""
    return folder / "MNIST" / "raw"


def place_of(folder: Path) -> Path:
    """Return where the files of a set are: in torchvision's folder below `folder` or, without it, in `folder`."""
    own = [folder / name for file, _ in FILES.values() for name in (file, f"{file}.gz")]
    return folder if not raw(folder).is_dir() and any(path.is_file() for path in own) else raw(folder)


def read_folder(folder: Path) -> dict[str, Bytes]:
    """Read the files of a set that exist in `folder`: all four, some or none.

    Args:
        folder: The folder that contains `MNIST/raw`, or the files themselves.

    Returns:
        Arrays by their names in `FILES`, of shape `(n, 28, 28)` or `(n,)`.

    Raises:
        ValueError: If a file is damaged, or if all exist and their numbers of images and labels differ.
    """
    arrays = {}
    for name, (file, item) in FILES.items():
        plain = place_of(folder) / file
        packed = plain.with_name(f"{file}.gz")
        if plain.is_file():
            arrays[name] = _read_plain(plain, item)
        elif packed.is_file():
            arrays[name] = _read_packed(packed, item)
    if len(arrays) == len(FILES):
        _check_counts(arrays, place_of(folder))
    return arrays


def name_of(arrays: dict[str, Bytes]) -> str:
    """Return the name of a set, identified by its content.

    Args:
        arrays: All four arrays.

    Example:
        >>> images, labels = np.zeros((2, 28, 28), np.uint8), np.zeros(2, np.uint8)
        >>> name_of({"train_images": images, "train_labels": labels, "test_images": images, "test_labels": labels})
        'other 28 x 28 images (sha256 a7a849ff0c99)'
    """
    sums = {name: _sum_of_file(arrays[name]) for name in FILES}
    for known, expected in _KNOWN.items():
        if sums == expected:
            return known
    return f"other 28 x 28 images (sha256 {hashlib.sha256(''.join(sums.values()).encode()).hexdigest()[:12]})"


def _sum_of_file(array: Bytes) -> str:
    """Return the checksum of an array's file: of its header and its bytes."""
    digest = hashlib.sha256(np.array([0x800 + array.ndim, *array.shape], ">u4").tobytes())
    digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()


def _check_counts(arrays: dict[str, Bytes], place: Path) -> None:
    counts = {name: len(array) for name, array in arrays.items()}
    for part in ("train", "test"):
        images, labels = counts[f"{part}_images"], counts[f"{part}_labels"]
        if images != labels:
            raise ValueError(
                f"{place} holds {images} {part} images but {labels} {part} labels: the files do not belong "
                "together. Delete them and run again to download them again"
            )
    if counts["train_images"] < counts["test_images"]:
        train, test = FILES["train_images"][0], FILES["test_images"][0]
        raise ValueError(
            f"{place} holds {counts['train_images']} training images ({train}) and {counts['test_images']} test images "
            f"({test}): there must not be more test than training images. Are the files swapped?"
        )


def _damaged(path: Path, what: str) -> ValueError:
    """Return the error for a damaged file."""
    return ValueError(f"{path} is damaged: {what}. Delete it and run again to download it again")


def _read_plain(path: Path, item: tuple[int, ...]) -> Bytes:
    found = path.stat().st_size
    with path.open("rb") as file:
        count, size = _read_header(path, file, item)
        expected = size + _header(item)
        if found != expected:
            raise _damaged(path, f"expected {expected} bytes for {count} items, found {found} bytes")
        return _to_array(path, file.read(size), count, item)


def _read_packed(path: Path, item: tuple[int, ...]) -> Bytes:
    """Read a gzip file, limited to the size given in its header, because a small file may decompress to any size."""
    try:
        with gzip.open(path) as file:
            count, size = _read_header(path, file, item)
            content = file.read(size)
            too_much = file.read(1)  # includes the checksum at the end
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        what = f"expected a complete gzip file, found {path.stat().st_size} invalid bytes ({error})"
        raise _damaged(path, what) from error
    if len(content) < size or too_much:
        found = "more" if too_much else f"{_header(item) + len(content)} bytes"
        raise _damaged(path, f"expected {_header(item) + size} bytes for {count} items, found {found}")
    return _to_array(path, content, count, item)


def _header(item: tuple[int, ...]) -> int:
    """Return the length of the header in bytes: magic number, number of items, sizes of an item."""
    return 4 * (2 + len(item))


def _read_header(path: Path, file: BinaryIO | gzip.GzipFile, item: tuple[int, ...]) -> tuple[int, int]:
    """Return the number of items given in the header, and their size in bytes."""
    length = _header(item)
    content = file.read(length)
    if len(content) < length:
        raise _damaged(path, f"expected a header of {length} bytes, found {len(content)} bytes in all")
    magic, count, *found = (int(number) for number in np.frombuffer(content, ">u4"))
    expected = 0x800 + 1 + len(item)  # 8: unsigned bytes; then the number of dimensions
    if magic != expected:
        raise _damaged(path, f"expected the magic number {expected}, found {magic}")
    if tuple(found) != item:
        raise _damaged(path, f"expected images of {item} pixels, found {tuple(found)}")
    if not 1 <= count <= _MOST:
        what = "at least one item" if not count else f"{_MOST} items at most"
        raise _damaged(path, f"expected {what}, found {count}")
    return count, count * int(np.prod(item, dtype=int))


def _to_array(path: Path, content: bytes, count: int, item: tuple[int, ...]) -> Bytes:
    array = np.frombuffer(content, np.uint8).reshape(count, *item)
    if not item and array.max() > 9:
        raise _damaged(path, f"expected labels from 0 to 9, found {array.max()}")
    return array
