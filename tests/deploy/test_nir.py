"""Networks exported to NIR compute what the network computes."""

import numpy as np
import pytest
import torch
from nir_networks import CASES, DT, GRAPHS, NEURONS, inputs, layered, make, simulate, through_file

from spatialgraph import SpatialGraph, to_nir
from spatialgraph.wiring import KNN

nir = pytest.importorskip("nir")
snntorch = pytest.importorskip("snntorch")


def integrate(graph, x, steps):
    """Run a NIR graph by the Euler steps of its equations in double precision; node by node, potentials before resets.

    No potential may be so close to the threshold that rounding decides.
    """
    order, waiting = [], dict(graph.nodes)
    while waiting:
        ready = [name for name in waiting if all(source in order for source, target in graph.edges if target == name)]
        order += ready
        waiting = {name: node for name, node in waiting.items() if name not in ready}
    state = {name: (0.0, 0.0) for name in order}
    recorded = {name: [] for name in order}
    for _ in range(steps):
        sent = {"input": x}
        for name in order[1:]:
            node = graph.nodes[name]
            received = sum(sent[source] for source, target in graph.edges if target == name)
            current, potential = state[name]
            if isinstance(node, nir.Affine):
                sent[name] = received @ node.weight.T.astype(np.float64) + node.bias
                continue
            if isinstance(node, nir.Output):
                continue
            current, tau = received, node.tau_mem if isinstance(node, nir.CubaLIF) else node.tau
            if isinstance(node, nir.CubaLIF):
                current = state[name][0] + DT / node.tau_syn * (node.w_in * received - state[name][0])
            potential = potential + DT / tau * (node.v_leak - potential + node.r * current)
            fired = np.zeros_like(potential)
            if not isinstance(node, nir.LI):
                assert np.abs(potential - node.v_threshold).min() > 1e-5
                fired = (potential > node.v_threshold).astype(float)
            recorded[name].append((fired, potential))
            state[name] = (current, potential if isinstance(node, nir.LI) else np.where(fired, node.v_reset, potential))
            sent[name] = fired
    return {name: np.stack(values, axis=1) for name, values in recorded.items() if values}


@pytest.mark.parametrize(("graph", "neuron"), CASES)
def test_equations_of_the_nodes_give_the_spikes(graph, neuron):
    model = make(GRAPHS[graph](), **NEURONS[neuron])
    x = inputs(model)
    exported = to_nir(model)
    spikes, _ = simulate(model, x)
    found = integrate(exported, x.double().numpy(), model.num_steps)
    members = {name: exported.nodes[name].metadata["neuron"] for name in found}
    assert sorted(np.concatenate(list(members.values()))) == torch.nonzero(~model.graph.is_input)[:, 0].tolist()
    for name, (fired, _) in found.items():
        assert np.array_equal(fired, spikes[..., members[name]]), name
    assert 0.01 < spikes.mean() < 0.9
    logits = found["outputs"][0].sum(0)
    assert np.array_equal(logits, model(x).detach().numpy())


@pytest.mark.parametrize("graph", ["layers", "some before", "dag", "chain"])
def test_outputs_that_integrate(graph):
    model = make(GRAPHS[graph](), read_out="potential")
    x = inputs(model)
    exported = to_nir(model)
    assert type(exported.nodes["outputs"]) is nir.LI
    found = integrate(exported, x.double().numpy(), model.num_steps)
    _, potentials = simulate(model, x)
    outputs = model.graph.outputs
    np.testing.assert_allclose(found["outputs"][1], potentials[..., outputs], rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(found["outputs"][1].mean(0), model(x).detach().numpy(), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(("graph", "neuron"), CASES)
def test_importer_of_snntorch_gives_the_spikes(graph, neuron, tmp_path):
    importer = pytest.importorskip("snntorch.import_nir")
    model = make(GRAPHS[graph](), **NEURONS[neuron])
    x = inputs(model)
    imported = importer.import_from_nir(through_file(to_nir(model), tmp_path))
    groups = dict(imported.named_children())
    members = {name: node.metadata["neuron"] for name, node in to_nir(model).nodes.items() if "neuron" in node.metadata}
    seen = {name: [] for name in members if name != "input"}
    for name in seen:
        groups[name].register_forward_hook(lambda _, __, result, name=name: seen[name].append(result))
    state, sent = None, []
    with torch.no_grad():
        for _ in range(model.num_steps):
            spikes, state = imported(x, state)
            sent.append(spikes)
    expected = simulate(model, x)[0]
    assert np.array_equal(torch.stack(sent).numpy(), expected[..., model.graph.outputs])
    for name, series in seen.items():
        assert np.array_equal(torch.stack(series).numpy(), expected[..., members[name]]), name
    assert expected.sum() > 0


def test_matrices_are_inverse_distances():
    model = make(SpatialGraph.layered([6, 9, 8, 4], gain=0.8, wiring=KNN(k=3, reach="all")))
    exported = to_nir(model)
    groups = [exported.nodes[name].metadata for name in ("input", "hidden1", "hidden2", "outputs")]
    pos = np.concatenate([np.stack([group[axis] for axis in "xyz"], axis=1) for group in groups]).astype(np.float64)
    polarity = np.concatenate([group["polarity"] for group in groups]).astype(np.float64)
    assert np.array_equal(pos.astype(np.float32), model.graph.pos.detach().numpy())
    assert np.array_equal(polarity.astype(np.float32), model.graph.polarity.detach().numpy())
    starts = dict(zip(["input", "hidden1", "hidden2", "outputs"], [0, 6, 15, 23], strict=True))
    edges = set(map(tuple, model.graph.edge_index.t().tolist()))
    found = 0
    for name, node in exported.nodes.items():
        if isinstance(node, nir.Affine):
            source, target = (starts[end] for end in name.split("_to_"))
            for row, column in np.ndindex(*node.weight.shape):
                i, j = source + column, target + row
                expected = 0.8 * polarity[i] / np.sqrt(((pos[i] - pos[j]) ** 2).sum() + 1e-6) * ((i, j) in edges)
                # beta is 0.9, so that tau is 10 steps
                assert node.weight[row, column] == pytest.approx(10 * expected, rel=1e-5)
                found += node.weight[row, column] != 0
    assert found == len(edges)


def test_biases_count_once():
    model = make(GRAPHS["all before"]())
    exported = to_nir(model)
    for name in ("hidden1", "hidden2", "outputs"):
        before = [exported.nodes[source] for source, target in exported.edges if target == name]
        members = exported.nodes[name].metadata["neuron"]
        expected = 10 * model.graph.bias.detach().numpy()[members]  # beta is 0.9
        np.testing.assert_allclose(sum(node.bias for node in before), expected, rtol=1e-6)
        assert sum(np.any(node.bias != 0) for node in before) == 1
    assert len(before) == 3


def test_constants_of_the_nodes():
    node = to_nir(make(layered(), read_out="potential", beta=0.9, threshold=0.5)).nodes["hidden1"]
    assert type(node) is nir.LIF
    for name, value in {"tau": 1e-3, "r": 1.0, "v_threshold": 0.5, "v_leak": 0.0, "v_reset": 0.0}.items():
        assert getattr(node, name).dtype == np.float32 and getattr(node, name).shape == (9,)
        np.testing.assert_allclose(getattr(node, name), value, rtol=1e-6)
    node = to_nir(make(layered(), **NEURONS["synaptic"])).nodes["hidden2"]
    assert type(node) is nir.CubaLIF
    expected = {"tau_mem": 1e-3, "tau_syn": 5e-4, "r": 10.0, "w_in": 5.0, "v_threshold": 1.5, "v_reset": 0.0}
    for name, value in expected.items():
        np.testing.assert_allclose(getattr(node, name), np.full(8, value), rtol=1e-6)


def test_neurons_of_several_constants_keep_their_resistances():
    beta = torch.linspace(0.6, 0.9, 9)
    graph = layered()
    model = make(graph, neuron=lambda n: snntorch.Leaky(beta if n == 9 else 0.9, reset_mechanism="zero"))
    nodes = to_nir(model).nodes
    np.testing.assert_allclose(nodes["hidden1"].r, 1 / (1 - beta.numpy()), rtol=1e-5)
    np.testing.assert_allclose(nodes["input_to_hidden1"].bias, graph.bias.detach()[6:15], rtol=1e-6)
    assert np.array_equal(nodes["hidden2"].r, np.ones(8))


@pytest.mark.parametrize("beta", [0.0, 0.3, 0.5, 0.9, 0.95, 0.99, 0.999])
def test_importer_of_snntorch_finds_the_shares(beta):
    importer = pytest.importorskip("snntorch.import_nir")
    imported = importer.import_from_nir(to_nir(make(layered(), beta=beta)))
    np.testing.assert_allclose(dict(imported.named_children())["hidden1"].beta.numpy(), beta, atol=1e-7)


def test_metadata_is_data():
    def check(value):
        if isinstance(value, dict):
            for name, inner in value.items():
                assert type(name) is str
                check(inner)
        else:
            assert type(value) in (str, int, float, bool) or value.dtype.kind in "fib", value

    exported = to_nir(make(GRAPHS["both"](), **NEURONS["snntorch leaky"]))
    check(exported.metadata)
    for node in exported.nodes.values():
        check(node.metadata)


def test_export_is_a_copy():
    model = make(GRAPHS["both"]())
    exported = to_nir(model)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    for node in exported.nodes.values():
        for values in [*vars(node).values(), *node.metadata.values()]:
            if isinstance(values, np.ndarray):
                values[:] = 0
    for values in exported.metadata["spatialgraph"]["edges"].values():
        values[:] = 0
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
