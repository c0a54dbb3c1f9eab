"""The MNIST digits as tensors in memory, with a bundled sample for use without a network.

Reference:
    LeCun, Bottou, Bengio, Haffner (1998), "Gradient-based learning applied to document recognition",
    https://doi.org/10.1109/5.726791.
"""

from __future__ import annotations

import os
import warnings
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from spatialgraph.datasets import downloads
from spatialgraph.datasets.idx import FILES, Bytes, name_of, place_of, raw, read_folder

__all__ = ["Mnist", "load_mnist", "validation_split"]

_SAMPLE = Path(__file__).with_name("mnist_sample.npz")


@dataclass(frozen=True, eq=False, repr=False)
class Mnist:
    """The MNIST digits in memory; each image is a row of 784 grey values from 0 (background) to 1 (ink).

    Pixel (row, column) of an image is feature `28 * row + column`.

    Args:
        train_images: Training images, shape `(n, 784)`, float32 in [0, 1].
        train_labels: Their digits, shape `(n,)`, int64 from 0 to 9.
        test_images: Test images, shape `(m, 784)`, float32 in [0, 1].
        test_labels: Their digits, shape `(m,)`, int64 from 0 to 9.
        source: The data set, identified by its content: `"MNIST"` for the original set, `"Fashion-MNIST"`, `"bundled
            sample"`, or the checksum of another set, such as `"other 28 x 28 images (sha256 1f2e3d4c5b6a)"`.

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
        """Return the numbers of images and their source."""
        return f"Mnist(train={len(self.train_labels)}, test={len(self.test_labels)}, source={self.source!r})"


def load_mnist(data_dir: str | Path | None = None, download: bool = True) -> Mnist:
    """Load MNIST from disk if available, else from the network, else the sample bundled with the package.

    The files are searched in torchvision's layout, `<folder>/MNIST/raw/train-images-idx3-ubyte` and so on, plain or
    with `.gz`, or in `<folder>` itself. The folders are `data_dir` alone if it is given; otherwise
    `$SPATIALGRAPH_DATA` if it is set, then `$XDG_CACHE_HOME/spatialgraph` (by default `~/.cache/spatialgraph`). The
    first folder that contains all four files is used, without changing it. If there is none, torchvision downloads the
    files into the first folder of the list.

    Without a network, or with `download=False` and no files, the result is a stratified sample of MNIST (1,000 training
    and 200 test images of each digit), and a `UserWarning` is emitted: results on the sample are not comparable with
    those on the full set. The result's `source` names the set.

    A damaged file raises an error instead of a fallback to the sample, and no file is deleted. Other sets in the same
    format are supported, such as Fashion-MNIST (Xiao, Rasul, Vollgraf, 2017, https://arxiv.org/abs/1708.07747), which
    Debian's package `dataset-fashion-mnist` installs; `source` is `"MNIST"` only for the original set.

    Args:
        data_dir: The only folder to search and to download into; created if it does not exist.
        download: Whether the network may be used when the files are not on disk.

    Returns:
        Images `(60000, 784)` and `(10000, 784)`, float32 in [0, 1], with int64 labels; from the sample
        `(10000, 784)` and `(2000, 784)`.

    Raises:
        ValueError: If a file is damaged or of another kind than its name says, if the numbers of images and labels
            differ, or if there are more test than training images, as with swapped files.
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
        arrays = read_folder(folder)
        if len(arrays) == len(FILES):
            return _to_mnist(arrays, name_of(arrays))
        missing = ", ".join(file for name, (file, _) in FILES.items() if name not in arrays)
        absent.append(f"{place_of(folder)} lacks {missing}" if arrays else f"{raw(folder)} holds no MNIST file")
    if download:
        failure = downloads.fetch(folders[0])
        if failure is None:
            arrays = read_folder(folders[0])
            return _to_mnist(arrays, name_of(arrays))
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
    """Hold out `size` random training images for validation.

    The split depends only on `seed` and the number of training images, not on PyTorch's random state: use the same
    `seed` for all runs to validate them on the same images.

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
    # Drawn on the CPU, so that the split does not depend on the device.
    generator = torch.Generator("cpu").manual_seed(seed)
    order = torch.randperm(count, generator=generator, device="cpu").to(labels.device)
    held_out, rest = order[:size], order[size:]
    return images[rest], labels[rest], images[held_out], labels[held_out]


def _folders(data_dir: str | Path | None) -> list[Path]:
    """Return the folders to search, in order; the first is the download target."""
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


def _to_mnist(arrays: dict[str, Bytes], source: str) -> Mnist:
    """Convert arrays of bytes to tensors."""
    tensors = {}
    for name, array in arrays.items():
        if name.endswith("labels"):
            tensors[name] = torch.from_numpy(array.astype(np.int64))
        else:
            tensors[name] = torch.from_numpy(array.reshape(len(array), -1).astype(np.float32)).div_(255)
    return Mnist(**tensors, source=source)


def _read_sample() -> Mnist:
    """Read the sample bundled with the package."""
    try:
        # Opened here, because NumPy does not close a file that it cannot read.
        with _SAMPLE.open("rb") as opened, np.load(opened, allow_pickle=False) as file:
            arrays = {name: file[name] for name in FILES}
        for name, (_, item) in FILES.items():
            count = len(arrays[name.replace("images", "labels")])
            if arrays[name].dtype != np.uint8 or arrays[name].shape != (count, *item):
                raise ValueError(f"{name} has type {arrays[name].dtype} and shape {arrays[name].shape}")
        return _to_mnist(arrays, "bundled sample")
    except FileNotFoundError as error:
        what = f"the bundled sample {_SAMPLE} is missing: install spatialgraph again"
        raise FileNotFoundError(what) from error
    # A damaged file can raise almost any exception.
    except Exception as error:
        what = f"the bundled sample {_SAMPLE} is damaged ({downloads.one_line(error)}): install spatialgraph again"
        raise ValueError(what) from error
