"""The explorer's page: what it holds, read back, equals what the network says; wrong arguments are refused."""

import errno
import os
import re
from importlib import resources

import numpy as np
import pytest
import torch
from explorer_pages import read_page

import spatialgraph as sg
from spatialgraph import atomic
from spatialgraph.graph.recording import Recording
from spatialgraph.plotting.explorer import epochs, exploring, fields


def layered(dim=3, sizes=(9, 6, 3), **options):
    torch.manual_seed(0)
    return sg.SpatialGraph.layered(list(sizes), dim=dim, **options)


def unlayered(dim=3):
    torch.manual_seed(0)
    return sg.SpatialGraph(torch.randn(9, dim), torch.tensor([[0, 0, 1, 2, 3, 4], [3, 4, 4, 5, 6, 7]]))


def explored(network, folder, **options):
    facts, blocks = read_page(sg.explore(network, folder / "network.html", **options))
    return facts, blocks


@pytest.mark.parametrize(
    ("graph", "axes"),
    [
        (layered(1), [0]),
        (layered(2), [1, 0]),
        (layered(3), [2, 1, 0]),
        (layered(5), [4, 1, 0]),
        (unlayered(1), [0]),
        (unlayered(2), [0, 1]),
        (unlayered(3), [0, 1, 2]),
        (unlayered(5), [0, 1, 2]),
    ],
)
def test_positions_are_about_the_middle(graph, axes, tmp_path):
    facts, blocks = explored(graph, tmp_path)
    pos = blocks["network"]["pos"].reshape(-1, 3)
    expected = graph.pos.detach().double()[:, axes].numpy()
    expected = expected - (expected.min(0) + expected.max(0)) / 2
    assert np.allclose(pos[:, : len(axes)], expected, atol=1e-6)
    assert not pos[:, len(axes) :].any()
    assert facts["axes"] == [["x", "y", "z", "p3", "p4"][axis] for axis in axes]
    assert facts["depth"] == (len(axes) == 3)
    assert facts["stretched"] == (0 if graph.is_layered else None)


def test_positions_far_from_the_origin_keep_their_distances(tmp_path):
    pos = torch.rand(9, 3, dtype=torch.float64) + 1e7
    graph = sg.SpatialGraph(pos, torch.tensor([[0], [1]]))
    _, blocks = explored(graph, tmp_path)
    found = blocks["network"]["pos"].reshape(-1, 3).astype(np.float64)
    assert np.allclose(found[1:] - found[:-1], (pos[1:] - pos[:-1]).numpy(), atol=1e-6)


@pytest.mark.parametrize(
    "graph",
    [
        layered(),
        layered(wiring=sg.wiring.KNN(k=2)),
        layered(recurrent=sg.wiring.AllToAll()),
        layered(weight_mode="free"),
        layered(dtype=torch.float64),
        layered(dtype=torch.bfloat16),
        unlayered(),
        sg.prune(layered(), 0.9),
    ],
    ids=["all-to-all", "sparse", "recurrent", "free", "float64", "bfloat16", "unlayered", "pruned"],
)
def test_neurons_and_synapses_are_those_of_the_network(graph, tmp_path):
    facts, blocks = explored(graph, tmp_path, top=20)
    page = blocks["network"]
    weights = dict(zip(zip(*graph.edge_index.tolist(), strict=True), graph.weights().tolist(), strict=True))
    ends = list(zip(page["source"].tolist(), page["target"].tolist(), strict=True))
    assert facts["synapses"] == graph.synapses and facts["neurons"] == graph.neurons
    assert facts["shown"] == len(ends) == min(20, graph.synapses)
    assert page["weight"].tolist() == pytest.approx([weights[pair] for pair in ends], rel=1e-6)
    sizes = np.abs(page["weight"])
    assert (sizes[1:] <= sizes[:-1]).all()
    assert min(sizes) == pytest.approx(sorted(map(abs, weights.values()))[-len(ends)], rel=1e-6)
    assert page["polarity"].tolist() == pytest.approx(graph.polarity.tolist())
    assert page["bias"].tolist() == pytest.approx(graph.bias.tolist())
    assert (page["role"] == 1).tolist() == graph.is_input.tolist()
    assert (page["role"] == 2).tolist() == graph.is_output.tolist()
    assert facts["polarities"] == (graph.weight_mode != "free")
    names = [facts["groups"][number]["name"] for number in page["group"]]
    for number, name in enumerate(names):
        if graph.is_layered:
            assert name.startswith(f"Layer {int(graph.layer[number])}")
        assert name.lower().endswith("inputs") == bool(graph.is_input[number])
        assert name.lower().endswith("outputs") == bool(graph.is_output[number])
    assert {group["name"]: group["count"] for group in facts["groups"]} == {name: names.count(name) for name in names}


def test_fifty_thousand_synapses_unless_told_otherwise(tmp_path, monkeypatch):
    monkeypatch.setattr(exploring, "_TOP", 30)
    assert explored(layered(), tmp_path)[0]["shown"] == 30
    assert explored(layered(), tmp_path, fraction=1.0)[0]["shown"] == 72
    assert explored(layered(), tmp_path, top=40)[0]["shown"] == 40
    assert explored(layered(), tmp_path, min_weight=0.0)[0]["shown"] == 72


def test_a_network_without_synapses(tmp_path):
    graph = sg.SpatialGraph(torch.randn(3, 2), torch.zeros(2, 0, dtype=torch.int64), layer=torch.tensor([0, 1, 1]))
    facts, blocks = explored(graph, tmp_path)
    assert facts["shown"] == facts["synapses"] == 0 and facts["modules"] is None
    assert len(blocks["network"]["weight"]) == 0 and blocks["network"]["strength"].tolist() == [0, 0, 0]


def test_a_model_is_asked_for_its_graph_and_gives_the_title(tmp_path):
    path = sg.explore(sg.SpatialMLP([4, 3, 2]), tmp_path / "a.html")
    assert "<title>SpatialMLP 4\N{NON-BREAKING HYPHEN}3\N{NON-BREAKING HYPHEN}2</title>" in path.read_text("utf-8")
    assert "<h1>SpatialGraph of 9 neurons</h1>" in sg.explore(unlayered(), tmp_path / "b.htm").read_text("utf-8")


def test_titles_are_text_and_no_markup(tmp_path):
    text = sg.explore(layered(), tmp_path / "a.html", title="</script><b>&{{facts}}\\1").read_text("utf-8")
    assert text.count("&lt;/script&gt;&lt;b&gt;&amp;{{facts}}\\1") == 2 and "<b>" not in text


def test_the_page_refers_to_nothing_outside(tmp_path):
    text = sg.explore(layered(), tmp_path / "a.html").read_text("utf-8")
    assert re.findall(r"""(?:src|href)\s*=\s*["']?([^"'\s>]+)""", text) == ["data:,"]
    assert not re.findall(r"https?://|@import|url\(|\bfetch\b|XMLHttpRequest|\beval\b|new Function", text)


def test_pages_of_one_network_are_equal(tmp_path):
    first, second = (sg.explore(layered(), tmp_path / name).read_bytes() for name in ("a.html", "b.html"))
    assert first == second


def test_nothing_of_the_network_changes(tmp_path):
    model = sg.SpatialMLP([9, 4, 2])
    before, state = {name: value.clone() for name, value in model.named_parameters()}, torch.get_rng_state()
    sg.explore(model, tmp_path / "a.html")
    assert model.training and torch.equal(state, torch.get_rng_state())
    assert all(torch.equal(value, before[name]) and value.grad is None for name, value in model.named_parameters())


# Receptive fields ----


def unpacked(page, how, count):
    """Fields by their numbers of 8 or 4 bits, shape ``(neurons, pixels)``."""
    values = page["values"]
    if how["bits"] == 8:
        shares = values.astype(float) / 127
    else:
        shares = (np.stack([values & 15, values >> 4], 1).ravel()[: count * len(page["scale"])].astype(float) - 7) / 7
    return shares.reshape(-1, count) * page["scale"][:, None]


@pytest.mark.parametrize(("bits", "steps"), [(8, 127), (4, 7)])
@pytest.mark.parametrize("pixels", [9, 12])
def test_receptive_fields_within_half_a_step(bits, steps, pixels, tmp_path, monkeypatch):
    monkeypatch.setattr(fields, "_EIGHT_BITS", 10**6 if bits == 8 else 0)
    graph = layered(sizes=(pixels, 4, 3))
    facts, blocks = explored(graph, tmp_path, image=(3, pixels // 3))
    assert facts["fields"] == {"bits": bits, "rows": 3, "columns": pixels // 3}
    first = graph.weights()[: 4 * pixels].detach().double().reshape(4, pixels)
    second = graph.weights()[4 * pixels :].detach().double().reshape(3, 4)
    expected = torch.cat([first, second @ first]).numpy()
    largest = np.abs(expected).max(1, keepdims=True)
    assert (np.abs(unpacked(blocks["fields"], facts["fields"], pixels) - expected) <= 0.5001 * largest / steps).all()


def test_which_networks_see_images(tmp_path, monkeypatch):
    assert explored(layered(sizes=(64, 2)), tmp_path)[0]["image"] == [8, 8]
    assert explored(layered(sizes=(64, 2)), tmp_path, image=None)[0]["image"] is None
    assert explored(layered(sizes=(63, 2)), tmp_path)[0]["fields"] is None
    assert explored(layered(sizes=(9, 2)), tmp_path)[0]["image"] is None
    monkeypatch.setattr(fields, "_FOUR_BITS", 127)
    facts, blocks = explored(layered(sizes=(64, 2)), tmp_path)
    assert facts["image"] == [8, 8] and facts["fields"] is None and "fields" not in blocks


# Activations, modules, recordings ----


def test_activations_by_sample(tmp_path):
    values = torch.randn(2, 18)
    facts, blocks = explored(layered(), tmp_path, activations=values)
    assert facts["samples"] == 2
    assert torch.equal(torch.tensor(blocks["network"]["activation"].copy()).view(2, 18), values)
    assert explored(layered(), tmp_path, activations=values[0])[0]["samples"] == 1
    assert explored(layered(), tmp_path)[0]["samples"] == 0


def test_modules_that_are_given_and_that_are_found(tmp_path):
    given = torch.tensor([0, 2, 9] * 6)
    facts, blocks = explored(layered(), tmp_path, modules=given)
    assert blocks["network"]["module"].tolist() == given.tolist()
    assert facts["modules"] == {"sizes": [6, 0, 6, 0, 0, 0, 0, 0], "count": 3}
    pytest.importorskip("igraph")
    # Two groups of neurons without a synapse between them.
    edges = torch.tensor([[0, 0, 1, 1, 2, 2, 3, 3], [4, 5, 4, 5, 6, 7, 6, 7]])
    facts, blocks = explored(sg.SpatialGraph(torch.randn(8, 2), edges), tmp_path)
    module = blocks["network"]["module"].tolist()
    assert facts["modules"] == {"sizes": [4, 4], "count": 2}
    assert len({module[n] for n in (0, 1, 4, 5)}) == len({module[n] for n in (2, 3, 6, 7)}) == 1


def recorded(graph, count):
    recording = Recording()
    for epoch in range(count):
        recording.add(graph, epoch)
        with torch.no_grad():
            for value in graph.parameters():
                value.add_(torch.randn_like(value))
    return recording


def test_a_recording_within_half_a_step(tmp_path):
    graph = layered()
    recording = recorded(graph, 3)
    facts, blocks = explored(graph, tmp_path, recording=recording)
    assert facts["epochs"] == ["0", "1", "2", "as given"]
    page, now = blocks["recording"], graph.pos.detach().double()
    centre = (now.amin(0) + now.amax(0)) / 2
    expected = (torch.cat([recording.positions.double(), now[None]]) - centre)[..., [2, 1, 0]].numpy()
    found = page["low"] + page["step"] * page["pos"].reshape(4, -1, 3).astype(float)
    assert np.abs(found - expected).max() <= 0.51 * page["step"].max() + 1e-6
    low, step = page["polarity_range"]
    signs = torch.cat([recording.polarities, graph.polarity.detach()[None]]).numpy()
    assert np.abs(low + step * page["polarity"].reshape(4, -1).astype(float) - signs).max() <= 0.51 * step + 1e-6


def test_a_recording_that_ends_with_the_network_and_one_that_is_thinned(tmp_path, monkeypatch):
    graph = layered()
    recording = recorded(graph, 9)
    recording.add(graph, 9.5)
    assert explored(graph, tmp_path, recording=recording)[0]["epochs"] == [*"012345678", "9.5"]
    monkeypatch.setattr(epochs, "_POSITIONS", 5 * 18)
    assert explored(graph, tmp_path, recording=recording)[0]["epochs"] == ["0", "3", "6", "9.5"]


# Errors ----


def a_recording_of(*sizes, dim=3):
    recording = Recording()
    recording.add(layered(dim, sizes), 0)
    return recording


WRONG = {
    "both selections": ({"top": 1, "fraction": 0.1}, ValueError, "at most one of min_weight, top and fraction"),
    "negative top": ({"top": -1}, ValueError, "top must be at least 0, got -1"),
    "fraction": ({"fraction": 1.5}, ValueError, "fraction must be between 0 and 1, got 1.5"),
    "title": ({"title": 3}, TypeError, "title must be a string, got int"),
    "activations list": ({"activations": [1.0]}, TypeError, "activations must be a tensor, got list"),
    "activations": (
        {"activations": torch.zeros(4)},
        ValueError,
        r"activations must have shape \(18,\) or .*got \(4,\)",
    ),
    "no samples": ({"activations": torch.zeros(0, 18)}, ValueError, r"activations must have shape .*got \(0, 18\)"),
    "three axes": ({"activations": torch.zeros(2, 3, 18)}, ValueError, "activations must have shape"),
    "complex": ({"activations": torch.zeros(18, dtype=torch.cfloat)}, TypeError, "activations must be real"),
    "NaN": ({"activations": torch.full((18,), torch.nan)}, ValueError, "activations must be finite, got nan"),
    "too large": (
        {"activations": torch.full((18,), 1e300, dtype=torch.float64)},
        ValueError,
        "must be finite, got inf",
    ),
    "many": ({"activations": torch.zeros(30_000, 18)}, ValueError, "at most 27777 samples to fit a page, got 30000"),
    "modules": ({"modules": torch.zeros(3, dtype=torch.int64)}, ValueError, r"modules must have shape \(18,\)"),
    "modules float": ({"modules": torch.zeros(18)}, TypeError, "modules must hold ints, got torch.float32"),
    "modules below": ({"modules": torch.arange(18) - 1}, ValueError, "modules must lie between 0 and"),
    "recording": ({"recording": "a.pt"}, TypeError, "recording must be a Recording, got str"),
    "no epochs": ({"recording": Recording()}, ValueError, "recording must hold an epoch at least, got none"),
    "another network": (
        {"recording": a_recording_of(4, 2)},
        ValueError,
        r"recording must have shape \(1, 18, 3\), got",
    ),
    "another space": ({"recording": a_recording_of(9, 6, 3, dim=2)}, ValueError, r"got \(1, 18, 2\)"),
    "image": ({"image": (3, 4)}, ValueError, r"as many pixels as there are inputs \(9\), got 3 x 4"),
    "image name": ({"image": "square"}, ValueError, "image must be one of 'auto', got 'square'"),
    "image number": ({"image": 3}, TypeError, "image must be a pair of rows and columns, 'auto' or None, got 3"),
    "axes number": ({"axes": 2}, TypeError, "axes must be a sequence of ints, got int"),
    "no axes": ({"axes": []}, ValueError, r"axes must name one to three different axes, got \[\]"),
    "same axes": ({"axes": [2, -1]}, ValueError, r"axes must name one to three different axes, got \[2, -1\]"),
    "axes": ({"axes": [0, 3]}, ValueError, r"axes\[1\] must be the number of one of 3 axes, got 3"),
    "option": ({"colour": 3}, TypeError, "unexpected keyword argument 'colour'"),
}


@pytest.mark.parametrize("case", WRONG)
def test_wrong_arguments_are_named_and_nothing_is_written(case, tmp_path):
    options, error, message = WRONG[case]
    with pytest.raises(error, match=message):
        sg.explore(layered(), tmp_path / "a.html", **options)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", ["a.txt", "a", "a.html.gz"])
def test_other_suffixes_are_refused(name, tmp_path):
    with pytest.raises(ValueError, match=f"path must end in .html, got '.*{name}'"):
        sg.explore(layered(), tmp_path / name)


def test_places_that_cannot_be_written(tmp_path, monkeypatch):
    with pytest.raises(TypeError, match="path must be a path, got int"):
        sg.explore(layered(), 3)
    with pytest.raises(FileNotFoundError, match="The folder .*missing does not exist"):
        sg.explore(layered(), tmp_path / "missing" / "a.html")
    (tmp_path / "b.html").mkdir()
    with pytest.raises(OSError, match="b.html"):
        sg.explore(layered(), tmp_path / "b.html")
    path = sg.explore(layered(), tmp_path / "a.html")
    before = path.read_bytes()

    def fail(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(atomic.os, "replace", fail)
    with pytest.raises(OSError, match="No space left"):
        sg.explore(unlayered(), path)
    assert path.read_bytes() == before and sorted(p.name for p in tmp_path.iterdir()) == ["a.html", "b.html"]


@pytest.mark.parametrize("name", ["coords", "raw_polarity", "raw_bias"])
def test_a_broken_network_is_refused(name, tmp_path):
    graph = layered()
    value = dict(graph.named_parameters())[{"coords": "positions.coords"}.get(name, name)]
    with torch.no_grad():
        value.view(-1)[0] = float("nan")
    with pytest.raises(ValueError, match="must be finite, got "):
        sg.explore(graph, tmp_path / "a.html")


def test_larger_networks_than_a_browser_draws(tmp_path, monkeypatch):
    monkeypatch.setattr(exploring, "_MOST", 20)
    with pytest.raises(ValueError, match="network must have at most 20 synapses on a page, got 72"):
        sg.explore(layered(), tmp_path / "a.html")
    monkeypatch.setattr(exploring, "_MOST", 17)
    with pytest.raises(ValueError, match="network must have at most 17 neurons, got 18"):
        sg.explore(layered(), tmp_path / "a.html")


def test_the_page_of_the_documentation(tmp_path, scripts_of):
    path = scripts_of("docs")("explorer_page").write(tmp_path / "explorer")
    facts, blocks = read_page(path)
    assert path.name == "mnist.html" and path.stat().st_size < 8e6
    sizes = [group["count"] for group in facts["groups"]]
    assert (sizes, facts["synapses"], facts["shown"], facts["samples"]) == ([784, 2048, 10], 1_626_112, 50_000, 10)
    assert facts["image"] == [28, 28] and len(blocks["fields"]["scale"]) == 2058
    outputs = blocks["network"]["activation"].reshape(10, -1)[:, -10:]
    assert (outputs.argmax(1) == np.arange(10)).sum() >= 8  # most digits are told right


def test_all_parts_of_the_page_are_in_the_package():
    folder = resources.files("spatialgraph.plotting.explorer") / "page"
    text = (folder / "index.html").read_text("utf-8")
    script = re.search(r'<script type="module">(.*?)</script>', text, re.DOTALL)[1]
    assert script.strip() == "{{script}}"
    for part in folder.iterdir():
        lines = part.read_text("utf-8").splitlines()
        assert len(lines) < 300, part.name
        assert part.suffix in (".js", ".css", ".html")
        assert max(map(len, lines)) <= 120 or part.suffix == ".html", part.name
