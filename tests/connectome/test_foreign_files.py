"""What is no network is refused."""

import pickle
import re
import struct
import zipfile
from pathlib import Path

import pytest
import safetensors.torch
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from network_files import NETWORKS, assert_same, layered, outputs, refused, rewrite, settings_of, tensors_of

from spatialgraph import SpatialGraph, load, prune_, save
from spatialgraph.laws import InversePower, Law


class Exponential(Law):
    def from_square(self, square):
        return torch.exp(-square.sqrt())


class Steeper(InversePower):
    pass


class Unknown(torch.nn.Module):
    graph = layered()


def test_a_missing_file(path):
    with pytest.raises(FileNotFoundError, match=re.escape(str(path))):
        load(path)


def test_truncated_at_any_length(path):
    save(prune_(layered(), 0.5), path)
    data = path.read_bytes()
    for length in [*range(0, 40), *range(40, len(data), 17), len(data) - 1]:
        path.write_bytes(data[:length])
        refused(path)


def test_something_appended(path):
    save(layered(), path)
    path.write_bytes(path.read_bytes() + b"\0")
    refused(path)


def test_no_flipped_byte_makes_another_network(path):
    graph = prune_(layered(), 0.5)
    save(graph, path)
    data = path.read_bytes()
    same = 0
    for place in range(len(data)):
        damaged = bytearray(data)
        damaged[place] ^= 1 << place % 8
        path.write_bytes(damaged)
        try:
            other = load(path)
        except ValueError as error:
            assert str(path) in str(error)
        else:  # spaces between the words of the header
            assert_same(other, graph)
            same += 1
    assert same < 20


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.binary(max_size=200), header=st.booleans())
def test_noise(data, header, path):
    path.write_bytes(struct.pack("<Q", len(data)) + data if header else data)
    refused(path)


class Malicious:
    def __init__(self, marker):
        self.marker = marker

    def __reduce__(self):
        return (Path.touch, (self.marker,))


def test_no_code_is_run(path, tmp_path):
    marker = tmp_path / "it ran"
    path.write_bytes(pickle.dumps(Malicious(marker)))
    refused(path)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("archive/data.pkl", pickle.dumps(Malicious(marker)))
    refused(path)
    torch.save(Malicious(marker), path)
    refused(path)
    tensors = tensors_of(saved(path))
    rewrite(path, tensors, settings_of(path) | {"law": "__import__('os').system('true')"})
    refused(path, "law must be one of")
    assert not marker.exists()
    pickle.loads(pickle.dumps(Malicious(marker)))  # it would have run
    assert marker.exists()


def saved(path, graph=None):
    save(layered() if graph is None else graph, path)
    return path


def test_files_of_other_programs(path):
    safetensors.torch.save_file({"weight": torch.ones(2, 3)}, path)
    refused(path, "got a file of another program, without 'spatialgraph' in its metadata")
    safetensors.torch.save_file({"weight": torch.ones(2, 3)}, path, {"format": "pt"})
    refused(path, "got a file of another program")
    safetensors.torch.save_file({}, path, {"spatialgraph": "[]"})
    refused(path)
    safetensors.torch.save_file({}, path, {"spatialgraph": "{}"})
    refused(path, "version must be 2, got None")
    safetensors.torch.save_file({}, path, {"spatialgraph": "[" * 100_000})
    refused(path)
    torch.save(layered().state_dict(), path)
    refused(path)


def test_a_newer_version(path):
    save(layered(), path)
    rewrite(path, tensors_of(path), settings_of(path), version=3)
    refused(path, "version must be 2, got 3: another release wrote it")


def test_the_helper_writes_what_is_read(path):
    for make in NETWORKS.values():
        graph = make()
        save(graph, path)
        rewrite(path, tensors_of(path), settings_of(path))
        assert_same(load(path), graph)


@pytest.mark.parametrize("make", NETWORKS.values(), ids=NETWORKS)
def test_every_tensor_is_needed_and_has_its_shape_and_kind(make, path):
    save(make(), path)
    tensors, own = tensors_of(path), settings_of(path)
    for name, values in tensors.items():
        rewrite(path, {key: tensors[key] for key in tensors if key != name}, own)
        refused(path, re.escape(name))
        longer = torch.cat([values, values.new_zeros(1, *values.shape[1:])]) if values.dim() else values[None]
        for changed in (longer, values[None], values.reshape(-1)[:0].reshape(0, 0, 0), values.to(torch.float16)):
            rewrite(path, tensors | {name: changed}, own)
            refused(path)
    rewrite(path, tensors | {"more": torch.ones(1)}, own)
    refused(path, "more")


@pytest.mark.parametrize("make", NETWORKS.values(), ids=NETWORKS)
def test_every_setting_is_needed(make, path):
    save(make(), path)
    tensors, own = tensors_of(path), settings_of(path)
    for name, value in own.items():
        rewrite(path, tensors, {key: own[key] for key in own if key != name})
        refused(path)
        wrong = [float("nan"), float("inf"), "free electrons", [], {}, 10**400]
        for other in wrong if value is not None else wrong[2:]:
            rewrite(path, tensors, own | {name: other})
            refused(path)
    rewrite(path, tensors, own | {"law_colour": 3.0})
    refused(path)


@pytest.mark.parametrize("kind", ["pruned", "all-to-all", "one projection of two", "without layers"])
@pytest.mark.parametrize("name", ["layer", "is_input", "is_output", "all_to_all", "sources", "in_degree"])
def test_no_structure_that_breaks_a_rule(kind, name, path):
    """Whatever whole numbers take the place of others: a network that keeps the rules, or an error."""
    save(NETWORKS[kind](), path)
    tensors, own = tensors_of(path), settings_of(path)
    values = tensors[f"connectivity.{name}"]
    places = accepted = refusals = 0
    for place in range(0, len(values), 1 + len(values) // 12):
        places += 1
        candidates = [0, 1] if values.dtype == torch.bool else [-1, 0, 1, 2, 7, 14, 1000, 2**40]
        for candidate in {*candidates, int(values[place])}:
            changed = values.clone() if values.dtype == torch.bool else values.long()
            changed[place] = candidate
            rewrite(path, tensors | {f"connectivity.{name}": changed}, own)
            try:
                graph = load(path)
            except ValueError:
                refusals += 1
                continue
            accepted += 1
            assert SpatialGraph(graph.pos, graph.edge_index, layer=graph.layer if graph.is_layered else None)
            assert not graph.is_input[graph.edge_index[1]].any() and not graph.is_output[graph.edge_index[0]].any()
            outputs(graph)
    assert accepted >= places and (refusals or not places)  # the numbers that were there, at least


@pytest.mark.parametrize(
    ("make", "name", "change", "message"),
    [
        ("pruned", "sources", lambda v: v.long().index_fill(0, torch.tensor([0]), 80), "must lie between 0 and 79"),
        ("pruned", "sources", lambda v: v.long().index_fill(0, torch.tensor([0]), -1), "must lie between 0 and 79"),
        ("pruned", "sources", lambda v: v.long().index_fill(0, torch.tensor([0]), 70), "must not be outputs"),
        ("pruned", "sources", lambda v: v.long().index_fill(0, torch.tensor([0]), 69), "must lead to later layers"),
        ("pruned", "sources", lambda v: v[:-1], "in_degree must add up to"),
        ("pruned", "in_degree", lambda v: v.roll(-30), "nor lead to inputs"),
        ("pruned", "in_degree", lambda v: v.long() - 1, "in_degree must lie between 0 and the number"),
        ("pruned", "in_degree", lambda v: v[1:], r"in_degree must have shape \(80,\)"),
        ("pruned", "all_to_all", lambda v: v + 1, "all_to_all must be that of the layers and edges"),
        ("all-to-all", "all_to_all", lambda v: v * 3, "all_to_all must be that of the layers and edges"),
        ("all-to-all", "layer", lambda v: v.long() + 10**12, "layer must be below the number of neurons"),
        ("all-to-all", "layer", lambda v: v * 2, "layer must leave no layer empty"),
        ("without layers", "is_output", torch.zeros_like, "connectivity must have inputs and outputs"),
        ("without layers", "is_input", lambda v: v.to(torch.uint8), "is_input must be a boolean mask"),
        ("without layers", "all_to_all", lambda v: v + 1, "all_to_all must be that of the layers and edges"),
        ("without layers", "sources", torch.zeros_like, "must not"),
    ],
)
def test_messages_about_structure(make, name, change, message, path):
    save(NETWORKS[make](), path)
    tensors = tensors_of(path)
    key = f"connectivity.{name}"
    rewrite(path, tensors | {key: change(tensors[key]).contiguous()}, settings_of(path))
    refused(path, message)


def test_a_cycle(path):
    save(SpatialGraph(torch.randn(4, 2), torch.tensor([[0, 1, 2], [1, 2, 3]])), path)
    tensors = tensors_of(path)
    changes = {"connectivity.sources": torch.tensor([2, 1, 2]), "connectivity.in_degree": torch.tensor([0, 1, 1, 1])}
    rewrite(path, tensors | changes, settings_of(path))
    refused(path, "edge_index must not contain a cycle")


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda path: save(Unknown(), path), TypeError, "network must be a SpatialGraph, .* got Unknown"),
        (lambda path: save(None, path), TypeError, "network must be a SpatialGraph or a model .*got NoneType"),
        (lambda path: save(layered(law=Exponential()), path), TypeError, "law must be one of .* got Exponential: a"),
        (lambda path: save(layered(law=Steeper()), path), TypeError, "law must be one of .* got Steeper: a file holds"),
        (lambda path: save(layered(), 3), TypeError, "path must be a string or a path, got int"),
        (lambda path: load(None), TypeError, "path must be a string or a path, got NoneType"),
        (lambda path: load(path.parent), IsADirectoryError, "directory"),
        (lambda path: save(layered(), path / "no" / "folder"), FileNotFoundError, "no/folder"),
        (lambda path: save(mixed(), path), ValueError, "raw_polarity must be torch.float32, got torch.float64"),
        (lambda path: save(with_gain(float("nan")), path), ValueError, "gain must be finite, got nan"),
    ],
)
def test_wrong_calls(call, error, message, path):
    with pytest.raises(error, match=message):
        call(path)
    assert not list(path.parent.iterdir())


def mixed():
    graph = layered()
    graph.raw_polarity.data = graph.raw_polarity.data.double()
    return graph


def with_gain(gain):
    graph = layered()
    graph.gain = gain
    return graph
