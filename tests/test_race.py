"""The race of small networks, and its networks on microcontrollers: short trainings on the bundled sample."""

import json
import shutil
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from digit_files import write_digits

pytest.importorskip("lightning")
pytest.importorskip("matplotlib")

import spatialgraph as sg
from spatialgraph.wiring.hashing import hash_pairs

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture
def load(scripts_of, monkeypatch, tmp_path):
    """Import an example by its name, in an empty folder."""
    monkeypatch.chdir(tmp_path)
    return scripts_of("examples")


@pytest.fixture
def digits(tmp_path):
    return write_digits(tmp_path / "digits")


def parameters(model):
    return sum(p.numel() for p in model.parameters())


def test_no_network_has_more_parameters_than_its_name_says(load):
    for entry in load("race").entries():
        count = parameters(entry.build())
        if "," in entry.name and entry.name.split(", ")[1][0].isdigit():
            assert f"{count:,}" == ",".join(entry.name.split(", ")[1].split(",")), entry.name
        assert count <= 10_579 or entry.name.startswith("teacher"), entry.name


def test_waves_need_earlier_ones_only(load):
    race = load("race")
    entries = race.entries()
    waves = race.waves([entry for entry in entries if entry.group != "fashion"])
    done = set()
    for wave in waves:
        assert all(set(entry.needs) <= done for entry in wave)
        done |= {entry.name for entry in wave}
    assert done == {entry.name for entry in entries if entry.group != "fashion"}
    for name, before in (("spatial, 6,792, 4 bits", "spatial, 6,792"), ("spatial, distilled", "teacher")):
        assert [[entry.name for entry in wave] for wave in race.waves([race.named(name)])] == [[before], [name]]


def test_hashed_weights_are_those_of_the_hash(load):
    layers = load("compressed_layers")
    weights = layers.HashedWeights((3, 4), count=5, seed=2)
    shared = torch.arange(1.0, 6.0)
    expected = [
        [
            shared[hash_pairs(4, torch.tensor([s]), torch.tensor([t])) % 5].item()
            * (-1) ** int(hash_pairs(5, torch.tensor([s]), torch.tensor([t])) % 2)
            for s in range(4)
        ]
        for t in range(3)
    ]
    assert weights(shared).tolist() == expected


def test_tensor_trains_are_products_of_their_tensors(load):
    layers = load("compressed_layers")
    train = layers.TensorTrainWeights((2, 3), (4, 2), rank=3)
    cores = [core.double() for core in train.right_inverse(torch.randn(6, 8))]
    assert [tuple(core.shape) for core in cores] == [(1, 2, 4, 3), (3, 3, 2, 1)]
    matrix = train(*cores)
    for target in range(6):
        for source in range(8):
            first = cores[0][0, target // 3, source // 2]
            second = cores[1][:, target % 3, source % 2, 0]
            assert matrix[target, source] == pytest.approx(float(first @ second))
    wide = layers.TensorTrainWeights((8, 8, 8), (8, 8, 8), rank=6)
    assert 0.5 < float(wide(*wide.right_inverse(0.1 * torch.randn(512, 512))).std() / 0.1) < 2.0


def test_a_short_race(load, digits, tmp_path):
    race = load("race")
    command = ["--seeds", "1", "--epochs", "1", "--jobs", "1", "--data-dir", digits]
    results = race.main([*command, "--only", "spatial, 6,792, 4 bits", "distilled", "dense, any order"])
    names = ["spatial, 6,792", "teacher", "dense, any order", "spatial, 6,792, 4 bits", "spatial, distilled"]
    assert [result.model for result in results] == names
    written = json.loads((tmp_path / "runs/race/race.json").read_text())
    rows = {row["network"]: row for row in written["runs"]}
    assert written["judged_on"] == "test" and list(rows) == names
    assert [name for name in names if rows[name]["teacher"]] == ["spatial, distilled"]
    assert [name for name in names if not rows[name]["augmented"]] == ["dense, any order"]
    assert "accuracy_with_8_bits" in rows["spatial, 6,792"]["examined"]
    low = sg.load(tmp_path / "runs/race/spatial_6_792_4_bits/seed-0/network.safetensors")
    assert low.graph.quantization.bits == 4


@pytest.mark.skipif(shutil.which("gcc") is None, reason="needs gcc")
def test_networks_of_the_race_in_c(load, digits, tmp_path, monkeypatch):
    micro = load("microcontroller")
    monkeypatch.setattr(micro, "DEPLOYED", (micro.Deployed("spatial, 4,992", 8),))
    monkeypatch.setattr(micro, "SIMULATED", 1)
    (row,) = micro.main(["--seeds", "1", "--epochs", "1", "--jobs", "1", "--data-dir", digits])
    assert row["equal_classes"] == row["equal_outputs"] == row["images"] > 0
    assert 4_992 < row["manifest"]["constant_bytes"] < 4_992 + 600
    for found in row["processors"].values():
        assert found.get("equal_outputs", 1) == 1
    written = json.loads((tmp_path / "runs/microcontroller/microcontroller.json").read_text())
    assert written["networks"][0]["parameters"] == 4_992
    assert np.isfinite(row["accuracy_in_c"])


def test_the_page_is_made_of_the_results(scripts_of):
    assert scripts_of("docs")("make_race").page() == (ROOT / "docs" / "race.md").read_text()


def test_runs_know_what_they_continue_from(load, digits, tmp_path):
    race = load("race")
    contest = race.Race(tmp_path / "runs", epochs=1, data=digits)
    entry = race.named("spatial, 6,792, 4 bits")
    contest.train([entry], [0], jobs=1)
    before = contest.run(entry, 0).settings
    network = tmp_path / "runs/spatial_6_792/seed-0" / race.NETWORK
    network.write_bytes(network.read_bytes() + b" ")
    assert before["bits"] == 4 and contest.run(entry, 0).settings["before"] != before["before"]


def test_the_group_of_fashion_needs_its_images(load, monkeypatch):
    race = load("race")
    monkeypatch.setattr(race, "LazyMnist", lambda folder: lambda: SimpleNamespace(source="MNIST"))
    with pytest.raises(SystemExit, match="--data-dir must be a folder with Fashion-MNIST .*, got MNIST"):
        race.main(["--only", "fashion", "--epochs", "1"])
