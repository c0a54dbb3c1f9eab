"""Atomic writes: after a kill, a full disk or a power cut, a file has its old or its new content."""

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
    """Write a temporary file, wait until it is on the disk, and rename it to the given path.

    If the path is a symbolic link, the file that it points to is replaced. An existing file keeps its permissions; a
    new one gets those of the process's umask. Pipes and devices such as ``/dev/null`` are written to directly.

    Args:
        path: the file.
        data: the content.
        keep: a path in the same folder to which an existing file is moved; None to delete it.

    Raises:
        FileNotFoundError: if the folder does not exist.
        NotADirectoryError: if the folder is a file.
        IsADirectoryError: if ``path`` is a folder.
        PermissionError: if the file or its folder is not writable.
        OSError: if the disk is full or fails; the file is then unchanged.

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
        # Name the requested file in the error, not the temporary one.
        raise OSError(error.errno, os.strerror(error.errno), str(target)) from error
    finally:
        with contextlib.suppress(OSError):  # exists only after a failed write
            part.unlink(missing_ok=True)
    _wait_for_folder(target.parent)


def write_text(path: _Path, text: str) -> None:
    """Write a text file atomically, in UTF-8 and with the line ends of ``text``.

    Args:
        path: the file; errors as in :func:`write_bytes`.
        text: the content.

    Example:
        >>> import tempfile
        >>> path = Path(tempfile.mkdtemp()) / "a.txt"
        >>> write_text(path, "hello")
        >>> path.read_text()
        'hello'
    """
    write_bytes(path, text.encode())


def write(path: _Path, fill: Callable[[IO[bytes]], object]) -> None:
    """Write a binary file atomically, with content that a function writes.

    The function gets a file in memory, so that no file is written if it raises.

    Args:
        path: the file; errors as in :func:`write_bytes`.
        fill: writes to a binary file, such as ``functools.partial(torch.save, state)``.

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
    """Remove temporary files of killed writers; call it only while no process writes these files.

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
    """Return the status of a file, following links; None if there is none."""
    try:
        return os.stat(path)
    except (FileNotFoundError, NotADirectoryError):
        return None


def _check(target: Path, before: os.stat_result | None) -> None:
    """Raise an error that names the path if it cannot be written."""
    folder = target.parent
    if not folder.exists():
        raise FileNotFoundError(errno.ENOENT, f"The folder {folder} does not exist", str(target))
    if not folder.is_dir():
        raise NotADirectoryError(errno.ENOTDIR, f"{folder} is not a folder", str(target))
    if before is not None and not os.access(target, os.W_OK):
        raise PermissionError(errno.EACCES, "The file is not writable", str(target))
    if not os.access(folder, os.W_OK | os.X_OK):
        raise PermissionError(errno.EACCES, f"The folder {folder} is not writable", str(target))


def _write_part(part: Path, data: bytes, before: os.stat_result | None) -> None:
    # A replacement for a private file must be private before anything is written to it.
    descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666 if before is None else 0o600)
    with open(descriptor, "wb") as file:
        if before is not None:
            _copy_permissions(part, before)
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def _copy_permissions(part: Path, before: os.stat_result) -> None:
    """Copy owner and permissions of the replaced file, as far as the system supports it."""
    if hasattr(os, "chown"):
        with contextlib.suppress(OSError):  # only the superuser may change the owner
            os.chown(part, before.st_uid, before.st_gid)
    with contextlib.suppress(OSError):
        os.chmod(part, stat.S_IMODE(before.st_mode))


def _exchange(part: Path, target: Path, keep: _Path) -> None:
    """Replace a file, and move the old one to another path."""
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
    """Wait until the new name is on the disk, where the system supports it."""
    with contextlib.suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
