"""The list of the paper's networks, and the page that is made of what they measured."""

import json
from pathlib import Path

import numpy as np
import pytest
from digit_files import write_digits

pytest.importorskip("lightning")
pytest.importorskip("matplotlib")

ROOT = Path(__file__).resolve().parent.parent
# Parameters of the paper's networks, Eq. 4.
PARAMETERS = {
    "fixed": 10_574,
    "learned": 10_576,
    "free": 13_416,
    "spiking fixed": 10_574,
    "spiking learned": 10_576,
    "d=5": 16_258,
    "d=8": 24_784,
    "d=16": 47_520,
    "d=32": 92_992,
    "dense 14": 11_140,
    "dense 17": 13_525,
    "dense 2048": 1_628_170,
    "spiking dense 14": 11_140,
    "spiking dense 2048": 1_628_170,
}


@pytest.fixture
def paper(scripts_of):
    return scripts_of("examples")("paper")


@pytest.fixture
def docs(scripts_of):
    return scripts_of("docs")


@pytest.mark.parametrize("protocol", ["fast", "paper"])
def test_the_networks_have_the_papers_parameters(paper, protocol):
    rows = {row.name: row for row in paper.rows()}
    for name, count in PARAMETERS.items():
        assert sum(p.numel() for p in rows[name].build(protocol).parameters()) == count, name


def test_all_tables_and_figures_are_there(paper):
    assert paper.PARTS == ["fig2", "fig3a", "fig3b", "fig4", "fig5", "fig6", "table1", "table2", "table3"]
    names = [paper.candidate(row, "fast").name for row in paper.rows()]
    assert len(set(names)) == len(names)


def test_parts_and_networks_are_selected_by_name(paper):
    def names(*only):
        return [run.candidate.name for run in paper.experiment("fast", [0], only).runs]

    assert names("table3") == ["free", "dense 17"]
    assert names("learned, 80 % in training", "table3") == ["free", "dense 17", "learned, 80 % in training"]
    assert len(names()) == len(paper.rows())
    with pytest.raises(SystemExit):
        paper.parse(["--only", "lerned"])


def test_only_the_paper_protocol_has_its_constant_rate(paper):
    for row in paper.rows():
        recipe = paper.recipe_of(row, "paper")
        assert (recipe.schedule, recipe.learning_rate, recipe.batch_size) == ("constant", 0.005, 600)
        assert recipe.epochs == (200 if row.spiking else 300)
        assert paper.recipe_of(row, "fast").epochs == 20


def test_a_quick_look_writes_what_the_page_needs(paper, tmp_path, capsys):
    argv = ["--only", "table3", "fig6", "--epochs", "1", "--seeds", "1", "--jobs", "1", "--out", str(tmp_path)]
    argv += ["--data-dir", write_digits(tmp_path / "digits")]
    first = paper.main(argv)
    assert [result.model for result in first] == ["learned", "free", "dense 17"]
    written = json.loads((tmp_path / "fast" / "runs.json").read_text())
    runs = {run["network"]: run for run in written["runs"]}
    assert set(runs["free"]["examined"]["depth_counts"][0]) != {0}
    assert sum(map(sum, runs["free"]["examined"]["depth_counts"])) == 2842
    assert np.shape(runs["learned"]["examined"]["map"]["positions"]) == (2842, 3)
    assert len(runs["learned"]["examined"]["after_training"]) == 7
    assert paper.main(argv) == first
    assert "3 of 3 runs: finished before" in capsys.readouterr().out


def test_the_page_is_made_of_the_results(docs):
    assert docs("make_reproduction").page(draw=False) == (ROOT / "docs" / "reproduction.md").read_text()


def measured(docs, protocol="fast", **accuracies):
    runs = [
        {"network": name.replace("_", " "), "seed": seed, "accuracy": value / 100}
        for name, values in accuracies.items()
        for seed, value in enumerate(values)
    ]
    return docs("reproduction_data").Measured(protocol, runs)


def statement(docs, text):
    (found,) = [each for each in docs("reproduction_statements").STATEMENTS if each.text.startswith(text)]
    return found.check


def test_statements_compare_means(docs):
    check = statement(docs, "Learned spacing beats fixed")
    assert check(measured(docs, learned=[92.0, 93.0], fixed=[92.4, 92.4])) == (
        True,
        "92.50 ± 0.71 against 92.40 ± 0.00",
    )
    assert check(measured(docs, learned=[92.0], fixed=[92.4])) == (False, "92.00 against 92.40")
    assert check(measured(docs, learned=[92.0])) is None


def test_agreement_is_within_a_point_or_above(docs):
    check = statement(docs, "The free spacing reaches")
    assert [check(measured(docs, free=[value]))[0] for value in (92.36, 92.38, 99.0)] == [False, True, True]


def test_dimensions_rise_and_level_off(docs):
    names = {"fixed": 90.0, "d=5": 92.0, "d=8": 94.0, "d=16": 96.0, "d=32": 96.4}
    runs = [{"network": name, "seed": 0, "accuracy": value / 100} for name, value in names.items()]
    found = docs("reproduction_data").Measured("fast", runs)
    assert statement(docs, "Accuracy rises")(found)[0] and statement(docs, "Beyond 16")(found)[0]
    runs[2]["accuracy"] = 0.91
    assert not statement(docs, "Accuracy rises")(found)[0]
    runs[4]["accuracy"] = 0.966
    assert not statement(docs, "Beyond 16")(found)[0]


def test_there_are_enough_statements_and_none_fails_without_runs(docs):
    statements, nothing = docs("reproduction_statements").STATEMENTS, measured(docs)
    assert len(statements) >= 14
    assert [each.check(nothing) for each in statements] == [None] * len(statements)


def test_merged_runs_replace_those_of_the_same_network_and_seed(docs, tmp_path, monkeypatch):
    data = docs("reproduction_data")
    monkeypatch.setattr(data, "RESULTS", tmp_path)

    def merge(runs, command):
        (tmp_path / "runs" / "fast").mkdir(parents=True, exist_ok=True)
        content = {"data": "MNIST", "command": command, "environment": {}, "runs": runs}
        (tmp_path / "runs" / "fast" / "runs.json").write_text(json.dumps(content))
        data.merge(tmp_path / "runs")
        return json.loads((tmp_path / "reproduction_fast.json").read_text())

    recipe = {"epochs": 20}
    one, two = ({"network": name, "seed": 0, "accuracy": 0.5, "recipe": recipe} for name in ("fixed", "learned"))
    merge([one, two], "first")
    better = one | {"accuracy": 0.6}
    found = merge([better], "second")
    assert found["runs"] == [better, two]
    assert [source["command"] for source in found["sources"]] == ["first", "second"]
    with pytest.raises(SystemExit, match="must hold whole runs, got 1 epochs"):
        merge([one | {"recipe": {"epochs": 1}}], "quick look")


def test_other_images_are_refused(docs, tmp_path, monkeypatch):
    (tmp_path / "fast").mkdir()
    (tmp_path / "fast" / "runs.json").write_text(json.dumps({"data": "a sample", "runs": []}))
    with pytest.raises(SystemExit, match="must be of MNIST, got a sample"):
        docs("reproduction_data").merge(tmp_path)
