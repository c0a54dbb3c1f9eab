"""Networks in half precision: geometry is computed in single precision and rounded at the end."""

import networkx as nx
import pytest
import torch
from references import randomise

import spatialgraph as sg
from spatialgraph.graph.penalties import PENALTIES

HALF = [torch.bfloat16, torch.float16]
KINDS = {
    "all-to-all": {},
    "nearest": {"wiring": sg.wiring.KNN(k=2)},
    "random": {"wiring": sg.wiring.Random(0.5)},
    "factors": {"wiring": sg.wiring.KNN(k=2), "weight_mode": "both"},
    "free": {"wiring": sg.wiring.KNN(k=2), "weight_mode": "free"},
}
halved = pytest.mark.parametrize("dtype", HALF, ids=str)
every_kind = pytest.mark.parametrize("options", KINDS.values(), ids=KINDS)


def pair(dtype, build):
    """A model in half precision, and one in single precision with the same, rounded parameters."""
    torch.manual_seed(0)
    model = randomise(build()).to(dtype)
    torch.manual_seed(0)
    single = build()
    single.load_state_dict({n: v.float() if v.is_floating_point() else v for n, v in model.state_dict().items()})
    return model, single


def assert_rounded(half, single, roundings=1.0):
    """Equal up to a number of roundings of the half type, relative to the largest number."""
    assert half.dtype in HALF and single.dtype == torch.float32
    scale = float(single.detach().abs().max())
    torch.testing.assert_close(half.float(), single, rtol=0.0, atol=roundings * torch.finfo(half.dtype).eps * scale)


@halved
@every_kind
def test_lengths_and_weights_are_those_of_single_precision_rounded(dtype, options):
    model, single = pair(dtype, lambda: sg.SpatialMLP([12, 9, 4], **options))
    assert_rounded(model.graph.lengths(), single.graph.lengths())
    assert_rounded(model.graph.weights(), single.graph.weights(), roundings=2.0)  # times a rounded polarity


@halved
@every_kind
def test_a_step_and_a_pass(dtype, options):
    model, single = pair(dtype, lambda: sg.SpatialMLP([12, 9, 4], gain=0.05, **options))
    x = torch.rand(5, 12).to(dtype)
    y, right = model(x), single(x.float())
    assert_rounded(y, right, roundings=8.0)
    for output in (y, right):
        output.float().square().sum().backward()
    for mine, theirs in zip(model.parameters(), single.parameters(), strict=True):
        if theirs.grad is not None and theirs.grad.abs().max() > 1e-6:
            assert_rounded(mine.grad, theirs.grad, roundings=16.0)
    torch.optim.SGD(model.parameters(), lr=0.01).step()
    assert torch.equal(model.eval()(x), model(x))


@halved
@every_kind
def test_changes_files_and_tables(dtype, options, tmp_path):
    graph = randomise(sg.SpatialMLP([12, 9, 4], **options).graph).to(dtype)
    half = sg.prune(graph, 0.5)
    assert half.synapses == round(0.5 * graph.synapses)
    for by in ("length", "weight"):
        assert sg.prune(graph, 0.5, by=by).weights().dtype == dtype
    assert sg.regrow_(half, 0.3).weights().dtype == dtype
    sg.save(graph, tmp_path / "network.safetensors")
    assert torch.equal(sg.load(tmp_path / "network.safetensors").weights(), graph.weights())
    table = sg.to_networkx(graph)
    assert nx.number_of_edges(table) == graph.synapses
    assert torch.equal(sg.from_networkx(table).weights(), graph.weights())
    assert graph.to_data().pos.dtype == dtype


@halved
@pytest.mark.parametrize("wiring", [None, sg.wiring.KNN(k=2)], ids=["all-to-all", "nearest"])
@pytest.mark.parametrize("velocity", [None, 0.5], ids=["at once", "delayed"])
def test_spiking_networks(dtype, wiring, velocity):
    options = {"wiring": wiring, "velocity": velocity, "gain": 0.5, "num_steps": 6, "coding": "latency"}
    model, single = pair(dtype, lambda: sg.SpatialSNN([12, 9, 4], **options))
    x = torch.rand(5, 12).to(dtype)
    y = model(x)
    assert y.dtype == dtype and torch.isfinite(y).all()
    y.float().square().sum().backward()
    assert torch.isfinite(model.graph.positions.coords.grad).all()
    if velocity is not None:
        assert_rounded(model.graph.delays(), single.graph.delays())


@halved
@pytest.mark.parametrize("wiring", [None, sg.wiring.Random(0.5), sg.wiring.KNN(k=2)], ids=str)
def test_a_pass_masks_the_same_synapses_as_weights(dtype, wiring):
    torch.manual_seed(0)
    graph = sg.SpatialGraph.layered([30, 20], dtype=dtype, wiring=wiring)
    graph.masked_share = 0.3
    matrix = torch.zeros(20, 30, dtype=dtype)
    matrix[graph.edge_index[1] - 30, graph.edge_index[0]] = graph.weights()
    assert torch.equal(graph.transmission().send(0, torch.eye(30, dtype=dtype)).t() != 0, matrix != 0)


@halved
def test_lengths_whose_squares_do_not_fit_the_type(dtype):
    lengths, edges = torch.tensor([0.0, 1e-3, 1.0, 300.0]).to(dtype), torch.tensor([[1, 2, 3], [0, 0, 0]])
    right = 1.0 / (lengths.float().square() + 1e-6).sqrt()
    torch.testing.assert_close(sg.laws.InverseDistance()(lengths), right.to(dtype))
    sent = torch.zeros(4, 3, dtype=dtype)
    sent[1:] = torch.eye(3, dtype=dtype)
    torch.testing.assert_close(sg.SpatialSimpleConv()(sent, lengths[:, None], edges)[0], right[1:].to(dtype))


@halved
def test_layers(dtype):
    layer = sg.SpatialLinear(12, 4).to(dtype)
    x = torch.rand(5, 12).to(dtype)
    assert layer(x).dtype == dtype
    assert torch.equal(layer.eval()(x), layer.train()(x))
    conv, pos, edges = sg.SpatialSimpleConv(), torch.rand(6, 3), torch.tensor([[0, 1, 2], [3, 4, 5]])
    features = torch.rand(6, 4).to(dtype)
    assert_rounded(
        conv(features, pos.to(dtype), edges), conv(features.float(), pos.to(dtype).float(), edges), roundings=4.0
    )


@halved
def test_heights_of_many_neurons(dtype):
    model, single = pair(dtype, lambda: sg.SpatialMLP([1500, 2000, 3], spacing="free"))
    assert_rounded(model.graph.positions.heights(), single.graph.positions.heights())


@halved
@pytest.mark.parametrize("name", PENALTIES)
@pytest.mark.parametrize("spacing", ["learned", "free"])
def test_penalties(dtype, name, spacing):
    model, single = pair(dtype, lambda: sg.SpatialMLP([300, 20, 3], spacing=spacing))
    for each in (model, single):  # closer than 1, for the cost of a collapse
        with torch.no_grad():
            each.graph.positions.gaps.mul_(0.75)
            each.graph.positions.coords.mul_(0.75)
    cost, right = PENALTIES[name](model), PENALTIES[name](single)
    assert right > 0
    torch.testing.assert_close(cost.float(), right, rtol=16 * torch.finfo(dtype).eps, atol=0.0)
    cost.backward()
    assert all(torch.isfinite(each.grad).all() for each in model.parameters() if each.grad is not None)
