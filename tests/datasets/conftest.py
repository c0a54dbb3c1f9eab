from __future__ import annotations

import urllib.error
import urllib.request

import pytest

from spatialgraph.datasets import downloads
from spatialgraph.datasets import mnist as module


@pytest.fixture(autouse=True)
def isolated(monkeypatch, tmp_path):
    """No test sees the user's folders, proxies, or network."""
    monkeypatch.delenv("SPATIALGRAPH_DATA", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("no_proxy", "*")

    def unplugged(*args, **kwargs):
        raise urllib.error.URLError("the cable is unplugged")

    monkeypatch.setattr(urllib.request, "urlopen", unplugged)


@pytest.fixture
def no_download(monkeypatch):
    def never(folder):
        raise AssertionError(f"tried to download into {folder}")

    monkeypatch.setattr(downloads, "fetch", never)


@pytest.fixture(scope="module")
def sample():
    return module._read_sample()
