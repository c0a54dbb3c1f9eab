"""A network goes into a file and comes back to the bit."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from network_files import (
    LAWS,
    NETWORKS,
    assert_same,
    dag,
    layered,
    outputs,
    refused,
    rewrite,
    round_trip,
    settings_of,
    tensors_of,
)

from spatialgraph import SpatialGraph, load, prune_, save
from spatialgraph.laws import InversePower
from spatialgraph.wiring import KNN, AllToAll, Random


@pytest.mark.parametrize("make", NETWORKS.values(), ids=NETWORKS)
def test_a_network_comes_back_to_the_bit(make, path):
    graph = make()
    other = round_trip(graph, path)
    assert_same(other, graph)
    y, expected = outputs(other), outputs(graph)
    assert torch.equal(y, expected)
    if not y.requires_grad:
        return
    grads = torch.autograd.grad(y.sum(), list(other.parameters()), allow_unused=True)
    references = torch.autograd.grad(expected.sum(), list(graph.parameters()), allow_unused=True)
    for grad, reference in zip(grads, references, strict=True):
        assert (grad is None) == (reference is None)
        assert grad is None or torch.equal(grad, reference)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize("law", LAWS.values(), ids=LAWS)
@pytest.mark.parametrize("polarity", ["graded", "binary"])
@pytest.mark.parametrize("spacing", ["fixed", "learned", "free"])
def test_every_setting(spacing, polarity, law, dtype, path):
    graph = layered(dtype, spacing=spacing, polarity_mode=polarity, law=law(), gain=1 / 3, anchored=[0])
    other = round_trip(prune_(graph, 0.5), path)
    assert_same(other, graph)
    assert torch.equal(outputs(other), outputs(graph))


@pytest.mark.parametrize("dim", [1, 2, 5])
@pytest.mark.parametrize("anchored", [None, [1], [0, 1, 2], torch.arange(17) % 3 == 0], ids=str)
@pytest.mark.parametrize("spacing", ["fixed", "learned", "free"])
def test_positions(spacing, anchored, dim, path):
    graph = layered(torch.float64, dim=dim, spacing=spacing, anchored=anchored)
    graph.positions.anchor_pos.normal_()  # anywhere, as a state_dict may bring them
    assert_same(round_trip(graph, path), graph)


def test_a_learnt_exponent_of_any_sign(path):
    graph = layered(torch.float64, law=InversePower(exponent=1.3, learnable=True))
    graph.law.exponent.data.fill_(-1 / 3)
    assert_same(round_trip(graph, path), graph)


@pytest.mark.parametrize("value", ["nan", "inf", "-inf"])
@pytest.mark.parametrize(
    ("name", "whom"),
    [
        ("raw_bias", "for neuron 6"),
        ("raw_polarity", "for neuron "),
        ("positions.coords", "for neuron 6"),
        ("positions.anchor_pos", "for neuron 2"),
        ("free_synapses.weight", r"for edge \(\d, \d\)"),
        ("law.exponent", ""),
    ],
)
def test_a_diverged_network_is_neither_written_nor_read(name, whom, value, path):
    graph = dag(7, weight_mode="both", anchored=torch.arange(7) == 2, law=InversePower(learnable=True))
    save(graph, path)
    before, state = path.read_bytes(), graph.state_dict(keep_vars=True)
    with torch.no_grad():
        state[name].view(-1)[-1] = float(value)
    with pytest.raises(ValueError, match=f"{name} must be finite, got {value} .*{whom}"):
        save(graph, path)
    assert path.read_bytes() == before
    tensors = tensors_of(path)
    tensors[name].view(-1)[-1] = float(value)
    rewrite(path, tensors, settings_of(path))
    refused(path, f"{name} must be finite, got {value} .*{whom}")


def test_edges_are_listed_and_all_to_all_is_not(path):
    assert round_trip(layered(wiring=KNN(k=3)), path).wiring is None
    assert tensors_of(path)["connectivity.sources"].numel() == 3 * 11
    assert round_trip(layered(), path).wiring == AllToAll()
    assert tensors_of(path)["connectivity.sources"].numel() == 0
    assert round_trip(layered(sizes=(4, 3, 3, 2), wiring=AllToAll(reach="all")), path).wiring == AllToAll(reach="all")
    assert tensors_of(path)["connectivity.sources"].numel() == 0
    assert load(path).rewire_().synapses == 12 + 21 + 20


@pytest.mark.parametrize("init", ["uniform", "grid"])
def test_reset_draws_as_at_first(init, path):
    graph = layered(init=init)
    other = round_trip(graph, path)
    for each in (graph, other):
        torch.manual_seed(3)
        each.reset_parameters()
    assert_same(other, graph)


def test_reset_goes_back_to_where_neurons_were_saved(path):
    graph = layered(init=lambda layer, n, axes: torch.ones(n, axes))
    other = round_trip(graph, path)
    other.positions.coords.data.zero_()
    other.reset_parameters()
    torch.testing.assert_close(other.pos, graph.pos)


def test_reading_draws_no_random_numbers(path):
    save(layered(), path)
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    load(path)
    assert torch.equal(torch.rand(3), expected)


IN_A_NEW_PROCESS = """
import sys, torch
from pathlib import Path
from network_files import outputs
from spatialgraph import load
folder = Path(sys.argv[1])
torch.save({file.stem: outputs(load(file)).detach() for file in folder.glob("*.safetensors")}, folder / "outputs.pt")
"""


def test_logits_in_a_new_process(tmp_path):
    expected = {}
    for number, make in enumerate(NETWORKS.values()):
        graph = make()
        save(graph, tmp_path / f"{number}.safetensors")
        expected[str(number)] = outputs(graph).detach()
    subprocess.run(
        [sys.executable, "-W", "ignore", "-c", IN_A_NEW_PROCESS, str(tmp_path)],
        check=True,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
    )
    found = torch.load(tmp_path / "outputs.pt", weights_only=True)
    assert found.keys() == expected.keys()
    for name, values in expected.items():
        assert torch.equal(found[name], values), list(NETWORKS)[int(name)]


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_random_networks(data, path):
    weights = data.draw(st.sampled_from(["law", "free", "both"]))
    velocity = data.draw(st.sampled_from([None, 0.3, 7.0]))
    options = {
        "polarity_mode": data.draw(st.sampled_from(["graded", "binary"])),
        "law": data.draw(st.sampled_from(list(LAWS.values())))(),
        "gain": data.draw(st.floats(-1e3, 1e3)),
        "weight_mode": weights,
        "velocity": velocity,
        "delay_mode": "length" if velocity is None else data.draw(st.sampled_from(["length", "free"])),
    }
    dim, dtype = data.draw(st.integers(1, 4)), data.draw(st.sampled_from([torch.float32, torch.float64]))
    seed = data.draw(st.integers(0, 1000))
    if data.draw(st.booleans()):
        neurons = data.draw(st.integers(2, 20))
        mask = torch.tensor(data.draw(st.lists(st.booleans(), min_size=neurons, max_size=neurons)))
        graph = dag(neurons, dim, dtype, seed, anchored=mask, **options)
    else:
        sizes = data.draw(st.lists(st.integers(1, 6), min_size=2, max_size=4))
        wiring = data.draw(st.sampled_from([AllToAll(), AllToAll(reach="all"), Random(0.5), Random(0.7, reach="all")]))
        spacing = data.draw(st.sampled_from(["fixed", "learned", "free"]))
        graph = layered(dtype, sizes, dim, wiring=wiring, spacing=spacing, **options)
    prune_(graph, data.draw(st.sampled_from([0.0, 0.5, 0.9, 1.0])), by="random", scope="global")
    assert_same(round_trip(graph, path), graph)


@pytest.mark.parametrize("name", ["layered", "without_layers", "free_weights"])
def test_files_of_this_version_are_read_and_written_as_they_were(name, path):
    """Networks that were saved when this version of the format was settled."""
    written = Path(__file__).parent / "networks" / f"{name}.safetensors"
    graph = load(written)
    outputs(graph)
    save(graph, path)
    assert path.read_bytes() == written.read_bytes()


@pytest.mark.parametrize("sizes", [[3, 4, 5, 2], [3, 1, 5, 2], [3, 1, 2]], ids=str)
def test_a_recurrent_all_to_all_network_can_be_rewired_after_loading(sizes, tmp_path):
    graph = SpatialGraph.layered(sizes, recurrent=AllToAll())
    save(graph, tmp_path / "network.safetensors")
    other = load(tmp_path / "network.safetensors").rewire_()
    assert torch.equal(other.edge_index, graph.edge_index) and other.is_recurrent


def test_a_recurrent_network_of_listed_edges_needs_a_wiring(tmp_path):
    save(SpatialGraph.layered([3, 4, 2], recurrent=KNN(k=2)), tmp_path / "network.safetensors")
    with pytest.raises(ValueError, match="recurrent must be given"):
        load(tmp_path / "network.safetensors").rewire_()


def test_a_wrong_device_is_not_blamed_on_the_file(path):
    save(SpatialGraph.layered([3, 2]), path)
    assert load(path, device="meta").raw_bias.is_meta
    with pytest.raises(RuntimeError, match="device"):
        load(path, device="nonsense")
