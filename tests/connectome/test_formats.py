"""Networks through files of other programs, and what these programs read from them."""

import xml.etree.ElementTree as ElementTree

import networkx as nx
import numpy as np
import pytest
import scipy.sparse
import torch
from exported_networks import NETWORKS
from hypothesis import given
from hypothesis import strategies as st
from references import assert_same, randomise

import spatialgraph as sg
from spatialgraph.connectome.formats.formats import FORMATS
from spatialgraph.wiring import KNN, Random

pytest.importorskip("h5py")

RECURRENT = {
    "recurrent": {"recurrent": KNN(k=2)},
    "recurrent delays": {"recurrent": Random(0.5), "velocity": 0.7, "wiring": Random(0.6)},
}
every_format = pytest.mark.parametrize("suffix", FORMATS)


def network(name):
    return NETWORKS[name]() if name in NETWORKS else randomise(sg.SpatialGraph.layered([4, 5, 3], **RECURRENT[name]))


every_network = pytest.mark.parametrize("name", [*NETWORKS, *RECURRENT])

WAYS = {
    "networkx": lambda graph, **kept: sg.from_networkx(sg.to_networkx(graph, **kept)),
    "igraph": lambda graph, **kept: sg.from_igraph(sg.to_igraph(graph, **kept)),
    "pandas": lambda graph, **kept: sg.from_frames(*sg.to_frames(graph, **kept)),
}
every_way = pytest.mark.parametrize("way", WAYS)


@every_format
@every_network
def test_files_keep_everything(name, suffix, tmp_path):
    graph, path = network(name), tmp_path / f"network{suffix}"
    sg.export(graph, path)
    assert_same(sg.read(path), graph)
    assert [each.name for each in tmp_path.iterdir()] == [path.name]


@every_way
@every_network
def test_other_libraries_keep_everything(name, way):
    pytest.importorskip(way)
    graph = network(name)
    assert_same(WAYS[way](graph), graph)


@every_format
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_other_precisions(dtype, suffix, tmp_path):
    graph = network("both").to(dtype)
    sg.export(graph, tmp_path / f"network{suffix}")
    assert_same(sg.read(tmp_path / f"network{suffix}"), graph)


@given(
    sizes=st.lists(st.integers(1, 6), min_size=2, max_size=4),
    dim=st.integers(1, 5),
    spacing=st.sampled_from(["fixed", "learned", "free"]),
    polarity=st.sampled_from(["binary", "graded"]),
    weights=st.sampled_from(["law", "free", "both"]),
    velocity=st.sampled_from([None, 0.3]),
    law=st.sampled_from(["inverse_distance", "cosine", "mexican_hat", "compact"]),
    seed=st.integers(0, 100),
)
def test_random_networks(tmp_path_factory, sizes, dim, spacing, polarity, weights, velocity, law, seed):
    torch.manual_seed(seed)
    graph = sg.SpatialGraph.layered(
        sizes, dim=dim, spacing=spacing, polarity_mode=polarity, weight_mode=weights, velocity=velocity, law=law
    )
    graph = randomise(graph)
    folder = tmp_path_factory.mktemp("networks")
    for suffix in FORMATS:
        sg.export(graph, folder / f"network{suffix}")
        assert_same(sg.read(folder / f"network{suffix}"), graph)


# What is kept ----


@every_format
@pytest.mark.parametrize("kept", [{"top": 7}, {"fraction": 0.35}, {"min_weight": 0.5}], ids=str)
def test_the_strongest_synapses_are_kept(kept, suffix, tmp_path):
    graph = network("free")
    size = graph.weights().detach().abs()
    if "min_weight" in kept:
        kept = {"min_weight": float(size.median())}
    sg.export(graph, tmp_path / f"network{suffix}", **kept)
    read = sg.read(tmp_path / f"network{suffix}")
    count = read.synapses
    assert 0 < count < graph.synapses
    assert torch.equal(read.weights().abs().sort().values, size.sort().values[-count:])
    expected = {"top": 7, "fraction": round(0.35 * graph.synapses), "min_weight": int((size >= size.median()).sum())}
    assert count == expected[next(iter(kept))]


@every_way
def test_the_strongest_synapses_are_handed_over(way):
    pytest.importorskip(way)
    graph = network("layers")
    read = WAYS[way](graph, top=3)
    assert torch.equal(read.weights().abs().sort().values, graph.weights().abs().sort().values[-3:])
    assert sg.to_adjacency(graph, top=3)[0].nnz == 3


@pytest.mark.parametrize(
    ("kept", "error", "message"),
    [
        ({"top": 3, "fraction": 0.5}, ValueError, "at most one of min_weight, top and fraction may be given"),
        ({"top": -1}, ValueError, "top must be at least 0, got -1"),
        ({"fraction": 1.5}, ValueError, "fraction must be between 0 and 1, got 1.5"),
        ({"min_weight": float("nan")}, ValueError, "min_weight must be finite, got nan"),
        ({"top": 2.5}, TypeError, "top must be an int, got 2.5"),
    ],
    ids=str,
)
def test_selections_out_of_range(kept, error, message):
    with pytest.raises(error, match=message):
        sg.to_networkx(network("layers"), **kept)


# Other programs ----


def test_adjacency_and_positions():
    graph = network("recurrent")
    matrix, pos = sg.to_adjacency(graph)
    dense = np.zeros((12, 12))
    for (source, target), weight in zip(graph.edge_index.t().tolist(), graph.weights().tolist(), strict=True):
        dense[source, target] = weight
    assert np.array_equal(matrix.toarray(), dense) and np.array_equal(pos, graph.pos.detach().numpy())
    assert np.array_equal(sg.to_adjacency(graph, dense=True)[0], dense)


def test_scipy_reads_the_adjacency(tmp_path):
    graph = network("pruned")
    sg.export(graph, tmp_path / "network.npz")
    matrix = scipy.sparse.load_npz(tmp_path / "network.npz")
    assert (matrix != sg.to_adjacency(graph)[0]).nnz == 0 and matrix.nnz == graph.synapses


def test_networkx_and_igraph_read_graphml(tmp_path):
    igraph = pytest.importorskip("igraph")
    graph = network("recurrent delays")
    sg.export(graph, tmp_path / "network.graphml")
    assert_same(sg.from_networkx(nx.read_graphml(tmp_path / "network.graphml")), graph)
    assert_same(sg.from_igraph(igraph.Graph.Read_GraphML(str(tmp_path / "network.graphml"))), graph)


def test_gexf_has_the_structure_that_gephi_needs(tmp_path):
    graph = network("layers")
    sg.export(graph, tmp_path / "network.gexf")
    root = ElementTree.parse(tmp_path / "network.gexf").getroot()
    names = {"g": root.tag[1:].partition("}")[0], "viz": root.tag[1:].partition("}")[0] + "/viz"}
    assert root.tag.endswith("}gexf") and root.get("version")
    (body,) = root.findall("g:graph", names)
    assert body.get("defaultedgetype") == "directed"
    for declared in body.findall("g:attributes/g:attribute", names):
        assert declared.get("id") is not None and declared.get("title") and declared.get("type")
    nodes, edges = body.findall("g:nodes/g:node", names), body.findall("g:edges/g:edge", names)
    assert [node.get("id") for node in nodes] == [str(number) for number in range(graph.neurons)]
    assert len(edges) == graph.synapses and all(
        edge.get(name) is not None for edge in edges for name in ("id", "source", "target")
    )
    for node, pos, polarity in zip(nodes, graph.pos.tolist(), graph.polarity.tolist(), strict=True):
        parts = {part.tag.rpartition("}")[2]: part.attrib for part in node if "viz" in part.tag}
        assert [float(parts["position"][axis]) for axis in "xyz"[: graph.dim]] == pos
        assert 1.0 <= float(parts["size"]["value"]) <= 20.0
        red, blue = int(parts["color"]["r"]), int(parts["color"]["b"])
        assert (red > blue) == (polarity > 0) and (blue > red) == (polarity < 0)


def test_libsonata_reads_neurons_and_synapses(tmp_path):
    libsonata = pytest.importorskip("libsonata")
    graph = network("recurrent delays")
    sg.export(graph, tmp_path / "network.h5")
    path = str(tmp_path / "network.h5")
    nodes = libsonata.NodeStorage(path).open_population("neurons")
    for axis, name in enumerate("xyz"):
        assert np.array_equal(nodes.get_attribute(name, nodes.select_all()), graph.pos[:, axis].detach().numpy())
    storage = libsonata.EdgeStorage(path)
    edges = storage.open_population(next(iter(storage.population_names)))
    assert edges.source == edges.target == "neurons" and edges.size == graph.synapses
    whole = edges.select_all()
    sources, targets = (torch.as_tensor(ends(whole).astype(int)) for ends in (edges.source_nodes, edges.target_nodes))
    assert torch.equal(torch.stack([sources, targets]), graph.edge_index)
    assert np.array_equal(edges.get_attribute("syn_weight", whole), graph.weights().detach().numpy())
    assert np.array_equal(edges.get_attribute("delay", whole), graph.delays().detach().numpy())
    for neuron in range(graph.neurons):
        found = edges.source_nodes(edges.afferent_edges([neuron])).tolist()
        assert sorted(found) == sorted(graph.edge_index[0][graph.edge_index[1] == neuron].tolist())
        found = edges.target_nodes(edges.efferent_edges([neuron])).tolist()
        assert sorted(found) == sorted(graph.edge_index[1][graph.edge_index[0] == neuron].tolist())


@pytest.mark.filterwarnings("ignore")  # of these packages
def test_bctpy_and_nilearn_take_adjacency_and_positions():
    bct, plotting = pytest.importorskip("bct"), pytest.importorskip("nilearn.plotting")
    graph = network("recurrent")
    dense, pos = sg.to_adjacency(graph, dense=True)
    assert np.isfinite(bct.efficiency_wei(abs(dense)))
    drawn = plotting.plot_connectome(sg.to_adjacency(graph)[0], pos)
    assert all(len(axes.ax.collections) for axes in drawn.axes.values())
    drawn.close()


# Bad input ----


def test_unknown_suffixes(tmp_path):
    for call in (lambda path: sg.export(network("layers"), path), sg.read):
        with pytest.raises(ValueError, match=r"the suffix of path must be one of \.graphml, .*, got '\.txt'"):
            call(tmp_path / "network.txt")
        with pytest.raises(TypeError, match="path must be a string or a path, got int"):
            call(3)
    assert not list(tmp_path.iterdir())


@every_format
def test_a_network_that_is_not_finite_is_not_written(suffix, tmp_path):
    graph = network("layers")
    path = tmp_path / f"network{suffix}"
    path.write_bytes(b"before")
    with torch.no_grad():
        graph.positions.coords[3, 0] = torch.nan
    with pytest.raises(ValueError, match="must hold finite numbers in 'x', got nan for neuron 3"):
        sg.export(graph, path)
    assert path.read_bytes() == b"before"


@every_format
def test_a_folder_that_cannot_be_written(suffix, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(NotADirectoryError):
        sg.export(network("layers"), tmp_path / "file" / f"network{suffix}")
    with pytest.raises(FileNotFoundError):
        sg.export(network("layers"), tmp_path / "none" / f"network{suffix}")
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


@every_format
def test_files_that_hold_no_network(suffix, tmp_path):
    path = tmp_path / f"network{suffix}"
    with pytest.raises(FileNotFoundError):
        sg.read(path)
    sg.export(network("layers"), path)
    for data in (b"", b"nonsense", path.read_bytes()[:200]):
        path.write_bytes(data)
        with pytest.raises(ValueError, match="must hold a network: "):
            sg.read(path)


def test_a_graph_without_its_settings_is_read_with_a_warning():
    graph = sg.to_networkx(network("binary"))
    graph.graph.clear()
    with pytest.warns(UserWarning, match="neurons of a network without its settings"):
        sg.from_networkx(graph)
