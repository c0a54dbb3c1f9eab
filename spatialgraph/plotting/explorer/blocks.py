"""Blocks: arrays as compressed text within a page, which its script unpacks when it needs them."""

import base64
import zlib
from collections.abc import Mapping

import numpy as np

__all__ = ["Places", "pack", "smallest"]

Places = dict[str, tuple[str, int, int]]
"""For each array of a block its type, where it starts in bytes, and how many numbers it has."""


def pack(arrays: Mapping[str, np.ndarray]) -> tuple[str, Places]:
    """Return arrays as base64 of one deflated string of bytes, and where each of them lies in it.

    Example:
        >>> text, places = pack({"a": np.arange(3, dtype=np.uint8), "b": np.ones(2, dtype=np.float32)})
        >>> places
        {'a': ('u1', 0, 3), 'b': ('f4', 8, 2)}
        >>> np.frombuffer(zlib.decompress(base64.b64decode(text)), np.float32, 2, offset=8)
        array([1., 1.], dtype=float32)
    """
    parts, places, at = [], {}, 0
    for name, array in arrays.items():
        kind = f"{array.dtype.kind}{array.dtype.itemsize}"
        data = np.ascontiguousarray(array, dtype=array.dtype.newbyteorder("<")).tobytes()
        places[name] = (kind, at, array.size)
        filled = data + bytes(-len(data) % 8)  # typed arrays of JavaScript start at multiples of their items' size
        parts.append(filled)
        at += len(filled)
    return base64.b64encode(zlib.compress(b"".join(parts), 9)).decode("ascii"), places


def smallest(numbers: np.ndarray) -> np.ndarray:
    """Return whole numbers of at least 0 in the smallest unsigned type that holds them.

    Example:
        >>> smallest(np.array([0, 300])).dtype
        dtype('uint16')
    """
    largest = int(numbers.max(initial=0))
    dtype = np.uint8 if largest < 2**8 else np.uint16 if largest < 2**16 else np.uint32
    return numbers.astype(dtype)
