"""Small files in the format of MNIST."""

import numpy as np


def write_digits(folder, seed=0, train=100, test=40):
    """Write images of noise in the format of MNIST."""
    raw = folder / "MNIST" / "raw"
    raw.mkdir(parents=True)
    generator = np.random.default_rng(seed)
    for name, count in (("train", train), ("t10k", test)):
        images = generator.integers(0, 256, (count, 28, 28)).astype(np.uint8)
        for kind, array in (("images-idx3", images), ("labels-idx1", np.arange(count).astype(np.uint8) % 10)):
            header = np.array([0x800 + array.ndim, *array.shape], ">u4")
            (raw / f"{name}-{kind}-ubyte").write_bytes(header.tobytes() + array.tobytes())
    return str(folder)
