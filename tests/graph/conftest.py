import pytest
from exported_networks import NETWORKS

from spatialgraph import to_networkx


@pytest.fixture
def exported():
    return to_networkx(NETWORKS["layers"]())
