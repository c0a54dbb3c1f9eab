"""The MNIST digits as tensors in memory, with a bundled sample for machines without a network.

Reference:
    LeCun, Bottou, Bengio, Haffner (1998), "Gradient-based learning applied to document recognition",
    https://doi.org/10.1109/5.726791.
"""

from __future__ import annotations

import contextlib
import gzip
import http.client
import io
import os
import queue
import socket
import tempfile
import threading
import time
import urllib.error
import urllib.request
import warnings
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

__all__ = ["Mnist", "load_mnist", "validation_split"]

_SAMPLE = Path(__file__).with_name("mnist_sample.npz")
_PIXELS = 28 * 28
# Each array of the set, its file, and the shape of one item in that file.
_FILES: dict[str, tuple[str, tuple[int, ...]]] = {
    "train_images": ("train-images-idx3-ubyte", (28, 28)),
    "train_labels": ("train-labels-idx1-ubyte", ()),
    "test_images": ("t10k-images-idx3-ubyte", (28, 28)),
    "test_labels": ("t10k-labels-idx1-ubyte", ()),
}
# Seconds without any answer from a server before a download is given up.
_PATIENCE = 10.0

_Bytes = npt.NDArray[np.uint8]


@dataclass(frozen=True, eq=False, repr=False)
class Mnist:
    """The MNIST digits in memory: every image a row of 784 grey values from 0 (paper) to 1 (ink).

    Rows of an image are laid end to end: pixel (row, column) is feature `28 * row + column`.

    Args:
        train_images: Training images, shape `(n, 784)`, float32 in [0, 1].
        train_labels: Their digits, shape `(n,)`, int64 from 0 to 9.
        test_images: Test images, shape `(m, 784)`, float32 in [0, 1].
        test_labels: Their digits, shape `(m,)`, int64 from 0 to 9.
        source: `"MNIST"` for the set found on disk or downloaded, otherwise `"bundled sample"`.

    Example:
        >>> import torch
        >>> images, labels = torch.rand(6, 784), torch.arange(6)
        >>> Mnist(images, labels, images[:2], labels[:2], source="MNIST")
        Mnist(train=6, test=2, source='MNIST')
    """

    train_images: Tensor
    train_labels: Tensor
    test_images: Tensor
    test_labels: Tensor
    source: str

    def __repr__(self) -> str:
        """Return the numbers of images and their source, not the pixels."""
        return f"Mnist(train={len(self.train_labels)}, test={len(self.test_labels)}, source={self.source!r})"


def load_mnist(data_dir: str | Path | None = None, download: bool = True) -> Mnist:
    """Load MNIST: from disk if it is there, else from the network, else the sample bundled with the package.

    The files are looked for in torchvision's layout, `<folder>/MNIST/raw/train-images-idx3-ubyte` and so on,
    plain or with `.gz`. The folders are `data_dir` alone if it is given; otherwise `$SPATIALGRAPH_DATA` if it
    is set, then `$XDG_CACHE_HOME/spatialgraph` (by default `~/.cache/spatialgraph`). The first folder that
    holds all four files is used and only read from. If none does, torchvision downloads the files into the
    first folder of the list.

    Without a network, or with `download=False` and no files, the result is a stratified sample of the real
    set (1,000 training and 200 test images of each digit) and a `UserWarning` says so: figures measured on
    the sample cannot be compared with those of the full set. `source` of the result tells which one it is.

    A damaged file is an error, never a reason to use the sample, and no file is deleted.

    Args:
        data_dir: The only folder to look in and to download into; created if it does not exist.
        download: Whether the network may be used when the files are not on disk.

    Returns:
        Images `(60000, 784)` and `(10000, 784)`, float32 in [0, 1], with int64 labels; from the sample
        `(10000, 784)` and `(2000, 784)`.

    Raises:
        ValueError: If a file is truncated or not what its name says, or if images and labels do not match.
        NotADirectoryError: If `data_dir` or `$SPATIALGRAPH_DATA` is a file.
        ImportError: If a download is needed and torchvision is not installed.

    Reference:
        LeCun, Bottou, Bengio, Haffner (1998), "Gradient-based learning applied to document recognition",
        https://doi.org/10.1109/5.726791.

    Example:
        >>> import warnings
        >>> with warnings.catch_warnings():
        ...     warnings.simplefilter("ignore")  # the sample is good enough here
        ...     mnist = load_mnist(download=False)
        >>> mnist.train_images.shape[1], mnist.train_images.dtype, mnist.train_labels.dtype
        (784, torch.float32, torch.int64)
    """
    folders = _folders(data_dir)
    absent = []
    for folder in folders:
        arrays = _read_folder(folder)
        if len(arrays) == len(_FILES):
            return _to_mnist(arrays, "MNIST", str(_raw(folder)))
        missing = ", ".join(file for name, (file, _) in _FILES.items() if name not in arrays)
        absent.append(f"{_raw(folder)} lacks {missing}" if arrays else f"{_raw(folder)} holds no MNIST file")
    if download:
        failure = _download(folders[0])
        if failure is None:
            return _to_mnist(_read_folder(folders[0]), "MNIST", str(_raw(folders[0])))
        reason = f"{'; '.join(absent)}; the download into {folders[0]} failed: {failure}"
    else:
        reason = f"{'; '.join(absent)}; download=False"
    sample = _read_sample()
    warnings.warn(
        f"load_mnist returns the bundled sample of {len(sample.train_labels):,} training and "
        f"{len(sample.test_labels):,} test images, not the full MNIST. Figures measured on it, accuracies "
        "above all, are not comparable to those of the full set of 60,000 and 10,000 images. "
        f"Reason: {reason}. To use the full set, pass data_dir or set SPATIALGRAPH_DATA to a folder that "
        "holds MNIST/raw, or run once with a network.",
        UserWarning,
        stacklevel=2,
    )
    return sample


def validation_split(mnist: Mnist, size: int = 5000, seed: int = 0) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Set `size` randomly chosen training images aside for validation.

    The test images are not touched. The split depends on `seed` and the number of training images only, not
    on torch's global random state: leave `seed` alone while the seed of the training varies, and every run is
    validated on the same images.

    Args:
        mnist: The digits, with `n` training images.
        size: Number of validation images, from 1 to `n - 1`.
        seed: Seed of the split.

    Returns:
        Training images `(n - size, 784)` and labels `(n - size,)`, validation images `(size, 784)` and labels
        `(size,)`.

    Raises:
        ValueError: If `size` leaves no image for training or for validation.

    Example:
        >>> import torch
        >>> images, labels = torch.rand(10, 784), torch.arange(10)
        >>> mnist = Mnist(images, labels, images, labels, source="MNIST")
        >>> train_images, train_labels, val_images, val_labels = validation_split(mnist, size=3)
        >>> train_images.shape, val_images.shape
        (torch.Size([7, 784]), torch.Size([3, 784]))
        >>> torch.cat([train_labels, val_labels]).sort().values.equal(labels)
        True
    """
    count = len(mnist.train_labels)
    if not 1 <= size < count:
        raise ValueError(f"size must be between 1 and the number of training images minus 1 ({count - 1}), got {size}")
    images, labels = mnist.train_images, mnist.train_labels
    # Drawn on the CPU whatever the images are on: the split must not depend on the device.
    order = torch.randperm(count, generator=torch.Generator().manual_seed(seed)).to(labels.device)
    aside, kept = order[:size], order[size:]
    return images[kept], labels[kept], images[aside], labels[aside]


def _folders(data_dir: str | Path | None) -> list[Path]:
    """Return the folders to search, in order; the first is the one to download into."""
    if data_dir is not None:
        folders = [("data_dir", Path(data_dir).expanduser())]
    else:
        folders = []
        if os.environ.get("SPATIALGRAPH_DATA"):
            folders.append(("SPATIALGRAPH_DATA", Path(os.environ["SPATIALGRAPH_DATA"]).expanduser()))
        cache = Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser()
        folders.append(("the cache folder", cache / "spatialgraph"))
    for name, folder in folders:
        if folder.exists() and not folder.is_dir():
            raise NotADirectoryError(f"{name} must be a folder, got the file {folder}")
    return [folder for _, folder in folders]


def _raw(folder: Path) -> Path:
    """Return where torchvision keeps the files below `folder`."""
    return folder / "MNIST" / "raw"


def _read_folder(folder: Path) -> dict[str, _Bytes]:
    """Read the files of the set that `folder` holds: all four, some or none; a damaged one is an error."""
    arrays = {}
    for name, (file, item) in _FILES.items():
        plain = _raw(folder) / file
        packed = plain.with_name(f"{file}.gz")
        if plain.is_file():
            arrays[name] = _parse_idx(plain, plain.read_bytes(), item)
        elif packed.is_file():
            arrays[name] = _parse_idx(packed, _unpack(packed), item)
    return arrays


def _damaged(path: Path, what: str) -> ValueError:
    """Return the error for a file of the set that is not as it should be."""
    return ValueError(f"{path} is damaged: {what}. Delete it and run again to download it anew")


def _unpack(path: Path) -> bytes:
    """Return the content of a gzip file."""
    try:
        with gzip.open(path) as file:
            return file.read()
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        what = f"expected a complete gzip file, found {path.stat().st_size} bytes that are not ({error})"
        raise _damaged(path, what) from error


def _parse_idx(path: Path, content: bytes, item: tuple[int, ...]) -> _Bytes:
    """Return the array `(n, *item)` of an idx file: magic number, sizes, all big-endian, then bytes."""
    header = 4 * (2 + len(item))
    if len(content) < header:
        raise _damaged(path, f"expected a header of {header} bytes, found {len(content)} bytes in all")
    magic, count, *found = (int(number) for number in np.frombuffer(content, ">u4", count=header // 4))
    expected = 0x800 + 1 + len(item)  # 8: unsigned bytes; then the number of dimensions
    if magic != expected:
        raise _damaged(path, f"expected the magic number {expected}, found {magic}")
    if tuple(found) != item:
        raise _damaged(path, f"expected images of {item} pixels, found {tuple(found)}")
    if count == 0:
        raise _damaged(path, "expected at least one item, found 0")
    size = header + count * int(np.prod(item, dtype=int))
    if len(content) != size:
        raise _damaged(path, f"expected {size} bytes for {count} items, found {len(content)} bytes")
    array = np.frombuffer(content, np.uint8, offset=header).reshape(count, *item)
    if not item and array.max() > 9:
        raise _damaged(path, f"expected labels from 0 to 9, found {array.max()}")
    return array


def _to_mnist(arrays: dict[str, _Bytes], source: str, place: str) -> Mnist:
    """Check that images and labels belong together, and turn bytes into tensors."""
    for part in ("train", "test"):
        images, labels = len(arrays[f"{part}_images"]), len(arrays[f"{part}_labels"])
        if images != labels:
            raise ValueError(
                f"{place} holds {images} {part} images but {labels} {part} labels: the files do not belong "
                "together. Delete them and run again to download them anew"
            )
    tensors = {}
    for name, array in arrays.items():
        if name.endswith("labels"):
            tensors[name] = torch.from_numpy(array.astype(np.int64))
        else:
            tensors[name] = torch.from_numpy(array.reshape(-1, _PIXELS).astype(np.float32)).div_(255)
    return Mnist(**tensors, source=source)


def _read_sample() -> Mnist:
    """Read the sample that is part of the package."""
    try:
        # Opened here, as numpy does not close a file that it cannot read.
        with _SAMPLE.open("rb") as opened, np.load(opened, allow_pickle=False) as file:
            arrays = {name: file[name] for name in _FILES}
        for name, (_, item) in _FILES.items():
            if arrays[name].dtype != np.uint8 or arrays[name].shape[1:] != item:
                raise ValueError(f"{name} has type {arrays[name].dtype} and shape {arrays[name].shape}")
        return _to_mnist(arrays, "bundled sample", str(_SAMPLE))
    except FileNotFoundError as error:
        what = f"the bundled sample {_SAMPLE} is missing: install spatialgraph again"
        raise FileNotFoundError(what) from error
    # Damage can surface anywhere between the zip directory and the array header, as nearly any exception.
    except Exception as error:
        what = f"the bundled sample {_SAMPLE} is damaged ({_one_line(error)}): install spatialgraph again"
        raise ValueError(what) from error


def _download(folder: Path) -> str | None:
    """Download the missing files into `folder`; return None, or in one line why it could not be done."""
    try:
        from torchvision import datasets
    except ImportError as error:
        raise ImportError(
            'downloading MNIST needs torchvision: pip install "spatialgraph[train]" '
            "(or call load_mnist(download=False) for the bundled sample)"
        ) from error
    silence = _contact([f"{mirror}{datasets.MNIST.resources[0][0]}" for mirror in datasets.MNIST.mirrors])
    if silence is not None:
        return silence
    try:
        raw = _raw(folder)
        raw.mkdir(parents=True, exist_ok=True)
        # Downloaded beside, then moved: an interrupted or a simultaneous run leaves no half-written files.
        with tempfile.TemporaryDirectory(prefix=".download-", dir=raw) as aside, _quiet_and_impatient():
            datasets.MNIST(aside, download=True)
            _adopt(_raw(Path(aside)), raw)
    # torchvision reports through RuntimeError, but lets through what breaks in the middle of an answer.
    except (RuntimeError, OSError, EOFError, http.client.HTTPException) as error:
        return _one_line(error)
    return None


def _adopt(source: Path, target: Path) -> None:
    """Move the files of the set that `target` lacks there from `source`."""
    for file, _ in _FILES.values():
        if not (target / file).is_file() and not (target / f"{file}.gz").is_file():
            os.replace(source / file, target / file)


def _contact(urls: Sequence[str]) -> str | None:
    """Return None as soon as one of `urls` answers, or in one line why none does.

    A socket's timeout counts for each address of a host, and not for its name: where a firewall swallows
    packets, a download would try for minutes before it fails. Asking all hosts at once sets one limit.
    """
    answers: queue.SimpleQueue[str | None] = queue.SimpleQueue()

    def ask(url: str) -> None:
        try:
            with urllib.request.urlopen(urllib.request.Request(url, method="HEAD"), timeout=_PATIENCE):
                answers.put(None)
        except urllib.error.HTTPError as error:
            error.close()
            # An answer, if not the one hoped for: let torchvision try, and say what is wrong.
            answers.put(None)
        except (OSError, ValueError, http.client.HTTPException) as error:
            answers.put(_one_line(error))

    for url in urls:
        threading.Thread(target=ask, args=(url,), daemon=True).start()
    failures: list[str] = []
    end = time.monotonic() + _PATIENCE
    while len(failures) < len(urls):
        try:
            answer = answers.get(timeout=max(0.0, end - time.monotonic()))
        except queue.Empty:
            return f"no server answered within {_PATIENCE:g} seconds"
        if answer is None:
            return None
        failures.append(answer)
    return "; ".join(dict.fromkeys(failures))


@contextlib.contextmanager
def _quiet_and_impatient() -> Iterator[None]:
    """Hide torchvision's progress bars, and give its sockets, which have none, a timeout."""
    before: Any = socket.getdefaulttimeout()
    socket.setdefaulttimeout(_PATIENCE)
    try:
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
            yield
    finally:
        socket.setdefaulttimeout(before)


def _one_line(error: BaseException) -> str:
    """Return the type and message of an error without line breaks."""
    return f"{type(error).__name__}: {' '.join(str(error).split())}"
