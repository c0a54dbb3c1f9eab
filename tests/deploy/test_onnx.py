"""ONNX files against eager PyTorch."""

import pytest
import torch

import spatialgraph as sg
from spatialgraph.wiring import KNN, AllToAll, Random

onnxruntime = pytest.importorskip("onnxruntime")
pytest.importorskip("onnxscript")

MODELS = {
    "all-to-all": lambda: sg.SpatialMLP([30, 40, 5]),
    "grid": lambda: sg.SpatialMLP([(5, 6), 40, 5], dim=6, law="cosine", grid_polarity="axes"),
    "skips": lambda: sg.SpatialMLP([30, 40, 20, 5], wiring=AllToAll(reach="all"), normalize=False),
    "sparse": lambda: sg.SpatialMLP([30, 40, 5], wiring=[Random(0.2, seed=1), KNN(k=9)]),
    "spiking": lambda: sg.SpatialSNN([30, 40, 5], num_steps=3),
}


def run(path, x):
    session = onnxruntime.InferenceSession(path)
    return torch.from_numpy(session.run(None, {session.get_inputs()[0].name: x.numpy()})[0])


@pytest.mark.parametrize("weights", ["computed", "stored"])
@pytest.mark.parametrize("name", MODELS)
def test_it_equals_eager(name, weights, tmp_path):
    torch.manual_seed(0)
    model, x = MODELS[name](), torch.rand(7, 30)
    sg.to_onnx(model, tmp_path / "network.onnx", x[:2], weights=weights)
    assert model.training
    torch.testing.assert_close(run(tmp_path / "network.onnx", x), model.eval()(x).detach(), rtol=1e-5, atol=1e-5)
    assert torch.equal(model.train()(x), model(x))  # it computes its weights again


def test_a_file_with_computed_weights_is_small(tmp_path):
    model, x = sg.SpatialMLP([784, 1024, 10]), torch.rand(2, 784)
    for weights in ("computed", "stored"):
        sg.to_onnx(model, tmp_path / weights, x, weights=weights)
    small, large = ((tmp_path / weights).stat().st_size for weights in ("computed", "stored"))
    assert large > 4 * model.graph.synapses and 20 * small < large


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda p: sg.to_onnx(sg.SpatialGraph, p, torch.rand(2, 3)), TypeError, "model must be an nn.Module"),
        (
            lambda p: sg.to_onnx(MODELS["grid"](), p, torch.rand(30)),
            ValueError,
            "example must have at least two samples",
        ),
        (
            lambda p: sg.to_onnx(MODELS["grid"](), p, torch.rand(2, 30), weights="none"),
            ValueError,
            "weights must be one",
        ),
        (lambda p: sg.to_onnx(MODELS["grid"](), 3, torch.rand(2, 30)), TypeError, "path must be a string or a path"),
        (
            lambda p: sg.to_onnx(sg.SpatialRNN([3, 4, 2]), p, torch.rand(2, 5, 3), weights="stored"),
            ValueError,
            "weights must be 'computed' but for a SpatialMLP or a SpatialSNN without delays, got 'stored' for Spatial",
        ),
    ],
)
def test_wrong_arguments(call, error, message, tmp_path):
    with pytest.raises(error, match=message):
        call(tmp_path / "network.onnx")
    assert list(tmp_path.iterdir()) == []


def test_the_modes_of_all_modules_are_kept(tmp_path):
    model = torch.nn.Sequential(torch.nn.Linear(3, 2), torch.nn.Dropout().eval())
    sg.to_onnx(model, tmp_path / "model.onnx", example=torch.rand(2, 3))
    assert [module.training for module in model.modules()] == [True, True, False]
