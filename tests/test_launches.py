"""What a training step asks of a GPU, counted on the simulated one: launches, waits and memory."""

import pytest
import simulated_device
import torch
from conftest import DEVICE
from stepped_networks import NETWORKS, SMALL, step_of

import spatialgraph as sg
from spatialgraph import wiring
from spatialgraph.graph.penalties import PENALTIES

pytest.importorskip("triton")
pytestmark = pytest.mark.skipif(DEVICE.type != "sim", reason="needs the simulated device")


def assert_ordered(record):
    """Nothing adds numbers in the order in which threads arrive, which differs from run to run."""
    assert not {name for name, _ in record.launches} & {"index_add", "index_add_"}, record.report()


@pytest.mark.parametrize("layer", [lambda: sg.SpatialConv(3, 4, dim=2, normalize="sum"), sg.SpatialSimpleConv])
def test_a_convolution_adds_in_order(layer):
    pos, edges = torch.rand(20, 2).to(DEVICE).requires_grad_(), torch.randint(0, 20, (2, 60)).to(DEVICE)
    operator, x = layer().to(DEVICE), torch.rand(20, 3).to(DEVICE)
    with simulated_device.recorded() as record:
        operator(x, pos, edges).sum().backward()
    assert pos.grad is not None
    assert_ordered(record)


@pytest.mark.parametrize("name", NETWORKS)
def test_a_training_step_never_waits(name):
    make, most = NETWORKS[name]
    step = step_of(make(), 30)
    with simulated_device.recorded() as record:
        step()
    assert not record.waits, record.report()
    assert 0 < len(record.launches) <= most, record.report()
    if name != "pruned, live":  # which takes each row once
        assert_ordered(record)


@pytest.mark.parametrize("cell", ["plain", "leaky", "gated"])
@pytest.mark.parametrize("recurrent", [wiring.AllToAll(), wiring.Random(density=0.5)], ids=["all", "half"])
def test_a_step_of_a_recurrent_network_never_waits(cell, recurrent):
    model = sg.SpatialRNN([20, 30, 5], cell=cell, recurrent=recurrent).to(DEVICE)
    x = torch.rand(4, 6, 20).to(DEVICE)
    model(x)[0].sum().backward()
    with simulated_device.recorded() as record:
        model(x)[0].sum().backward()
    assert record.launches and not record.waits, record.report()


@pytest.mark.parametrize("spacing", ["learned", "free"])
@pytest.mark.parametrize("name", PENALTIES)
def test_penalties_wait_for_neighbours_and_exponentials_alone(name, spacing):
    model = sg.SpatialMLP([20, 30, 5], spacing=spacing, wiring=[wiring.KNN(k=5), wiring.AllToAll()]).to(DEVICE)
    PENALTIES[name](model).backward()
    with simulated_device.recorded() as record:
        PENALTIES[name](model).backward()
    # Positions go to the CPU, and pairs of neighbours come back; PyTorch's exponential of a matrix reads its norm.
    waits = {"repulsion": 2, "communicability": len(record.waits)}.get(name, 0)
    assert record.launches and len(record.waits) == waits, record.report()
    assert name != "communicability" or {what for what, _ in record.waits} == {"linalg_matrix_exp"}


def test_a_share_that_changes_in_each_step_never_waits():
    model = sg.SpatialMLP(SMALL, wiring=[wiring.Random(density=0.5), wiring.AllToAll()]).to(DEVICE)
    x = torch.rand(30, 60).to(DEVICE)
    pruner = sg.PruneWhileTraining(0.1).attach(model)
    with simulated_device.recorded() as record:
        for amount in (0.2, 0.3, 1.0):
            pruner.amount = amount
            model(x).sum().backward()
    assert record.launches and not record.waits, record.report()


# Inference ----

SERVED = {
    "linear": lambda: sg.SpatialLinear(20, 30),
    "power": lambda: sg.SpatialLinear(20, 30, law="inverse_power"),
    "dense": lambda: sg.SpatialMLP([20, 30, 5]),
    "dense, power": lambda: sg.SpatialMLP([20, 30, 5], law="inverse_power"),
    "half of the pairs": lambda: sg.SpatialMLP([20, 30, 5], wiring=wiring.Random(density=0.5)),
    "sparse": lambda: sg.SpatialMLP([40, 30, 50], wiring=wiring.KNN(k=2)),
    "spiking": lambda: sg.SpatialSNN([20, 30, 5], num_steps=5),
}


@pytest.mark.parametrize("name", SERVED)
@torch.no_grad()
def test_inference_never_waits_and_keeps_no_weights(name):
    model = SERVED[name]().to(DEVICE).eval()
    x = torch.rand(30, 40 if name == "sparse" else 20).to(DEVICE)
    model(x)
    before = simulated_device.record.live
    with simulated_device.recorded() as record:
        model(x)
    assert 0 < len(record.launches) <= 50 and not record.waits, record.report()
    assert record.live == before


@pytest.mark.parametrize("name", SERVED)
@torch.no_grad()
def test_a_captured_pass_follows_its_parameters(name):
    model = SERVED[name]().to(DEVICE).eval()
    x = torch.rand(30, 40 if name == "sparse" else 20).to(DEVICE)
    before = model(x).cpu()  # as in the passes before a capture
    with simulated_device.captured() as replay:
        y = model(x)
    for parameter in model.parameters():
        parameter.data.mul_(1.5)
    assert torch.equal(y.cpu(), before)
    replay()
    assert torch.equal(y.cpu(), model(x).cpu()) and not torch.equal(y.cpu(), before)


@pytest.mark.parametrize(("hidden", "batch", "normalize"), [(2048, 600, True), (512, 150, False), (256, 600, False)])
def test_a_dense_step_takes_few_launches_and_little_memory(hidden, batch, normalize):
    step = step_of(sg.SpatialMLP([784, hidden, 10], normalize=normalize), batch)
    with simulated_device.recorded(is_exact=True) as record:
        before = record.live
        step()
    assert not record.waits and len(record.launches) <= 40, record.report()
    assert record.peak - before <= 3 * 784 * hidden * 4


def test_a_step_with_few_samples_holds_no_weights():
    step = step_of(sg.SpatialMLP([384, 384, 10], normalize=False), 4)
    with simulated_device.recorded(is_exact=True) as record:
        before = record.live
        step()
    assert not record.waits and len(record.launches) <= 45, record.report()
    assert record.peak - before <= 384 * 384 * 4 / 4


def test_a_spiking_step_takes_few_launches():
    step = step_of(sg.SpatialSNN([784, 256, 10], num_steps=25), 20)
    with simulated_device.recorded() as record:
        step()
    assert not record.waits and len(record.launches) <= 120, record.report()


def test_steps_are_counted_with_and_without_kernels(scripts_of):
    launches = scripts_of("benchmarks")("launches")
    case = launches.perceptron(sizes=[20, 30, 10])
    ours, plain = (launches.counted(case, is_on, simulated_device) for is_on in (True, False))
    assert 0 < ours["launches"] < plain["launches"] and ours["waits"] == plain["waits"] == 0
    assert ours["weights_bytes"] == plain["weights_bytes"] == 4 * (20 * 30 + 30 * 10)
    assert ours["peak_over_weights"] == pytest.approx(ours["peak_bytes"] / 3600, abs=1e-3)
    assert launches.counted(case, True, simulated_device) == ours


def test_the_rows_for_a_gpu_run_on_one(scripts_of, monkeypatch):
    benchmark = scripts_of("benchmarks")
    accelerator_step, timing = benchmark("accelerator_step"), benchmark("timing")

    def once(steps, *_, **options):
        for step in steps.values():
            step()
        return {name: [1.0] for name in steps}

    for module in (accelerator_step, timing):
        monkeypatch.setattr(module, "in_turn", once)  # the device has no events
    bench = accelerator_step.Bench(accelerator_step.QUICK, DEVICE, 1, False)
    for name, row in bench.rows().items():
        if not name.endswith("bfloat16"):  # the device has no autocast
            assert "error" not in accelerator_step.figures_of(row), name


def test_tensors_of_two_devices_do_not_meet():
    with pytest.raises(RuntimeError, match="same device"):
        torch.ones(3, device=DEVICE) + torch.ones(3)
    with pytest.raises(ValueError, match="device"):
        sg.SpatialMLP(SMALL).to(DEVICE)(torch.rand(5, 60))
