"""The analysis of whole networks."""

import json

import numpy as np
import pytest
import torch

import spatialgraph as sg
from spatialgraph.connectome.analysis.analysis import NULLS, analyse
from spatialgraph.wiring import KNN

pytest.importorskip("igraph")


def recurrent():
    torch.manual_seed(0)
    return sg.SpatialGraph.layered([10, 30, 5], wiring=KNN(k=6), recurrent=KNN(k=4))


def test_what_it_finds():
    graph = recurrent()
    found = analyse(graph, nulls=3)
    assert (found.neurons, found.synapses) == (45, graph.synapses)
    matrix = sg.to_adjacency(graph, dense=True)[0]
    assert found.by_neuron["in_degree"].tolist() == (matrix != 0).sum(0).tolist()
    assert found.by_neuron["out_strength"] == pytest.approx(np.abs(matrix).sum(1))
    assert found.values["wiring"] == pytest.approx(float(sg.wiring_cost(graph).detach()), rel=1e-5)
    assert found.values["excitatory_share"] == pytest.approx(matrix.clip(min=0).sum() / np.abs(matrix).sum())
    assert found.values["mean_length"] == pytest.approx(float(graph.lengths().detach().mean()))
    nulls = {name: [chance.null for chance in each] for name, each in found.chance.items()}
    assert nulls["clustering"] == ["degree", "strength"] and nulls["wiring"] == ["length"]
    assert all(chance.count == 3 for each in found.chance.values() for chance in each)


def test_neighbours_cluster_more_than_chance():
    chance = analyse(recurrent(), nulls=10).chance
    assert min(each.z for each in chance["clustering"]) > 3.0 and min(each.z for each in chance["modularity"]) > 3.0


def test_the_same_seed_gives_the_same_numbers():
    first, again, other = (analyse(recurrent(), nulls=2, seed=seed) for seed in (1, 1, 2))
    assert first.values == again.values and first.chance == again.chance
    assert first.chance != other.chance


def test_as_text_dictionary_and_table():
    found = analyse(recurrent(), nulls=2)
    text = repr(found)
    assert text.startswith(f"Analysis of 45 neurons and {found.synapses} synapses")
    assert all(name.replace("_", " ") in text for name in found.values) and "(degree, 2 nulls)" in text
    assert json.loads(json.dumps(found.to_dict()))["by_neuron"]["module"] == found.by_neuron["module"].tolist()
    pytest.importorskip("pandas")
    frame = found.to_frame()
    assert len(frame) == 45 and frame["in_degree"].sum() == found.synapses


def test_without_nulls():
    found = analyse(recurrent(), nulls=0)
    assert not found.chance and "z =" not in repr(found)
    assert set(NULLS) == {"degree", "strength", "length"}


def test_wrong_arguments():
    with pytest.raises(ValueError, match="nulls must be at least 0, got -1"):
        analyse(recurrent(), nulls=-1)
    with pytest.raises(TypeError, match="network must be a SpatialGraph or a model"):
        analyse(torch.nn.Linear(2, 2))
    graph = recurrent()
    with torch.no_grad():
        graph.positions.coords[3, 0] = torch.nan
    with pytest.raises(ValueError, match="must hold finite numbers in 'x', got nan for neuron 3"):
        analyse(graph)
