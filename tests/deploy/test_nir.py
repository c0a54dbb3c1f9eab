import warnings

import numpy as np
import pytest
import torch
from references import assert_same, random_dag, randomise

from spatialgraph import DenseSNN, SpatialGraph, SpatialSNN, from_nir, to_nir
from spatialgraph.functional.leaky import FastSigmoid
from spatialgraph.neurons import Leaky
from spatialgraph.wiring import KNN, AllToAll

nir = pytest.importorskip("nir")
snntorch = pytest.importorskip("snntorch")

DT = 1e-4


def layered(**options):
    graph = SpatialGraph.layered([6, 9, 8, 4], gain=0.8, **options)
    return randomise(graph)


def dag(edges, **options):
    return randomise(SpatialGraph(torch.randn(int(edges.max()) + 1, 3), edges, **options))


def chain():
    """Eleven stages, so that names of groups have two digits, and shortcuts to an output in the midst."""
    numbers = torch.arange(11)
    edges = torch.stack([numbers, numbers + 1])
    return dag(torch.cat([edges, torch.tensor([[0, 4, 2], [7, 12, 12]])], dim=1), gain=5.0)


def with_silent_groups():
    """Of the two hidden layers nothing leads to the first, and nothing from the second."""
    edges = torch.tensor([[0, 1, 0, 2, 3], [6, 7, 4, 7, 6]])
    pos = SpatialGraph.layered([2, 2, 2, 2]).pos.detach()
    return randomise(SpatialGraph(pos, edges, layer=torch.arange(8) // 2, spacing="learned"))


GRAPHS = {
    "layers": layered,
    "neighbours": lambda: layered(wiring=KNN(k=3), spacing="free", polarity="binary", law="gaussian"),
    "all before": lambda: layered(wiring=AllToAll(reach="all"), spacing="fixed", anchored=[1]),
    "some before": lambda: layered(wiring=KNN(k=4, reach="all"), law="yukawa"),
    "free": lambda: layered(weights="free"),
    "both": lambda: layered(weights="both", wiring=KNN(k=3)),
    "dag": lambda: dag(random_dag(20, 0.25, 3), gain=2.0),
    "chain": chain,
    "silent": with_silent_groups,
}
SYNAPTIC = {"alpha": 0.8, "beta": 0.9, "threshold": 1.5, "reset_mechanism": "zero", "reset_delay": False}
NEURONS = {
    "leaky": {"beta": 0.9, "threshold": 0.75, "reset": "zero"},
    "synaptic": {"neuron": lambda _: snntorch.Synaptic(**SYNAPTIC)},
    "snntorch leaky": {"neuron": lambda n: snntorch.Leaky(torch.linspace(0.6, 0.95, n), reset_mechanism="zero")},
}
CASES = [(graph, "leaky") for graph in GRAPHS] + [("layers", "synaptic"), ("dag", "snntorch leaky")]


def make(graph, read_out="count", **options):
    options = NEURONS["leaky"] | options
    return SpatialSNN(graph, normalize=False, read_out=read_out, steps=15, **options).eval()


def inputs(model, batch=3):
    return 2.0 * torch.rand(batch, len(model.graph.inputs), dtype=model.graph.pos.dtype)


def through_file(graph, folder):
    nir.write(folder / "network.nir", graph)
    return nir.read(folder / "network.nir")


def simulate(model, x):
    """Spikes and potentials of each neuron that is not an input, shape ``(T, batch, N)``."""
    with torch.no_grad():
        result = model.simulate(x)
    everyone = torch.zeros(2, model.steps, len(x), model.graph.neurons, dtype=x.dtype)
    for projection, *recorded in zip(model.graph.projections, result.spikes, result.potentials, strict=True):
        everyone[..., projection.targets] = torch.stack(recorded)
    return everyone.numpy()


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
            heard = sum(sent[source] for source, target in graph.edges if target == name)
            current, potential = state[name]
            if isinstance(node, nir.Affine):
                sent[name] = heard @ node.weight.T.astype(np.float64) + node.bias
                continue
            if isinstance(node, nir.Output):
                continue
            current, tau = heard, node.tau_mem if isinstance(node, nir.CubaLIF) else node.tau
            if isinstance(node, nir.CubaLIF):
                current = state[name][0] + DT / node.tau_syn * (node.w_in * heard - state[name][0])
            potential = potential + DT / tau * (node.v_leak - potential + node.r * current)
            fired = np.zeros_like(potential)
            if not isinstance(node, nir.LI):
                assert np.abs(potential - node.v_threshold).min() > 1e-5
                fired = (potential > node.v_threshold).astype(float)
            recorded[name].append((fired, potential))
            state[name] = (current, potential if isinstance(node, nir.LI) else np.where(fired, node.v_reset, potential))
            sent[name] = fired
    return {name: np.stack(values, axis=1) for name, values in recorded.items() if values}


# Export ----


@pytest.mark.parametrize(("graph", "neuron"), CASES)
def test_equations_of_the_nodes_give_the_spikes(graph, neuron):
    model = make(GRAPHS[graph](), **NEURONS[neuron])
    x = inputs(model)
    exported = to_nir(model)
    spikes, _ = simulate(model, x)
    found = integrate(exported, x.double().numpy(), model.steps)
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
    found = integrate(exported, x.double().numpy(), model.steps)
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
        for _ in range(model.steps):
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


def with_resistances(graph):
    """A graph as earlier versions wrote it: R = tau / dt, and the weights of the network."""
    for source, target in graph.edges:
        node, before = graph.nodes[target], graph.nodes[source]
        if isinstance(node, nir.LIF | nir.LI):
            share = node.r * DT / node.tau
            before.weight, before.bias = before.weight * share[:, None], before.bias * share
    for node in graph.nodes.values():
        if isinstance(node, nir.LIF | nir.LI):
            node.r = node.tau / DT
    return graph


@pytest.mark.parametrize(("graph", "neuron"), CASES)
def test_graphs_of_earlier_versions_are_read(graph, neuron, tmp_path):
    model = make(GRAPHS[graph](), "count" if neuron != "leaky" else "potential", **NEURONS[neuron])
    assert_same_models(model, from_nir(through_file(with_resistances(to_nir(model)), tmp_path)))


def test_other_resistances_are_refused():
    message = "graph must hold what follows from its positions, got another weight in"
    with pytest.raises(ValueError, match=message):
        from_nir(changed(lambda graph: graph.nodes["hidden1"].r.__imul__(2.0)))


@pytest.mark.parametrize(
    ("column", "value", "message"),
    [
        ("bias", np.nan, r"graph must hold finite numbers in 'bias', got nan for neuron 8"),
        ("x", np.inf, r"graph must hold finite numbers in 'x', got inf for neuron 8"),
        ("polarity", np.nan, r"graph must hold finite numbers in 'polarity', got nan for neuron 8"),
        ("polarity", 0.125, r"a 'polarity' and a 'raw_polarity' that agree, .* for neuron 8"),
        ("layer", 7, r"layer must leave no layer empty, got 7 for neuron 8"),
        ("z", 9.0, r"in 'z' for all neurons of layer 1 \(by gap0\), .* got 9 for neuron 8"),
    ],
)
def test_columns_edited_by_hand(column, value, message):
    graph = to_nir(make(layered()))
    graph.nodes["hidden1"].metadata[column][2] = value
    with pytest.raises(ValueError, match=message):
        from_nir(graph)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda data, nodes: data["edges"]["source"].__setitem__(0, 99),
            "edge_index must lie between 0 and 26, got 99",
        ),
        (
            lambda data, nodes: data["edges"]["target"].__setitem__(0, -1),
            "edge_index must lie between 0 and 26, got -1",
        ),
        (
            lambda data, nodes: data["edges"].__setitem__("source", np.zeros(2, np.int32)),
            r"a value for each edge, got shapes \(2,\) in 'source'",
        ),
        (
            lambda data, nodes: nodes["input"].metadata["neuron"].__setitem__(0, 1),
            "neurons from 0 to 26 in 'neuron', each once, got 1 in place of 0",
        ),
        (
            lambda data, nodes: nodes["input"].metadata.__setitem__("bias", np.zeros(1)),
            r"each of the 6 neurons of a group in 'bias', got shape \(1,\)",
        ),
        (
            lambda data, nodes: nodes["input"].metadata.__setitem__("bias", np.array(list("abcdef"))),
            "graph must hold numbers in 'bias', got <U",
        ),
        (lambda data, nodes: data["network"].__setitem__("dtype", "floot"), "dtype must be one of .*got 'floot'"),
        (lambda data, nodes: data["network"].pop("gap0"), "got 'gap0' missing"),
        (lambda data, nodes: data["model"].__setitem__("steps", 1.5), "steps must be an int, got float"),
    ],
)
def test_metadata_edited_by_hand(change, message):
    graph = to_nir(make(layered()))
    change(graph.metadata["spatialgraph"], graph.nodes)
    with pytest.raises((ValueError, TypeError), match=message):
        from_nir(graph)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_round_trip_in_half_precision(dtype, tmp_path):
    graph = layered(wiring=KNN(k=3)).to(dtype)
    read = from_nir(through_file(to_nir(make(graph)), tmp_path)).graph
    assert_same(read, graph)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_free_weights_edited_by_hand(value):
    graph = to_nir(make(GRAPHS["free"]()))
    graph.metadata["spatialgraph"]["edges"]["free_weight"][0] = value
    with pytest.raises(ValueError, match=r"finite numbers in 'free_weight', got .* for edge \(0, 6\)"):
        from_nir(graph)


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


# Round trip ----


def assert_same_models(model, other):
    assert repr(model) == repr(other)
    assert_same(model.graph, other.graph)
    state, others = model.state_dict(), other.state_dict()
    assert state.keys() == others.keys()
    x = inputs(model)
    model.train(other.training)
    assert torch.equal(model(x), other(x))
    assert np.array_equal(simulate(model, x), simulate(other, x))


@pytest.mark.parametrize("graph", GRAPHS)
def test_round_trip(graph):
    model = make(GRAPHS[graph](), "potential")
    assert_same_models(model, from_nir(to_nir(model)))


@pytest.mark.parametrize("graph", GRAPHS)
def test_round_trip_through_a_file(graph, tmp_path):
    model = make(GRAPHS[graph]())
    assert_same_models(model, from_nir(through_file(to_nir(model), tmp_path)))


def test_round_trip_in_double_precision(tmp_path):
    model = make(randomise(GRAPHS["both"]().double()), **NEURONS["synaptic"]).double()
    assert_same_models(model, from_nir(through_file(to_nir(model), tmp_path)))


@pytest.mark.parametrize(("graph", "neuron"), [("dag", "synaptic"), ("layers", "snntorch leaky")])
def test_round_trip_of_neurons_of_snntorch(graph, neuron, tmp_path):
    model = make(GRAPHS[graph](), **NEURONS[neuron])
    other = from_nir(through_file(to_nir(model), tmp_path))
    assert_same_models(model, other)
    for name, value in model.state_dict().items():
        assert "module" not in name or torch.equal(value, other.state_dict()[name]), name


def test_learnable_constants_stay_learnable(tmp_path):
    model = make(layered(), neuron=lambda n: snntorch.Leaky(torch.rand(n), learn_beta=True, reset_mechanism="zero"))
    other = from_nir(through_file(to_nir(model), tmp_path))
    parameters = dict(model.named_parameters())
    assert parameters.keys() == dict(other.named_parameters()).keys()
    assert torch.equal(other.hidden_neurons[0].module.beta, parameters["hidden_neurons.0.module.beta"])


@pytest.mark.parametrize("coding", ["current", "rate", "latency", None])
def test_settings_of_the_model_return(coding, tmp_path):
    options = {"coding": coding, "drive": 0.7, "beta": 1 / 3, "surrogate": "atan", "max_delay": 4}
    model = make(layered(), "potential", **options)
    other = from_nir(through_file(to_nir(model), tmp_path))
    assert repr(model) == repr(other) and other.max_delay == 4
    assert other.integrator.beta == other.hidden_neurons[0].beta == 1 / 3
    assert other.training


def test_neurons_that_differ_from_stage_to_stage(tmp_path):
    betas = iter([0.5, 0.6, 0.7])
    model = make(layered(), neuron=lambda _: Leaky(next(betas), reset="zero"))
    other = from_nir(through_file(to_nir(model), tmp_path))
    assert [neurons.beta for neurons in other.hidden_neurons[:2]] == [0.5, 0.6]
    assert other.output_neurons[2].beta == 0.7


# What is lost ----


@pytest.mark.parametrize("reset", ["subtract", "none"])
def test_other_resets_warn_and_return(reset, tmp_path):
    model = make(layered(), reset=reset)
    message = f"reset must be 'zero' for other programs to run the same network, got '{reset}'; they"
    with pytest.warns(UserWarning, match=message) as caught:
        exported = to_nir(model)
    assert len(caught) == 1 and caught[0].filename == __file__
    assert_same_models(model, from_nir(through_file(exported, tmp_path)))


@pytest.mark.parametrize(("reset", "delay"), [("subtract", True), ("subtract", False), ("zero", True), ("none", False)])
def test_other_resets_of_synaptic_warn_and_return(reset, delay, tmp_path):
    options = SYNAPTIC | {"reset_mechanism": reset, "reset_delay": delay}
    model = make(layered(), neuron=lambda _: snntorch.Synaptic(**options))
    with pytest.warns(UserWarning, match=f"reset must be 'zero' with reset_delay=False .*, got '{reset}'"):
        exported = to_nir(model)
    assert_same_models(model, from_nir(through_file(exported, tmp_path)))


@pytest.mark.parametrize("surrogate", [FastSigmoid(slope=3.0), snntorch.surrogate.atan(alpha=5.0)])
def test_surrogates_without_a_name_warn(surrogate):
    with pytest.warns(UserWarning, match="surrogate must be a name to be kept, got a function"):
        exported = to_nir(make(layered(), surrogate=surrogate))
    assert from_nir(exported).hidden_neurons[0].surrogate.slope == 25.0


def test_resets_to_zero_do_not_warn():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for options in NEURONS.values():
            to_nir(make(layered(), **options))


@pytest.mark.parametrize(
    ("model", "error", "message"),
    [
        (lambda: layered(), TypeError, "model must be a SpatialSNN, got SpatialGraph"),
        (lambda: DenseSNN([3, 2]), TypeError, "model must be a SpatialSNN, got DenseSNN"),
        (lambda: SpatialSNN(layered()), ValueError, "normalize must be False for NIR, .*, got True; train with normal"),
        (lambda: make(layered(velocity=2.0)), ValueError, "velocity must be None for NIR, .*, got 2.0"),
        (lambda: make(layered(), beta=1.0), ValueError, "beta must be at least 0 and below 1 for NIR, .*, got 1$"),
        (
            lambda: of(snntorch.Synaptic, alpha=1.0),
            ValueError,
            "alpha must be at least 0 and below 1 for NIR, .*, got 1",
        ),
        (lambda: of(snntorch.Alpha, alpha=0.9), TypeError, "neuron must make Leaky, .* for NIR, got Alpha"),
        (lambda: of(snntorch.Leaky, inhibition=True), ValueError, "inhibition must be False for NIR, got True"),
        (lambda: of(snntorch.Leaky, graded_spikes_factor=2.0), ValueError, "graded_spikes_factor must be 1.0 for NIR"),
        (
            lambda: make(layered(), neuron=lambda _: OtherLeaky()),
            TypeError,
            "neuron must make Leaky, .*, got OtherLeaky",
        ),
        (
            lambda: of_two_kinds(),
            ValueError,
            "neuron must make outputs of one kind for NIR, got Leaky and snntorch.Leaky",
        ),
    ],
)
@pytest.mark.filterwarnings("ignore:Inhibition is an unstable feature:UserWarning")
def test_networks_without_an_equivalent(model, error, message):
    with pytest.raises(error, match=message):
        to_nir(model())


class OtherLeaky(Leaky):
    """May do anything."""


def of(kind, **options):
    options = {"beta": 0.8, "reset_mechanism": "zero"} | options
    return make(layered(), neuron=lambda _: kind(**options))


def of_two_kinds():
    edges = torch.tensor([[0, 0, 1], [1, 2, 3]])  # outputs in two stages
    kinds = iter([Leaky(0.5), Leaky(0.5), snntorch.Leaky(0.5)])
    return make(dag(edges), neuron=lambda _: next(kinds))


def foreign():
    return nir.NIRGraph.from_list(nir.Affine(np.ones((2, 3)), np.zeros(2)), nir.LIF(*np.ones((5, 2))))


def changed(change):
    exported = to_nir(make(layered()))
    change(exported)
    return exported


@pytest.mark.parametrize(
    ("graph", "error", "message"),
    [
        (lambda: "graph", TypeError, "graph must be a nir.NIRGraph, got str"),
        (foreign, ValueError, "graph must have been written by to_nir, got one without positions in its metadata"),
        (
            lambda: changed(lambda graph: graph.metadata.clear()),
            ValueError,
            "graph must have been written by to_nir, got one without positions",
        ),
        (
            lambda: changed(lambda graph: graph.nodes["hidden1"].metadata.pop("polarity")),
            ValueError,
            "graph must have all metadata that to_nir gave it, got none named 'polarity'",
        ),
        (
            lambda: changed(lambda graph: graph.metadata["spatialgraph"].pop("edges")),
            ValueError,
            "graph must have all metadata that to_nir gave it, got none named 'edges'",
        ),
        (
            lambda: changed(lambda graph: graph.nodes["hidden1_to_hidden2"].weight.__imul__(1.1)),
            ValueError,
            "graph must hold what follows from its positions, got another weight in 'hidden1_to_hidden2'",
        ),
        (
            lambda: changed(lambda graph: graph.nodes["outputs"].tau.__imul__(1.1)),
            ValueError,
            "graph must hold what follows from its positions, got another tau in 'outputs'",
        ),
        (
            lambda: changed(lambda graph: graph.edges.pop()),
            ValueError,
            "graph must have the nodes and edges that to_nir gave it, got others",
        ),
    ],
)
def test_graphs_that_are_not_ours(graph, error, message):
    with pytest.raises(error, match=message):
        from_nir(graph())


@pytest.mark.parametrize("function", [to_nir, from_nir])
def test_without_the_package(function, monkeypatch):
    model = make(layered())
    monkeypatch.setitem(__import__("sys").modules, "nir", None)
    with pytest.raises(ImportError, match=r'need nir; install it with: pip install "spatialgraph\[snn\]"'):
        function(model)
