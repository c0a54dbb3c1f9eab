"""Compilers, exporters and tracers compute what the eager network does, for every engine."""

import io
import warnings

import pytest
import torch
from torch.fx.experimental.proxy_tensor import make_fx

import spatialgraph as sg

# A tracer warns of checks of shapes, which it takes as constants; the numbers that it records are tested.
SHAPES_ARE_FIXED = pytest.mark.filterwarnings(
    "ignore::torch.jit.TracerWarning", "ignore::DeprecationWarning", "ignore::FutureWarning"
)

SIZES = [12, 9, 4]
FEW = sg.wiring.KNN(k=2)
MANY = sg.wiring.Random(0.5)


def silent():
    model = sg.SpatialMLP(SIZES)
    model.graph.masked_share = 0.5
    return model


def any_graph():
    edges = torch.tensor([[0, 0, 1, 2, 3, 4, 1], [2, 3, 3, 4, 5, 5, 6]])
    return sg.SpatialMLP(sg.SpatialGraph(torch.rand(7, 2), edges), normalize=False, activation="gelu")


def scattered():
    """So few synapses that messages are sent along them."""
    return sg.SpatialMLP([400, 300, 4], wiring=FEW, normalize=False)


NETWORKS = {
    "dense": lambda: sg.SpatialMLP(SIZES),
    "plain, anchored": lambda: sg.SpatialMLP(SIZES, normalize=False, anchored=[0]),
    "sparse": lambda: sg.SpatialMLP(SIZES, wiring=FEW),
    "scattered": scattered,
    "masked": lambda: sg.SpatialMLP(SIZES, wiring=MANY),
    "silent": silent,
    "free weights": lambda: sg.SpatialMLP(SIZES, weight_mode="free"),
    "law and free weights": lambda: sg.SpatialMLP(SIZES, weight_mode="both", wiring=FEW),
    "learned law": lambda: sg.SpatialMLP(SIZES, law=sg.laws.InversePower(learnable=True)),
    "any graph": any_graph,
    "spiking": lambda: sg.SpatialSNN(SIZES, num_steps=4),
    "spiking, counted": lambda: sg.SpatialSNN(SIZES, num_steps=4, gain=3.0, read_out="count", wiring=FEW),
    "delayed": lambda: sg.SpatialSNN(SIZES, num_steps=5, velocity=0.7, gain=2.0, coding="latency"),
    "delayed, sparse": lambda: sg.SpatialSNN(SIZES, num_steps=5, velocity=0.7, gain=2.0, coding="latency", wiring=FEW),
    "free delays": lambda: sg.SpatialSNN(
        SIZES, num_steps=5, velocity=0.7, gain=4.0, delay_mode="free", weight_mode="free", coding=None
    ),
    "recurrent": lambda: sg.SpatialSNN(SIZES, num_steps=4, gain=3.0, recurrent=FEW),
    "recurrent, delayed": lambda: sg.SpatialSNN(
        SIZES, num_steps=5, velocity=0.7, gain=3.0, recurrent=sg.wiring.AllToAll()
    ),
    "layer": lambda: sg.SpatialLinear(12, 4),
}


@pytest.fixture(params=NETWORKS)
def network(request):
    """Return a network in evaluation, inputs and outputs."""
    torch.manual_seed(0)
    model = NETWORKS[request.param]().eval()
    inputs = len(model.graph.inputs) if hasattr(model, "graph") else 12
    x = torch.rand(*([5] if request.param == "free delays" else []), 3, inputs)
    with torch.no_grad():
        right = model(x)
    assert right.std(0).max() > 0  # a network that is silent would agree with anything
    return model, x, right


def run_onnx(file, x):
    onnxruntime = pytest.importorskip("onnxruntime")
    session = onnxruntime.InferenceSession(file.getvalue())
    return torch.from_numpy(session.run(None, {session.get_inputs()[0].name: x.numpy()})[0])


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")
def test_export(network):
    model, x, right = network
    torch.testing.assert_close(torch.export.export(model, (x,)).module()(x), right, rtol=1e-5, atol=1e-5)


@SHAPES_ARE_FIXED
def test_trace_and_make_fx(network):
    """On other numbers than those that were traced."""
    model, x, right = network
    for record in (lambda: torch.jit.trace(model, (1 - x,)), lambda: make_fx(model)(1 - x)):
        torch.testing.assert_close(record()(x), right, rtol=1e-5, atol=1e-5)


@SHAPES_ARE_FIXED
@pytest.mark.filterwarnings("ignore:Constant folding:UserWarning")
def test_onnx_by_tracing(network):
    pytest.importorskip("onnx")
    model, x, right = network
    file = io.BytesIO()
    torch.onnx.export(model, (1 - x,), file, dynamo=False)
    torch.testing.assert_close(run_onnx(file, x), right, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("name", ["dense", "sparse", "masked", "spiking", "delayed, sparse"])
def test_onnx_by_export(name):
    pytest.importorskip("onnxscript")
    torch.manual_seed(0)
    model, x, file = NETWORKS[name]().eval(), torch.rand(3, 12), io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the exporter's own
        torch.onnx.export(model, (x,), file, dynamo=True, verbose=False)
    torch.testing.assert_close(run_onnx(file, x), model(x).detach(), rtol=1e-5, atol=1e-5)


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::UserWarning")
@pytest.mark.parametrize("name", ["dense", "sparse", "masked", "spiking", "delayed"])
def test_compile_without_a_break_in_the_graph(name):
    torch.manual_seed(0)
    torch._dynamo.reset()
    model, x = NETWORKS[name](), torch.rand(3, 12)
    compiled = torch.compile(model, fullgraph=True)
    right, found = model(x), compiled(x)
    torch.testing.assert_close(found, right, rtol=1e-5, atol=1e-5)
    for grads in zip(*(torch.autograd.grad(y.square().sum(), model.parameters()) for y in (found, right)), strict=True):
        torch.testing.assert_close(*grads, rtol=1e-4, atol=1e-5)


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")
@pytest.mark.parametrize("name", ["dense", "spiking", "layer"])
def test_weights_that_were_kept_do_not_disturb_a_compiler(name):
    torch.manual_seed(0)
    torch.compiler.reset()
    model, x = NETWORKS[name]().eval(), torch.rand(3, 12)
    with torch.no_grad():
        for _ in range(3):
            right = model(x)
        found = torch.compile(model, backend="eager", fullgraph=True)(x)
        torch.testing.assert_close(found, right, rtol=1e-5, atol=1e-5)
        torch.testing.assert_close(torch.export.export(model, (x,)).module()(x), right, rtol=1e-5, atol=1e-5)


def test_an_exported_network_takes_any_batch():
    model = sg.SpatialMLP(SIZES, wiring=FEW).eval()
    batch = torch.export.Dim("batch", min=2)
    exported = torch.export.export(model, (torch.rand(3, 12),), dynamic_shapes=({0: batch},))
    x = torch.rand(7, 12)
    torch.testing.assert_close(exported.module()(x), model(x))
