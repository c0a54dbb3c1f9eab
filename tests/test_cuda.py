"""What only a GPU of CUDA has: errors where the program waits, deterministic mode, TF32, autocast and graph capture."""

import copy

import pytest
import torch
import torch.nn.functional as F
from conftest import DEVICE
from stepped_networks import NETWORKS, step_of

import spatialgraph as sg
from spatialgraph.graph.penalties import PENALTIES
from spatialgraph.kernels.cuda import launching

pytestmark = pytest.mark.skipif(DEVICE.type != "cuda", reason="needs a GPU")


@pytest.fixture
def precision():
    """Restore the precision of matrix products."""
    before = torch.get_float32_matmul_precision()
    yield torch.set_float32_matmul_precision
    torch.set_float32_matmul_precision(before)


@pytest.fixture(params=[False, True])
def deterministic(request):
    """With PyTorch's mode, which refuses what has no fixed order, and without, where its own sums have none."""
    torch.use_deterministic_algorithms(request.param)
    yield
    torch.use_deterministic_algorithms(False)


@pytest.fixture
def no_waits():
    """Return a function after which each wait for the GPU raises."""
    yield lambda: torch.cuda.set_sync_debug_mode("error")
    torch.cuda.set_sync_debug_mode("default")


def passes(model, x, y):
    """Return the logits and the gradients of a pass."""
    model.zero_grad(set_to_none=True)
    logits = model(x)
    F.cross_entropy(logits, y).backward()
    return [logits.detach(), *(parameter.grad.clone() for parameter in model.parameters())]


def batch_of(model, batch):
    x = torch.rand(batch, len(model.graph.inputs), device=DEVICE)
    return x, torch.randint(0, 10, (batch,), device=DEVICE)


@pytest.mark.parametrize("batch", [30, 300])
@pytest.mark.parametrize("name", NETWORKS)
def test_a_training_step_never_waits(name, batch, no_waits):
    step = step_of(NETWORKS[name][0](), batch)
    no_waits()
    step()


@pytest.mark.parametrize("name", sorted({*PENALTIES} - {"repulsion", "communicability"}))
def test_penalties_never_wait(name, no_waits):
    model = sg.SpatialMLP([60, 150, 10], spacing="free").to(DEVICE)
    PENALTIES[name](model).backward()
    no_waits()
    PENALTIES[name](model).backward()


@pytest.mark.parametrize("name", NETWORKS)
def test_inference_never_waits(name, no_waits):
    model = NETWORKS[name][0]().to(DEVICE).eval()
    x, _ = batch_of(model, 30)
    with torch.no_grad():
        model(x)
        no_waits()
        model(x)


@pytest.mark.parametrize("batch", [30, 300])
@pytest.mark.parametrize("name", NETWORKS)
def test_each_run_gives_the_same_bits(name, batch, deterministic):
    model = NETWORKS[name][0]().to(DEVICE)
    x, y = batch_of(model, batch)
    for one, other in zip(passes(model, x, y), passes(model, x, y), strict=True):
        assert torch.equal(one, other)


@pytest.mark.parametrize("batch", [30, 100, 300])
@pytest.mark.parametrize("mode", ["highest", "high"])
@pytest.mark.parametrize("name", ["dense", "plain", "half of the pairs", "sparse", "learnable law"])
def test_kernels_compute_what_tensor_operations_do(name, mode, batch, precision, monkeypatch):
    """In single precision, and in TF32 as far as that rounds."""
    model = NETWORKS[name][0]()
    exact = copy.deepcopy(model).double()
    x, y = batch_of(model, batch)
    right = passes(exact, x.cpu().double(), y.cpu())
    precision(mode)
    model.to(DEVICE)
    errors = []
    for has_kernels in (True, False):
        with monkeypatch.context() as patch:
            if not has_kernels:
                patch.setattr(launching, "DEVICES", set())
            found = passes(model, x, y)
        errors.append(
            [float((own.cpu().double() - other).norm() / other.norm()) for own, other in zip(found, right, strict=True)]
        )
    floor = 1e-5 if mode == "highest" else 1e-3
    for own, other in zip(*errors, strict=True):
        assert own <= max(floor, 3 * other)


@pytest.mark.parametrize("batch", [16, 100, 300])
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_under_autocast(dtype, batch):
    model = sg.SpatialMLP([60, 150, 10], normalize=False)
    exact = copy.deepcopy(model).double()
    x, y = batch_of(model, batch)
    right = passes(exact, x.cpu().double(), y.cpu())
    model.to(DEVICE)
    with torch.autocast("cuda", dtype=dtype):
        found = passes(model, x, y)
    assert found[0].dtype == dtype and all(grad.dtype == torch.float32 for grad in found[1:])
    for own, other in zip(found, right, strict=True):
        assert float((own.cpu().double() - other).norm() / other.norm()) < 20 * torch.finfo(dtype).eps


@pytest.mark.parametrize("is_training", [True, False])
@pytest.mark.parametrize("name", NETWORKS)
def test_a_captured_pass_is_as_an_eager_one(name, is_training):
    """It follows the parameters: it holds no weights that were computed before."""
    model = NETWORKS[name][0]().to(DEVICE).train(is_training)
    x, y = batch_of(model, 30)

    def run():
        return passes(model, x, y) if is_training else [model(x).detach()]

    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        for _ in range(3):
            run()
    torch.cuda.current_stream().wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        captured = run()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(1.01)
    graph.replay()
    found = [values.clone() for values in captured]
    for own, other in zip(found, run(), strict=True):
        torch.testing.assert_close(own, other, rtol=1e-4, atol=1e-5)


def test_large_networks_take_little_memory():
    """65,536 x 65,536 weights would take 17 GB."""
    model = sg.SpatialMLP([2**16, 2**16], normalize=False, device=DEVICE)
    x = torch.rand(16, 2**16, device=DEVICE)
    torch.cuda.reset_peak_memory_stats()
    model(x).square().mean().backward()
    assert torch.cuda.max_memory_allocated() < 4e9
