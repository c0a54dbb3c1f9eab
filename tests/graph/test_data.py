"""Networks that pass through PyG's loaders and data sets are read back without loss."""

import pytest
import torch
from torch_geometric.data import InMemoryDataset
from torch_geometric.loader import DataLoader

from spatialgraph import SpatialGraph
from spatialgraph.laws import InversePower
from spatialgraph.wiring import KNN


def networks():
    yield SpatialGraph.layered([6, 4, 2], dtype=torch.float64)
    yield SpatialGraph.layered([5, 4, 3], gain=0.1, dtype=torch.float64)
    yield SpatialGraph.layered([6, 3, 2], wiring=KNN(k=2), law=InversePower(1.3), dtype=torch.float64)


def same(found, graph):
    assert torch.equal(found.weights(), graph.weights())
    assert torch.equal(found.edge_index, graph.edge_index)
    assert repr(found.law) == repr(graph.law)
    return found.gain == graph.gain


def test_networks_of_a_batch_are_read_back():
    graphs = list(networks())
    (batch,) = DataLoader([graph.to_data() for graph in graphs], batch_size=3)
    found = [SpatialGraph.from_data(data) for data in batch.to_data_list()]
    assert all(map(same, found, graphs))


def test_networks_of_a_data_set_are_read_back(tmp_path):
    graphs = list(networks())

    class Networks(InMemoryDataset):
        def __init__(self):
            super().__init__(None)
            self.data, self.slices = self.collate([graph.to_data() for graph in graphs])

    assert all(same(SpatialGraph.from_data(data), graph) for data, graph in zip(Networks(), graphs, strict=True))


@pytest.mark.parametrize(
    ("settings", "error", "message"),
    [
        ({"gain": 1.0}, TypeError, "settings must be a JSON object as a string, got dict"),
        ("gain=1", ValueError, "settings must be a JSON object: Expecting value"),
        ("[1]", ValueError, r"settings must be a JSON object, got \[1\]"),
        ('{"gain": "large"}', TypeError, "gain must be a number, got 'large'"),
    ],
)
def test_wrong_settings(settings, error, message):
    data = SpatialGraph.layered([3, 2]).to_data()
    data.settings = settings
    with pytest.raises(error, match=message):
        SpatialGraph.from_data(data)


def test_a_batch_is_no_network():
    (batch,) = DataLoader([graph.to_data() for graph in networks()], batch_size=3)
    with pytest.raises(TypeError, match="settings must be a JSON object as a string, got list"):
        SpatialGraph.from_data(batch)
