"""The example as a user runs it: one short training on the bundled sample, resumed and repeated."""

import importlib.util
import json
from pathlib import Path

import pytest
import torch

pytest.importorskip("lightning")
pytest.importorskip("matplotlib")

SCRIPT = Path(__file__).resolve().parent.parent / "examples" / "mnist_mlp.py"


@pytest.fixture
def example(monkeypatch, tmp_path):
    spec = importlib.util.spec_from_file_location("mnist_mlp", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(__import__("sys").modules, "mnist_mlp", module)  # dataclasses look their module up
    spec.loader.exec_module(module)
    load = module.training.load_mnist
    monkeypatch.setattr(module.training, "load_mnist", lambda folder: load(folder or tmp_path, download=False))
    monkeypatch.chdir(tmp_path)
    return module


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
    names = {path.name for path in (folder / "spatial_784-12-10_d=2_learned_graded" / "seed-1").iterdir()}
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


def test_resume_repeats_nothing_and_refuses_other_settings(example, capsys):
    first = example.main([*SHORT, "--out", "here"])
    again = example.main([*SHORT, "--out", "here", "--resume"])
    assert again == first
    assert "finished before" in capsys.readouterr().out
    with pytest.raises(SystemExit, match=r"--resume needs the settings.*penalty was 0.0, got 1.0"):
        example.main([*SHORT, "--out", "here", "--resume", "--penalty", "1"])


def test_another_seed_keeps_the_first_one(example):
    example.main([*SHORT, "--seed", "0"])
    example.main([*SHORT, "--seed", "1"])
    assert sorted(path.name for path in Path("runs").rglob("seed-*")) == ["seed-0", "seed-1"]


def test_validation_leaves_the_test_images_alone(example, monkeypatch, capsys):
    load = example.training.load_mnist

    def without_test_images(folder):
        data = load(folder)
        return example.training.Mnist(data.train_images, data.train_labels, None, None, data.source)

    monkeypatch.setattr(example.training, "load_mnist", without_test_images)
    example.main([*SHORT, "--validate", "--patience", "3"])
    assert "validation accuracy (%)" in capsys.readouterr().out


@pytest.mark.parametrize("wiring", ["knn:3", "radius:1.5", "random:0.1", "small-world:3,2"])
def test_wirings(example, wiring):
    (result,) = example.main([*SHORT, "--wiring", wiring])
    assert 0 < result.synapses < 784 * 12 + 12 * 10


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["--wiring", "ring:3"], "--wiring must be all, knn:K"),
        (["--wiring", "knn"], "--wiring must be all, knn:K"),
        (["--wiring", "random:2"], "density must be"),
    ],
)
def test_wrong_wirings(example, argv, message):
    with pytest.raises(SystemExit, match=message):
        example.main([*SHORT, *argv])


@pytest.mark.parametrize(
    "argv", [["--seed", "1", "--seeds", "2"], ["--patience", "2"], ["--protocol", "slow"], ["--preset", "tiny"]]
)
def test_options_that_make_no_sense(example, argv, capsys):
    with pytest.raises(SystemExit):
        example.main(argv)
    assert "error:" in capsys.readouterr().err
