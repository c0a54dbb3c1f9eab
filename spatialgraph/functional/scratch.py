"""Memory that is used again: large tensors of the CPU that are dropped within a pass cost more to get than to fill.

The system hands out empty pages one by one, and takes them back when they are freed. For the weights of 784-2048-10
that is as much time as computing them.
"""

import math
import threading
from collections.abc import Sequence

import torch
from torch import Tensor

__all__ = ["MOST_BYTES", "scratch"]

MOST_BYTES = 2**25
"""Bytes that each thread keeps at most for each purpose; larger tensors are new in each pass."""

_kept = threading.local()


def scratch(purpose: str, shape: Sequence[int], like: Tensor) -> Tensor:
    """Return an uninitialised tensor that the next call of this thread for the same purpose may return again.

    It must not leave the function that asked for it, nor be kept for a backward pass.

    Args:
        purpose: tells apart what is needed at the same time.
        shape: its shape.
        like: a tensor of the same dtype and device.

    Example:
        >>> first, second = (scratch("weights", (2, 3), torch.zeros(1)) for _ in range(2))
        >>> first.data_ptr() == second.data_ptr()
        True
    """
    count = math.prod(shape)
    if like.device.type != "cpu" or count * like.element_size() > MOST_BYTES:
        return like.new_empty(shape)
    held: dict[tuple[str, torch.dtype], Tensor] = vars(_kept).setdefault("tensors", {})
    flat = held.get((purpose, like.dtype))
    if flat is None or len(flat) < count:
        with torch.inference_mode(False):  # it may be used in training later
            flat = torch.empty(count, dtype=like.dtype, device="cpu")
        held[purpose, like.dtype] = flat
    return flat[:count].view(*shape)
