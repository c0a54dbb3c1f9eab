"""The exported C code against Python, to the bit, and against arithmetic by hand."""

import copy
import json
import math
import subprocess

import numpy as np
import pytest
import torch
from c_programs import PROGRAM, SANITIZERS, gcc, needs_gcc, run

import spatialgraph as sg
from spatialgraph.deploy.c.building import integer_network
from spatialgraph.deploy.c.host import HostProgram, compile_here, counts_of
from spatialgraph.deploy.c.law_table import fitted_table, law_table
from spatialgraph.deploy.c.layers import Codes
from spatialgraph.deploy.c.network import squared_distances
from spatialgraph.laws import LAWS, Cosine, Law, make_law
from spatialgraph.wiring import KNN, AllToAll, Random

SIZES = [(7, 9), 30, (3, 5), 10]
WIRINGS = [AllToAll(), Random(0.5, seed=3), KNN(k=6)]


@pytest.fixture(scope="module")
def samples():
    generator = torch.Generator().manual_seed(0)
    return torch.rand(40, 63, generator=generator) * (torch.rand(40, 63, generator=generator) < 0.4)


def network(sizes=SIZES, bits=8, **options):
    torch.manual_seed(0)
    model = sg.SpatialMLP(sizes, **{"dim": 5, "law": "cosine"} | options)
    with torch.no_grad():
        model.graph.raw_bias.normal_()
    return sg.quantize(model, bits)


def spiking(sizes=(4, 5, 3), **options):
    return sg.quantize(sg.SpatialSNN(list(sizes), **options))


def far_bias():
    model = sg.SpatialMLP([4, 5, 3])
    with torch.no_grad():
        model.graph.raw_bias.fill_(1e5)
    return sg.quantize(model)


def as_bytes(samples):
    return (samples * 255).round().to(torch.uint8).numpy()


@pytest.mark.parametrize(
    ("sizes", "bits", "options"),
    [
        (SIZES, 8, {"wiring": WIRINGS}),
        (SIZES, 4, {"wiring": WIRINGS, "grid_polarity": "axes"}),
        (SIZES, 5, {"wiring": WIRINGS, "normalize": False, "spacing": "free"}),
        (SIZES, 8, {"normalize": False, "spacing": "fixed", "law": "inverse_distance"}),
        ([(7, 3, 3), 10], 8, {"dim": 3}),
        ([63, 30, 10], 2, {"polarity_mode": "binary", "anchored": [0], "dim": 2}),
        ([63, 1, 4], 8, {"wiring": Random(0.3, seed=2**32 - 1), "normalize": False}),
    ],
)
def test_it_computes_the_numbers_of_python(sizes, bits, options, samples, tmp_path):
    model = network(sizes, bits, **options)
    sg.to_c(model, tmp_path / "network.h", samples=samples)
    expected = integer_network(model, samples=samples)(as_bytes(samples))
    classes, outputs = run(tmp_path, as_bytes(samples), *SANITIZERS)
    np.testing.assert_array_equal(outputs, expected)
    np.testing.assert_array_equal(classes, expected.argmax(1))


@pytest.mark.parametrize("normalize", [True, False])
@pytest.mark.parametrize("reset", ["subtract", "zero", "none"])
def test_spiking_networks(normalize, reset, samples, tmp_path):
    torch.manual_seed(0)
    model = sg.SpatialSNN([(7, 9), 30, 10], dim=5, normalize=normalize, reset_mechanism=reset, wiring=WIRINGS[1:])
    with torch.no_grad():
        model.graph.raw_bias.normal_().mul_(0.3)
    model = sg.quantize(model, 8)
    sg.to_c(model, tmp_path / "network.h")
    whole = integer_network(model)
    expected = whole(as_bytes(samples))
    np.testing.assert_array_equal(run(tmp_path, as_bytes(samples), *SANITIZERS)[1], expected)
    with torch.no_grad():
        exact = model(samples).double().numpy()
    assert np.abs(expected * whole.output_unit - exact).mean() < 0.05 * exact.std()


FLOATS = {
    "normalised": lambda: network(wiring=WIRINGS),
    "plain": lambda: network(wiring=WIRINGS, normalize=False, grid_polarity="axes"),
    "free": lambda: network(bits=4, spacing="free", law="gaussian"),
    "spiking": lambda: spiking([63, 30, 10]),
    "zeroed": lambda: spiking([63, 30, 10], reset_mechanism="zero", normalize=False, gain=1.0),
    "no hidden layer": lambda: spiking([63, 10]),
}


class BetweenEntries(Law):
    """A straight line between the entries of a table of another law."""

    def __init__(self, table, gain, unit, softening):
        super().__init__(softening)
        self.at = (table.start + np.arange(len(table.exact)) * 2.0**table.shift) * unit**2 + softening**2
        self.entries = table.exact / gain

    def from_square(self, square):
        return torch.from_numpy(np.interp(square.double().numpy(), self.at, self.entries)).to(square.dtype)


def between_entries(model):
    """Return a copy in double precision whose law is that of the table."""
    table, graph = integer_network(model, samples=torch.rand(2, 63)).stages[0].table, model.graph
    law = BetweenEntries(table, graph.gain, graph.quantization.unit, graph.law.softening)
    copied = copy.deepcopy(model).double()
    copied.graph.law = law
    return copied


@pytest.mark.parametrize("name", FLOATS)
def test_floats_are_those_of_the_model(name, samples, tmp_path):
    model = FLOATS[name]()
    inputs = torch.from_numpy(as_bytes(samples)).float() / 255
    sg.to_c(model, tmp_path / "network.h", arithmetic="float", samples=inputs)
    classes, outputs = run(tmp_path, as_bytes(samples), *SANITIZERS, number=np.float32)
    with torch.no_grad():
        near = model(inputs).numpy()
        exact = between_entries(model)(inputs.double()).numpy()
    np.testing.assert_allclose(outputs, exact, rtol=1e-4, atol=1e-4 * np.abs(exact).max())
    assert (classes == near.argmax(1)).mean() >= 0.95
    text = (tmp_path / "network.h").read_text()
    assert "double" not in text and "int64" not in text


def test_outputs_that_receive_from_inputs(samples, tmp_path):
    model = sg.quantize(sg.SpatialSNN([63, 4]), 8)
    sg.to_c(model, tmp_path / "network.h")
    whole = integer_network(model)
    expected = whole(as_bytes(samples))
    np.testing.assert_array_equal(run(tmp_path, as_bytes(samples), *SANITIZERS)[1], expected)
    np.testing.assert_allclose(expected * whole.output_unit, model(samples).detach().numpy(), rtol=0.05, atol=0.05)


def test_pruned_grids(samples, tmp_path):
    torch.manual_seed(0)
    model = sg.SpatialMLP([(7, 9), 30, 20, 10], dim=3)
    graph, gone = model.graph, torch.tensor([1, 7, 70])
    graph.keep_((~torch.isin(graph.edge_index, gone)).all(0) & (torch.rand(graph.synapses) < 0.3))
    graph.keep_neurons_(~torch.isin(torch.arange(graph.neurons), gone))
    model, inputs = sg.quantize(model, 6), 61
    sg.to_c(model, tmp_path / "network.h", samples=samples[:, :inputs])
    expected = integer_network(model, samples=samples[:, :inputs])(as_bytes(samples[:, :inputs]))
    np.testing.assert_array_equal(run(tmp_path, as_bytes(samples[:, :inputs]), *SANITIZERS)[1], expected)


def test_whole_numbers_are_near_the_quantised_network(samples):
    for options in ({}, {"normalize": False}, {"spacing": "free"}, {"law": "gaussian"}):
        model = network(**options)
        whole = integer_network(model, samples=samples)
        with torch.no_grad():
            exact = model(samples).double().numpy()
        near = whole(as_bytes(samples)) * whole.output_unit
        assert np.abs(near - exact).max() < 0.03 * exact.std() + 0.02 * np.abs(exact).max(), options


def test_one_neuron_by_hand():
    graph = sg.SpatialGraph.layered([2, 1], dim=2, spacing="fixed", gain=1.0, law="inverse_distance")
    with torch.no_grad():
        graph.positions.coords.copy_(torch.tensor([[0.0], [3.0], [0.0]]))
        graph.raw_polarity.copy_(torch.tensor([1.0, -1.0]))
        graph.raw_bias.zero_()
    whole = integer_network(sg.quantize(sg.SpatialMLP(graph)))
    (stage,) = whole.stages
    unit = stage.source.positions()[1, 0] - stage.target.positions()[0, 0]  # units of 3
    assert squared_distances(stage.source, stage.target)[0].tolist() == [0, unit**2]
    inputs = np.array([[255, 0], [0, 255], [255, 255], [100, 0]], dtype=np.uint8)
    # lengths 1 and sqrt(10)
    expected = [1.0, -1 / math.sqrt(10), 1 - 1 / math.sqrt(10), 100 / 255]
    np.testing.assert_allclose(whole(inputs)[:, 0] * whole.output_unit, expected, atol=0.01)


@pytest.mark.parametrize("name", LAWS)
def test_tables_follow_laws(name):
    law = make_law(name)
    squares = np.arange(10_000, 90_000, 7)
    table = law_table(law, 2.0, 0.01, int(squares.min()), int(squares.max()))
    exact = 2.0 * law(torch.from_numpy(np.sqrt(squares) * 0.01)).detach().double().numpy()
    assert len(table.entries) <= 258
    np.testing.assert_allclose(table(squares) * table.unit, exact, atol=2.0 * table.unit + 0.002)


def test_a_table_of_a_single_length():
    table = law_table(make_law("gaussian"), 1.0, 0.1, 50, 50)
    assert table(np.array([50])) * table.unit == pytest.approx(math.exp(-0.5 / 2), rel=0.2)


def test_laws_that_change_fast_have_more_intervals():
    law, squares = Cosine(3.0), np.arange(0, 90_000, 7)
    sizes = []
    for unit in (0.005, 0.05):  # lengths of up to 1.5, and 15
        table = fitted_table(law, 1.0, unit, [squares])
        exact = law(torch.from_numpy(np.sqrt(squares) * unit)).numpy()
        assert np.sqrt(np.mean((table(squares) * table.unit - exact) ** 2)) < 0.05 * np.sqrt(np.mean(exact**2))
        sizes.append(len(table.entries))
    assert sizes[0] < 202 < sizes[1]


class Pole(Law):
    """Infinite at a length of zero."""

    def from_square(self, square):
        return 1 / square


def test_laws_without_a_table(tmp_path):
    squares = [np.arange(0, 90_000, 7)]
    with pytest.raises(ValueError, match="law must be finite between the neurons, got others at a length of 0"):
        fitted_table(Pole(0.0), 1.0, 0.01, squares)
    with pytest.raises(ValueError, match="smooth enough for a table of 3200 intervals, got weights that are"):
        fitted_table(Cosine(1.0), 1.0, 10.0, squares)
    model = network(law=Cosine(900.0))
    with pytest.raises(ValueError, match="law must be smooth enough"):
        sg.to_c(model, tmp_path / "network.h")
    assert list(tmp_path.iterdir()) == []


def test_codes_of_grids_add_up():
    codes = Codes(np.arange(5, dtype=np.int8)[:, None], (2, 3), cells=np.array([0, 5]))
    assert codes.summed()[:, 0].tolist() == [0 + 2, 1 + 4]


def test_the_manifest(samples, tmp_path):
    model = network()
    labels = model(samples).argmax(1)
    found = sg.to_c(model, tmp_path / "network.h", samples=samples, labels=labels)
    assert found == json.loads((tmp_path / "network.json").read_text())
    # codes: 16 rows and columns, 30 neurons, 8 rows and columns, 10 neurons with 4 axes; 108 polarities, 55 biases
    codes = (16 + 30 + 8 + 10) * 4 + 63 + 30 + 15 + 30 + 15 + 10
    assert 0 < found["constant_bytes"] - codes - 4 <= 2 * 258
    assert found["multiply_adds"] == model.graph.synapses
    assert found["buffer_bytes"] == 4 * 30 and found["accuracy"] >= 0.9


def test_vectors_are_those_of_the_network(samples, tmp_path):
    sg.to_c(network(), tmp_path / "network.h", samples=samples)
    check = r"""
    for (uint32_t number = 0u; number < NETWORK_TESTS; number++) {
        network_run(NETWORK_TEST_INPUTS[number], output, buffer);
        for (uint32_t at = 0u; at < NETWORK_OUTPUTS; at++) {
            if (output[at] != NETWORK_TEST_OUTPUTS[number][at]) {
                return 3;
            }
        }
    }
    return 0;
}
"""
    program = PROGRAM[: PROGRAM.index("    while")] + "    (void)input;" + check
    compiled = gcc(tmp_path, program.replace("#include <stdio.h>\n", ""))
    assert compiled.returncode == 0, compiled.stderr
    assert subprocess.run([tmp_path / "program"], check=False).returncode == 0


@pytest.mark.parametrize("what", ["input[NETWORK_INPUTS", "output[NETWORK_OUTPUTS", "buffer[NETWORK_BUFFER_WORDS"])
def test_too_small_arrays_do_not_compile(what, tmp_path):
    sg.to_c(network(), tmp_path / "network.h")
    program = PROGRAM.replace(what, what + " - 1").replace("#define NETWORK_TEST\n", "")
    compiled = gcc(tmp_path, program, "-O2")
    assert compiled.returncode != 0 and "network_classify" in compiled.stderr


def test_what_this_machine_cannot_compile_or_run(tmp_path, monkeypatch):
    needs_gcc()
    header = tmp_path / "network.h"
    header.write_text("no C\n")
    with pytest.raises(RuntimeError, match="gcc failed: (?s:.*)network.h"):
        compile_here(header, tmp_path / "program")
    (tmp_path / "fails").write_text("#!/bin/sh\necho wrong >&2\nexit 3\n")
    (tmp_path / "fails").chmod(0o755)
    with pytest.raises(RuntimeError, match="program failed with status 3: wrong"):
        HostProgram(tmp_path / "fails", "integer", 4, 3)(np.zeros((1, 4), dtype=np.uint8))
    program = HostProgram(tmp_path / "fails", "integer", 4, 3)
    for inputs in (np.zeros((5, 8), dtype=np.uint8), np.zeros(4, dtype=np.uint8), np.zeros((2, 4))):
        with pytest.raises(ValueError, match=r"inputs must be uint8 of shape \(batch, 4\)"):
            program(inputs)
    with pytest.raises(ValueError, match="header must be one that to_c wrote with the name 'network'"):
        counts_of(header)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(FileNotFoundError, match="compile_here needs the compiler gcc"):
        compile_here(header, tmp_path / "program")


def test_nothing_but_stdint_is_included(tmp_path):
    sg.to_c(network(wiring=WIRINGS), tmp_path / "digits.h", name="digits")
    text = (tmp_path / "digits.h").read_text()
    assert [line for line in text.splitlines() if line.startswith("#include")] == ["#include <stdint.h>"]
    assert not any(word in text for word in ("malloc", "float", "double", "network_"))
    assert gcc(tmp_path, '#include "digits.h"\nint main(void) { return 0; }\n').returncode == 0


@pytest.mark.parametrize(
    ("build", "error", "message"),
    [
        (lambda: sg.SpatialMLP([4, 3]), ValueError, "model must be quantised and unchanged since"),
        (
            lambda: sg.quantize(sg.SpatialGraph.layered([4, 3])),
            TypeError,
            "model must be a SpatialMLP or a SpatialSNN, got SpatialGraph",
        ),
        (lambda: network([4, 5, 3], activation="tanh"), ValueError, "activation must be 'relu'"),
        (lambda: network([4, 5, 3], weight_mode="both"), ValueError, "weights that follow from the law alone"),
        (lambda: network([4, 5, 3], wiring=AllToAll(reach="all")), ValueError, "receive from the one before alone"),
        (lambda: network([4, 5, 3], normalize=False), ValueError, "samples must be given for a network without normal"),
        (lambda: spiking(velocity=1.0), ValueError, "model must have no delays, got a velocity of 1.0"),
        (lambda: spiking(coding="rate"), ValueError, "coding must be 'current', got 'rate'"),
        (lambda: spiking(read_out="count"), ValueError, "read_out must be 'potential', got 'count'"),
        (lambda: spiking([4, 5, 5, 3]), ValueError, "model must have one hidden layer at most where it spikes, got 2"),
        (lambda: spiking(recurrent=AllToAll()), ValueError, "model must not be recurrent"),
        (lambda: far_bias(), ValueError, "biases must fit 32 bits"),
        (
            lambda: sg.quantize(sg.SpatialRNN([4, 5, 3])),
            TypeError,
            "model must be a SpatialMLP or a SpatialSNN, got SpatialRNN",
        ),
    ],
)
def test_wrong_models(build, error, message, tmp_path):
    with pytest.raises(error, match=message):
        sg.to_c(build(), tmp_path / "network.h")
    assert list(tmp_path.iterdir()) == []


def test_wrong_arguments(samples, tmp_path):
    model = network()
    for changes, error, message in (
        ({"name": "1st"}, ValueError, "name must be a name in C that begins with a letter, got '1st'"),
        ({"samples": samples - 1}, ValueError, "samples must be between 0 and 1"),
        ({"samples": samples, "labels": torch.zeros(3)}, ValueError, r"labels must have shape \(40,\)"),
        ({"input_unit": 0.0}, ValueError, "input_unit must be"),
    ):
        with pytest.raises(error, match=message):
            sg.to_c(model, tmp_path / "network.h", **changes)
    with pytest.raises(OSError):
        sg.to_c(model, tmp_path / "none" / "network.h")
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(ValueError, match=r"inputs must be uint8 of shape \(batch, 63\)"):
        integer_network(model)(np.zeros((1, 63)))


def test_far_layers_are_refused():
    model = network()
    with torch.no_grad():
        model.graph.positions.gaps.fill_(1e6)
    with pytest.raises(ValueError, match="gaps between layers must leave squared distances in 31 bits"):
        integer_network(model)
