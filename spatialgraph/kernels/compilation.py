"""How loops are compiled by Numba: once for one thread and once for several, and what is done where that fails.

Loops are written once, with :func:`numba.prange` over the parts of the work. The version for one part knows no threads:
it enters no parallel region, needs no lock and may run in a forked process, where the threads of its parent are gone.
"""

import contextlib
import functools
import os
import threading
import types
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import torch

__all__ = ["Kernel", "fork_between_compilations", "kernel", "part_count", "warn"]

# One of Numba's threading layers must not be entered by two threads at once.
_lock = threading.Lock()
_NO_LIMIT = contextlib.nullcontext()
_is_forked = False
_warned: set[str] = set()


class Kernel:
    """Loops for Numba, compiled where they are first called.

    What was compiled is kept on disk where that is possible.

    Args:
        loops: a function whose last argument is the number of parts.
        **options: options of :func:`numba.njit`.
    """

    def __init__(self, loops: Callable[..., Any], **options: Any) -> None:  # noqa: ANN401 - Numba's options
        self._loops = loops
        self._options = options
        self._versions: dict[bool, Any] = {}
        self._is_kept = True

    def __call__(self, *arguments: Any) -> Any:  # noqa: ANN401
        """Run the loops, on several threads where there are several parts."""
        if arguments[-1] == 1 or not _has_threads():
            return self._run(False, arguments)
        with _lock, _at_most(arguments[-1]):
            return self._run(True, arguments)

    def _run(self, is_parallel: bool, arguments: tuple[Any, ...]) -> Any:  # noqa: ANN401
        try:
            if is_parallel not in self._versions:
                self._versions[is_parallel] = _compile(self._loops, is_parallel, self._is_kept, self._options)
            return self._versions[is_parallel](*arguments)
        except Exception as error:
            if not self._is_kept or _is_of_loops(error):
                raise
            self._is_kept = False
            self._versions.clear()
            warn("what Numba compiles is not kept on disk; NUMBA_CACHE_DIR can name a folder to write to", error)
        return self._run(is_parallel, arguments)


def kernel(**options: Any) -> Callable[[Callable[..., Any]], Kernel]:  # noqa: ANN401
    """Return a decorator that makes a :class:`Kernel` of loops."""
    return functools.partial(Kernel, **options)


def part_count(work: int, worth: int, most: int | None = None) -> int:
    """Return how many threads share some work: one where it is less than ``worth``, else at most ``most``.

    Example:
        >>> part_count(work=10, worth=1000)
        1
    """
    if work < worth or _is_forked:
        return 1
    return torch.get_num_threads() if most is None else min(most, torch.get_num_threads())


def warn(message: str, error: Exception) -> None:
    """Warn of something that slows networks down, once in a process, with the first line of the error behind it."""
    if message not in _warned:
        _warned.add(message)
        reason = next(iter(str(error).strip().splitlines()), "")
        warnings.warn(f"{message} ({type(error).__name__}: {reason})", RuntimeWarning, stacklevel=3)


def fork_between_compilations() -> None:
    """Let forks wait until no thread compiles: in the new process nobody would release the compiler's lock."""
    from numba.core.compiler_lock import global_compiler_lock as lock

    if hasattr(os, "register_at_fork"):
        os.register_at_fork(before=lock.acquire, after_in_parent=lock.release, after_in_child=lock.release)


def _after_fork() -> None:
    """Compute on one thread from now on: those of the parent do not exist here, and OpenMP would wait for them."""
    global _lock, _is_forked
    _lock, _is_forked = threading.Lock(), True
    _has_threads.cache_clear()
    torch.set_num_threads(1)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)


def _compile(loops: Callable[..., Any], is_parallel: bool, is_kept: bool, options: dict[str, Any]) -> Any:  # noqa: ANN401
    import numba

    # Numba names its files after the function, whatever the options are.
    named = types.FunctionType(loops.__code__, loops.__globals__, loops.__name__)
    named.__module__ = loops.__module__
    named.__qualname__ = f"{loops.__qualname__}_{'parallel' if is_parallel else 'sequential'}"
    return numba.njit(named, nogil=True, cache=is_kept, parallel=is_parallel, **options)


def _is_of_loops(error: Exception) -> bool:
    """Tell an error of the loops themselves from one of what is kept on disk."""
    from numba.core.errors import NumbaError

    return isinstance(error, IndexError | MemoryError | NumbaError)


@functools.lru_cache(maxsize=1)
def _has_threads() -> bool:
    """Tell whether Numba has several threads; where not, one does all of the work."""
    if _is_forked:
        return False
    try:
        import numba

        return bool(numba.config.NUMBA_NUM_THREADS > 1 and numba.get_num_threads())  # the latter starts them
    except Exception as error:  # whatever a broken threading layer may raise
        warn("Numba's threads cannot be used, and one thread does their work", error)
        return False


def _at_most(threads: int) -> contextlib.AbstractContextManager[None]:
    """Limit Numba's threads: one that has no part would wait for the others, and they for busy cores."""
    import numba

    if threads >= numba.config.NUMBA_NUM_THREADS:  # the common case: even to ask how many are set takes long
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
