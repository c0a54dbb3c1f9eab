"""Make the sample of MNIST that is bundled with the package.

For each digit, 1,000 training and 200 test images of MNIST are drawn at random with a fixed seed, in the order of the
set. The arrays are reproducible, and so is the file with the same version of Python's lzma library.

    python scripts/make_mnist_sample.py --data-dir FOLDER   # the folder that contains MNIST/raw
"""

from __future__ import annotations

import argparse
import io
import zipfile
from pathlib import Path

import numpy as np
import numpy.typing as npt
from torch import Tensor

from spatialgraph import atomic
from spatialgraph.datasets import Mnist, load_mnist

PER_DIGIT = {"train": 1000, "test": 200}
SEED = 0
TARGET = Path(__file__).parents[1] / "spatialgraph" / "datasets" / "mnist_sample.npz"

Bytes = npt.NDArray[np.uint8]


def draw(mnist: Mnist, seed: int = SEED) -> dict[str, Bytes]:
    """Draw the sample.

    Args:
        mnist: The full set.
        seed: Seed of the draw.

    Returns:
        Images `(n, 28, 28)` and labels `(n,)` of both parts, uint8.

    Raises:
        ValueError: If `mnist` is not the full set.
    """
    sizes = len(mnist.train_labels), len(mnist.test_labels)
    if mnist.source != "MNIST" or sizes != (60000, 10000):
        raise ValueError(f"the sample is drawn from the full MNIST (60000, 10000), got {mnist}")
    generator = np.random.default_rng(seed)
    arrays = {}
    for part, images, labels in (
        ("train", mnist.train_images, mnist.train_labels),
        ("test", mnist.test_images, mnist.test_labels),
    ):
        digits = labels.numpy().astype(np.uint8)
        chosen = [
            generator.choice(np.flatnonzero(digits == digit), PER_DIGIT[part], replace=False) for digit in range(10)
        ]
        # In the order of the set, where the digits are mixed, so that the first images are a fair sample too.
        index = np.sort(np.concatenate(chosen))
        arrays[f"{part}_images"] = _to_bytes(images)[index]
        arrays[f"{part}_labels"] = digits[index]
    return arrays


def write(arrays: dict[str, Bytes], path: Path) -> None:
    """Write an `.npz` file that `numpy.load` reads, compressed with LZMA, a sixth smaller than NumPy's.

    Args:
        arrays: Name of each array, and the array.
        path: The file to write.
    """
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as file:
        for name, array in arrays.items():
            content = io.BytesIO()
            np.lib.format.write_array(content, np.ascontiguousarray(array), allow_pickle=False)
            # A fixed date and system, so that the bytes do not depend on time and machine.
            entry = zipfile.ZipInfo(f"{name}.npy", date_time=(1980, 1, 1, 0, 0, 0))
            entry.create_system = 3
            entry.external_attr = 0o644 << 16
            entry.compress_type = zipfile.ZIP_LZMA
            file.writestr(entry, content.getvalue())
    atomic.write_bytes(path, archive.getvalue())


def _to_bytes(images: Tensor) -> Bytes:
    grey: Bytes = (images * 255).round().numpy().astype(np.uint8)
    return grey.reshape(-1, 28, 28)


def main() -> None:
    """Read the arguments, draw the sample and write it."""
    parser = argparse.ArgumentParser(description="Make the sample of MNIST that is bundled with the package.")
    parser.add_argument("--data-dir", type=Path, required=True, help="folder that contains MNIST/raw")
    parser.add_argument("--out", type=Path, default=TARGET, help="file to write")
    arguments = parser.parse_args()
    write(draw(load_mnist(arguments.data_dir, download=False)), arguments.out)
    print(f"{arguments.out}: {arguments.out.stat().st_size:,} bytes")


if __name__ == "__main__":
    main()
