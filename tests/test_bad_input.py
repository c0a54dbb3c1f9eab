"""Wrong calls: each gives the right exception, and a message that names argument, rule and value."""

import re

import pytest
import torch
from wrong_calls import CALLS, NAMES, NUMBERS, SIZES, TENSORS, layered, snn
from wrong_spiking_calls import SPIKING

import spatialgraph as sg
from spatialgraph.wiring import KNN

TABLE = SIZES + NAMES + NUMBERS + TENSORS + CALLS + SPIKING


@pytest.mark.parametrize(("call", "error", "message"), [row[1:] for row in TABLE], ids=[row[0] for row in TABLE])
def test_wrong_call(call, error, message):
    with pytest.raises(error, match=re.escape(message)):
        call()


def test_the_table_is_long_enough():
    assert len(TABLE) >= 40


def test_wrong_calls_that_need_snntorch():
    pytest.importorskip("snntorch")
    with pytest.raises(ValueError, match="spike_grad must be one of 'fast_sigmoid', .* got 'step'"):
        snn(spike_grad="step")
    with pytest.raises(TypeError, match="neuron must return a spiking neuron of snnTorch, got Linear"):
        snn(neuron=lambda n: torch.nn.Linear(n, n))
    with pytest.raises(TypeError, match="neuron must return a spiking neuron of snnTorch, got NoneType"):
        snn(neuron=lambda n: None)


def test_a_failed_place_changes_nothing():
    graph = layered(spacing="fixed")
    before = graph.pos.clone()
    with pytest.raises(ValueError, match="pos must"):
        graph.place_(torch.ones(9, 3))
    assert torch.equal(graph.pos, before)


def test_a_failed_rewire_changes_nothing():
    graph = layered(wiring=KNN(k=2))
    before = graph.edge_index
    with pytest.raises(ValueError, match="k must be"):
        graph.rewire_(KNN(k=4))
    assert torch.equal(graph.edge_index, before)
    assert graph.wiring == KNN(k=2)


def test_a_failed_load_changes_nothing():
    graph = layered()
    before = {name: value.clone() for name, value in graph.state_dict().items()}
    with pytest.raises(RuntimeError, match=r"size mismatch .* got sizes \[5, 3, 2\], not \[4, 3, 2\]"):
        graph.load_state_dict(sg.SpatialGraph.layered([5, 3, 2], wiring=KNN(k=2)).state_dict())
    after = graph.state_dict()
    assert torch.equal(graph.edge_index, layered().edge_index)
    assert before.keys() == after.keys()
