"""What a file of a network holds, and how it is written."""

import json

import numpy as np
import pytest
import torch
from network_files import assert_same, checksum, dag, layered, parts_of, round_trip, tensors_of

from spatialgraph import SpatialGraph, load, prune_, save


def test_a_pruned_network_is_small(path):
    graph = prune_(SpatialGraph.layered([784, 2048, 10]), 0.95)
    save(graph, path)
    assert graph.synapses == 81306
    numbers = sum(parameter.numel() for parameter in graph.parameters())
    # Two bytes for a source, four for a parameter; two for the in-degree and four of one byte for each neuron.
    assert 2 * graph.synapses + 4 * numbers < path.stat().st_size < 2 * graph.synapses + 4 * numbers + 6 * 2842 + 2000
    assert path.stat().st_size < 250_000


def test_rows_list_the_sources_of_each_target(path):
    graph = prune_(layered(sizes=(300, 5, 4)), 0.5)
    save(graph, path)
    header, data = parts_of(path)
    assert header["connectivity.sources"]["dtype"] == "U16" and header["connectivity.in_degree"]["dtype"] == "U8"
    assert header["connectivity.layer"]["dtype"] == "U8" and header["positions.coords"]["dtype"] == "F32"
    begin, end = header["connectivity.sources"]["data_offsets"]
    sources = np.frombuffer(data[begin:end], "<u2")
    begin, end = header["connectivity.in_degree"]["data_offsets"]
    targets = np.repeat(np.arange(309), np.frombuffer(data[begin:end], np.uint8))
    assert sorted(zip(sources, targets, strict=True)) == sorted(map(tuple, graph.edge_index.t().tolist()))


@pytest.mark.parametrize(("neurons", "kind"), [(256, "U8"), (257, "U16"), (65536, "U16"), (65537, "I32")])
def test_sources_take_the_smallest_type(neurons, kind, path):
    edges = torch.tensor([[neurons - 1], [0]])
    graph = SpatialGraph(torch.zeros(neurons, 1), edges)
    assert_same(round_trip(graph, path), graph)
    assert parts_of(path)[0]["connectivity.sources"]["dtype"] == kind


def test_metadata(path):
    save(layered(gain=1 / 3, velocity=2.0, law="yukawa"), path)
    header = json.loads(parts_of(path)[0]["__metadata__"]["spatialgraph"])
    assert header["version"] == 2
    assert header["sha256"] == checksum(header["settings"], tensors_of(path))
    assert header["settings"] == {
        "spacing": "learned",
        "polarity_mode": "graded",
        "gain": 1 / 3,
        "dtype": "float32",
        "law": "yukawa",
        "law_screening": 1.0,
        "law_softening": 0.001,
        "weight_mode": "law",
        "delay_mode": "length",
        "velocity": 2.0,
        "init": "normal",
        "model": None,
        "masked_share": 0.0,
    }


def test_the_same_network_gives_the_same_file(path):
    graph = prune_(layered(), 0.3)
    files = set()
    for _ in range(5):
        save(graph, path)
        files.add(path.read_bytes())
    assert len(files) == 1


@pytest.mark.parametrize("call", ["os.fsync", "os.replace"])
def test_a_failure_leaves_the_old_file_alone(call, path, monkeypatch):
    save(layered(), path)
    before = path.read_bytes()

    def fail(*args):
        raise OSError("no space left")

    monkeypatch.setattr(call, fail)
    with pytest.raises(OSError, match="no space left"):
        save(dag(), path)
    assert path.read_bytes() == before and list(path.parent.iterdir()) == [path]


def test_a_file_is_replaced(path):
    path.write_text("something else")
    save(layered(), str(path))
    save(dag(), path)
    assert_same(load(str(path)), dag())
    assert list(path.parent.iterdir()) == [path]
