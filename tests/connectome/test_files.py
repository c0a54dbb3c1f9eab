"""A network goes into a file and comes back to the bit, and what is no network is refused."""

import hashlib
import json
import os
import pickle
import re
import struct
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
import safetensors.torch
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from references import random_dag

from spatialgraph import SpatialGraph, SpatialMLP, SpatialSNN, drop_isolated, isolated, load, prune_, save
from spatialgraph.laws import Gaussian, InverseDistance, InversePower, Law, Yukawa
from spatialgraph.wiring import KNN, AllToAll, Radius, Random

LAWS = {
    "inverse_distance": lambda: InverseDistance(softening=0.1),
    "inverse_power": lambda: InversePower(exponent=1.3, softening=0.01),
    "learnable_power": lambda: InversePower(exponent=1.3, learnable=True),
    "gaussian": lambda: Gaussian(sigma=0.7),
    "yukawa": lambda: Yukawa(screening=3.3, softening=0.02),
}


class Exponential(Law):
    def from_square(self, square):
        return torch.exp(-square.sqrt())


class Steeper(InversePower):
    pass


def trained(graph):
    """A graph whose parameters have digits that only their own precision can hold."""
    with torch.no_grad():
        for parameter in graph.parameters():
            parameter.mul_(1.0 + torch.rand_like(parameter) / 3.0)
        graph.raw_bias.normal_()
    return graph


def layered(dtype=torch.float32, sizes=(6, 8, 3), dim=3, **options):
    torch.manual_seed(0)
    return trained(SpatialGraph.layered(sizes, dim, **options).to(dtype))


def dag(neurons=15, dim=3, dtype=torch.float32, seed=0, **options):
    torch.manual_seed(seed)
    pos = torch.randn(neurons, dim, dtype=dtype)
    return trained(SpatialGraph(pos, random_dag(neurons, 0.3, seed), **options))


def without_all_roles():
    """A network without layers in which an output, a hidden neuron and an input have lost their last edges."""
    edges = torch.tensor([[0, 0, 3, 3, 4, 1, 2], [3, 4, 5, 6, 6, 6, 6]])
    graph = trained(SpatialGraph(torch.randn(7, 2), edges, polarity="binary"))
    gone = [(3, 5), (0, 4), (4, 6), (2, 6)]
    graph.keep(torch.tensor([tuple(edge) not in gone for edge in graph.edge_index.t().tolist()]))
    assert isolated(graph).tolist() == [2, 4, 5]
    assert graph.inputs.tolist() == [0, 1, 2] and graph.outputs.tolist() == [5, 6]
    return graph


def without_any_edge():
    return prune_(dag(), 1.0)


NETWORKS = {
    "all-to-all": layered,
    "all layers": lambda: layered(sizes=(4, 3, 3, 2), wiring=AllToAll(reach="all")),
    "pruned": lambda: prune_(layered(sizes=(30, 40, 10)), 0.95),
    "pruned to nothing": lambda: prune_(layered(), 1.0),
    "one projection of two": lambda: prune_one(layered()),
    "without isolated neurons": lambda: drop_isolated(prune_(layered(sizes=(30, 40, 10)), 0.95), inputs=True),
    "nearest": lambda: layered(wiring=KNN(k=3, reach="all")),
    "radius": lambda: layered(wiring=Radius(r=1.5)),
    "many": lambda: layered(wiring=Random(0.6)),
    "factors": lambda: prune_(layered(torch.float64, weights="both", polarity="binary"), 0.6),
    "free": lambda: prune_(layered(weights="free", wiring=Random(0.4)), 0.2),
    "free all-to-all": lambda: layered(weights="free", gain=1 / 3),
    "delays": lambda: prune_(layered(velocity=0.7), 0.5),
    "free delays": lambda: prune_(layered(velocity=0.7, delays="free", weights="both"), 0.5),
    "layers in any order": lambda: in_any_order(weights="both"),
    "without layers": dag,
    "without layers, double": lambda: dag(dtype=torch.float64, weights="both", velocity=2.0, delays="free"),
    "without all roles": without_all_roles,
    "without any edge": without_any_edge,
    "anchored": lambda: dag(anchored=torch.arange(15) % 3 == 0),
    "all anchored": lambda: layered(anchored=[0, 1, 2], spacing="fixed"),
    "by mask": lambda: prune_(dense_from(layered(), 0.0), 0.9),
    "half": lambda: prune_(layered(), 0.5).to(torch.bfloat16),
}


def prune_one(graph):
    return graph.keep((graph.edge_index[1] > 13) | (torch.arange(graph.synapses) % 3 == 0))


def dense_from(graph, share):
    graph.connectivity.dense_from = share
    return graph


def in_any_order(**options):
    torch.manual_seed(1)
    layer = torch.tensor([2, 0, 1, 0, 1, 2, 1, 0])
    edges = torch.tensor([[1, 3, 7, 2, 4, 1, 6], [2, 4, 2, 0, 5, 0, 5]])
    return trained(SpatialGraph(torch.randn(8, 3), edges, layer=layer, **options))


@pytest.fixture
def path(tmp_path):
    return tmp_path / "network.safetensors"


def outputs(graph):
    """What a model of the network computes from ones and zeros that its number of inputs tells."""
    x = torch.linspace(-1, 2, 5 * len(graph.inputs)).view(5, -1).to(graph.raw_bias.dtype)
    if graph.velocity is None:
        return SpatialMLP(graph, normalize=False)(x)
    return SpatialSNN(graph, steps=5, coding=None, normalize=False)((x > 0).to(x))


def assert_same(other, graph):
    assert type(other) is SpatialGraph and repr(other) == repr(graph)
    for name in ("gain", "polarity_kind", "spacing", "velocity", "dim", "is_layered"):
        assert getattr(other, name) == getattr(graph, name), name
    assert other.free_synapses.weight_kind == graph.free_synapses.weight_kind
    assert other.free_synapses.delay_kind == graph.free_synapses.delay_kind
    assert other.connectivity.dense_from == graph.connectivity.dense_from
    assert type(other.law) is type(graph.law) and other.law.settings() == graph.law.settings()
    states = (
        (dict(other.named_parameters()), dict(graph.named_parameters())),
        tuple(dict(each.named_buffers(remove_duplicate=False)) for each in (other, graph)),
    )
    for mine, theirs in states:
        assert mine.keys() == theirs.keys()
        for name, values in theirs.items():
            if name != "connectivity.listed_edges":  # in an order of their own
                assert mine[name].dtype == values.dtype and torch.equal(mine[name], values), name
    assert len(other.projections) == len(graph.projections)
    for mine, theirs in zip(other.projections, graph.projections, strict=True):
        assert (mine.edges is None, mine.mask is None) == (theirs.edges is None, theirs.mask is None)
    for name in ("pos", "edge_index", "polarity", "bias", "inputs", "outputs", "layer"):
        assert torch.equal(getattr(other, name), getattr(graph, name)), name
    for name in ("lengths", "weights", "delays"):
        assert torch.equal(getattr(other, name)(), getattr(graph, name)()), name


def round_trip(graph, path):
    save(graph, path)
    return load(path)


# Round trip ----


@pytest.mark.parametrize("make", NETWORKS.values(), ids=NETWORKS)
def test_a_network_comes_back_to_the_bit(make, path):
    graph = make()
    other = round_trip(graph, path)
    assert_same(other, graph)
    y, expected = outputs(other), outputs(graph)
    assert torch.equal(y, expected)
    if not y.requires_grad:
        return
    grads = torch.autograd.grad(y.sum(), list(other.parameters()), allow_unused=True)
    references = torch.autograd.grad(expected.sum(), list(graph.parameters()), allow_unused=True)
    for grad, reference in zip(grads, references, strict=True):
        assert (grad is None) == (reference is None)
        assert grad is None or torch.equal(grad, reference)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize("law", LAWS.values(), ids=LAWS)
@pytest.mark.parametrize("polarity", ["graded", "binary"])
@pytest.mark.parametrize("spacing", ["fixed", "learned", "free"])
def test_every_setting(spacing, polarity, law, dtype, path):
    graph = layered(dtype, spacing=spacing, polarity=polarity, law=law(), gain=1 / 3, anchored=[0])
    other = round_trip(prune_(graph, 0.5), path)
    assert_same(other, graph)
    assert torch.equal(outputs(other), outputs(graph))


@pytest.mark.parametrize("dim", [1, 2, 5])
@pytest.mark.parametrize("anchored", [None, [1], [0, 1, 2], torch.arange(17) % 3 == 0], ids=str)
@pytest.mark.parametrize("spacing", ["fixed", "learned", "free"])
def test_positions(spacing, anchored, dim, path):
    graph = layered(torch.float64, dim=dim, spacing=spacing, anchored=anchored)
    graph.positions.anchor_pos.normal_()  # anywhere, as a state_dict may bring them
    assert_same(round_trip(graph, path), graph)


def test_a_learnt_exponent_of_any_sign(path):
    graph = layered(torch.float64, law=InversePower(exponent=1.3, learnable=True))
    graph.law.exponent.data.fill_(-1 / 3)
    assert_same(round_trip(graph, path), graph)


@pytest.mark.parametrize("value", ["nan", "inf", "-inf"])
@pytest.mark.parametrize(
    ("name", "whom"),
    [
        ("raw_bias", "for neuron 6"),
        ("raw_polarity", "for neuron "),
        ("positions.coords", "for neuron 6"),
        ("positions.anchor_pos", "for neuron 2"),
        ("free_synapses.weight", r"for edge \(\d, \d\)"),
        ("law.exponent", ""),
    ],
)
def test_a_diverged_network_is_neither_written_nor_read(name, whom, value, path):
    graph = dag(7, weights="both", anchored=torch.arange(7) == 2, law=InversePower(learnable=True))
    save(graph, path)
    before, state = path.read_bytes(), graph.state_dict(keep_vars=True)
    with torch.no_grad():
        state[name].view(-1)[-1] = float(value)
    with pytest.raises(ValueError, match=f"{name} must be finite, got {value} .*{whom}"):
        save(graph, path)
    assert path.read_bytes() == before
    tensors = tensors_of(path)
    tensors[name].view(-1)[-1] = float(value)
    rewrite(path, tensors, settings_of(path))
    refused(path, f"{name} must be finite, got {value} .*{whom}")


def test_edges_are_listed_and_all_to_all_is_not(path):
    assert round_trip(layered(wiring=KNN(k=3)), path).wiring is None
    assert tensors_of(path)["connectivity.sources"].numel() == 3 * 11
    assert round_trip(layered(), path).wiring == AllToAll()
    assert tensors_of(path)["connectivity.sources"].numel() == 0
    assert round_trip(layered(sizes=(4, 3, 3, 2), wiring=AllToAll(reach="all")), path).wiring == AllToAll(reach="all")
    assert tensors_of(path)["connectivity.sources"].numel() == 0
    assert load(path).rewire().synapses == 12 + 21 + 20


@pytest.mark.parametrize("init", ["uniform", "grid"])
def test_reset_draws_as_at_first(init, path):
    graph = layered(init=init)
    other = round_trip(graph, path)
    for each in (graph, other):
        torch.manual_seed(3)
        each.reset_parameters()
    assert_same(other, graph)


def test_reset_goes_back_to_where_neurons_were_saved(path):
    graph = layered(init=lambda layer, n, axes: torch.ones(n, axes))
    other = round_trip(graph, path)
    other.positions.coords.data.zero_()
    other.reset_parameters()
    torch.testing.assert_close(other.pos, graph.pos)


def test_reading_draws_no_random_numbers(path):
    save(layered(), path)
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    load(path)
    assert torch.equal(torch.rand(3), expected)


IN_A_NEW_PROCESS = """
import sys, torch
from pathlib import Path
from test_files import outputs
from spatialgraph import load
folder = Path(sys.argv[1])
torch.save({file.stem: outputs(load(file)).detach() for file in folder.glob("*.safetensors")}, folder / "outputs.pt")
"""


def test_logits_in_a_new_process(tmp_path):
    expected = {}
    for number, make in enumerate(NETWORKS.values()):
        graph = make()
        save(graph, tmp_path / f"{number}.safetensors")
        expected[str(number)] = outputs(graph).detach()
    folders = os.pathsep.join([str(Path(__file__).parent), *sys.path])
    subprocess.run(
        [sys.executable, "-W", "ignore", "-c", IN_A_NEW_PROCESS, str(tmp_path)],
        check=True,
        env=os.environ | {"PYTHONPATH": folders},
    )
    found = torch.load(tmp_path / "outputs.pt", weights_only=True)
    assert found.keys() == expected.keys()
    for name, values in expected.items():
        assert torch.equal(found[name], values), list(NETWORKS)[int(name)]


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_random_networks(data, path):
    weights = data.draw(st.sampled_from(["law", "free", "both"]))
    velocity = data.draw(st.sampled_from([None, 0.3, 7.0]))
    options = {
        "polarity": data.draw(st.sampled_from(["graded", "binary"])),
        "law": data.draw(st.sampled_from(list(LAWS.values())))(),
        "gain": data.draw(st.floats(-1e3, 1e3)),
        "weights": weights,
        "velocity": velocity,
        "delays": "length" if velocity is None else data.draw(st.sampled_from(["length", "free"])),
    }
    dim, dtype = data.draw(st.integers(1, 4)), data.draw(st.sampled_from([torch.float32, torch.float64]))
    seed = data.draw(st.integers(0, 1000))
    if data.draw(st.booleans()):
        neurons = data.draw(st.integers(2, 20))
        mask = torch.tensor(data.draw(st.lists(st.booleans(), min_size=neurons, max_size=neurons)))
        graph = dag(neurons, dim, dtype, seed, anchored=mask, **options)
    else:
        sizes = data.draw(st.lists(st.integers(1, 6), min_size=2, max_size=4))
        wiring = data.draw(st.sampled_from([AllToAll(), AllToAll(reach="all"), Random(0.5), Random(0.7, reach="all")]))
        spacing = data.draw(st.sampled_from(["fixed", "learned", "free"]))
        graph = layered(dtype, sizes, dim, wiring=wiring, spacing=spacing, **options)
    prune_(graph, data.draw(st.sampled_from([0.0, 0.5, 0.9, 1.0])), by="random", scope="global")
    assert_same(round_trip(graph, path), graph)


@pytest.mark.parametrize("name", ["layered", "without_layers", "free_weights"])
def test_files_of_the_first_version_are_read_and_written_as_they_were(name, path):
    """Networks as they were saved when structure was still kept in buffers."""
    written = Path(__file__).parent / "networks" / f"{name}.safetensors"
    graph = load(written)
    outputs(graph)
    save(graph, path)
    assert path.read_bytes() == written.read_bytes()


# The file ----


def parts_of(path):
    """The header and the data of a file, read by the description of the format alone."""
    data = path.read_bytes()
    (length,) = struct.unpack("<Q", data[:8])
    return json.loads(data[8 : 8 + length]), data[8 + length :]


def tensors_of(path):
    return safetensors.torch.load(path.read_bytes())


def settings_of(path):
    return json.loads(parts_of(path)[0]["__metadata__"]["spatialgraph"])["settings"]


def checksum(own, tensors):
    """The checksum, written once more."""
    text = json.dumps(own, sort_keys=True).encode()
    for name in sorted(tensors):
        values = tensors[name]
        raw = values.view(torch.int16) if values.dtype == torch.bfloat16 else values
        text += f"{name} {values.dtype} {tuple(values.shape)}".encode() + raw.contiguous().numpy().tobytes()
    return hashlib.sha256(text).hexdigest()


def rewrite(path, tensors, own, version=1):
    """A file of any content with a checksum that is right."""
    header = {"version": version, "settings": own, "sha256": checksum(own, tensors)}
    path.write_bytes(safetensors.torch.save(tensors, {"spatialgraph": json.dumps(header)}))


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
    assert header["version"] == 1
    assert header["sha256"] == checksum(header["settings"], tensors_of(path))
    assert header["settings"] == {
        "spacing": "learned",
        "polarity": "graded",
        "gain": 1 / 3,
        "dtype": "float32",
        "law": "yukawa",
        "law_screening": 1.0,
        "law_softening": 0.001,
        "weights": "law",
        "delays": "length",
        "velocity": 2.0,
        "init": "normal",
        "dense_from": 0.25,
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


# What is no network ----


def refused(path, message="must be a network that spatialgraph.save wrote: ."):
    with pytest.raises(ValueError, match=message) as caught:
        load(path)
    assert str(path) in str(caught.value)


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
    refused(path, "version must be 1, got None")
    safetensors.torch.save_file({}, path, {"spatialgraph": "[" * 100_000})
    refused(path)
    torch.save(layered().state_dict(), path)
    refused(path)


def test_a_newer_version(path):
    save(layered(), path)
    rewrite(path, tensors_of(path), settings_of(path), version=2)
    refused(path, "version must be 1, got 2; a newer release may read it")


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
    for place in range(0, len(values), 1 + len(values) // 12):
        candidates = [0, 1] if values.dtype == torch.bool else [-1, 0, 1, 2, 7, 14, 1000, 2**40]
        for candidate in candidates:
            changed = values.clone() if values.dtype == torch.bool else values.long()
            changed[place] = candidate
            rewrite(path, tensors | {f"connectivity.{name}": changed}, own)
            try:
                graph = load(path)
            except ValueError:
                continue
            assert SpatialGraph(graph.pos, graph.edge_index, layer=graph.layer if graph.is_layered else None)
            assert not graph.is_input[graph.edge_index[1]].any() and not graph.is_output[graph.edge_index[0]].any()
            outputs(graph)


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
        (lambda path: save(SpatialMLP([3, 2]), path), TypeError, "graph must be a SpatialGraph .*got SpatialMLP"),
        (lambda path: save(None, path), TypeError, "graph must be a SpatialGraph .*got NoneType"),
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
