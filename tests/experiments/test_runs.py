"""Runs of an experiment: options, folders, and what is resumed, also after damage to the disk."""

import json
import re
from pathlib import Path

import pytest
import torch
from digit_files import write_digits
from torch import nn

pytest.importorskip("lightning")
pytest.importorskip("matplotlib")

import spatialgraph as sg
from spatialgraph import experiments, training
from spatialgraph.experiments.options import parse
from spatialgraph.experiments.plans import folder_of
from spatialgraph.experiments.runs import folder_name


def candidates(args, features):
    wiring = experiments.make_wiring(args.wiring)
    sizes = [features, *args.hidden, experiments.CLASSES]

    def build():
        return sg.SpatialMLP(sizes, dim=args.dim, spacing=args.spacing, polarity_mode=args.polarity, wiring=wiring)

    paper = "90" if args.wiring == "all" else ""
    return [experiments.Candidate(experiments.spatial_name(args, sizes), build, paper)]


PROGRAM = experiments.Program(
    name="tiny",
    description="Train a small network.",
    presets={"paper3d": {"hidden": [12], "dim": 2, "spacing": "learned"}},
    recipes={name: training.RECIPES[name] for name in ("fast", "paper")},
    candidates=candidates,
)


def main(argv):
    return experiments.run_program(PROGRAM, argv)


@pytest.fixture(autouse=True)
def empty_folder(monkeypatch, tmp_path):
    """An empty folder to write to, and no network."""
    monkeypatch.chdir(tmp_path)
    load = training.load_mnist
    monkeypatch.setattr(training, "load_mnist", lambda folder: load(folder or tmp_path, download=False))


SHORT = ["--epochs", "1"]


def test_resume_repeats_nothing_and_refuses_other_settings(capsys):
    first = main([*SHORT, "--out", "here"])
    again = main([*SHORT, "--out", "here", "--resume"])
    assert again == first
    assert "finished before" in capsys.readouterr().out
    with pytest.raises(experiments.OtherSettings, match=r"resume needs the settings.*penalty was {}, got {'wiring'"):
        main([*SHORT, "--out", "here", "--resume", "--penalty", "wiring:1"])


def test_another_seed_keeps_the_first_one():
    main([*SHORT, "--seed", "0"])
    main([*SHORT, "--seed", "1"])
    assert sorted(path.name for path in Path("runs").rglob("seed-*")) == ["seed-0", "seed-1"]


def test_validation_leaves_the_test_images_alone(monkeypatch, capsys):
    load = training.load_mnist

    def without_test_images(folder):
        data = load(folder)
        return training.Mnist(data.train_images, data.train_labels, None, None, data.source)

    monkeypatch.setattr(training, "load_mnist", without_test_images)
    main([*SHORT, "--validate", "--patience", "3"])
    assert "validation accuracy (%)" in capsys.readouterr().out


@pytest.mark.parametrize("wiring", ["knn:3", "radius:1.5", "random:0.1", "small-world:3,2"])
def test_wirings(wiring):
    (result,) = main([*SHORT, "--wiring", wiring])
    assert 0 < result.synapses < 784 * 12 + 12 * 10


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["--wiring", "ring:3"], "--wiring must be all, knn:K"),
        (["--wiring", "knn"], "--wiring must be all, knn:K"),
        (["--wiring", "random:2"], "density must be"),
    ],
)
def test_wrong_wirings(argv, message):
    with pytest.raises(SystemExit, match=message):
        main([*SHORT, *argv])


@pytest.mark.parametrize(
    "argv",
    [
        ["--seed", "1", "--seeds", "2"],
        ["--seeds", "0"],
        ["--seeds", "-1"],
        ["--patience", "2"],
        ["--validate", "--patience", "-1"],
        ["--penalty", "wiring:nan"],
        ["--penalty", "wiring:inf"],
        ["--penalty", "wiring:1", "wiring:2"],
        ["--penalty", "length:1"],
        ["--learning-rate", "-1"],
        ["--learning-rate", "0"],
        ["--learning-rate", "nan"],
        ["--learning-rate", "inf"],
        ["--epochs", "0"],
        ["--batch-size", "-5"],
        ["--hidden", "12", "0"],
        ["--baseline", "0"],
        ["--dim", "0"],
        ["--protocol", "slow"],
        ["--protocol", "fast_spiking"],
        ["--preset", "tiny"],
    ],
)
def test_options_that_make_no_sense(argv, capsys):
    with pytest.raises(SystemExit):
        main(argv)
    assert "error:" in capsys.readouterr().err


def test_each_patience_has_a_folder_of_its_own():
    given = [["--validate"], ["--validate", "--patience", "2"], ["--validate", "--patience", "3"]]
    folders = {folder_of(PROGRAM, parse(PROGRAM, argv)) for argv in given}
    assert len(folders) == 3


def test_a_precision_reaches_the_training(tmp_path):
    folder = write_digits(tmp_path / "a")
    given = [[], ["--precision", "bf16-mixed"]]
    assert len({folder_of(PROGRAM, parse(PROGRAM, argv)) for argv in given}) == 2
    main(tiny(folder, *given[1]))
    checkpoint = torch.load(seed_folder() / "last.ckpt", weights_only=True)
    assert checkpoint["spatialgraph"]["precision"] == "bf16-mixed"
    with pytest.raises(experiments.OtherSettings, match="precision was 'bf16-mixed'"):
        main(tiny(folder, "--resume"))


def test_settings_of_the_usual_precision_are_those_of_earlier_releases():
    candidate = experiments.Candidate("linear", lambda: nn.Linear(784, 10))
    assert "precision" not in experiments.Run(candidate)._settings()
    with pytest.raises(ValueError, match="precision must be one of .*, got 'half'"):
        experiments.Run(candidate, precision="half")


# What is resumed, and what of a damaged disk ----


def tiny(folder, *more):
    return [*SHORT, "--out", "here", "--data-dir", folder, *more]


def seed_folder():
    return next(Path("here").rglob("seed-0"))


def test_other_data_are_named_and_not_taken_for_those_before(tmp_path):
    first, second = (write_digits(tmp_path / name, seed) for seed, name in enumerate("ab"))
    (result,) = main(tiny(first))
    written = json.loads(Path("here/metrics.json").read_text())
    assert written["data"].startswith("other 28 x 28 images (sha256 ")
    assert result.paper == ""
    assert main(tiny(first, "--resume")) == [result]
    with pytest.raises(experiments.OtherSettings, match=r"resume needs the settings.*data was 'other .*', got 'other"):
        main(tiny(second, "--resume"))


@pytest.mark.parametrize("content", [b"", b'{"seed": 0, "accur', b'{"seed": 0}'])
def test_half_written_figures_count_as_unfinished(tmp_path, capsys, content):
    folder = write_digits(tmp_path / "a")
    first = main(tiny(folder))
    whole = json.loads((seed_folder() / "metrics.json").read_text())
    (seed_folder() / "metrics.json").write_bytes(content)
    assert main(tiny(folder, "--resume")) == first
    printed = capsys.readouterr().out
    assert "metrics.json is damaged" in printed and "finished before" not in printed
    assert json.loads((seed_folder() / "metrics.json").read_text()) == whole


@pytest.mark.parametrize("content", [b'{"epochs": 1', None])
def test_a_training_of_unknown_settings_starts_anew(tmp_path, capsys, content):
    folder = write_digits(tmp_path / "a")
    (first,) = main(tiny(folder))
    settings = seed_folder() / "settings.json"
    if content is None:
        settings.unlink()
    else:
        settings.write_bytes(content)
    (again,) = main(tiny(folder, "--resume", "--learning-rate", "0.001"))
    printed = capsys.readouterr().out
    assert "has files but no settings: they are deleted" in printed and "finished before" not in printed
    assert json.loads(settings.read_text())["learning_rate"] == 0.001


def test_other_half_written_files_are_no_matter(tmp_path):
    folder = write_digits(tmp_path / "a")
    first = main(tiny(folder))
    others = [seed_folder() / name for name in ("history.json", "history.csv", "accuracy.png", "model.pt")]
    for path in others:
        path.write_bytes(b"")
    (seed_folder() / "metrics.json").unlink()
    assert main(tiny(folder, "--resume")) == first
    assert all(path.stat().st_size > 0 for path in others)


def test_folders_that_cannot_be_used_end_with_a_sentence(tmp_path):
    folder = write_digits(tmp_path / "a")
    Path("here").write_text("a file")
    with pytest.raises(SystemExit, match=r"here.*\. The same command with --resume continues once this is fixed"):
        experiments.as_script(lambda: main(tiny(folder)))
    assert Path("here").read_text() == "a file"
    Path("here").unlink()
    main(tiny(folder))
    before = {path: path.read_bytes() for path in seed_folder().iterdir()}
    with training.claim(seed_folder()), pytest.raises(BlockingIOError, match="another running training"):
        main(tiny(folder))
    assert {path: path.read_bytes() for path in seed_folder().iterdir()} == before


# Folders ----


@pytest.mark.parametrize(
    ("name", "folder"),
    [
        ("spatial 784-12-10, d=2, learned, graded", "spatial_784-12-10_d2_learned_graded"),
        ("dense 784-14-10, 90 % in training", "dense_784-14-10_90_in_training"),
        ("spatial, 10%, small-world:3,2", "spatial_10_small-world_3_2"),
        ("../é/x", "x"),
    ],
)
def test_folders_have_plain_names(name, folder):
    assert folder_name(name) == folder


def test_options_of_any_text_make_plain_folders(tmp_path):
    main(
        [*SHORT, "--wiring", "small-world:3,2", "--learning-rate", "1e-5", "--penalty", "collapse:0.5", "--seeds", "1"]
    )
    names = {part for path in Path("runs").rglob("*") for part in path.parts}
    assert [name for name in names if not re.fullmatch(r"[A-Za-z0-9._-]+", name)] == []


def test_models_of_one_folder_are_refused():
    pair = [experiments.Candidate(name, nn.Identity) for name in ("net, 10%", "net 10 %")]
    with pytest.raises(ValueError, match="runs must have different folders, got 'net, 10%, seed 0' and 'net 10 %"):
        experiments.Experiment(experiments.runs_of(pair, training.Recipe()))
