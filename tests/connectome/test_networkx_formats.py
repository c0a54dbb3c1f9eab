"""Networks through the file formats of networkx."""

import json
import pickle

import networkx as nx
import numpy as np
import pytest
import torch
from exported_networks import NETWORKS, layered
from references import assert_same, randomise
from spiking_networks import SIZES, T, both_wirings

from spatialgraph import SpatialGraph, SpatialSNN, from_networkx, load, save, to_networkx


def networks_with_values():
    return {
        "free": {"weight_mode": "free"},
        "both": {"weight_mode": "both"},
        "delays": {"velocity": 0.7},
        "free delays": {"velocity": 0.7, "delay_mode": "free", "weight_mode": "free"},
        "both and free delays": {"velocity": 0.7, "delay_mode": "free", "weight_mode": "both"},
    }


every_value = pytest.mark.parametrize("options", networks_with_values().values(), ids=networks_with_values().keys())


@both_wirings
@every_value
def test_conversion_and_back(options, wiring, tmp_path):
    graph = randomise(SpatialGraph.layered(SIZES, wiring=wiring, **options))
    exported = to_networkx(graph)
    nx.write_graphml(exported, tmp_path / "graph.graphml")
    read = nx.read_graphml(tmp_path / "graph.graphml", node_type=int)
    x = torch.rand(3, 6)
    for source in (exported, read):
        twin = from_networkx(source)
        assert torch.equal(twin.edge_index, graph.edge_index)
        assert torch.equal(twin.weights(), graph.weights()) and torch.equal(twin.delays(), graph.delays())
        assert twin.velocity == graph.velocity
        assert [p.shape for p in twin.parameters()] == [p.shape for p in graph.parameters()]
        assert torch.equal(SpatialSNN(twin, num_steps=T)(x), SpatialSNN(graph, num_steps=T)(x))
    data = graph.to_data()
    assert torch.equal(data.edge_weight, graph.weights())
    assert ("edge_delay" in data) == (graph.velocity is not None)
    if graph.velocity is not None:
        assert torch.equal(data.edge_delay, graph.delays()) and not data.edge_delay.requires_grad
        (source, target), delay = graph.edge_index[:, 4].tolist(), graph.delays()[4].item()
        assert exported.edges[source, target]["delay"] == delay


def test_a_file_that_drops_the_settings_still_opens(tmp_path):
    graph = SpatialGraph.layered(SIZES, velocity=0.7, delay_mode="free", weight_mode="both", spacing="free")
    nx.write_gexf(to_networkx(graph), tmp_path / "graph.gexf")
    with pytest.warns(UserWarning, match="without its settings"):
        twin = from_networkx(nx.read_gexf(tmp_path / "graph.gexf", node_type=int))
    assert torch.equal(twin.edge_index, graph.edge_index) and torch.allclose(twin.pos, graph.pos)


def through_json(graph, folder):
    (folder / "network.json").write_text(json.dumps(nx.node_link_data(graph, edges="edges")))
    return nx.node_link_graph(json.loads((folder / "network.json").read_text()), edges="edges")


def through_pickle(graph, folder):
    (folder / "network.pickle").write_bytes(pickle.dumps(graph))
    return pickle.loads((folder / "network.pickle").read_bytes())


def through_graphml(graph, folder):
    nx.write_graphml(graph, folder / "network.graphml")
    return nx.read_graphml(folder / "network.graphml")  # nodes are strings then


def through_gml(graph, folder):
    nx.write_gml(graph, folder / "network.gml")
    return nx.read_gml(folder / "network.gml")


def through_gexf(graph, folder):
    nx.write_gexf(graph, folder / "network.gexf")
    return nx.read_gexf(folder / "network.gexf")


@pytest.mark.parametrize("way", [through_json, through_pickle, through_graphml, through_gml])
@pytest.mark.parametrize("network", NETWORKS)
def test_formats_that_keep_everything(network, way, tmp_path):
    graph = NETWORKS[network]()
    assert_same(from_networkx(way(to_networkx(graph), tmp_path)), graph)


@pytest.mark.parametrize("network", NETWORKS)
def test_gexf_loses_the_settings_and_nothing_else(network, tmp_path):
    exported = to_networkx(NETWORKS[network]())
    exported.graph.clear()
    with pytest.warns(UserWarning, match="without its settings"):
        own, read = from_networkx(exported), from_networkx(through_gexf(exported, tmp_path))
    assert_same(own, read)
    assert (own.spacing, own.polarity_mode, own.law.name) == ("free", "graded", "inverse_distance")
    assert own.weight_mode == "law" and own.velocity is None and own.pos.dtype == torch.float32


@pytest.mark.parametrize("way", [through_pickle, through_graphml])
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
@pytest.mark.parametrize("network", NETWORKS)
def test_networks_of_other_precisions(network, dtype, way, tmp_path):
    graph = NETWORKS[network]().to(dtype)
    assert_same(from_networkx(way(to_networkx(graph), tmp_path)), graph)
    save(graph, tmp_path / "network.safetensors")
    assert_same(load(tmp_path / "network.safetensors"), graph)
    data = graph.to_data()
    source, target = graph.pos.detach().double()[data.edge_index]
    lengths = (source - target).square().sum(1).sqrt()
    torch.testing.assert_close(graph.lengths().detach(), lengths.to(dtype), rtol=torch.finfo(dtype).eps, atol=0.0)
    assert data.pos.dtype == data.edge_weight.dtype == dtype


def test_settings_that_were_set_to_numbers_of_numpy(tmp_path):
    graph = layered(law="gaussian")
    graph.gain, graph.law.sigma = np.float32(0.5), np.float64(2.0)
    exported = to_networkx(graph)
    assert type(exported.graph["gain"]) is type(exported.graph["law_sigma"]) is float
    save(graph, tmp_path / "network.safetensors")
    assert load(tmp_path / "network.safetensors").law.settings() == from_networkx(exported).law.settings()
