import pytest

from spatialgraph.graph.transmission import Transmission


@pytest.fixture
def builds(monkeypatch):
    """Count how often weights are computed for the cache."""
    calls = []
    original = Transmission.precomputed
    monkeypatch.setattr(Transmission, "precomputed", lambda self: calls.append(1) or original(self))
    return calls
