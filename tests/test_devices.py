"""Everything computes the same on the device that SPATIALGRAPH_DEVICE names as on the CPU."""

import copy
import io

import pytest
import torch
from conftest import DEVICE
from torch import nn

import spatialgraph as sg
from spatialgraph import wiring
from spatialgraph.datasets import yin_yang
from spatialgraph.functional.delays import delayed
from spatialgraph.functional.dense import all_to_all
from spatialgraph.functional.pairs import pairwise_length
from spatialgraph.functional.smallest import without_smallest
from spatialgraph.graph.penalties import make_penalty
from spatialgraph.laws import LAWS

pytestmark = [
    pytest.mark.skipif(DEVICE.type == "cpu", reason="needs another device than the CPU"),
    # PyTorch says so on the first product in the thread of a backward pass.
    pytest.mark.filterwarnings("ignore:Attempting to run cuBLAS, but there was no current CUDA context"),
]

WIRINGS = {
    "all": wiring.AllToAll(),
    "knn": wiring.KNN(k=3),
    "radius": wiring.Radius(r=2.0),
    "random": wiring.Random(density=0.5),
    "small_world": wiring.SmallWorld(k=2, long_range=1),
}


def outputs_and_gradients(model, device, *inputs):
    """Return the outputs of a copy on a device and the gradients of a sum of them, on the CPU."""
    model = copy.deepcopy(model).to(device)
    inputs = [each.detach().clone().to(device).requires_grad_(each.is_floating_point()) for each in inputs]
    result = model(*inputs)
    results = result if isinstance(result, tuple) else (result,)
    torch.autograd.backward(results, [factors(each).to(device) for each in results])
    grads = [parameter.grad for parameter in model.parameters()] + [each.grad for each in inputs]
    return [each.detach().cpu() for each in (*results, *(grad for grad in grads if grad is not None))]


def factors(result):
    return torch.arange(result.numel(), dtype=result.dtype).cos().view(result.shape)


def assert_same(model, *inputs):
    here, there = (outputs_and_gradients(model, device, *inputs) for device in ("cpu", DEVICE))
    assert len(here) == len(there)
    for one, other in zip(here, there, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-8, atol=1e-9)


def features(*shape):
    return torch.rand(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("law", LAWS)
@pytest.mark.parametrize("name", ["all", "knn"])
def test_perceptrons(law, name):
    model = sg.SpatialMLP([8, 12, 7, 3], dim=3, law=law, wiring=WIRINGS[name], dtype=torch.float64)
    assert_same(model, features(5, 8))


@pytest.mark.parametrize("name", WIRINGS)
def test_wirings_select_the_same_edges(name):
    graph = sg.SpatialGraph.layered([20, 30, 5], dim=2, wiring=WIRINGS["all"])
    other = copy.deepcopy(graph).to(DEVICE)
    for each in (graph, other):
        torch.manual_seed(0)
        each.rewire_(WIRINGS[name], generator=torch.Generator().manual_seed(0))
    assert torch.equal(graph.edge_index, other.edge_index.cpu())


@pytest.mark.parametrize("cell", ["plain", "leaky", "gated"])
@pytest.mark.parametrize("recurrent", ["all", "knn"])
def test_recurrent_networks(cell, recurrent):
    model = sg.SpatialRNN([4, 9, 3], dim=3, cell=cell, recurrent=WIRINGS[recurrent], dtype=torch.float64)
    assert_same(model, features(6, 5, 4), features(1, 5, 9))


@pytest.mark.parametrize("delayed", [False, True])
@pytest.mark.parametrize("recurrent", [None, wiring.KNN(k=3)])
def test_spiking_networks(delayed, recurrent):
    pytest.importorskip("snntorch")
    options = {"velocity": 0.5, "delay_mode": "length"} if delayed else {}
    model = sg.SpatialSNN([6, 9, 3], dim=2, num_steps=8, recurrent=recurrent, dtype=torch.float64, **options)
    assert_same(model, features(5, 6))


@pytest.mark.parametrize("max_delay", [None, 20])
@pytest.mark.parametrize("recurrent", [None, wiring.KNN(k=3)])
def test_runs_with_delays_continue(recurrent, max_delay):
    """In single precision too, whose kernels do not read the delays; three runs are as good as one."""
    pytest.importorskip("snntorch")
    options = {"velocity": 0.5, "delay_mode": "length", "recurrent": recurrent, "max_delay": max_delay}
    model = sg.SpatialSNN([6, 9, 3], dim=2, num_steps=5, coding=None, **options)
    x = torch.rand(15, 4, 6)
    found = []
    for device in ("cpu", DEVICE):
        own, state, potentials = copy.deepcopy(model).to(device), None, []
        for part in x.split(5):
            run = own.simulate(part.to(device), state)
            state = run.state
            potentials.append(run.potentials[-1].detach().cpu())
        found.append(torch.cat(potentials))
    torch.testing.assert_close(*found, rtol=1e-4, atol=1e-5)
    whole = sg.SpatialSNN(model.graph, num_steps=15, coding=None, max_delay=max_delay).simulate(x).potentials[-1]
    torch.testing.assert_close(found[1], whole.detach(), rtol=1e-4, atol=1e-5)


def test_delays_that_do_not_fit_the_line_are_refused():
    """On a GPU in single precision by NaN, because their values are not read."""
    pytest.importorskip("snntorch")
    model = sg.SpatialSNN([6, 9, 3], dim=2, num_steps=5, velocity=0.5, max_delay=20).to(DEVICE)
    x = torch.rand(4, 6).to(DEVICE)
    assert model(x).isfinite().all()
    model.max_delay = 1
    try:
        assert model(x).isnan().all()
    except ValueError as error:
        assert "delay" in str(error)


@pytest.mark.parametrize("batch", [5, 300])
def test_results_can_be_changed_in_place(batch):
    """As those of PyTorch's layers, and of the CPU."""
    x = torch.rand(batch, 40)
    edges = wiring.KNN(k=3)
    for make in (
        lambda: nn.Sequential(sg.SpatialLinear(40, 30), nn.ReLU(inplace=True)),
        lambda: nn.Sequential(sg.SpatialMLP([40, 30, 50], wiring=edges), nn.ReLU(inplace=True)),
        lambda: sg.SpatialLinear(40, 30),
    ):
        torch.manual_seed(0)
        model, found = make(), []
        for device in ("cpu", DEVICE):
            own = copy.deepcopy(model).to(device)
            y = own(x.to(device))
            y = y if isinstance(own, nn.Sequential) else y.mul_(2.0)
            y.sum().backward()
            found.append([y.detach().cpu(), *(parameter.grad.cpu() for parameter in own.parameters())])
        for one, other in zip(*found, strict=True):
            torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-4)
    spikes, weight, delay = torch.rand(4, 2, 3).to(DEVICE), torch.rand(2, 3), torch.rand(2, 3)
    weight = weight.to(DEVICE).requires_grad_()
    delayed(spikes, weight, delay.to(DEVICE)).add_(1.0).sum().backward()
    assert weight.grad.isfinite().all()


@pytest.mark.parametrize("batch", [5, 300])
@pytest.mark.parametrize("name", ["all", "knn"])
def test_gradients_of_parameters_that_are_replaced_for_a_call(name, batch):
    """The backward pass uses the law's numbers of the forward pass, on the CPU too."""
    model = sg.SpatialMLP([8, 12, 3], dim=3, law=sg.laws.InversePower(learnable=True), wiring=WIRINGS[name])
    x, found = torch.rand(batch, 8), []
    for device in ("cpu", DEVICE):
        own = copy.deepcopy(model).to(device)
        values = {key: value.detach().clone().requires_grad_() for key, value in own.named_parameters()}
        values["spatial_graph.law.exponent"] = torch.tensor(3.0).to(device).requires_grad_()
        here = x.clone().to(device).requires_grad_()
        torch.func.functional_call(own, values, (here,)).square().sum().backward()
        found.append([here.grad.cpu(), *(value.grad.cpu() for value in values.values())])
    twin = copy.deepcopy(model).double()
    twin.graph.law.exponent.data.fill_(3.0)
    here = x.double().requires_grad_()
    twin(here).square().sum().backward()
    right = [here.grad, *(parameter.grad for parameter in twin.parameters())]
    for grads in found:
        for own, other in zip(grads, right, strict=True):
            assert float((own.double() - other).norm()) <= 1e-3 * float(other.norm())


def cloud():
    pos = features(40, 3)
    edges = torch.stack([torch.arange(40).repeat(3), torch.cat([torch.arange(40).roll(k) for k in (1, 2, 7)])])
    return pos, edges


@pytest.mark.parametrize("law", ["inverse_distance", "cosine", "mexican_hat"])
def test_convolutions(law):
    pos, edges = cloud()
    assert_same(sg.SpatialConv(4, 5, dim=3, law=law).double(), features(40, 4), pos, edges)


def test_simple_convolutions():
    pos, edges = cloud()
    assert_same(sg.SpatialSimpleConv().double(), features(40, 4), pos, edges)


def test_linear_layers():
    assert_same(sg.SpatialLinear(6, 4, dim=3, dtype=torch.float64), features(5, 6))


def test_the_engine_of_a_projection_follows_its_device():
    model = sg.SpatialMLP([20, 30, 20], wiring=wiring.Random(density=0.15), dtype=torch.float64)
    kinds = []
    for device in ("cpu", DEVICE, "cpu"):
        kinds += {type(projection.engine).__name__ for projection in model.to(device).graph.projections}
    assert kinds == [
        "CompressedEngine",
        "CompressedEngine" if DEVICE.type == "cpu" else "MaskedEngine",
        "CompressedEngine",
    ]
    assert_same(model, features(5, 20))


@pytest.mark.parametrize("amount", [0.2, 0.9, 0.95])
def test_pruned_networks(amount):
    model = sg.SpatialMLP([8, 12, 3], dim=3, dtype=torch.float64)
    sg.prune_(model, amount)
    assert_same(model, features(5, 8))
    other = copy.deepcopy(model).to(DEVICE)
    for each in (model, other):
        sg.prune_(each, 0.95)
    assert torch.equal(model.graph.edge_index, other.graph.edge_index.cpu())


@pytest.mark.parametrize("share", [0.1, 0.6, 1.0])
@pytest.mark.parametrize("density", [0.5, 1.0])
def test_masked_networks(share, density):
    model = sg.SpatialMLP([8, 12, 3], wiring=wiring.Random(density), normalize=False, dtype=torch.float64)
    with torch.no_grad():
        model.graph.raw_polarity[:3] = 0.0  # weights that are 0 as those of pairs without a synapse
    model.graph.masked_share = share
    assert_same(model, features(5, 8))


@pytest.mark.parametrize("n_masked", [0, 1, 11, 12])
def test_masked_pairs_of_a_mask_of_all(n_masked):
    source, target, x = features(4, 2), features(3, 2) + 1.0, features(5, 4)
    found = []
    for device in ("cpu", DEVICE):
        ends = [values.to(device) for values in (x, source, target, source[:, 0])]
        mask = torch.ones(3, 4, dtype=torch.bool, device=device)
        found.append(all_to_all(*ends, LAWS["inverse_distance"](), mask=mask, n_masked=n_masked).cpu())
    torch.testing.assert_close(*found)


def test_files_hold_networks_of_the_gpu(tmp_path):
    model = sg.SpatialRNN([4, 9, 3], dim=3, cell="gated").to(DEVICE)
    sg.save(model, tmp_path / "network.safetensors")
    restored = sg.load(tmp_path / "network.safetensors")
    x = torch.rand(6, 5, 4)
    torch.testing.assert_close(restored(x)[0], model(x.to(DEVICE))[0].cpu(), rtol=1e-4, atol=1e-5)


@pytest.mark.skipif(DEVICE.type == "sim", reason="torch.load does not know the simulated device")
def test_state_dicts_move_between_devices():
    model = sg.SpatialMLP([8, 12, 3], dim=3, wiring=wiring.KNN(k=4))
    there = copy.deepcopy(model).to(DEVICE)
    file = io.BytesIO()
    torch.save(there.state_dict(), file)
    file.seek(0)
    model.load_state_dict(torch.load(file, map_location="cpu", weights_only=True))
    x = torch.rand(5, 8)
    torch.testing.assert_close(model(x), there(x.to(DEVICE)).cpu(), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
def test_precisions(dtype):
    exact = sg.SpatialMLP([8, 12, 3], dim=3, dtype=torch.float64)
    x = features(5, 8)
    rough = copy.deepcopy(exact).to(DEVICE, dtype)(x.to(DEVICE, dtype)).cpu().double()
    tolerance = 200 * torch.finfo(dtype).eps
    torch.testing.assert_close(rough, exact(x), rtol=tolerance, atol=tolerance * exact(x).abs().max().item())


@pytest.mark.parametrize("penalty", ["wiring", "communicability", "repulsion", "collapse"])
def test_penalties(penalty):
    model = sg.SpatialMLP([8, 12, 3], dim=3, dtype=torch.float64)
    values = []
    for device in ("cpu", DEVICE):
        each = copy.deepcopy(model).to(device)
        value = make_penalty(each, {penalty: 1.0})()
        value.backward()
        values.append([value.detach().cpu(), *(p.grad.cpu() for p in each.parameters() if p.grad is not None)])
    for one, other in zip(*values, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-8, atol=1e-9)


@pytest.mark.skipif(DEVICE.type == "sim", reason="Lightning does not know the simulated device")
def test_training_with_rewiring(tmp_path):
    pytest.importorskip("lightning")
    from spatialgraph import training

    x = torch.rand(200, 16)
    y = (x[:, 0] > 0.5).long()
    model = sg.SpatialMLP([16, 24, 2], dim=2, wiring=[wiring.KNN(k=4), wiring.AllToAll()])
    rows = training.fit(
        model,
        (x, y),
        training.Recipe(epochs=3, batch_size=20),
        tmp_path,
        callbacks=[training.Rewire(5)],
        penalty={"wiring": 1e-4},
        device=DEVICE.type,
        progress=False,
    )
    assert all(torch.tensor(row["train_loss"]).isfinite() for row in rows)
    assert next(model.parameters()).device.type == "cpu"


def test_optimisers_train_on_the_gpu():
    model = sg.SpatialRNN([4, 9, 2], dim=3, cell="gated").to(DEVICE)
    optimizer = torch.optim.Adam(sg.parameter_groups(model, lr=0.01))
    x = torch.rand(6, 32, 4, device=DEVICE)
    y = (x[-1, :, 0] > 0.5).long()
    losses = []
    for _ in range(26):
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(model(x)[0], y)
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.8 * losses[0]


# The default device ----


@pytest.fixture
def by_default(device):
    """Let new tensors go to the device."""
    with device:
        yield


@pytest.mark.parametrize("name", [*WIRINGS, "seeded"])
def test_networks_go_to_the_default_device(by_default, name):
    chosen = wiring.Random(density=0.5, seed=3) if name == "seeded" else WIRINGS[name]
    model = sg.SpatialMLP([8, 12, 3], dim=2, wiring=chosen)
    assert {values.device.type for values in model.state_dict().values() if values.dtype != torch.uint8} <= {
        DEVICE.type,
        "cpu",  # the gain
    }
    assert all(parameter.device.type == DEVICE.type for parameter in model.parameters())
    assert model(torch.rand(5, 8)).device.type == DEVICE.type


def test_the_same_seed_gives_the_same_network(by_default):
    options = {"wiring": wiring.Random(density=0.5), "polarity_mode": "graded"}
    there = sg.SpatialMLP([8, 12, 3], generator=torch.Generator("cpu").manual_seed(0), **options)
    with torch.device("cpu"):
        here = sg.SpatialMLP([8, 12, 3], generator=torch.Generator("cpu").manual_seed(0), **options)
    for own, other in zip(there.parameters(), here.parameters(), strict=True):
        assert torch.equal(own.cpu(), other)
    assert torch.equal(there.graph.edge_index.cpu(), here.graph.edge_index)


@pytest.mark.parametrize(
    "make",
    [
        lambda: sg.SpatialSNN([6, 9, 3], num_steps=4),
        lambda: sg.SpatialSNN([6, 9, 3], num_steps=4, coding="rate"),
        lambda: sg.SpatialSNN([6, 9, 3], num_steps=4, coding="latency", recurrent=wiring.KNN(k=2)),
        lambda: sg.SpatialMLP([(2, 3), 9, 3]),
        lambda: sg.SpatialMLP([6, 9, 3], anchored=[0], weight_mode="both"),
        lambda: sg.SpatialMLP([6, 9, 3], spacing="free", init="grid"),
    ],
)
def test_models_run_on_the_default_device(by_default, make):
    model = make()
    x = torch.rand(5, 6)
    y = model(x)
    y.square().sum().backward()
    assert y.device.type == DEVICE.type and y.isfinite().all()
    assert all(parameter.grad is not None for parameter in model.parameters())


def test_changes_files_and_tables_with_a_default_device(by_default, tmp_path):
    model = sg.SpatialMLP([8, 12, 3], wiring=wiring.KNN(k=4))
    model.graph.rewire_(wiring.KNN(k=3))
    sg.prune_(model, 0.5)
    sg.save(model, tmp_path / "network.safetensors")
    restored = sg.load(tmp_path / "network.safetensors")
    assert next(restored.parameters()).device.type == DEVICE.type
    assert next(sg.load(tmp_path / "network.safetensors", device="cpu").parameters()).device.type == "cpu"
    x = torch.rand(5, 8)
    torch.testing.assert_close(restored(x).cpu(), model(x).cpu())
    restored.load_state_dict(model.state_dict())
    assert sg.SpatialGraph.from_networkx(sg.to_networkx(model)).neurons == 23
    assert sg.SpatialGraph.from_data(model.graph.to_data()).neurons == 23
    assert sg.summary(model, batch=2, rounds=1).pruned.synapses == model.graph.synapses
    sg.quantize(model, 4)


def test_data_with_a_default_device(by_default):
    points, classes = yin_yang(20, seed=0)
    with torch.device("cpu"):
        right, _ = yin_yang(20, seed=0)
    assert torch.equal(points.cpu(), right) and len(classes) == 20


def test_generators_of_another_device_draw():
    """The same generator draws the same numbers for a network on any device."""
    models = [
        sg.SpatialSNN([6, 9, 3], num_steps=4, coding="rate", device=device, generator=torch.Generator().manual_seed(1))
        for device in ("cpu", DEVICE)
    ]
    x = torch.rand(5, 6)
    y = [
        model(x.to(model.graph.raw_bias), generator=torch.Generator().manual_seed(2)).detach().cpu() for model in models
    ]
    torch.testing.assert_close(*y, rtol=1e-4, atol=1e-5)


def test_refused_inputs_of_spiking_networks_are_nan_on_an_accelerator():
    for coding, value in (("current", torch.inf), ("rate", 1.5), ("latency", -0.5)):
        model = sg.SpatialSNN([6, 9, 3], num_steps=4, coding=coding).to(DEVICE)
        x = torch.rand(5, 6)
        assert model(x.to(DEVICE)).isfinite().all()
        x[2, 3] = value
        assert model(x.to(DEVICE)).isnan().all()


def test_networks_on_the_cpu_run_beside_another_default_device():
    model, x = sg.SpatialMLP([8, 400, 300, 3]), torch.rand(300, 8)
    sparse = sg.SpatialMLP([8, 40, 3], wiring=wiring.KNN(k=3))
    spiking = sg.SpatialSNN([8, 9, 3], num_steps=4, velocity=0.5)
    summed = sg.SpatialMLP([800, 900], normalize=False, tolerance=1e-3)
    wide = torch.rand(2, 800)
    expected = [model(x), sparse(x), spiking(x), summed(wide)]
    with DEVICE:
        torch.testing.assert_close(model.to_dense()(x), expected[0])
        found = [model(x), sparse(x), spiking(x), summed(wide)]
        for own, other in zip(found, expected, strict=True):
            own.sum().backward()
            assert torch.equal(own, other)


def test_lengths_and_masks_are_those_of_the_cpu():
    source, target = features(40, 3), features(30, 3)
    target[0] = source[0]  # two neurons meet
    found = []
    for device in ("cpu", DEVICE):
        ends = [pos.clone().to(device).requires_grad_() for pos in (source, target)]
        lengths = pairwise_length(*ends)
        lengths.backward(factors(lengths.detach().cpu()).to(device))
        found.append([pos.grad.cpu() for pos in ends])
        assert torch.equal(without_smallest(source.to(device), 50).cpu(), without_smallest(source, 50))
    for one, other in zip(*found, strict=True):
        torch.testing.assert_close(one, other)


def test_parameters_that_are_assigned_bring_the_network_along():
    here, there = (sg.SpatialMLP([8, 12, 3], wiring=wiring.KNN(k=4), device=device) for device in ("cpu", DEVICE))
    here.load_state_dict(there.state_dict(), assign=True)
    x = torch.rand(5, 8).to(DEVICE)
    torch.testing.assert_close(here(x).cpu(), there(x).cpu())


@pytest.mark.skipif(DEVICE.type != "cuda", reason="elsewhere autocast rounds no sums of positions")
@pytest.mark.parametrize("law", ["inverse_distance", "inverse_power"])
def test_a_backward_pass_within_autocast_keeps_the_precision_of_positions(law):
    found = []
    for is_within in (False, True):
        torch.manual_seed(0)
        model = sg.SpatialMLP([30, 40, 3], law=law, normalize=False, dtype=torch.float32).to(DEVICE)
        with torch.autocast(DEVICE.type, dtype=torch.bfloat16):
            loss = model(torch.rand(20, 30).to(DEVICE)).float().square().sum()
            if is_within:
                loss.backward()
        if not is_within:
            loss.backward()
        found.append([parameter.grad for parameter in model.parameters()])
    for one, other in zip(*found, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5)
