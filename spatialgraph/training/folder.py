"""The folder of a training, with a lock."""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

__all__ = ["claim"]


@contextlib.contextmanager
def claim(folder: str | os.PathLike[str]) -> Iterator[bool]:
    """Create a folder if it does not exist, and lock it against other trainings.

    The lock is released when the process ends, even by a kill. There is none if the system or file system does not
    support locks.

    Args:
        folder: the folder.

    Yields:
        Whether it is locked.

    Raises:
        NotADirectoryError: if ``folder`` is a file.
        PermissionError: if ``folder`` is not writable.
        BlockingIOError: if another training uses ``folder``.

    Example:
        >>> import tempfile
        >>> with claim(Path(tempfile.mkdtemp()) / "run") as is_locked:
        ...     is_locked
        True
    """
    folder = Path(folder)
    if folder.exists() and not folder.is_dir():
        raise NotADirectoryError(f"folder must be a folder, got the file {folder}")
    folder.mkdir(parents=True, exist_ok=True)
    if not os.access(folder, os.W_OK | os.X_OK):
        raise PermissionError(f"folder must be one that can be written, got {folder}")
    with _lock(folder) as is_locked:
        yield is_locked


@contextlib.contextmanager
def _lock(folder: Path) -> Iterator[bool]:
    try:
        import fcntl
    except ImportError:  # not available on Windows
        yield False
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        is_locked = True
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise BlockingIOError(f"folder must not be that of another running training, got {folder}") from None
        except OSError:  # a file system without locks
            is_locked = False
        yield is_locked
    finally:
        os.close(descriptor)
