"""Files that are written whole or not at all: a kill, a full disk or a power cut leaves the old file or the new one."""

import contextlib
import errno
import io
import os
import re
import secrets
import stat
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import IO

__all__ = ["remove_parts", "write", "write_bytes", "write_text"]

_Path = str | os.PathLike[str]


def write_bytes(path: _Path, data: bytes, keep: _Path | None = None) -> None:
    """Write a file beside its place, wait until the disk has it, and only then let it replace the one before.

    A symbolic link stays, and the file that it names is replaced. A file that exists keeps its permissions; a new one
    has those of the process's mask. What is no file, such as a pipe or ``/dev/null``, is written to directly.

    Args:
        path: the file.
        data: what goes into it.
        keep: a path in the same folder that the file before is moved to, where there is one; None drops it.

    Raises:
        FileNotFoundError: if the folder does not exist.
        NotADirectoryError: if the folder is a file.
        IsADirectoryError: if ``path`` is a folder.
        PermissionError: if the file or its folder must not be written.
        OSError: if the disk is full or fails; the file is then as it was.

    Example:
        >>> import tempfile
        >>> path = Path(tempfile.mkdtemp()) / "a.bin"
        >>> write_bytes(path, b"one")
        >>> write_bytes(path, b"two", keep=path.with_name("before.bin"))
        >>> path.read_bytes(), path.with_name("before.bin").read_bytes()
        (b'two', b'one')
    """
    target = Path(os.path.realpath(path))
    before = _status(path)
    if before is not None and not stat.S_ISREG(before.st_mode):
        _write_in_place(path, data)
        return
    _check(target, before)
    part = target.with_name(f"{target.name[:40]}.{os.getpid()}-{secrets.token_hex(4)}.part")
    try:
        _write_part(part, data, before)
        if keep is None or before is None:
            os.replace(part, target)
        else:
            _exchange(part, target, keep)
    except OSError as error:
        if error.errno is None:
            raise
        # The file asked for is named, not the one beside it.
        raise OSError(error.errno, os.strerror(error.errno), str(target)) from error
    finally:
        with contextlib.suppress(OSError):  # nothing is left of a write that failed; after one that did not, no part is
            part.unlink(missing_ok=True)
    _wait_for_folder(target.parent)


def write_text(path: _Path, text: str) -> None:
    """Write a text file whole or not at all, in UTF-8 and with the line ends that ``text`` has.

    Args:
        path: the file; see :func:`write_bytes`, also for what is raised.
        text: what goes into it.

    Example:
        >>> import tempfile
        >>> path = Path(tempfile.mkdtemp()) / "a.txt"
        >>> write_text(path, "hello")
        >>> path.read_text()
        'hello'
    """
    write_bytes(path, text.encode())


def write(path: _Path, fill: Callable[[IO[bytes]], object]) -> None:
    """Write what a function puts into a binary file, whole or not at all.

    The function is given a file in memory: what it raises leaves nothing on the disk.

    Args:
        path: the file; see :func:`write_bytes`, also for what is raised.
        fill: a function of a binary file, such as ``functools.partial(torch.save, state)``.

    Example:
        >>> import tempfile
        >>> path = Path(tempfile.mkdtemp()) / "a.bin"
        >>> write(path, lambda file: file.write(b"hello"))
        >>> path.read_bytes()
        b'hello'
    """
    content = io.BytesIO()
    fill(content)
    write_bytes(path, content.getvalue())


def remove_parts(folder: _Path, names: Iterable[str]) -> None:
    """Remove what writers of files left in a folder when they were killed; call it only while nobody writes them.

    Args:
        folder: where the files are.
        names: the files' names.

    Example:
        >>> import tempfile
        >>> folder = Path(tempfile.mkdtemp())
        >>> (folder / "a.bin.17-0a1b2c3d.part").touch()
        >>> remove_parts(folder, ["a.bin"])
        >>> list(folder.iterdir())
        []
    """
    pattern = re.compile(rf"({'|'.join(re.escape(name[:40]) for name in names)})\.\d+-[0-9a-f]{{8}}\.part")
    for path in Path(folder).iterdir():
        if pattern.fullmatch(path.name):
            path.unlink(missing_ok=True)


def _status(path: _Path) -> os.stat_result | None:
    """Return what is known of a file, links followed; None where there is none."""
    try:
        return os.stat(path)
    except (FileNotFoundError, NotADirectoryError):
        return None


def _check(target: Path, before: os.stat_result | None) -> None:
    """Say what is wrong with a place before anything is written, in terms of that place."""
    folder = target.parent
    if not folder.exists():
        raise FileNotFoundError(errno.ENOENT, f"The folder {folder} does not exist", str(target))
    if not folder.is_dir():
        raise NotADirectoryError(errno.ENOTDIR, f"{folder} is not a folder", str(target))
    if before is not None and not os.access(target, os.W_OK):
        raise PermissionError(errno.EACCES, "The file must not be written", str(target))
    if not os.access(folder, os.W_OK | os.X_OK):
        raise PermissionError(errno.EACCES, f"The folder {folder} must not be written", str(target))


def _write_part(part: Path, data: bytes, before: os.stat_result | None) -> None:
    # What replaces a private file is private from its first byte on.
    descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666 if before is None else 0o600)
    with open(descriptor, "wb") as file:
        if before is not None:
            _take_over(part, before)
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def _take_over(part: Path, before: os.stat_result) -> None:
    """Give a file the owner and the permissions of the one that it replaces, as far as system and disk know them."""
    if hasattr(os, "chown"):
        with contextlib.suppress(OSError):  # others than the superuser keep their own name
            os.chown(part, before.st_uid, before.st_gid)
    with contextlib.suppress(OSError):
        os.chmod(part, stat.S_IMODE(before.st_mode))


def _exchange(part: Path, target: Path, keep: _Path) -> None:
    """Put a new file in the place of one that is kept under another name."""
    os.replace(target, keep)
    try:
        os.replace(part, target)
    except OSError:
        os.replace(keep, target)
        raise


def _write_in_place(path: _Path, data: bytes) -> None:
    with open(path, "wb") as file:
        file.write(data)


def _wait_for_folder(folder: Path) -> None:
    """Wait until the disk has the new name, too; some systems and file systems cannot say."""
    with contextlib.suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
