"""Downloads of the MNIST files, which give up soon where there is no network."""

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

# Seconds without any answer from a server before a download is given up.
_PATIENCE = 10.0


def fetch(folder: Path) -> str | None:
    """Download the missing files into `folder`; return None, or in one line why it could not be done."""
    try:
        from torchvision import datasets
    except ModuleNotFoundError as error:
        if error.name != "torchvision":  # it is there, and something that it needs is not
            raise
        raise ImportError(
            'downloading MNIST needs torchvision: pip install "spatialgraph[train]" '
            "(or call load_mnist(download=False) for the bundled sample)"
        ) from error
    silence = _contact([f"{mirror}{datasets.MNIST.resources[0][0]}" for mirror in datasets.MNIST.mirrors])
    if silence is not None:
        return silence
    try:
        place = raw(folder)
        place.mkdir(parents=True, exist_ok=True)
        # Downloaded beside, then moved: an interrupted or a simultaneous run leaves no half-written files.
        with tempfile.TemporaryDirectory(prefix=".download-", dir=place) as aside, _quiet_and_impatient():
            datasets.MNIST(aside, download=True)
            _adopt(raw(Path(aside)), place)
    # torchvision reports through RuntimeError, but lets through what breaks in the middle of an answer.
    except (RuntimeError, OSError, EOFError, http.client.HTTPException) as error:
        return one_line(error)
    return None


def _adopt(source: Path, target: Path) -> None:
    """Move the files of the set that `target` lacks there from `source`."""
    for file, _ in FILES.values():
        if not (target / file).is_file() and not (target / f"{file}.gz").is_file():
            os.replace(source / file, target / file)


def _contact(urls: Sequence[str]) -> str | None:
    """Return None as soon as one of `urls` answers, or in one line why none does.

    A socket's timeout counts for each address of a host, and not for its name: where a firewall swallows
    packets, a download would try for minutes before it fails. Asking all hosts at once sets one limit.
    """
    answers: queue.SimpleQueue[str | None] = queue.SimpleQueue()

    def ask(url: str) -> None:
        try:
            with urllib.request.urlopen(urllib.request.Request(url, method="HEAD"), timeout=_PATIENCE):
                answers.put(None)
        except urllib.error.HTTPError as error:
            error.close()
            # An answer, if not the one hoped for: let torchvision try, and say what is wrong.
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
    """Hide torchvision's progress bars, and give its sockets, which have none, a timeout."""
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
