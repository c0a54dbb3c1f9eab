"""Networks with a tolerance: sums on a grid in place of those over all pairs."""

import copy
import pickle
import warnings

import pytest
import torch

import spatialgraph as sg
from spatialgraph.functional import fast_sums, memory, mesh_plan
from spatialgraph.wiring import KNN

SIZES = [150, 120, 7]


@pytest.fixture(autouse=True)
def grids_for_small_layers(monkeypatch):
    monkeypatch.setattr(mesh_plan, "_PAIRS_PER_POINT", 1e-6)
    monkeypatch.setattr(fast_sums, "_SLOW", 1)


def network(model=sg.SpatialMLP, **options):
    torch.manual_seed(0)
    return model(SIZES, **{"tolerance": 1e-3} | options)


def outputs_and_gradients(model, x):
    y = model(x)
    model.zero_grad()
    (y * torch.linspace(-1.0, 1.0, y.numel()).view(y.shape).cos()).sum().backward()
    return [y.detach(), *(p.grad.clone() for p in model.parameters() if p.grad is not None)]


def errors(model, x):
    found = []
    for tolerance in (model.graph.tolerance, None):
        model.graph.tolerance = tolerance
        found.append(outputs_and_gradients(model, x))
    return [float((own - exact).norm() / exact.norm().clamp_min(1e-9)) for own, exact in zip(*found, strict=True)]


@pytest.mark.parametrize("dim", [2, 3])
@pytest.mark.parametrize("spacing", ["fixed", "learned"])
def test_perceptrons_are_those_of_all_pairs_within_the_tolerance(dim, spacing):
    value, *gradients = errors(network(dim=dim, spacing=spacing, normalize=False), torch.rand(9, 150))
    assert 0 < value <= 2e-3 and max(gradients) <= 2e-2


def test_all_models_take_it():
    torch.manual_seed(0)
    x = torch.rand(4, 150)
    spiking = network(sg.SpatialSNN, num_steps=5)
    recurrent = network(sg.SpatialRNN, cell="leaky")
    for model, given in ((spiking, x), (recurrent, x.expand(3, 4, 150))):
        value = model(given)
        exact = copy.deepcopy(model)
        exact.graph.tolerance = None
        first, other = (each[0] if isinstance(each, tuple) else each for each in (value, exact(given)))
        assert not torch.equal(first, other)
        torch.testing.assert_close(first, other, rtol=0.05, atol=0.05)


def test_inference_without_gradients_stays_on_the_grid():
    model, x = network(normalize=False), torch.rand(9, 150)
    expected = model(x).detach()
    model.eval()
    with torch.no_grad():
        assert torch.equal(model(x), expected) and torch.equal(model(x), expected)


def test_half_precision_and_autocast():
    model, x = network(normalize=False), torch.rand(9, 150)
    exact = model(x).detach()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        y = model(x)
        y.float().sum().backward()
    assert y.dtype == torch.bfloat16
    torch.testing.assert_close(y.float(), exact, rtol=2e-2, atol=2e-2 * float(exact.abs().max()))
    half = copy.deepcopy(model).bfloat16()
    assert half(x.bfloat16()).dtype == torch.bfloat16


def test_it_is_kept(tmp_path):
    model = network()
    sg.save(model, tmp_path / "network.safetensors")
    graphs = [
        sg.load(tmp_path / "network.safetensors").graph,
        sg.from_networkx(sg.to_networkx(model.graph)),
        copy.deepcopy(model).graph,
        pickle.loads(pickle.dumps(model)).graph,
    ]
    assert [graph.tolerance for graph in graphs] == [1e-3] * 4
    model.graph.tolerance = None
    sg.save(model, tmp_path / "network.safetensors")
    assert sg.load(tmp_path / "network.safetensors").graph.tolerance is None


def test_free_spacing_says_that_sums_are_exact():
    model, x = network(spacing="free"), torch.rand(2, 150)
    with pytest.warns(UserWarning, match="source_pos must be in a plane .*; sums over all pairs are computed"):
        y = model(x)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert torch.equal(model(x), y)
    model.graph.tolerance = None
    assert torch.equal(model(x), y)


def test_networks_that_are_not_all_to_all_are_as_without():
    model, x = network(wiring=KNN(k=5)), torch.rand(2, 150)
    y = model(x)
    model.graph.tolerance = None
    assert torch.equal(model(x), y)


def test_masked_and_free_weights_are_exact():
    x = torch.rand(2, 150)
    for model in (network(weight_mode="both"), network()):
        model.graph.masked_share = 0.5 if model.graph.weight_mode == "law" else 0.0
        y = model(x)
        model.graph.tolerance = None
        assert torch.equal(model(x), y)


def test_projections_that_do_not_fit_the_memory(monkeypatch):
    monkeypatch.setattr(memory, "memory_bytes", lambda: 1000)
    value, *gradients = errors(network(normalize=False), torch.rand(9, 150))
    assert 0 < value <= 2e-3 and max(gradients) <= 2e-2


def test_compilers_and_exporters_record_all_pairs():
    model, x = network(normalize=False).eval(), torch.rand(3, 150)
    program = torch.export.export(model, (x,)).module()
    torch.compiler.reset()
    compiled = torch.compile(model, backend="eager", fullgraph=True)(x)
    model.graph.tolerance = None
    torch.testing.assert_close(program(x), model(x))
    torch.testing.assert_close(compiled, model(x))


def test_positions_that_have_diverged():
    model = network()
    with torch.no_grad():
        model.graph.positions.coords[3, 0] = torch.nan
    with pytest.raises(ValueError, match="source_pos must be finite"):
        model(torch.rand(2, 150))


@pytest.mark.parametrize("tolerance", [0.0, -1.0, 1.0, float("nan"), float("inf")])
def test_wrong_values(tolerance):
    with pytest.raises(ValueError, match="tolerance must be"):
        network(tolerance=tolerance)
    model = network()
    with pytest.raises(ValueError, match="tolerance must be"):
        model.graph.tolerance = tolerance
    assert model.graph.tolerance == 1e-3


@pytest.mark.parametrize("tolerance", ["1e-3", True, [1e-3]])
def test_wrong_types(tolerance):
    with pytest.raises(TypeError, match="tolerance must be"):
        network(tolerance=tolerance)
