"""The examples as a user runs them: short trainings on the bundled sample."""

import dataclasses
import importlib.util
import json
import re
from pathlib import Path

import networkx as nx
import numpy as np
import pytest
import torch

import spatialgraph as sg
from spatialgraph.graph.topology import Topology
from spatialgraph.neurons.coding import latency

pytest.importorskip("lightning")
pytest.importorskip("matplotlib")


@pytest.fixture
def load(scripts_of, monkeypatch, tmp_path):
    """Import an example by its name, in an empty folder, without a network and with half of the sample."""
    monkeypatch.chdir(tmp_path)
    example = scripts_of("examples")

    def by_name(name):
        module = example(name)
        load_mnist = module.training.load_mnist

        def some(folder):
            data = load_mnist(folder or tmp_path, download=False)
            half = {name: getattr(data, name)[:5000] for name in ("train_images", "train_labels")}
            return dataclasses.replace(data, **half)

        monkeypatch.setattr(module.training, "load_mnist", some)
        return module

    return by_name


@pytest.fixture
def example(load):
    return load("mnist_mlp")


@pytest.fixture(autouse=True)
def plain_folders(tmp_path):
    """Every file and folder that an example makes has a name of letters, digits, dots, dashes and underscores."""
    yield
    names = {part for path in tmp_path.rglob("*") for part in path.relative_to(tmp_path).parts}
    assert [name for name in names if not re.fullmatch(r"[A-Za-z0-9._-]+", name)] == []


SHORT = ["--epochs", "1", "--hidden", "12", "--dim", "2"]


def test_it_prints_a_table_and_writes_all_files(example, capsys):
    results = example.main([*SHORT, "--seeds", "2", "--baseline", "14"])
    printed = capsys.readouterr().out
    assert "Note: load_mnist returns the bundled sample" in printed
    assert "| spatial 784-12-10, d=2, learned, graded |" in printed
    assert "| dense 784-14-10 " in printed
    assert [len(result.accuracies) for result in results] == [2, 2]
    assert results[1].parameters == 11140
    assert results[1].synapses == 784 * 14 + 14 * 10
    folder = Path("runs/mnist_mlp_12_d2_learned_graded_fast_1epochs")
    written = json.loads((folder / "metrics.json").read_text())
    assert written["command"].startswith("python examples/mnist_mlp.py --epochs 1")
    assert [row["mean"] for row in written["results"]] == [result.mean for result in results]
    names = {path.name for path in (folder / "spatial_784-12-10_d2_learned_graded" / "seed-1").iterdir()}
    expected = {"accuracy.png", "layers.png", "last.ckpt", "model.pt", "metrics.json", "history.csv", "history.json"}
    assert expected <= names


def test_the_written_model_has_the_reported_accuracy(example):
    (result,) = example.main(SHORT)
    state = torch.load(next(Path("runs").rglob("model.pt")), weights_only=True)
    model = example.sg.SpatialMLP([784, 12, 10], dim=2)
    model.load_state_dict(state)
    with pytest.warns(UserWarning, match="bundled sample"):
        data = example.training.load_mnist(None)
    found = example.training.accuracy(model, (data.test_images, data.test_labels))
    assert found == result.accuracies[0]


# Spiking networks ----


def test_spiking_networks_report_spikes_and_operations(load, capsys):
    example = load("mnist_snn")
    spatial, dense = example.main([*SHORT, "--baseline", "14", "--num-steps", "5"])
    printed = capsys.readouterr().out
    assert "| spiking spatial 784-12-10, d=2, learned, graded |" in printed
    assert "| spikes of one image | synaptic operations | operations of the inputs |" in printed
    assert dense.parameters == 11140
    assert spatial.synapses == 784 * 12 + 12 * 10
    (folder,) = Path("runs").iterdir()
    written = json.loads((folder / "metrics.json").read_text())
    figures = written["figures"]["spiking dense 784-14-10"][0]
    assert figures["input_operations"] == 784 * 14
    assert figures["dense_operations"] == 5 * (784 * 14 + 14 * 10)
    assert figures["synaptic_operations"] == pytest.approx(10 * figures["spikes"])  # outputs do not fire
    names = {path.name for path in (folder / "spiking_spatial_784-12-10_d2_learned_graded" / "seed-0").iterdir()}
    assert {"raster.png", "accuracy.png", "layers.png", "model.pt", "metrics.json"} <= names


def test_spiking_networks_resume_with_the_same_neurons_only(load):
    example = load("mnist_snn")
    first = example.main([*SHORT, "--num-steps", "3", "--out", "here"])
    assert example.main([*SHORT, "--num-steps", "3", "--out", "here", "--resume"]) == first
    with pytest.raises(example.experiments.OtherSettings, match=r"resume needs the settings.*beta was 0.95, got 0.5"):
        example.main([*SHORT, "--num-steps", "3", "--out", "here", "--resume", "--beta", "0.5"])


def test_the_papers_figures_stand_beside_its_networks_only(load):
    example = load("mnist_snn")

    def papers(*options):
        args = example.experiments.parse(example.PROGRAM, ["--baseline", "14", "15", *options])
        return [candidate.paper for candidate in example.candidates(args, 784)]

    assert papers() == ["92.16 ± 0.52", "90.31", ""]
    assert papers("--hidden", "100") == ["", "90.31", ""]
    assert papers("--coding", "rate") == papers("--num-steps", "5") == papers("--read-out", "count") == ["", "", ""]


@pytest.mark.parametrize("options", [["--coding", "rate"], ["--coding", "latency", "--read-out", "count"]])
def test_codings_and_read_outs(load, options):
    (result,) = load("mnist_snn").main([*SHORT, "--num-steps", "4", *options])
    assert 0 <= result.mean <= 1


def test_yin_yang(load, capsys):
    example = load("yin_yang")
    results = example.main(["--epochs", "1", "--points", "200", "--hidden", "6"])
    weights = 4 * 6 + 6 * 3
    assert [result.parameters for result in results] == [weights, 2 * weights, weights + 13 * 2, weights + 13 * 3]
    assert "| delays: 3d " in capsys.readouterr().out
    assert (Path("runs") / "yin_yang" / "2d" / "seed-0" / "map.png").exists()
    again = example.main(["--epochs", "1", "--points", "200", "--hidden", "6", "--resume"])
    assert again == results


def test_spike_times_of_yin_yang_are_whole_steps(load):
    example = load("yin_yang")
    points = torch.tensor([[1.0, 0.0, 0.0, 1.0], [0.5, 0.26, 0.5, 0.74]])
    spikes = latency(example.spike_values(points), example.STEPS)
    assert spikes.argmax(0).tolist() == [[0, 40, 40, 0], [20, 30, 20, 10]]


# Regrowth ----

SPARSE = ["--epochs", "2", "--hidden", "100", "--dim", "2", "--every", "1", "--share", "0.3", "--until", "1"]


def test_regrowth_keeps_its_budget(load, capsys):
    example = load("regrowth")
    whole, regrown, static = example.main([*SPARSE, "--out", "here"])
    assert "points against all-to-all" in capsys.readouterr().out
    assert (whole.synapses, regrown.synapses, static.synapses) == (79400, 7940, 7940)
    folders = sorted(Path("here").rglob("seed-0"), key=lambda path: path.parent.name.rpartition("_")[2])
    states = [torch.load(path / "model.pt", weights_only=True) for path in folders]
    edges = [Topology.decode(state["spatial_graph.connectivity._extra_state"]).listed_edges for state in states]
    assert [len(part.t()) for part in edges] == [0, 6940, 6940]  # the others are those to the outputs
    assert not torch.equal(edges[1], edges[2])
    written = json.loads(Path("here/metrics.json").read_text())
    name = "spatial 784-100-10, d=2, learned, graded, 10%, regrowth"
    assert written["figures"][name][0]["first_projection"] == 6940
    points = written["points_against_all_to_all"][name]
    assert points == pytest.approx(100 * (regrown.mean - whole.mean), abs=1e-3)
    assert example.main([*SPARSE, "--out", "here", "--resume"]) == [whole, regrown, static]
    with pytest.raises(example.experiments.OtherSettings, match=r"resume needs the settings.*share was 0.3, got 0.1"):
        example.main([*SPARSE, "--out", "here", "--resume", "--share", "0.1"])


def test_sparse_networks_start_alike(load):
    example = load("regrowth")
    for start in ("random", "nearest"):
        args = example.experiments.parse(example.PROGRAM, [*SPARSE, "--start", start])
        graphs = []
        for candidate in example.candidates(args, 784)[1:]:
            torch.manual_seed(0)
            graphs.append(candidate.build().graph)
        assert torch.equal(graphs[0].edge_index, graphs[1].edge_index)
        lengths = graphs[0].lengths()[:6940].detach()
        every = torch.cdist(graphs[0].pos[784:884], graphs[0].pos[:784]).detach().flatten().sort().values
        assert (lengths.max() <= every[6940]) == (start == "nearest")


@pytest.mark.parametrize("density", ["0.01", "1.5"])
def test_densities_that_make_no_sense(load, density):
    with pytest.raises(SystemExit, match="--density must be above 0.0126"):
        load("regrowth").main([*SPARSE, "--density", density])


@pytest.mark.parametrize("every", [4, 100])
def test_the_quick_look_of_regrowth_regrows_and_without_a_short_interval_says_so(load, every, recwarn):
    example = load("regrowth")
    assert "--epochs 2 --hidden 200 --every 4 " in example.__doc__
    example.main(["--epochs", "2", "--hidden", "20", "--every", str(every), "--out", "here"])
    states = [torch.load(next(folder.rglob("model.pt")), weights_only=True) for folder in Path("here").glob("*0_*10_*")]
    edges = [Topology.decode(state["spatial_graph.connectivity._extra_state"]).listed_edges for state in states]
    assert len(edges) == 2 and torch.equal(*edges) == (every == 100)
    said = [str(note.message) for note in recwarn if "EverySteps does nothing in this training" in str(note.message)]
    assert len(said) == (every == 100)


def test_the_presets_of_the_perceptron(example):
    args = example.experiments.parse(example.PROGRAM, ["--preset", "compact"])
    (candidate,) = example.candidates(args, 784)
    assert candidate.name == "spatial 784-200-143-10, d=9, learned, graded, cosine:3"
    assert sum(parameter.numel() for parameter in candidate.build().parameters()) == 10579


def test_pruning_after_and_in_training(load, monkeypatch, capsys):
    example = load("pruning")
    monkeypatch.setattr(example, "AMOUNTS", (90,))
    results = example.main([*SHORT, "--baseline", "14", "--seeds", "2"])
    spatial, dense = 784 * 12 + 12 * 10, 784 * 14 + 14 * 10
    left = [784 * 12 - round(0.9 * 784 * 12) + 12, 784 * 14 - round(0.9 * 784 * 14) + 14]
    assert [result.synapses for result in results] == [spatial, left[0], dense, left[1]]
    printed = capsys.readouterr().out
    assert "| removed | spatial 784-12-10, d=2, learned, graded | dense 784-14-10 |" in printed
    assert "What the paper states" not in printed  # its baselines are 14 and 2,048
    (folder,) = Path("runs").iterdir()
    assert (folder / "pruning.png").exists()
    written = json.loads((folder / "metrics.json").read_text())
    assert [set(run["after_training"]) for run in written["figures"]["dense 784-14-10"]] == [{"90"}, {"90"}]
    state = torch.load(folder / "dense_784-14-10_90_in_training" / "seed-1" / "model.pt", weights_only=True)
    assert sum(int(values.count_nonzero()) for name, values in state.items() if "weight" in name) == left[1]
    assert example.main([*SHORT, "--baseline", "14", "--seeds", "2", "--resume"]) == results


def test_statements_on_pruning(load):
    example = load("pruning")
    names = ["spatial 784-2048-10, d=3", "dense 784-14-10", "dense 784-2048-10"]

    def curves(*values):
        return {
            name: dict.fromkeys((0, 20, 40, 60, 80, 90, 95, 98), [value - 0.01, value + 0.01])
            for name, value in zip(names, values, strict=True)
        }

    after, during = curves(0.8, 0.7, 0.9), curves(0.9, 0.95, 0.98)
    during["dense 784-14-10"][98] = [0.2, 0.3]
    rows = example.statements(after, during)
    assert [row[1] for row in rows] == ["at 98 % only", "yes", "no", "yes"]
    assert "98 %: 90.00 against 25.00" in rows[0][2]
    assert example.statements({names[0]: after[names[0]]}, {names[0]: during[names[0]]}) == []


@pytest.mark.parametrize("cell", ["gated", "leaky", "plain"])
def test_recurrent_networks_read_rows(load, capsys, cell):
    baselines = ["--baseline", "4", "--rnn-baseline", "5"] if cell == "gated" else []
    results = load("rnn_rows").main([*SHORT, "--cell", cell, "--recurrent", "knn:3", *baselines])
    assert f"| {cell} spatial 28-12-10, d=2, free, graded, cosine:1.5 |" in capsys.readouterr().out
    spatial, *dense = results
    positions, polarities, biases = 50 * 2, 40, 22
    of_cells = {"plain": 0, "leaky": 12, "gated": 2 * 40 + 2 * 12}
    assert spatial.parameters == positions + polarities + biases + of_cells[cell]
    assert spatial.synapses == 28 * 12 + 12 * 3 + 12 * 10
    if baselines:
        gru, rnn = dense
        assert gru.parameters == 3 * (28 * 4 + 4 * 4 + 2 * 4) + 4 * 10 + 10
        assert gru.synapses == 3 * (28 * 4 + 4 * 4) + 4 * 10
        assert rnn.synapses == 28 * 5 + 5 * 5 + 5 * 10


# Sparse networks ----

KNN = ["--epochs", "2", "--hidden", "30", "--dim", "2", "--k", "8", "--every", "1", "--out", "here"]


def test_nearest_sources_rewired(load, capsys):
    example = load("sparse_knn")
    results = example.main(KNN)
    rewired, static, whole, dense = results
    assert [result.synapses for result in results] == [540, 540, 23820, 23820]
    assert rewired.parameters == static.parameters == whole.parameters
    assert dense.parameters == 784 * 30 + 30 + 300 + 10
    assert "| points against all-to-all | step (ms) " in capsys.readouterr().out
    assert Path("here/rewiring.png").exists()
    written = json.loads(Path("here/metrics.json").read_text())
    changed = {name: runs[0]["changed"] for name, runs in written["figures"].items()}
    assert sum(changed[rewired.model]) > 0 and not any(changed[static.model])
    states = [torch.load(path, weights_only=True) for path in Path("here").rglob("*k8*/seed-0/model.pt")]
    edges = [Topology.decode(state["spatial_graph.connectivity._extra_state"]).listed_edges for state in states]
    assert [part.shape for part in edges] == [(2, 240)] * 2 and not torch.equal(*edges)
    assert example.main([*KNN, "--resume"]) == results


def test_learned_connectivity(load, capsys):
    example = load("learned_connectivity")
    options = ["--epochs", "2", "--hidden", "30", "--radii", "1.2", "1.8", "2.5", "--every", "2", "--out", "here"]
    results = example.main(options)
    assert [result.model.partition("R=")[2] for result in results] == ["1.2", "1.8", "2.5", "1.8, all-to-all"]
    assert "| non-zero synapses (%) |" in capsys.readouterr().out
    assert Path("here/connectivity.png").exists()
    shares = [*json.loads(Path("here/metrics.json").read_text())["shares"].values()]
    assert 0 < shares[0] < shares[1] < shares[2] < 1
    for share, result in zip(shares[:3], results, strict=False):
        assert share * 784 * 30 <= result.synapses - 300  # those in the margin weigh 0
    assert shares[3] == pytest.approx(shares[1], abs=0.02)
    assert example.main([*options, "--resume"]) == results


def test_a_connectome_is_embedded_analysed_and_trained(load, capsys):
    pytest.importorskip("igraph")
    example = load("celegans")
    rng = np.random.default_rng(0)
    graph = nx.DiGraph()
    graph.add_nodes_from(f"n{number}" for number in range(60))
    pairs = [(f"n{one}", f"n{two}") for one, two in rng.integers(60, size=(500, 2)).tolist() if one != two]
    graph.add_weighted_edges_from((*pair, float(rng.integers(1, 9))) for pair in pairs)
    worm = example.Worm(graph, sensory=list(graph)[:30], motor=list(graph)[40:])
    shuffled = example.shuffled_edges(graph, rng)
    assert dict(shuffled.in_degree()) == dict(graph.in_degree()) and set(shuffled.edges) != set(graph.edges)
    weights = example.shuffled_weights(graph, rng)
    assert dict(weights.out_degree(weight="weight")) == dict(graph.out_degree(weight="weight"))
    options = ["--steps", "3", "--nulls", "1", "--shuffles", "1", "--epochs", "1", "--images", "100", "--out", "here"]
    result = example.main(options, worm)
    assert 0.0 < result["explained"] <= 1.0 and set(result["accuracy"]) == {"connectome", "shuffled"}
    assert json.loads(Path("here/celegans.json").read_text()) == result
    assert sg.load("here/worm.safetensors").neurons == sg.read("here/worm.gexf").neurons == 60 + 30 + 20
    assert "positions in 3-D explain" in capsys.readouterr().out


@pytest.mark.skipif(importlib.util.find_spec("cect") is not None, reason="cect is installed")
def test_the_worm_needs_its_package(load):
    with pytest.raises(ImportError, match="pip install cect"):
        load("celegans").read_worm()


def test_a_report_on_a_network(load, capsys):
    pytest.importorskip("igraph")
    pytest.importorskip("h5py")
    example = load("connectome")
    options = ["--hidden", "20", "--epochs", "1", "--keep", "0.3", "--nulls", "1", "--out", "here"]
    result = example.main(options)
    assert json.loads(Path("here/metrics.json").read_text()) == result
    assert abs(result["accuracies"]["accuracy"] - result["accuracies"]["without_outliers"]) < 5.0
    synapses = result["analysis"]["synapses"]
    assert {sg.read(Path("here") / name).synapses for name in example.FILES} == {synapses}
    text = Path("here/report.html").read_text()
    assert text.count("data:image/png;base64,") == 8 and text.count("<iframe") == 1 and "<h2>Outliers</h2>" in text
    assert "http" not in re.sub(r'srcdoc="[^"]*"', "", text)


def test_a_report_on_a_graph(load):
    pytest.importorskip("igraph")
    pytest.importorskip("h5py")
    sg.save(sg.SpatialGraph.layered([9, 8, 3]), "graph.safetensors")
    result = load("connectome").main(["--load", "graph.safetensors", "--nulls", "0", "--out", "here"])
    assert result["analysis"]["synapses"] == 96 and result["accuracies"] == {}
    assert Path("here/report.html").read_text().count("data:image/png;base64,") == 6


def test_many_hidden_neurons_beside_few(load, capsys):
    results = load("million").main(["--epochs", "1", "--hidden", "300"])
    assert [result.synapses for result in results] == [2048 * 794, 300 * 794]
    assert "peak memory (GB)" in capsys.readouterr().out
