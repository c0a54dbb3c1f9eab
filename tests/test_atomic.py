"""Files whole or not at all: what is left after failures of every kind, at every moment."""

import errno
import os
import resource
import signal
import stat
import warnings
from pathlib import Path

import pytest

from spatialgraph import atomic

OLD, NEW = b"the old file", b"the new file" * 1000


def in_child(action):
    """Run an action in a process of its own; return how it ended: the signal, or the text of its error."""
    read, write = os.pipe()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # a fork beside threads: the child computes nothing
        child = os.fork()
    if not child:
        try:
            action()
            text = "done"
        except BaseException as error:
            text = f"{type(error).__name__}: {error}"
        os.write(write, text.encode())
        os._exit(0)
    os.close(write)
    with open(read, "rb") as file:
        text = file.read().decode()
    _, status = os.waitpid(child, 0)
    return -os.WTERMSIG(status) if os.WIFSIGNALED(status) else text


def dying_at(number, action):
    """Return an action that is killed before its call number so and so of the operating system."""
    left = number

    def counted(call):
        def wrapper(*args, **kwargs):
            nonlocal left
            left -= 1
            if not left:
                os.kill(os.getpid(), signal.SIGKILL)
            return call(*args, **kwargs)

        return wrapper

    def run():
        for name in ("open", "replace", "fsync", "chmod", "close"):
            setattr(os, name, counted(getattr(os, name)))
        action()

    return run


@pytest.mark.parametrize("keep", [False, True])
def test_a_kill_at_any_moment_leaves_the_old_or_the_new_file(tmp_path, keep):
    path, before = tmp_path / "file", tmp_path / "before"
    seen = set()
    for number in range(1, 20):
        for old in tmp_path.iterdir():
            old.unlink()
        path.write_bytes(OLD)
        ended = in_child(dying_at(number, lambda: atomic.write_bytes(path, NEW, keep=before if keep else None)))
        files = {place.name: place.read_bytes() for place in tmp_path.iterdir() if place.suffix != ".part"}
        assert ended in ("done", -signal.SIGKILL)
        assert files in (
            {"file": OLD},
            {"file": NEW, "before": OLD} if keep else {"file": NEW},
            *([{"before": OLD}] if keep else []),
        )
        seen.add(tuple(sorted(files)))
        atomic.remove_parts(tmp_path, ["file"])
        assert {place.name for place in tmp_path.iterdir()} == set(files)
        if ended == "done":
            break
    assert ended == "done" and number > 5
    assert seen == ({("file",), ("before",), ("before", "file")} if keep else {("file",)})


@pytest.mark.parametrize("keep", [None, "before"])
@pytest.mark.parametrize("call", ["fsync", "replace"])
@pytest.mark.parametrize("error", [OSError(errno.EIO, "a failing disk"), OSError("no number"), KeyboardInterrupt()])
def test_a_failure_leaves_the_old_file_and_nothing_else(tmp_path, monkeypatch, call, keep, error):
    path = tmp_path / "file"
    path.write_bytes(OLD)

    def fail(*args):
        raise error

    monkeypatch.setattr(os, call, fail)
    with pytest.raises(type(error)) as caught:
        atomic.write_bytes(path, NEW, keep=keep and tmp_path / keep)
    assert path.read_bytes() == OLD and list(tmp_path.iterdir()) == [path]
    if getattr(error, "errno", None):
        assert caught.value.filename == str(path)


def test_a_failure_of_the_second_move_brings_the_old_file_back(tmp_path, monkeypatch):
    path, replace, moves = tmp_path / "file", os.replace, []
    path.write_bytes(OLD)

    def fail_once(source, target):
        moves.append(target)
        if len(moves) == 2:
            raise OSError(errno.EIO, "a failing disk")
        replace(source, target)

    monkeypatch.setattr(os, "replace", fail_once)
    with pytest.raises(OSError, match="file'"):
        atomic.write_bytes(path, NEW, keep=tmp_path / "before")
    assert path.read_bytes() == OLD and list(tmp_path.iterdir()) == [path]


def test_a_full_disk_names_the_file(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(OLD)

    def write():
        resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
        atomic.write_bytes(path, NEW)

    assert in_child(write) == f"OSError: [Errno {errno.EFBIG}] {os.strerror(errno.EFBIG)}: '{path}'"
    assert path.read_bytes() == OLD and list(tmp_path.iterdir()) == [path]


def test_a_link_stays_and_its_target_is_replaced(tmp_path):
    folder = tmp_path / "elsewhere"
    folder.mkdir()
    (folder / "file").write_bytes(OLD)
    (tmp_path / "link").symlink_to("elsewhere/file")
    (tmp_path / "second").symlink_to("link")
    (tmp_path / "dangling").symlink_to(folder / "new")
    atomic.write_bytes(tmp_path / "second", NEW)
    atomic.write_bytes(tmp_path / "dangling", NEW)
    assert all((tmp_path / name).is_symlink() for name in ("link", "second", "dangling"))
    assert (folder / "file").read_bytes() == (folder / "new").read_bytes() == NEW
    assert sorted(place.name for place in folder.iterdir()) == ["file", "new"]


def test_links_that_lead_in_a_circle(tmp_path):
    (tmp_path / "a").symlink_to("b")
    (tmp_path / "b").symlink_to("a")
    with pytest.raises(OSError, match="symbolic links"):
        atomic.write_bytes(tmp_path / "a", NEW)


@pytest.mark.parametrize("mode", [0o600, 0o640, 0o755])
def test_a_file_keeps_its_permissions(tmp_path, mode):
    path = tmp_path / "file"
    path.write_bytes(OLD)
    path.chmod(mode)
    atomic.write_bytes(path, NEW)
    assert stat.S_IMODE(path.stat().st_mode) == mode


def test_a_private_file_is_private_from_the_first_byte_on(tmp_path, monkeypatch):
    path, modes = tmp_path / "file", []
    path.write_bytes(OLD)
    path.chmod(0o600)
    fsync = os.fsync
    monkeypatch.setattr(os, "fsync", lambda file: modes.append(os.fstat(file).st_mode) or fsync(file))
    monkeypatch.setattr(os, "chmod", lambda *args: None)
    atomic.write_bytes(path, NEW)
    assert stat.S_IMODE(modes[0]) == 0o600


@pytest.mark.parametrize("mask", [0o022, 0o077])
def test_a_new_file_follows_the_mask(tmp_path, mask):
    before = os.umask(mask)
    try:
        atomic.write_bytes(tmp_path / "file", NEW)
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "file").stat().st_mode) == 0o666 & ~mask


def test_places_that_are_none_are_named(tmp_path):
    (tmp_path / "file").write_bytes(OLD)
    with pytest.raises(FileNotFoundError, match=r"The folder .*/absent does not exist: '.*/absent/file'$"):
        atomic.write_bytes(tmp_path / "absent" / "file", NEW)
    with pytest.raises(NotADirectoryError, match=r".*/file is not a folder: '.*/file/inner'$"):
        atomic.write_bytes(tmp_path / "file" / "inner", NEW)
    with pytest.raises(IsADirectoryError, match=rf"{tmp_path}'$"):
        atomic.write_bytes(tmp_path, NEW)
    assert list(tmp_path.iterdir()) == [tmp_path / "file"]


def test_permissions_are_respected(tmp_path):
    read_only, closed = tmp_path / "read-only", tmp_path / "closed" / "file"
    closed.parent.mkdir()
    tmp_path.chmod(0o777)
    for path in (read_only, closed):
        path.write_bytes(OLD)
    read_only.chmod(0o444)
    closed.chmod(0o666)
    closed.parent.chmod(0o555)

    def write_as_nobody(path):
        os.chdir(path.parent)  # the folders above are the superuser's own
        if os.getuid() == 0:
            os.setuid(65534)
        atomic.write_bytes(path.name, NEW)

    assert in_child(lambda: write_as_nobody(read_only)).startswith("PermissionError")
    assert in_child(lambda: write_as_nobody(closed)).startswith("PermissionError")
    assert read_only.read_bytes() == closed.read_bytes() == OLD
    closed.parent.chmod(0o755)


def test_what_is_no_file_is_written_to_and_stays(tmp_path):
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    atomic.write_bytes(pipe, OLD)
    assert os.read(reader, 100) == OLD
    os.close(reader)
    assert pipe.is_fifo()
    atomic.write_bytes(os.devnull, NEW)
    assert stat.S_ISCHR(os.stat(os.devnull).st_mode)
    if Path("/dev/full").exists():
        with pytest.raises(OSError, match="No space left on device"):
            atomic.write_bytes("/dev/full", NEW)


def test_long_names_and_many_writers(tmp_path):
    name = "ä" * 127
    atomic.write_text(tmp_path / name, "x\ny\r\n")
    assert (tmp_path / name).read_bytes() == b"x\ny\r\n"
    assert os.listdir(tmp_path) == [name]


def test_a_function_that_fails_leaves_nothing(tmp_path):
    def fill(file):
        file.write(NEW)
        raise RuntimeError("in the middle")

    with pytest.raises(RuntimeError, match="in the middle"):
        atomic.write(tmp_path / "file", fill)
    assert list(tmp_path.iterdir()) == []


def test_parts_of_others_are_left_alone(tmp_path):
    others = ["file.part", "file.1-aaaaaaaa.part.txt", "other.1-aaaaaaaa.part", "file.1-zzzzzzzz.part"]
    for name in [*others, "file.1-aaaaaaaa.part"]:
        (tmp_path / name).touch()
    atomic.remove_parts(tmp_path, ["file"])
    assert sorted(os.listdir(tmp_path)) == sorted(others)
