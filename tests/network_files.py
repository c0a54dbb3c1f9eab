"""Networks of every kind for files, and the format of a file, read and written by its description alone."""

import hashlib
import json
import struct

import pytest
import safetensors.torch
import torch
from references import random_dag

from spatialgraph import SpatialGraph, SpatialMLP, SpatialSNN, drop_isolated, isolated, load, prune_, save
from spatialgraph.laws import Gaussian, InverseDistance, InversePower, Yukawa
from spatialgraph.wiring import KNN, AllToAll, Radius, Random

LAWS = {
    "inverse_distance": lambda: InverseDistance(softening=0.1),
    "inverse_power": lambda: InversePower(exponent=1.3, softening=0.01),
    "learnable_power": lambda: InversePower(exponent=1.3, learnable=True),
    "gaussian": lambda: Gaussian(sigma=0.7),
    "yukawa": lambda: Yukawa(screening=3.3, softening=0.02),
}


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
    graph = trained(SpatialGraph(torch.randn(7, 2), edges, polarity_mode="binary"))
    gone = [(3, 5), (0, 4), (4, 6), (2, 6)]
    graph.keep_(torch.tensor([tuple(edge) not in gone for edge in graph.edge_index.t().tolist()]))
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
    "factors": lambda: prune_(layered(torch.float64, weight_mode="both", polarity_mode="binary"), 0.6),
    "free": lambda: prune_(layered(weight_mode="free", wiring=Random(0.4)), 0.2),
    "free all-to-all": lambda: layered(weight_mode="free", gain=1 / 3),
    "delays": lambda: prune_(layered(velocity=0.7), 0.5),
    "free delays": lambda: prune_(layered(velocity=0.7, delay_mode="free", weight_mode="both"), 0.5),
    "layers in any order": lambda: in_any_order(weight_mode="both"),
    "without layers": dag,
    "without layers, double": lambda: dag(dtype=torch.float64, weight_mode="both", velocity=2.0, delay_mode="free"),
    "without all roles": without_all_roles,
    "without any edge": without_any_edge,
    "anchored": lambda: dag(anchored=torch.arange(15) % 3 == 0),
    "all anchored": lambda: layered(anchored=[0, 1, 2], spacing="fixed"),
    "by mask": lambda: prune_(layered(), 0.3),
    "masked": lambda: masked(layered()),
    "half": lambda: prune_(layered(), 0.5).to(torch.bfloat16),
}


def prune_one(graph):
    return graph.keep_((graph.edge_index[1] > 13) | (torch.arange(graph.synapses) % 3 == 0))


def masked(graph):
    graph.masked_share = 0.5
    return graph


def in_any_order(**options):
    torch.manual_seed(1)
    layer = torch.tensor([2, 0, 1, 0, 1, 2, 1, 0])
    edges = torch.tensor([[1, 3, 7, 2, 4, 1, 6], [2, 4, 2, 0, 5, 0, 5]])
    return trained(SpatialGraph(torch.randn(8, 3), edges, layer=layer, **options))


def outputs(graph):
    """What a model of the network computes from ones and zeros that its number of inputs tells."""
    x = torch.linspace(-1, 2, 5 * len(graph.inputs)).view(5, -1).to(graph.raw_bias.dtype)
    if graph.velocity is None:
        return SpatialMLP(graph, normalize=False)(x)
    return SpatialSNN(graph, num_steps=5, coding=None, normalize=False)((x > 0).to(x))


def assert_same(other, graph):
    assert type(other) is SpatialGraph and repr(other) == repr(graph)
    for name in (
        "gain",
        "polarity_mode",
        "weight_mode",
        "delay_mode",
        "spacing",
        "velocity",
        "dim",
        "is_layered",
        "masked_share",
    ):
        assert getattr(other, name) == getattr(graph, name), name
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
        assert type(mine.engine) is type(theirs.engine)
    for name in ("pos", "edge_index", "polarity", "bias", "inputs", "outputs", "layer"):
        assert torch.equal(getattr(other, name), getattr(graph, name)), name
    for name in ("lengths", "weights", "delays"):
        assert torch.equal(getattr(other, name)(), getattr(graph, name)()), name


def round_trip(graph, path):
    save(graph, path)
    return load(path)


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


def rewrite(path, tensors, own, version=2):
    """A file of any content with a checksum that is right."""
    header = {"version": version, "settings": own, "sha256": checksum(own, tensors)}
    path.write_bytes(safetensors.torch.save(tensors, {"spatialgraph": json.dumps(header)}))


def refused(path, message="must be a network that spatialgraph.save wrote: ."):
    with pytest.raises(ValueError, match=message) as caught:
        load(path)
    assert str(path) in str(caught.value)
