"""Sealed bytes: tensors and settings in one safetensors byte string, with a checksum of all of it."""

import hashlib
import json
from typing import Any

import safetensors.torch
import torch
from torch import Tensor

__all__ = ["WHOLE", "seal", "unseal"]

WHOLE = (torch.uint8, torch.int8, torch.uint16, torch.int16, torch.int32, torch.int64)


def seal(kind: str, version: int, settings: dict[str, Any], tensors: dict[str, Tensor]) -> bytes:
    """Return bytes from which :func:`unseal` reads the same again.

    Args:
        kind: what the bytes are, the name of their entry in the metadata.
        version: version of the format.
        settings: what JSON can hold.
        tensors: on any device; whole numbers go in the smallest type that holds them.

    Example:
        >>> unseal("pair", 1, seal("pair", 1, {"a": 2}, {"b": torch.tensor([3])}))
        ({'a': 2}, {'b': tensor([3], dtype=torch.uint8)})
    """
    small = {name: _smallest(values.cpu()).contiguous() for name, values in tensors.items()}
    header = {"version": version, "sha256": _checksum(settings, small), "settings": settings}
    return safetensors.torch.save(small, {kind: json.dumps(header)})


def unseal(kind: str, version: int, data: bytes) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Take bytes apart into settings and tensors, and check that they are those that were sealed.

    Raises:
        ValueError: if they are of another kind or version, or damaged.
    """
    tensors = safetensors.torch.load(data)
    length = int.from_bytes(data[:8], "little")
    metadata = json.loads(data[8 : 8 + length]).get("__metadata__") or {}
    if kind not in metadata:
        raise ValueError(f"got a file of another program, without {kind!r} in its metadata")
    header = json.loads(metadata[kind])
    if not isinstance(header, dict):
        raise ValueError(f"the entry {kind!r} must be an object, got {type(header).__name__}")
    if header.get("version") != version:
        raise ValueError(f"version must be {version}, got {header.get('version')}: another release wrote it")
    settings = header.get("settings", {})
    if not isinstance(settings, dict):
        raise ValueError(f"settings must be an object, got {type(settings).__name__}")
    if header.get("sha256") != _checksum(settings, tensors):
        raise ValueError("got a damaged file, whose checksum is not that of its content")
    return settings, tensors


def _smallest(values: Tensor) -> Tensor:
    """Return whole numbers in the smallest type that holds them; other tensors as they are."""
    if values.dtype not in (torch.int32, torch.int64):
        return values
    low, high = (int(end) for end in values.aminmax()) if values.numel() else (0, 0)
    return values.to(next(t for t in WHOLE if torch.iinfo(t).min <= low and high <= torch.iinfo(t).max))


def _checksum(settings: dict[str, Any], tensors: dict[str, Tensor]) -> str:
    digest = hashlib.sha256(json.dumps(settings, sort_keys=True).encode())
    for name, values in sorted(tensors.items()):
        digest.update(f"{name} {values.dtype} {tuple(values.shape)}".encode())
        digest.update(values.reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()
