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


def check_fits(name: str, synapses: int, each: int) -> None:
    """Check that values of synapses fit into half of the memory.

    Args:
        name: what is asked for, in the plural.
        synapses: number of synapses.
        each: bytes for each of them, with those of values in between.

    Raises:
        ValueError: if they do not.

    Example:
        >>> check_fits("weights of all synapses", 784 * 2048, each=4)
    """
    needed = synapses * each
    if needed > memory_bytes() / 2:
        raise ValueError(
            f"{name} must fit into half of the memory ({memory_bytes() / 2e9:,.1f} GB), got {synapses:,} synapses, "
            f"which need {needed / 1e9:,.0f} GB"
        )
