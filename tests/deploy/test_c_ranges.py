"""Whole numbers against the quantised model where activations are far from those of usual networks."""

import numpy as np
import pytest
import torch
from c_programs import needs_gcc

import spatialgraph as sg
from spatialgraph.deploy.c.building import integer_network
from spatialgraph.deploy.c.host import compile_here
from spatialgraph.neurons.leaky import Leaky


def relative_error(model, inputs, **options):
    """The error of the integer network's outputs, root mean square, in the model's."""
    whole = integer_network(model, **options)
    with torch.no_grad():
        exact = model(torch.from_numpy(inputs) * torch.tensor(1 / 255)).double().numpy()
    own = whole(inputs) * whole.output_unit
    return float(np.sqrt(np.mean((own - exact) ** 2) / np.mean(exact**2)))


def bytes_up_to(most, *shape):
    return np.random.default_rng(0).integers(0, most + 1, shape).astype(np.uint8)


def quantised(*sizes, model=sg.SpatialMLP, dim=3, **options):
    torch.manual_seed(0)
    return sg.quantize(model(list(sizes), dim, **options))


@pytest.mark.parametrize(("gain", "most"), [(None, 1), (None, 3), (None, 255), (0.01, 20), (0.01, 255), (0.001, 255)])
def test_normalised_sums_of_small_variance(gain, most):
    """The model adds 1e-5 to the variance, which counts where inputs are nearly equal."""
    inputs = bytes_up_to(most, 50, 16)
    assert relative_error(quantised(16, 32, 5, gain=gain), inputs, samples=torch.from_numpy(inputs) / 255) < 0.1


def test_activations_that_are_too_small_for_whole_numbers():
    model, inputs = quantised(16, 32, 5, gain=1e-3), bytes_up_to(3, 50, 16)
    with pytest.raises(ValueError, match="samples must cause activations of at least 0.03125 in each layer, got"):
        integer_network(model, samples=torch.from_numpy(inputs) / 255)


def test_a_single_bright_pixel():
    inputs = np.zeros((100, 784), dtype=np.uint8)
    inputs[np.arange(100), np.arange(100) * 7] = 255
    assert relative_error(quantised(784, 100, 10), inputs) < 0.1


@pytest.mark.parametrize("gain", [1e-4, 1e-3, 1.0, 1e3, 1e6])
@pytest.mark.parametrize("model", [sg.SpatialMLP, sg.SpatialSNN])
def test_activations_of_any_size(gain, model):
    """Steps follow from the samples, or from the threshold."""
    options = {"normalize": False, "gain": gain}
    if model is sg.SpatialSNN:
        options |= {"threshold": gain, "num_steps": 20}
    inputs = bytes_up_to(255, 60, 16)
    given = {} if model is sg.SpatialSNN else {"samples": torch.from_numpy(inputs) / 255}
    assert relative_error(quantised(16, 32, 5, model=model, **options), inputs, **given) < 0.1


def test_wide_layers_keep_their_bits():
    assert relative_error(quantised(16_384, 5), bytes_up_to(255, 6, 16_384)) < 0.1


@pytest.mark.parametrize(("bits", "factor", "dim"), [(4, 300.0, 2), (8, 100.0, 3)])
def test_gaps_that_are_small_beside_the_unit_of_positions(bits, factor, dim):
    torch.manual_seed(0)
    model = sg.SpatialMLP([16, 5], dim, gain=1.0)
    with torch.no_grad():
        model.graph.positions.coords *= factor
    model = sg.quantize(model, bits)
    assert relative_error(model, bytes_up_to(255, 50, 16)) < 0.06


def test_a_gap_that_whole_units_do_not_resolve():
    torch.manual_seed(0)
    model = sg.SpatialMLP([16, 5], 3, gain=1.0)
    with torch.no_grad():
        model.graph.positions.coords *= 300.0
    with pytest.raises(ValueError, match="law must be smooth enough for a table"):
        integer_network(sg.quantize(model, 2))


def meeting(with_synapse):
    """A network in which one source stands at one target."""
    torch.manual_seed(0)
    model = sg.SpatialMLP([200, 20], 3, spacing="free", gain=1.0)
    with torch.no_grad():
        model.graph.positions.coords[200] = model.graph.positions.coords[0]
    if not with_synapse:
        model.graph.keep_(~((model.graph.edge_index[0] == 0) & (model.graph.edge_index[1] == 200)))
    return sg.quantize(model)


def test_one_pair_does_not_hide_the_weights_of_others():
    with pytest.raises(ValueError, match="law must be smooth enough for a table"):
        integer_network(meeting(with_synapse=True))
    assert relative_error(meeting(with_synapse=False), bytes_up_to(255, 20, 200)) < 0.1


@pytest.mark.parametrize(("beta", "reset"), [(0.95, "subtract"), (0.99, "none"), (1.0, "subtract"), (0.5, "zero")])
def test_potentials_fit_32_bits(beta, reset, tmp_path):
    needs_gcc()
    torch.manual_seed(0)
    options = {"normalize": False, "gain": 1e5, "beta": beta, "reset_mechanism": reset, "num_steps": 50}
    model = sg.quantize(sg.SpatialSNN([16, 32, 5], **options))
    header, inputs = tmp_path / "network.h", bytes_up_to(255, 40, 16)
    sg.to_c(model, header)
    program = compile_here(header, tmp_path / "program", flags=["-O1", "-fsanitize=undefined", "-fno-sanitize-recover"])
    assert np.array_equal(program(inputs)[1], integer_network(model)(inputs))


def test_outputs_have_a_leak_of_their_own(tmp_path):
    needs_gcc()
    torch.manual_seed(0)
    model = sg.SpatialSNN([16, 32, 5], neuron=lambda n: Leaky(beta=0.7), beta=0.95)
    model, inputs = sg.quantize(model), bytes_up_to(255, 40, 16)
    sg.to_c(model, tmp_path / "network.h", arithmetic="float")
    program = compile_here(tmp_path / "network.h", tmp_path / "program", arithmetic="float")
    with torch.no_grad():
        exact = model(torch.from_numpy(inputs) / 255).numpy()
    error = np.sqrt(np.mean((program(inputs)[1] - exact) ** 2) / np.mean(exact**2))
    assert error < 0.1  # a few spikes more or less


def test_pruned_cells_whose_positions_are_anchored(tmp_path):
    needs_gcc()
    torch.manual_seed(0)
    model = sg.SpatialMLP([(3, 4), 6, 2], 3, anchored=[0], grid_polarity="axes")
    model.graph.keep_(model.graph.edge_index[0] != 5)
    model.graph.keep_neurons_(torch.arange(20) != 5)
    model = sg.quantize(model)
    sg.to_c(model, tmp_path / "network.h")
    inputs = bytes_up_to(255, 20, 11)
    program = compile_here(tmp_path / "network.h", tmp_path / "program")
    assert np.array_equal(program(inputs)[1], integer_network(model)(inputs))


def test_tiny_biases(tmp_path):
    needs_gcc()
    torch.manual_seed(0)
    model = sg.SpatialMLP([4, 5, 3])
    with torch.no_grad():
        model.graph.raw_bias[5:] = 1e-20
    model = sg.quantize(model)
    sg.to_c(model, tmp_path / "network.h")
    program, inputs = compile_here(tmp_path / "network.h", tmp_path / "program"), bytes_up_to(255, 9, 4)
    assert np.array_equal(program(inputs)[1], integer_network(model)(inputs))


def silent():
    model = sg.SpatialMLP([4, 5, 3])
    with torch.no_grad():
        model.graph.raw_polarity[:4] = 0.0
    return sg.quantize(model)


def high_threshold():
    return quantised(4, 5, 3, model=sg.SpatialSNN, threshold=1e7)


@pytest.mark.parametrize(
    ("build", "options", "message"),
    [
        (silent, {}, "polarities must not be 0 in all neurons of a layer"),
        (high_threshold, {}, "threshold must be between"),
        (lambda: quantised(4, 5, 3, dim=1, spacing="fixed"), {}, "model must have positions within its layers"),
        (lambda: quantised(4, 5, 3), {"samples": torch.empty(0, 4)}, r"samples must have shape \(batch, 4\)"),
        (lambda: quantised(4, 5, 3), {"samples": torch.rand(4)}, r"samples must have shape \(batch, 4\)"),
        (lambda: quantised(4, 5, 3), {"samples": torch.rand(2, 5)}, r"samples must have shape \(batch, 4\)"),
        (lambda: quantised(4, 5, 3), {"samples": torch.full((2, 4), torch.nan)}, "samples must be finite"),
        (lambda: quantised(4, 5, 3), {"labels": torch.zeros(3)}, "samples must be given with labels, got None"),
    ],
)
def test_what_is_refused(build, options, message, tmp_path):
    with pytest.raises(ValueError, match=message):
        sg.to_c(build(), tmp_path / "network.h", **options)
    assert list(tmp_path.iterdir()) == []


def test_a_layer_too_wide_for_sums_of_32_bits():
    with pytest.raises(ValueError, match="layers must be so narrow that sums of 32 bits leave 32 steps"):
        integer_network(quantised(65_536, 2))


def test_the_header_and_its_manifest(tmp_path):
    model = quantised(4, 5, 3)
    with pytest.raises(ValueError, match=r"path must not have the suffix of the manifest, \.json"):
        sg.to_c(model, tmp_path / "network.json")
    found = sg.to_c(model, tmp_path / "network.h", input_unit=np.float32(0.5))
    (tmp_path / "taken.h").mkdir()
    with pytest.raises(OSError):
        sg.to_c(model, tmp_path / "taken.h")
    assert not (tmp_path / "taken.json").exists()
    assert found["header"].startswith("sha256 ")
