"""Exported spiking networks run in norse and snnTorch, each in a process of its own that knows no spatialgraph."""

import json
import subprocess
import sys
import textwrap

import numpy as np
import pytest
import torch
from references import random_dag, randomise

from spatialgraph import SpatialGraph, SpatialSNN, to_nir

nir = pytest.importorskip("nir")
snntorch = pytest.importorskip("snntorch")

SYNAPTIC = {"alpha": 0.8, "beta": 0.9, "threshold": 1.5, "reset_mechanism": "zero", "reset_delay": False}
MODELS = {
    "LIF": lambda: model(layered(), beta=0.9, threshold=0.75, reset_mechanism="zero"),
    "LIF without memory": lambda: model(layered(), beta=0.0, threshold=0.75, reset_mechanism="zero"),
    "LIF with much": lambda: model(layered(), beta=0.99, threshold=0.75, reset_mechanism="zero"),
    "LIF in no layers": lambda: model(dag(), beta=0.85, threshold=0.5, reset_mechanism="zero"),
    "CubaLIF": lambda: model(layered(), neuron=lambda _: snntorch.Synaptic(**SYNAPTIC)),
}

# Runs each file on its inputs and tells spikes and potentials of each group at each step.
SCRIPT = """
import json, sys
import nir, numpy as np, torch

PREPARE
results = {}
for name, values in json.load(open("inputs.json")).items():
    inputs, graph, spikes, potentials = torch.tensor(values), nir.read(name + ".nir"), {}, {}

    def note(group, fired, potential):
        spikes.setdefault(group, []).append(fired.tolist())
        potentials.setdefault(group, []).append(potential.tolist())

    with torch.no_grad():
        RUN
    results[name] = spikes, potentials
json.dump(results, open("results.json", "w"))
assert "spatialgraph" not in sys.modules
"""
NORSE = """
net, state = norse.torch.from_nir(graph, dt=1e-4), None
for step in range(len(inputs)):
    _, state = net(inputs[step], state)
    for group in state.state:
        inner = state.state[group]
        while not hasattr(inner, "v"):  # the last of a tuple is the membrane's
            inner = inner[-1]
        note(group, state.cache[group], inner.v)
"""
SNNTORCH = """
net, state, seen = import_from_nir(graph), None, {}
for group, module in net.named_children():
    module.register_forward_hook(lambda module, _, fired, group=group: seen.__setitem__(group, (module, fired)))
for step in range(len(inputs)):
    _, state = net(inputs[step], state)
    for group, (module, fired) in seen.items():
        if hasattr(module, "mem"):
            note(group, fired, module.mem)
"""
PROGRAMS = {
    "norse": ("norse", "import norse.torch", NORSE),
    "snntorch": ("snntorch.import_nir", "from snntorch.import_nir import import_from_nir", SNNTORCH),
}


def layered():
    return randomise(SpatialGraph.layered([6, 9, 8, 4], gain=0.8))


def dag():
    return randomise(SpatialGraph(torch.randn(20, 3), random_dag(20, 0.25, 3), gain=2.0))


def model(graph, **options):
    return SpatialSNN(graph, normalize=False, read_out="count", num_steps=15, **options).eval()


def simulate(network, x):
    """Spikes, and potentials after resets to zero, of each neuron, shape ``(T, batch, N)``."""
    with torch.no_grad():
        result = network.simulate(x)
    everyone = torch.zeros(2, network.num_steps, len(x), network.graph.neurons)
    for projection, *recorded in zip(network.graph.projections, result.spikes, result.potentials, strict=True):
        everyone[..., projection.targets] = torch.stack(recorded)
    spikes, potentials = everyone.numpy()
    return spikes, np.where(spikes > 0, 0.0, potentials), result.inputs


@pytest.fixture(scope="module", params=PROGRAMS)
def program(request, tmp_path_factory):
    """A program, the networks, their inputs, and what the program made of them."""
    module, prepare, body = PROGRAMS[request.param]
    pytest.importorskip(module)
    torch.manual_seed(0)
    folder, networks, inputs = tmp_path_factory.mktemp(request.param), {}, {}
    for name, make in MODELS.items():
        networks[name] = make()
        inputs[name] = 2.0 * torch.rand(3, len(networks[name].graph.inputs))
        nir.write(folder / f"{name}.nir", to_nir(networks[name]))
    steps = {
        name: simulate(networks[name], x)[2].expand(networks[name].num_steps, -1, -1) for name, x in inputs.items()
    }
    (folder / "inputs.json").write_text(json.dumps({name: x.tolist() for name, x in steps.items()}))
    code = SCRIPT.replace("PREPARE", prepare).replace("        RUN", textwrap.indent(body, " " * 8))
    result = subprocess.run(
        [sys.executable, "-c", code], cwd=folder, capture_output=True, text=True, timeout=300, check=False
    )
    assert result.returncode == 0, result.stderr
    return request.param, networks, inputs, json.loads((folder / "results.json").read_text())


@pytest.mark.parametrize("kind", MODELS)
def test_the_same_spikes_and_potentials(kind, program):
    program, networks, inputs, results = program
    network = networks[kind]
    exported = to_nir(network)
    if program == "norse" and len([end for _, end in exported.edges if end == "outputs"]) > 1:
        pytest.skip("norse hands over currents that skip a group one step late")
    spikes, potentials, _ = simulate(network, inputs[kind])
    members = {name: node.metadata["neuron"] for name, node in exported.nodes.items() if "neuron" in node.metadata}
    found = {name: [np.array(values[name]) for values in results[kind]] for name in results[kind][0]}
    assert found.keys() == members.keys() - {"input"}
    for name, (fired, potential) in found.items():
        assert np.array_equal(fired, spikes[..., members[name]]), name
        # snnTorch keeps the larger weights and makes the thresholds larger as well.
        scale = 1.0 - network.hidden_neurons[0].beta if program == "snntorch" and kind.startswith("LIF") else 1.0
        np.testing.assert_allclose(scale * potential, potentials[..., members[name]], 1e-5, 1e-5, err_msg=name)
    assert 0.01 < spikes.mean() < 0.9
