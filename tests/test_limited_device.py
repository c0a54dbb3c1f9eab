"""A device without double precision and matrices in compressed rows, as Apple's GPUs, computes what the CPU does."""

import copy

import pytest
import simulated_device
import torch
from conftest import DEVICE
from torch import nn

import spatialgraph as sg
from spatialgraph import wiring
from spatialgraph.deploy.quantize_while_training import QuantizeWhileTraining
from spatialgraph.functional import row_blocks
from spatialgraph.functional.compressed import sparse
from spatialgraph.functional.compressed_edges import CompressedEdges
from spatialgraph.functional.mesh import meshed
from spatialgraph.graph.penalties import make_penalty
from spatialgraph.laws import make_law

pytest.importorskip("triton")
pytestmark = pytest.mark.skipif(DEVICE.type != "sim", reason="needs the simulated device")


@pytest.fixture(autouse=True)
def limited():
    with simulated_device.limited():
        yield


def assert_same(model, *inputs, tolerance=1e-4):
    found = []
    for device in ("cpu", DEVICE):
        own = copy.deepcopy(model).to(device)
        moved = [each.clone().to(device) for each in inputs]
        result = own(*moved)
        results = result if isinstance(result, tuple) else (result,)
        torch.autograd.backward(
            results, [torch.arange(each.numel()).cos().view(each.shape).to(device) for each in results]
        )
        grads = [parameter.grad for parameter in own.parameters()]
        found.append([each.detach().cpu() for each in (*results, *(grad for grad in grads if grad is not None))])
    for one, other in zip(*found, strict=True):
        torch.testing.assert_close(one, other, rtol=tolerance, atol=tolerance * max(1.0, one.abs().max().item()))


def test_the_device_is_limited():
    with pytest.raises(TypeError, match="double"):
        torch.zeros(2, device=DEVICE).double()
    with pytest.raises(RuntimeError, match="sparse_csr"):
        torch.eye(2).to(DEVICE).to_sparse_csr()


def pruned(amount):
    model = sg.SpatialMLP([12, 20, 9])
    sg.prune_(model, amount)
    return model


def quantised():
    model = sg.SpatialMLP([12, 20, 9])
    QuantizeWhileTraining(4).attach(model)
    return model


NETWORKS = {
    "dense": lambda: sg.SpatialMLP([12, 20, 9]),
    "power": lambda: sg.SpatialMLP([12, 20, 9], law="inverse_power", polarity_mode="binary"),
    "grid": lambda: sg.SpatialMLP([(3, 4), 20, 9], grid_polarity="axes"),
    "masked": lambda: sg.SpatialMLP([12, 20, 9], wiring=wiring.Random(density=0.5)),
    "sparse": lambda: sg.SpatialMLP([40, 30, 50], wiring=wiring.KNN(k=2)),
    "pruned": lambda: pruned(0.5),
    "pruned to few": lambda: pruned(0.95),
    "free weights": lambda: sg.SpatialMLP([40, 30, 50], wiring=wiring.KNN(k=2), weight_mode="free"),
    "spiking": lambda: sg.SpatialSNN([12, 20, 9], num_steps=5),
    "sparse spiking": lambda: sg.SpatialSNN([40, 30, 50], num_steps=5, wiring=wiring.KNN(k=2)),
    "delays": lambda: sg.SpatialSNN([12, 20, 9], num_steps=5, velocity=0.5),
    "sparse delays": lambda: sg.SpatialSNN([40, 30, 50], num_steps=5, wiring=wiring.KNN(k=2), velocity=0.5),
    "recurrent spiking": lambda: sg.SpatialSNN([12, 20, 9], num_steps=5, recurrent=wiring.KNN(k=1)),
    "quantised": quantised,
    "linear": lambda: sg.SpatialLinear(12, 9),
}


@pytest.mark.parametrize("name", NETWORKS)
def test_networks(name):
    model = NETWORKS[name]()
    features = len(model.graph.inputs) if hasattr(model, "graph") else model.in_features
    assert_same(model, torch.rand(6, features))


@pytest.mark.parametrize("cell", ["plain", "leaky", "gated"])
@pytest.mark.parametrize("recurrent", [wiring.AllToAll(), wiring.KNN(k=1)], ids=["all", "knn"])
def test_recurrent_networks(cell, recurrent):
    assert_same(sg.SpatialRNN([5, 12, 4], cell=cell, recurrent=recurrent), torch.rand(4, 6, 5))


@pytest.mark.parametrize("make", [lambda: sg.SpatialSimpleConv(normalize="gcn"), lambda: sg.SpatialConv(4, 3, dim=2)])
def test_convolutions(make):
    edges = torch.stack([torch.arange(20).repeat(2), torch.cat([torch.arange(20).roll(k) for k in (1, 3)])])
    found = []
    for device in ("cpu", DEVICE):
        torch.manual_seed(0)
        layer, x, pos = make().to(device), torch.rand(20, 4).to(device), torch.rand(20, 2).to(device).requires_grad_()
        y = layer(x, pos, edges.to(device))
        y.square().sum().backward()
        found.append([y.detach().cpu(), pos.grad.cpu()])
    for one, other in zip(*found, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", ["wiring", "communicability", "repulsion", "collapse"])
def test_penalties(name):
    model = sg.SpatialMLP([8, 12, 3], spacing="free")
    values = [make_penalty(copy.deepcopy(model).to(device), {name: 1.0})() for device in ("cpu", DEVICE)]
    torch.testing.assert_close(values[0], values[1].cpu(), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", ["inverse_distance", "inverse_power", "mexican_hat"])
def test_sums_on_a_grid(name):
    pos, x, found = torch.rand(2, 50, 3) * torch.tensor([1.0, 1.0, 0.0]), torch.rand(4, 50), []
    for device in ("cpu", DEVICE):
        ends = [end.clone().to(device).requires_grad_() for end in (pos[0], pos[1] + torch.tensor([0.0, 0.0, 1.0]))]
        law = make_law(name).to(device)
        y = meshed(x.to(device), *ends, torch.ones(50, device=device), law, tolerance=1e-3)
        y.square().sum().backward()
        found.append([y.detach().cpu(), *(end.grad.cpu() for end in ends)])
    for one, other in zip(*found, strict=True):
        torch.testing.assert_close(one, other, rtol=2e-3, atol=2e-3 * one.abs().max().item())


def test_pictures():
    plt = pytest.importorskip("matplotlib.pyplot")
    from spatialgraph import plotting

    model = sg.SpatialMLP([12, 20, 9], wiring=[wiring.KNN(k=3), wiring.AllToAll()]).to(DEVICE)
    plotting.receptive_fields(model, (3, 4))
    for draw in (plotting.network, plotting.weights, plotting.lengths, plotting.degrees, plotting.adjacency):
        draw(model)
    plt.close("all")


@pytest.mark.parametrize("size", [1, 7 * 40, 2**26])
def test_products_by_blocks_of_rows(size, monkeypatch):
    monkeypatch.setattr(row_blocks, "_BLOCK", size)
    mask = torch.rand(30, 40) < 0.1
    mask[3] = False
    edges = CompressedEdges.from_mask(mask)
    x, weight = torch.rand(40, 6, dtype=torch.float64), torch.randn(edges.count, dtype=torch.float64)
    matrix = torch.zeros(30, 40, dtype=torch.float64).masked_scatter(mask, weight)
    torch.testing.assert_close(row_blocks.product(x, weight, edges), matrix @ x)
    rows = torch.rand(30, 6, dtype=torch.float64)
    torch.testing.assert_close(row_blocks.sampled(rows, x, edges), (rows @ x.t())[mask])


def test_second_derivatives_of_sparse_products():
    edges, found = CompressedEdges.from_mask(torch.rand(6, 9) < 0.4), []
    x, weight = torch.rand(4, 9), torch.randn(edges.count)
    for device in ("cpu", DEVICE):
        own = CompressedEdges.from_mask(edges.mask().to(device))
        ends = [values.clone().to(device).requires_grad_() for values in (x, weight)]
        grads = torch.autograd.grad(sparse(*ends, own).pow(3).sum(), ends, create_graph=True)
        torch.autograd.backward([grad.square().sum() for grad in grads])
        found.append([end.grad.cpu() for end in ends])
    for one, other in zip(*found, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-4)


def test_changes_files_and_measures(tmp_path):
    model = sg.SpatialMLP([12, 20, 9], wiring=wiring.KNN(k=3)).to(DEVICE)
    here = copy.deepcopy(model).to("cpu")
    for each in (model, here):
        each.graph.rewire_(wiring.KNN(k=2))
        sg.prune_(each, 0.3)
        each.graph.place_(each.graph.pos.detach() * 1.5, 1) if each.graph.spacing == "free" else None
    assert torch.equal(model.graph.edge_index.cpu(), here.graph.edge_index)
    sg.save(model, tmp_path / "network.safetensors")
    restored = sg.load(tmp_path / "network.safetensors", device=DEVICE)
    x = torch.rand(5, 12)
    torch.testing.assert_close(restored(x.to(DEVICE)).cpu(), here(x), rtol=1e-4, atol=1e-5)
    model.load_state_dict(here.state_dict())
    assert sg.summary(model, batch=2, rounds=1).pruned.synapses == here.graph.synapses
    assert sg.to_networkx(model).number_of_edges() == here.graph.synapses
    assert sg.SpatialGraph.from_data(model.graph.to_data()).neurons == 41
    torch.testing.assert_close(model.to_dense()(x.to(DEVICE)).cpu(), here(x), rtol=1e-4, atol=1e-5)
    sg.quantize(model, 4)


def test_conversion_of_dense_networks():
    dense = nn.Sequential(nn.Linear(8, 6), nn.ReLU(), nn.Linear(6, 2))
    for mode in ("law", "both", "free"):
        model, _ = sg.from_linear(copy.deepcopy(dense).to(DEVICE), dim=3, weight_mode=mode, steps=3)
        assert next(model.parameters()).device.type == DEVICE.type
        x = torch.rand(5, 8)
        if mode != "law":
            torch.testing.assert_close(model(x.to(DEVICE)).cpu(), dense(x), rtol=1e-4, atol=1e-4)


def test_training_reduces_the_loss():
    model = sg.SpatialMLP([12, 20, 3]).to(DEVICE)
    optimizer = torch.optim.Adam(sg.parameter_groups(model, lr=0.02), foreach=False)
    x, y = torch.rand(40, 12).to(DEVICE), torch.randint(3, (40,)).to(DEVICE)
    losses = []
    for _ in range(15):
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(model(x), y)
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < losses[0]
