"""How much memory there is, and whether the weights of a projection fit into it."""

import functools
import os
from pathlib import Path

__all__ = ["SHARE", "check_fits", "memory_bytes", "weights_fit"]

SHARE = 1 / 16
"""Share of the memory above which weights of all pairs are not held: a training step needs some three times as much."""

# Single precision; the engine is chosen before the numbers are known.
_BYTES = 4
_UNKNOWN = 8 * 2**30
# Limits of a container, by version of Linux's control groups.
_LIMITS = Path("/sys/fs/cgroup/memory.max"), Path("/sys/fs/cgroup/memory/memory.limit_in_bytes")


@functools.cache
def memory_bytes() -> int:
    """Return the memory of this machine or container in bytes; 8 GiB where the system does not say.

    Example:
        >>> memory_bytes() > 2**26
        True
    """
    try:
        found = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, ValueError, OSError):
        found = _UNKNOWN
    return min([found, *(int(text) for text in map(_read, _LIMITS) if text.isdigit())])


def _read(path: Path) -> str:
    try:
        return path.read_text().strip()
    except OSError:
        return ""


def weights_fit(n_sources: int, n_targets: int) -> bool:
    """Tell whether the weights of all pairs take at most :data:`SHARE` of the memory.

    Example:
        >>> weights_fit(784, 2048), weights_fit(10**6, 10**6)
        (True, False)
    """
    return n_sources * n_targets * _BYTES <= SHARE * memory_bytes()


def check_fits(name: str, n_sources: int, n_targets: int) -> None:
    """Check that values of all pairs fit into the memory at all.

    Args:
        name: what is asked for, in the plural.
        n_sources: number of sources.
        n_targets: number of targets.

    Raises:
        ValueError: if they do not.

    Example:
        >>> check_fits("weights", 784, 2048)
    """
    needed = n_sources * n_targets * _BYTES
    if needed > memory_bytes():
        raise ValueError(
            f"{name} of all synapses must fit into the memory ({memory_bytes() / 1e9:,.1f} GB), got {n_sources:,} x "
            f"{n_targets:,} synapses, which need {needed / 1e9:,.0f} GB"
        )
