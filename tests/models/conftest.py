import pytest
import torch

from spatialgraph.models import serving


@pytest.fixture
def builds(monkeypatch):
    """Count how often weights are computed for keeping."""
    calls = []
    original = serving.Materialised
    monkeypatch.setattr(serving, "Materialised", lambda *args: calls.append(1) or original(*args))
    return calls


@pytest.fixture
def fresh_compiler():
    torch.compiler.reset()
    yield
    torch.compiler.reset()
