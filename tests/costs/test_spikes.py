"""Spikes and operations of an inference, counted one by one."""

import pytest
import torch

from spatialgraph import DenseSNN, SpatialGraph, SpatialMLP, SpatialSNN, spike_cost
from spatialgraph.wiring import KNN


def counted(model, edge_index, x):
    """Count, for each sample, spikes and what each sends along each synapse; synapses of inputs apart."""
    run = model.simulate(x)
    inputs, *layers = [run.inputs.expand(model.num_steps, *run.inputs.shape[1:]), *run.spikes]
    of_neuron = torch.cat([inputs, *layers], dim=-1)
    leaving = [sum(1 for source in edge_index[0].tolist() if source == neuron) for neuron in range(of_neuron.shape[-1])]
    spikes = sent = fed = 0
    for step in range(model.num_steps):
        for sample in range(x.shape[0]):
            for neuron, value in enumerate(of_neuron[step, sample].tolist()):
                if neuron < inputs.shape[-1]:
                    fed += leaving[neuron] * (value != 0)
                else:
                    spikes += int(value)
                    sent += leaving[neuron] * int(value)
    return spikes / len(x), sent / len(x), fed / len(x)


@pytest.mark.parametrize("coding", ["latency", "current"])
@pytest.mark.parametrize("read_out", ["potential", "count"])
def test_counts(coding, read_out):
    torch.manual_seed(0)
    graph = SpatialGraph.layered([6, 5, 4, 3], wiring=KNN(k=2), gain=8.0)
    model = SpatialSNN(graph, num_steps=7, coding=coding, read_out=read_out)
    x = torch.rand(4, 6)
    cost = spike_cost(model, x)
    spikes, sent, fed = counted(model, graph.edge_index, x)
    assert spikes > 0 and sent > 0
    assert cost.spikes == pytest.approx(spikes)
    assert cost.synaptic_operations == pytest.approx(sent)
    once = int((graph.layer[graph.edge_index[0]] == 0).sum())
    assert cost.input_operations == pytest.approx(once if coding == "current" else fed)
    assert cost.dense_operations == 7 * graph.synapses


def test_dense_networks():
    model = DenseSNN([6, 5, 3], num_steps=7, coding=None)
    x = (torch.rand(7, 2, 6) < 0.5).float()
    cost = spike_cost(model, x)
    run = model.simulate(x)
    assert cost.input_operations == pytest.approx(5 * float(x.sum()) / 2)
    assert cost.synaptic_operations == pytest.approx(3 * float(run.spikes[0].detach().sum()) / 2)
    assert cost.dense_operations == 7 * (6 * 5 + 5 * 3)


def test_a_constant_current_crosses_all_synapses_whatever_the_number_of_steps():
    x = torch.tensor([[0.0, 1.0, 0.0]])
    assert [spike_cost(DenseSNN([3, 4, 2], num_steps=steps), x).input_operations for steps in (1, 2)] == [12, 12]


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("coding", ["latency", "current"])
def test_counts_are_exact_in_half_precision(coding, dtype):
    model = SpatialSNN([300, 400, 10], num_steps=6, coding=coding, wiring=KNN(k=31)).to(dtype)
    x = torch.rand(3, 300).to(dtype)
    cost, run, leaving = spike_cost(model, x), model.simulate(x), [count.tolist() for count in model.fan_outs()]
    fired = [(spikes != 0).sum((0, 1)).tolist() for spikes in (run.inputs, run.spikes[0])]
    operations = [sum(n * m for n, m in zip(*pair, strict=True)) / 3 for pair in zip(fired, leaving[:2], strict=True)]
    assert cost.input_operations == pytest.approx(400 * 31 if coding == "current" else operations[0], rel=1e-12)
    assert cost.synaptic_operations == pytest.approx(operations[1], rel=1e-12)
    assert cost.spikes == pytest.approx(sum(fired[1]) / 3, rel=1e-12) and cost.spikes > 0
    assert cost.dense_operations == 6 * model.graph.synapses


def test_random_spikes():
    model = SpatialSNN([6, 5, 3], num_steps=7, coding="rate", wiring=KNN(k=2), gain=8.0)
    x = torch.rand(4, 6)
    cost = spike_cost(model, x, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        run = model.simulate(x, generator=torch.Generator().manual_seed(1))
    leaving = torch.bincount(model.graph.edge_index[0], minlength=14).float()
    assert cost.input_operations == pytest.approx(float((run.inputs @ leaving[:6]).sum()) / 4)
    assert cost.synaptic_operations == pytest.approx(float((run.spikes[0] @ leaving[6:11]).sum()) / 4)


def test_no_sample():
    with pytest.raises(ValueError, match=r"x must hold at least one sample, got shape \(0, 3\)"):
        spike_cost(SpatialSNN([3, 4, 2]), torch.zeros(0, 3))


def test_no_spiking_network():
    with pytest.raises(TypeError, match="model must be a spiking network, got SpatialMLP"):
        spike_cost(SpatialMLP([3, 4, 2]), torch.zeros(1, 3))
