"""Downloads of MNIST, from a local server."""

from __future__ import annotations

import functools
import gc
import gzip
import hashlib
import http.server
import socket
import sys
import threading
import time
from pathlib import Path

import pytest
import torch
from idx_files import FILES, OTHER, contents, fill, snapshot

from spatialgraph.datasets import downloads
from spatialgraph.datasets.mnist import load_mnist


def publish(monkeypatch, folder, files):
    """Make torchvision look for packed files in a local folder, served over HTTP; return the server."""
    datasets = pytest.importorskip("torchvision.datasets")
    folder.mkdir()
    packed = {f"{file}.gz": gzip.compress(content, mtime=0) for file, content in files.items()}
    for file, content in packed.items():
        (folder / file).write_bytes(content)

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *args):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=folder))
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
    monkeypatch.setattr(datasets.MNIST, "mirrors", [f"http://127.0.0.1:{server.server_port}/"])
    sums = [(file, hashlib.md5(content).hexdigest()) for file, content in packed.items()]
    monkeypatch.setattr(datasets.MNIST, "resources", sums)
    return server


@pytest.fixture
def server(monkeypatch, tmp_path, isolated):
    monkeypatch.undo()  # the cable is plugged in again
    monkeypatch.setenv("no_proxy", "*")
    server = publish(monkeypatch, tmp_path / "server", contents()[1])
    yield server
    server.shutdown()
    server.server_close()


def test_downloads_once_in_silence(tmp_path, server, capfd):
    folder = tmp_path / "new" / "folder"
    timeout = socket.getdefaulttimeout()
    mnist = load_mnist(folder)
    assert OTHER.fullmatch(mnist.source) and repr(mnist) == f"Mnist(train=20, test=10, source={mnist.source!r})"
    assert capfd.readouterr() == ("", "")
    assert socket.getdefaulttimeout() == timeout
    assert {path.name: path.read_bytes() for path in (folder / "MNIST" / "raw").iterdir()} == contents()[1]
    server.shutdown()
    assert torch.equal(load_mnist(folder).train_images, mnist.train_images)


def test_downloads_into_the_first_folder(tmp_path, monkeypatch, server):
    monkeypatch.setenv("SPATIALGRAPH_DATA", str(tmp_path / "variable"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    assert OTHER.fullmatch(load_mnist().source)
    assert (tmp_path / "variable" / "MNIST" / "raw" / FILES[0]).is_file()
    assert not (tmp_path / "cache").exists()


def test_completes_a_partial_set_and_keeps_what_is_there(tmp_path, server):
    folder = tmp_path / "data"
    raw = fill(folder, {FILES[0]: contents(seed=1)[1][FILES[0]]})
    kept = snapshot(folder)
    assert OTHER.fullmatch(load_mnist(folder).source)
    assert kept.items() <= snapshot(folder).items()
    assert sorted(path.name for path in raw.iterdir()) == sorted(FILES)


def test_torchvisions_old_processed_files_are_no_substitute(tmp_path, server):
    processed = tmp_path / "data" / "MNIST" / "processed"
    processed.mkdir(parents=True)
    for file in ("training.pt", "test.pt"):
        (processed / file).write_bytes(b"not a tensor")
    assert OTHER.fullmatch(load_mnist(tmp_path / "data").source)


def test_a_download_with_a_wrong_checksum_is_not_kept(tmp_path, server):
    (tmp_path / "server" / f"{FILES[2]}.gz").write_bytes(gzip.compress(b"something else"))
    with pytest.warns(UserWarning, match="failed: RuntimeError.*corrupted"):
        assert load_mnist(tmp_path / "data").source == "bundled sample"
    assert snapshot(tmp_path / "data") == {}
    assert list((tmp_path / "data" / "MNIST" / "raw").iterdir()) == []


@pytest.mark.filterwarnings("ignore::ResourceWarning")  # torchvision leaves the refused connection open
def test_a_file_the_server_does_not_have(tmp_path, server):
    for file in FILES:
        (tmp_path / "server" / f"{file}.gz").unlink()
    with pytest.warns(UserWarning, match="failed: RuntimeError.*404"):
        assert load_mnist(tmp_path / "data").source == "bundled sample"
    gc.collect()  # closes it here, not in the middle of another test


def test_no_network(tmp_path):
    pytest.importorskip("torchvision")
    with pytest.warns(UserWarning) as caught:
        mnist = load_mnist(tmp_path / "data")
    assert mnist.source == "bundled sample"
    assert len(caught) == 1 and caught[0].filename == __file__
    message = str(caught[0].message)
    for part in (
        "bundled sample of 10,000 training and 2,000 test images",
        "not comparable to those of the full set",
        str(tmp_path / "data"),
        "URLError: <urlopen error the cable is unplugged>",
        "SPATIALGRAPH_DATA",
    ):
        assert part in message
    assert "\n" not in message
    assert not (tmp_path / "data").exists()


def test_no_network_and_a_partial_set(tmp_path):
    pytest.importorskip("torchvision")
    files = contents()[1]
    fill(tmp_path, {FILES[0]: files[FILES[0]], FILES[3]: files[FILES[3]]})
    before = snapshot(tmp_path)
    with pytest.warns(UserWarning, match=f"lacks {FILES[1]}, {FILES[2]}; the download into .* failed"):
        assert load_mnist(tmp_path).source == "bundled sample"
    assert snapshot(tmp_path) == before


@pytest.mark.parametrize("error", [RuntimeError("no\nmirror"), TimeoutError("timed out"), EOFError("cut off")])
def test_a_download_that_breaks_off(tmp_path, monkeypatch, error):
    datasets = pytest.importorskip("torchvision.datasets")
    monkeypatch.setattr(downloads, "_contact", lambda urls: None)
    timeout = socket.getdefaulttimeout()

    def download(self):
        Path(self.raw_folder).mkdir(parents=True)
        (Path(self.raw_folder) / f"{FILES[0]}.gz").write_bytes(b"half")
        raise error

    monkeypatch.setattr(datasets.MNIST, "download", download)
    with pytest.warns(UserWarning, match=f"failed: {type(error).__name__}: [a-z ]+[.]"):
        assert load_mnist(tmp_path / "data").source == "bundled sample"
    assert snapshot(tmp_path / "data") == {}
    assert socket.getdefaulttimeout() == timeout


def test_a_folder_that_cannot_be_written(tmp_path, monkeypatch):
    pytest.importorskip("torchvision")
    monkeypatch.setattr(downloads, "_contact", lambda urls: None)
    (tmp_path / "MNIST").write_text("a file where a folder should be")
    with pytest.warns(UserWarning, match="download into .* failed: (FileExists|NotADirectory)Error"):
        assert load_mnist(tmp_path).source == "bundled sample"


def test_a_silent_server_does_not_hang_the_loader(tmp_path, server, monkeypatch):
    from torchvision import datasets

    with socket.create_server(("127.0.0.1", 0)) as silent:
        monkeypatch.setattr(downloads, "_PATIENCE", 0.3)
        address = f"http://127.0.0.1:{silent.getsockname()[1]}/"
        monkeypatch.setattr(datasets.MNIST, "mirrors", [address, address])
        start = time.monotonic()
        with pytest.warns(UserWarning, match="no server answered within 0.3 seconds|timed out"):
            assert load_mnist(tmp_path / "data").source == "bundled sample"
        assert time.monotonic() - start < 5


def test_torchvision_is_asked_for(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "torchvision", None)
    with pytest.raises(ImportError, match=r'pip install "spatialgraph\[train\]"'):
        load_mnist(tmp_path)
    with pytest.warns(UserWarning, match="download=False"):
        assert load_mnist(tmp_path, download=False).source == "bundled sample"
