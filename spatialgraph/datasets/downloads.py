"""Download of the MNIST files, with a short time limit if there is no network."""

from __future__ import annotations

import contextlib
import http.client
import io
import os
import queue
import socket
import tempfile
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from spatialgraph.datasets.idx import FILES, raw

__all__ = ["fetch", "one_line"]

# Seconds to wait for an answer from a server.
_PATIENCE = 10.0


def fetch(folder: Path) -> str | None:
    """Download the missing files into `folder`; return None, or the reason of a failure in one line."""
    try:
        from torchvision import datasets
    except ModuleNotFoundError as error:
        if error.name != "torchvision":  # installed, but one of its dependencies is not
            raise
        raise ImportError(
            'downloading MNIST needs torchvision: pip install "spatialgraph[train]" '
            "(or call load_mnist(download=False) for the bundled sample)"
        ) from error
    unreachable = _contact([f"{mirror}{datasets.MNIST.resources[0][0]}" for mirror in datasets.MNIST.mirrors])
    if unreachable is not None:
        return unreachable
    try:
        place = raw(folder)
        place.mkdir(parents=True, exist_ok=True)
        # Downloaded to a temporary folder, then moved, so that interrupted or simultaneous runs leave no partial files.
        with tempfile.TemporaryDirectory(prefix=".download-", dir=place) as aside, _quiet_and_impatient():
            datasets.MNIST(aside, download=True)
            _adopt(raw(Path(aside)), place)
    # torchvision raises RuntimeError, but other errors if an answer is interrupted.
    except (RuntimeError, OSError, EOFError, http.client.HTTPException) as error:
        return one_line(error)
    return None


def _adopt(source: Path, target: Path) -> None:
    """Move the files that are missing in `target` from `source`."""
    for file, _ in FILES.values():
        if not (target / file).is_file() and not (target / f"{file}.gz").is_file():
            os.replace(source / file, target / file)


def _contact(urls: Sequence[str]) -> str | None:
    """Return None as soon as one of `urls` answers, or the reason in one line if none does.

    A socket's timeout applies to each address of a host, and not to name resolution, so that a download behind a
    firewall would take minutes to fail. Contacting all hosts at once sets one time limit.
    """
    answers: queue.SimpleQueue[str | None] = queue.SimpleQueue()

    def ask(url: str) -> None:
        try:
            with urllib.request.urlopen(urllib.request.Request(url, method="HEAD"), timeout=_PATIENCE):
                answers.put(None)
        except urllib.error.HTTPError as error:
            error.close()
            # The server answered with an error status: let torchvision try and report it.
            answers.put(None)
        except (OSError, ValueError, http.client.HTTPException) as error:
            answers.put(one_line(error))

    for url in urls:
        threading.Thread(target=ask, args=(url,), daemon=True).start()
    failures: list[str] = []
    end = time.monotonic() + _PATIENCE
    while len(failures) < len(urls):
        try:
            answer = answers.get(timeout=max(0.0, end - time.monotonic()))
        except queue.Empty:
            return f"no server answered within {_PATIENCE:g} seconds"
        if answer is None:
            return None
        failures.append(answer)
    return "; ".join(dict.fromkeys(failures))


@contextlib.contextmanager
def _quiet_and_impatient() -> Iterator[None]:
    """Hide torchvision's progress bars, and set a timeout for its sockets."""
    before: Any = socket.getdefaulttimeout()
    socket.setdefaulttimeout(_PATIENCE)
    try:
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
            yield
    finally:
        socket.setdefaulttimeout(before)


def one_line(error: BaseException) -> str:
    """Return the type and message of an error without line breaks."""
    return f"{type(error).__name__}: {' '.join(str(error).split())}"
