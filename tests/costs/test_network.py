"""What a network costs: counts by hand, and times that are there."""

import json
import math
import random
import weakref

import numpy as np
import pytest
import torch
from torch import nn

import spatialgraph as sg
from spatialgraph.functional import memory
from spatialgraph.graph.transmission import Transmission


def small(**options):
    torch.manual_seed(0)
    return sg.SpatialGraph.layered([3, 4, 2], **options)


def parameters(found):
    return [row.pruned.parameters for row in found.rows], found.other_parameters, found.pruned.parameters


@pytest.mark.parametrize(
    ("options", "by_projection", "other"),
    [
        # 4 (2 coordinates, polarity, bias) and a gap; 2 (2 coordinates, bias) and a gap; 3 (2 coordinates, polarity)
        ({}, [17, 7], 9),
        ({"spacing": "fixed"}, [16, 6], 9),
        ({"spacing": "free"}, [20, 8], 12),
        ({"dim": 2}, [13, 5], 6),
        ({"anchored": [0]}, [17, 7], 3),
        ({"weight_mode": "free"}, [4 + 12, 2 + 8], 0),  # biases and synapses: positions mean nothing
        ({"weight_mode": "both", "velocity": 1.0, "delay_mode": "free"}, [17 + 24, 7 + 16], 9),
        ({"law": sg.laws.InversePower(exponent=2.0, learnable=True)}, [17, 7], 10),
    ],
)
def test_every_parameter_is_counted_once(options, by_projection, other):
    graph = small(**options)
    found = sg.summary(graph, batch=2, rounds=1)
    assert parameters(found) == (by_projection, other, sum(by_projection) + other)
    assert found.pruned.parameters == sum(p.numel() for p in graph.parameters())


def test_parameters_of_a_model_beside_its_graph_are_other_ones():
    class Scaled(nn.Module):
        def __init__(self):
            super().__init__()
            self.graph = small()
            self.scale = nn.Parameter(torch.ones(5))

    assert parameters(sg.summary(Scaled(), batch=2, rounds=1)) == ([17, 7], 9 + 5, 38)


def test_dense_layers_by_hand():
    found = sg.summary(small(), batch=2, rounds=1)
    assert [(row.sources, row.targets) for row in found.rows] == [(3, 4), (4, 2)]
    assert [(c.synapses, c.multiply_adds, c.parameters, c.bytes) for c in (row.dense for row in found.rows)] == [
        (12, 12, 16, 64),
        (8, 8, 10, 40),
    ]
    assert (found.dense.synapses, found.dense.parameters, found.dense.bytes) == (20, 26, 104)
    baseline = sg.DenseMLP([3, 4, 2])
    assert found.dense.parameters == sum(p.numel() for p in baseline.parameters())
    assert found.dense.bytes == sum(p.numel() * p.element_size() for p in baseline.parameters())


def test_synapses_and_their_share():
    found = sg.summary(sg.prune_(small(), 0.25), batch=2, rounds=1)
    assert [row.pruned.synapses for row in found.rows] == [9, 6]
    assert [row.share for row in found.rows] == [9 / 12, 6 / 8]
    assert (found.pruned.synapses, found.pruned.multiply_adds, found.share) == (15, 15, 15 / 20)
    assert found.neurons == 9


def test_bytes_are_those_of_the_file(tmp_path):
    # More than 255 neurons, so that a listed edge takes two bytes; all-to-all lists none.
    torch.manual_seed(0)
    graph = sg.SpatialGraph.layered([300, 20, 10])
    whole = sg.summary(graph, batch=2, rounds=1)
    assert [row.pruned.bytes for row in whole.rows] == [0, 0]
    kept = torch.ones(graph.synapses, dtype=torch.bool)
    kept[:1000] = False
    found = sg.summary(graph.keep_(kept), batch=2, rounds=1)
    assert [row.pruned.bytes for row in found.rows] == [2 * 5000, 0]
    sg.save(graph, tmp_path / "network.safetensors")
    assert found.pruned.bytes == (tmp_path / "network.safetensors").stat().st_size == found.other_bytes + 10_000


def test_free_weights_are_bytes_of_their_synapses():
    found = sg.summary(sg.prune_(small(weight_mode="both", velocity=1.0, delay_mode="free"), 0.5), batch=2, rounds=1)
    assert [row.pruned.bytes for row in found.rows] == [6 * (1 + 4 + 4), 4 * (1 + 4 + 4)]


def test_networks_without_layers():
    pos = torch.tensor([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0], [1.0, 1.0]])
    graph = sg.SpatialGraph(pos, torch.tensor([[0, 0, 1, 2], [1, 2, 3, 3]]))
    found = sg.summary(sg.SpatialMLP(graph), batch=2, rounds=1)
    assert [(row.sources, row.targets, row.pruned.synapses) for row in found.rows] == [(1, 2, 2), (2, 1, 2)]
    assert parameters(found) == ([2 * 4, 3], 3, 14)


def test_blocks_that_skip_a_layer():
    found = sg.summary(small(wiring=sg.wiring.AllToAll(reach="all")), batch=2, rounds=1)
    assert [(row.sources, row.dense.synapses) for row in found.rows] == [(3, 12), (7, 14)]


@pytest.mark.parametrize("amount", [0.0, 0.3, 0.95, 1.0])
@pytest.mark.parametrize("options", [{}, {"velocity": 1.0}, {"weight_mode": "free"}])
def test_times_are_there(amount, options):
    found = sg.summary(sg.prune_(small(**options), amount), batch=3, rounds=2)
    assert all(row.pruned.milliseconds > 0 and row.dense.milliseconds > 0 for row in found.rows)
    assert found.pruned.milliseconds == pytest.approx(sum(row.pruned.milliseconds for row in found.rows))
    assert found.dense.milliseconds == pytest.approx(sum(row.dense.milliseconds for row in found.rows))


def test_one_projection_is_materialised_at_a_time(monkeypatch):
    original, alive = Transmission.matrix, []

    def watched(transmission, number):
        assert not any(matrix() is not None for matrix in alive)
        matrix = original(transmission, number)
        alive.append(weakref.ref(matrix))
        return matrix

    monkeypatch.setattr(Transmission, "matrix", watched)
    sg.summary(small(), batch=2, rounds=1)
    assert len(alive) == 2


def test_double():
    assert sg.summary(small().double(), batch=2, rounds=1).dense.bytes == 104  # dense layers are those in float32


@pytest.mark.parametrize("training", [True, False])
def test_the_model_and_random_numbers_are_left_alone(training):
    model = sg.SpatialSNN(small(), num_steps=2).train(training)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    projections, states = model.graph.projections, (torch.get_rng_state(), np.random.get_state()[1], random.getstate())
    sg.summary(model, batch=2, rounds=1)
    assert model.training is training
    assert model.graph.projections is projections
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert all(parameter.grad is None for parameter in model.parameters())
    assert torch.equal(states[0], torch.get_rng_state())
    assert (states[1] == np.random.get_state()[1]).all() and states[2] == random.getstate()


def test_the_table_is_aligned_and_shows_every_figure():
    found = sg.summary(sg.prune_(sg.SpatialGraph.layered([784, 32, 10]), 0.95), batch=600, rounds=1)
    lines = str(found).splitlines()
    rule, heading, first, second, other, total = lines[0], lines[2], lines[4], lines[5], lines[6], lines[8]
    assert set(rule) == {"="} and all(len(line) <= len(rule) for line in lines[: lines.index(rule, 1)])
    assert "ms / batch of 600" in lines[1] and "synapses = multiply-adds" in lines[1]
    assert first.split()[:6] == ["1:", "784", "->", "32", "1,254", "25,088"]
    assert first.split()[6:12] == ["5.00", "%", "129", "25,120", "2,508", "100,480"]
    assert second.split()[:6] == ["2:", "32", "->", "10", "16", "320"]
    assert other.split() == ["other", "2,352", f"{found.other_bytes:,}"]
    assert total.split()[:5] == ["total:", "826", "neurons", "1,270", "25,408"]
    for cell in ("pruned", "dense", "share"):  # figures end where their headings end
        ends = heading.index(cell) + len(cell)
        assert all(line[ends - 1] != " " and line[ends] == " " for line in (first, second, total))


def test_json_holds_every_figure():
    found = sg.summary(sg.prune_(small(), 0.25), batch=7, rounds=1)
    read = json.loads(json.dumps(found.to_dict()))
    assert (read["batch"], read["neurons"], read["device"], read["share"]) == (7, 9, "cpu", 0.75)
    assert (read["other_parameters"], read["other_bytes"]) == (9, found.other_bytes)
    assert read["rows"][1]["pruned"] == {
        "synapses": 6,
        "multiply_adds": 6,
        "parameters": 7,
        "bytes": 6,
        "milliseconds": found.rows[1].pruned.milliseconds,
    }
    assert (read["rows"][1]["sources"], read["rows"][1]["targets"], read["rows"][1]["share"]) == (4, 2, 0.75)
    assert read["dense"]["parameters"] == 26


class Constant(sg.laws.Law):
    """A law that no file can hold."""

    def from_square(self, square):
        return torch.ones_like(square)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: sg.summary(nn.Linear(3, 2)), TypeError, "model must be a SpatialGraph or a model .*got Linear"),
        (lambda: sg.summary(None), TypeError, "model must be a SpatialGraph or a model .*got NoneType"),
        (lambda: sg.summary(small(law=Constant())), TypeError, "law must be one of .* to be saved, got Constant"),
        (lambda: sg.summary(small(), batch=0), ValueError, "batch must be at least 1, got 0"),
        (lambda: sg.summary(small(), rounds=0), ValueError, "rounds must be at least 1, got 0"),
        (lambda: sg.summary(small(), batch=1.5), TypeError, r"batch must be an int, got 1\.5 \(float\)"),
    ],
)
def test_wrong_calls(call, error, message):
    with pytest.raises(error, match=message):
        call()


def test_dense_products_that_do_not_fit_the_memory(monkeypatch):
    monkeypatch.setattr(memory, "memory_bytes", lambda: 16 * 4 * 30)
    found = sg.summary(sg.SpatialGraph.layered([6, 7, 4], tolerance=1e-3), batch=2)
    assert [math.isnan(row.dense.milliseconds) for row in found.rows] == [True, False]
    assert all(row.pruned.milliseconds > 0 for row in found.rows)
    written = json.loads(json.dumps(found.to_dict(), allow_nan=False))
    assert written["rows"][0]["dense"]["milliseconds"] is None and "-" in str(found).split()
    with pytest.raises(ValueError, match="batch must leave its activations a place in memory, got 600 of 7 neurons"):
        sg.summary(sg.SpatialGraph.layered([6, 7, 4]))
