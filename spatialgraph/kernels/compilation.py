"""Compilation of loops by Numba: one version for a single thread and one for several threads.

Loops are written once, with :func:`numba.prange` over the parts of the work. The single-threaded version enters no
parallel region and needs no lock, so it may also run in a forked process, which does not have the threads of its
parent.
"""

import contextlib
import functools
import hashlib
import os
import threading
import types
import warnings
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

__all__ = ["Kernel", "fork_between_compilations", "kernel", "part_count", "warn", "with_globals"]

# Numba's workqueue threading layer must not be entered by two threads at once.
_lock = threading.Lock()
_NO_LIMIT = contextlib.nullcontext()
_is_forked = False
_warned: set[str] = set()


class Kernel:
    """Loops that Numba compiles on the first call.

    The compiled code is cached on disk if possible, in files of their own for each version of the source and for each
    combination of dtypes: Numba numbers the files of a function, and takes a wrong one if two processes compile it for
    different dtypes at once, or one of them finds files of another version.

    Args:
        loops: a function whose last argument is the number of parts.
        **options: options of :func:`numba.njit`.
    """

    def __init__(self, loops: Callable[..., Any], **options: Any) -> None:  # noqa: ANN401 - Numba's options
        self._loops = loops
        self._options = options
        self._versions: dict[tuple[bool, str], Any] = {}
        self._is_cached = True

    def __call__(self, *arguments: Any) -> Any:  # noqa: ANN401
        """Run the loops, on several threads if there are several parts."""
        if arguments[-1] == 1 or not _has_threads():
            return self._run(False, arguments)
        with _lock, _at_most(arguments[-1]):
            return self._run(True, arguments)

    def using(self, name: str, values: Mapping[str, Any]) -> "Kernel":
        """Return a kernel of the same loops with other values of some global names.

        Args:
            name: tells the two kernels apart in the cache on disk.
            values: the values by global name.
        """
        return Kernel(with_globals(self._loops, name, values), **self._options)

    def _run(self, is_parallel: bool, arguments: tuple[Any, ...]) -> Any:  # noqa: ANN401
        try:
            dtypes = "".join([values.dtype.char for values in arguments if isinstance(values, np.ndarray)])
            version = is_parallel, dtypes
            compiled = self._versions.get(version)
            if compiled is None:
                compiled = _compile(self._loops, *version, self._is_cached, self._options)
                self._versions[version] = compiled
            return compiled(*arguments)
        except Exception as error:
            if not self._is_cached or _is_of_loops(error):
                raise
            self._is_cached = False
            self._versions.clear()
            warn("Numba cannot cache compiled code on disk; set NUMBA_CACHE_DIR to a writable folder", error)
        return self._run(is_parallel, arguments)


def kernel(**options: Any) -> Callable[[Callable[..., Any]], Kernel]:  # noqa: ANN401
    """Return a decorator that makes a :class:`Kernel` of loops."""
    return functools.partial(Kernel, **options)


def with_globals(function: Callable[..., Any], name: str, values: Mapping[str, Any]) -> Callable[..., Any]:
    """Return a copy of a function with other values of some global names; its own name ends in ``name``.

    Example:
        >>> def add(x):
        ...     return x + step
        >>> with_globals(add, "two", {"step": 2})(1)
        3
    """
    copy = types.FunctionType(function.__code__, function.__globals__ | dict(values), function.__name__)
    copy.__module__, copy.__qualname__ = function.__module__, f"{function.__qualname__}_{name}"
    return copy


def part_count(work: int, worth: int, most: int | None = None) -> int:
    """Return the number of threads for some work: one if the work is less than ``worth``, else at most ``most``.

    Example:
        >>> part_count(work=10, worth=1000)
        1
    """
    if work < worth or _is_forked:
        return 1
    return torch.get_num_threads() if most is None else min(most, torch.get_num_threads())


def warn(message: str, error: Exception) -> None:
    """Warn once per process that a network will run more slowly, with the first line of the error that caused it."""
    if message not in _warned:
        _warned.add(message)
        reason = next(iter(str(error).strip().splitlines()), "")
        warnings.warn(f"{message} ({type(error).__name__}: {reason})", RuntimeWarning, stacklevel=3)


def fork_between_compilations() -> None:
    """Let forks wait until no thread compiles: a lock held by another thread is never released in the new process."""
    from numba.core.compiler_lock import global_compiler_lock as lock

    if hasattr(os, "register_at_fork"):
        os.register_at_fork(before=lock.acquire, after_in_parent=lock.release, after_in_child=lock.release)


def _after_fork() -> None:
    """Use one thread from now on: the threads of the parent do not exist here, and OpenMP would wait for them."""
    global _lock, _is_forked
    _lock, _is_forked = threading.Lock(), True
    _has_threads.cache_clear()
    torch.set_num_threads(1)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)


def _compile(
    loops: Callable[..., Any],
    is_parallel: bool,
    dtypes: str,
    is_cached: bool,
    options: dict[str, Any],
) -> Any:  # noqa: ANN401
    import numba

    # Numba names its cache files after the function and ignores the options.
    name = f"{'parallel' if is_parallel else 'sequential'}_{_digest(loops, dtypes)}"
    return numba.njit(with_globals(loops, name, {}), nogil=True, cache=is_cached, parallel=is_parallel, **options)


def _digest(loops: Callable[..., Any], dtypes: str) -> str:
    """Return what tells the sources of a kernel and the dtypes of its arguments apart."""
    digest = hashlib.sha256(_source(Path(loops.__code__.co_filename)) + dtypes.encode())
    return digest.hexdigest()[:12]


@functools.cache
def _source(file: Path) -> bytes:
    """Return the source of a file of loops and of those that it may call; nothing where it is not in a folder."""
    files = {file, *(Path(__file__).parent / "loops").glob("*.py")}
    return b"".join([each.read_bytes() for each in sorted(files) if each.is_file()])


def _is_of_loops(error: Exception) -> bool:
    """Tell whether an error comes from the loops themselves, not from the cache on disk."""
    from numba.core.errors import NumbaError

    return isinstance(error, IndexError | MemoryError | NumbaError)


@functools.lru_cache(maxsize=1)
def _has_threads() -> bool:
    """Tell whether Numba can use several threads."""
    if _is_forked:
        return False
    try:
        import numba

        return bool(numba.config.NUMBA_NUM_THREADS > 1 and numba.get_num_threads())  # the latter starts them
    except Exception as error:  # a broken threading layer may raise anything
        warn("Numba's threads cannot be used; kernels run on one thread", error)
        return False


def _at_most(threads: int) -> contextlib.AbstractContextManager[None]:
    """Limit the number of Numba's threads to the number of parts: idle threads would still be waited for."""
    import numba

    if threads >= numba.config.NUMBA_NUM_THREADS:  # the common case: querying the number of threads is slow
        return _NO_LIMIT
    return _limit(threads)


@contextlib.contextmanager
def _limit(threads: int) -> Iterator[None]:
    import numba

    before = numba.get_num_threads()
    numba.set_num_threads(min(threads, before))
    try:
        yield
    finally:
        numba.set_num_threads(before)
