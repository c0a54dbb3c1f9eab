"""Benchmarks: their cases can be built and run, so that a measurement can be repeated."""

import argparse
import importlib.metadata
import json
import os
import sys
from pathlib import Path

import pytest
import torch

ROOT = Path(__file__).parents[1]
FOLDER, DOCS = ROOT / "benchmarks", ROOT / "docs"


@pytest.fixture
def benchmark(scripts_of):
    """Import a benchmark by its name."""
    return scripts_of("benchmarks")


@pytest.mark.parametrize("name", sorted(path.stem for path in FOLDER.glob("*.py")))
def test_a_benchmark_can_be_imported(benchmark, name):
    assert benchmark(name)


def test_each_case_of_the_gains_answers(benchmark):
    default_gain = benchmark("default_gain")
    for case in default_gain.small_cases().values():
        graph = default_gain.sg.SpatialGraph.layered(case.sizes, **case.options)
        inputs, labels = case.task().train
        assert case.model(graph)(inputs[:3]).shape == (3, int(labels.max()) + 1)
        assert set(default_gain.gains(case, 0)) == set(default_gain.RULES)


def test_the_rule_of_the_library_is_the_default_gain(benchmark):
    default_gain = benchmark("default_gain")
    graph = default_gain.sg.SpatialGraph.layered([200, 400, 1000])
    assert default_gain.gain_of(graph, graph.projections[-1]) == pytest.approx(graph.gain, rel=0.1)


def test_each_case_of_the_rates_answers(benchmark):
    for case in benchmark("default_rate").cases(None).values():
        inputs, labels = case.task().train
        assert case.model()(inputs[:3]).shape == (3, int(labels.max()) + 1)


def test_networks_are_compared_within_a_budget(benchmark, tmp_path):
    equal = benchmark("equal_parameters")
    small = equal.DataSet(equal.yin_yang_points, (30,), 1, 1000)
    record = equal.Record(tmp_path / "equal.json", {"rows": {}})
    equal.compare(record, "points", small)
    rows = record.about["rows"]["points, 243 parameters"]
    assert rows.keys() == {"dense", *equal.networks(small.dims)}
    each = [equal.hidden_neurons(equal.spatial(dim), 4, 3, 243) for dim in small.dims]
    assert [row["network"] for row in rows.values()] == ["4-30-3", *(f"4-{n}-3" for n in [*each, each[0]])]
    for row, dim in zip([*rows.values()][1:], [*small.dims, 3], strict=True):
        assert 243 - dim < row["parameters"] <= 243
    assert record.path.exists()
    assert [run["judged by"] for run in record.runs].count("test") == 3 * len(rows)


def test_a_sparse_network_trains_within_two_gigabytes(benchmark):
    row = benchmark("sparse_scaling").in_a_process(hidden=20_000, steps=1, threads=1)
    assert row["synapses"] == 20_000 * (32 + 10)
    assert row["peak_mb"] < 2000


def test_slopes_of_the_scaling(benchmark):
    rows = [{"hidden": 2000, "step_ms": 1.0, "peak_mb": 10.0}, {"hidden": 12000, "step_ms": 6.0, "peak_mb": 30.0}]
    assert benchmark("sparse_scaling").slopes(rows) == {"step_ms": 0.5, "peak_mb": 2.0}


def test_converted_networks_are_summed_up(benchmark):
    from_linear = benchmark("from_linear")
    rows = [{"law": "cosine", "dim": 3, "seed": n, "explained": [10.0 * n, 50.0], "dense": 90.0 + n} for n in (1, 2)]
    assert from_linear.summary(rows) == {"explained": [15.0, 50.0], "dense": 91.5}


def test_bound_of_laws_of_one_sign(benchmark):
    network = torch.nn.Sequential(torch.nn.Linear(2, 3), torch.nn.ReLU(), torch.nn.Linear(3, 1))
    torch.nn.init.constant_(network[2].weight, -1.0)
    with torch.no_grad():
        network[0].weight.copy_(torch.tensor([[3.0, 0.0], [4.0, 2.0], [-5.0, -1.0]]))
    assert benchmark("from_linear").one_sign_bound(network) == pytest.approx([100 * 29 / 55, 100.0])


def test_each_case_of_the_recurrent_step_is_timed(benchmark):
    recurrent = benchmark("recurrent_step")
    models = recurrent.models()
    times = recurrent.step_milliseconds(models, recurrent.SIDE**2, 3, 1)
    assert times.keys() == models.keys() and all(elapsed > 0 for elapsed in times.values())
    assert all(name in models for pair in recurrent.PAIRS for name in pair)


def test_each_operator_of_the_spatial_convolution_is_timed(benchmark):
    spatial_conv = benchmark("spatial_conv")
    times = spatial_conv.times(nodes=30, neighbors=4, repeats=1)
    assert times.keys() == spatial_conv.operators().keys()
    for operator in spatial_conv.operators().values():
        assert spatial_conv.make_pass(operator, 30, 4)().shape == (30, spatial_conv.CHANNELS)


def test_the_command_of_the_spatial_convolution_names_its_arguments(benchmark):
    args = argparse.Namespace(nodes=30, neighbors=4, repeats=1)
    expected = "python benchmarks/spatial_conv.py --nodes 30 --neighbors 4 --repeats 1"
    assert benchmark("spatial_conv").command(args) == expected


def test_a_record_keeps_the_summaries_of_cases_that_are_not_measured_again(benchmark, tmp_path):
    record = benchmark("short_training").Record
    path = tmp_path / "record.json"
    first = record(path, {"what": "numbers", "rows": {}})
    first.get({"case": "a", "epochs": 1}, lambda: {"accuracy": 1.0})
    first.about["rows"]["a"] = 1.0
    first.write()
    second = record(path, {"what": "other numbers", "rows": {}})
    second.about["rows"]["b"] = 2.0
    second.write()
    third = record(path, {"rows": {}})
    assert third.about["rows"] == {"a": 1.0, "b": 2.0}
    assert third.get({"case": "a", "epochs": 1}, dict)["accuracy"] == 1.0
    assert third.get({"case": "a", "epochs": 2}, lambda: {"accuracy": 3.0})["accuracy"] == 3.0


def test_a_page_of_the_explorer_is_written_to_be_measured(benchmark, tmp_path):
    explorer = benchmark("explorer")
    graph = explorer.network(800)
    assert (graph.neurons, len(graph.inputs), len(graph.outputs)) == (800, 784, 10)
    explorer.write_explorer(graph, 50, tmp_path / "a.html")
    assert '"shown": 50' in (tmp_path / "a.html").read_text("utf-8")
    assert explorer.SCRIPTS.keys() == explorer.WRITERS.keys()
    seconds, megabytes = explorer.of_processes(os.getpid())
    assert seconds > 0.1 and 50 < megabytes < 50_000


def test_sums_of_many_neurons_are_measured(benchmark):
    scale = benchmark("scale")
    for kind, measure in scale.KINDS.items():
        if kind.startswith(("fmm3dpy", "pykeops")):
            continue
        row = measure(3000, 2, 1)
        assert row["forward_s"] > 0 and row["forward_and_backward_s"] > 0
        if kind.startswith("mesh"):
            assert row["error_of_sums"] < 1.5e-3 and row["error_of_inputs"] < 1.5e-3
            assert max(row["error_of_sources"], row["error_of_targets"]) < 1.5e-2
    kinds = {kind for kind, *_ in scale.cases([1000, 2000], 500, 1)}
    assert kinds <= scale.KINDS.keys() and {"mesh", "streamed", "dense"} <= kinds


def test_the_multipole_method_is_measured(benchmark):
    pytest.importorskip("fmm3dpy")
    assert benchmark("scale").multipole(2000, 1, 1)["error_of_sums"] < 1e-3


def test_both_normalisations_are_compared(benchmark):
    live = benchmark("live_statistics")
    torch.manual_seed(0)
    data = torch.rand(1200, 784), torch.randint(0, 10, (1200,)), torch.rand(50, 784), torch.randint(0, 10, (50,))
    rows = live.pruned([784, 40, 10], 0, data) + live.random([784, 40, 10], 0, data)
    assert len(rows) == 2 * (len(live.REMOVED) + len(live.DENSITIES))
    assert {row["normalize"] for row in rows} == {True, "live"} and all(0 <= row["trained"] <= 1 for row in rows)


TAKE_A_DEVICE = (
    "accelerator_step before_and_after large_network laws memory_per_synapse neighbors pruning_step recurrent_step "
    "sparse_scaling spatial_conv spiking_step step_time"
).split()


@pytest.mark.parametrize("name", TAKE_A_DEVICE)
def test_the_device_is_checked(benchmark, monkeypatch, capsys, name):
    monkeypatch.setattr(sys, "argv", [name, "--device", "tpu"])
    with pytest.raises(SystemExit, match="2"):
        benchmark(name).main()
    assert "must be one of cpu, cuda, mps, got 'tpu'" in capsys.readouterr().err
    monkeypatch.setattr(sys, "argv", [name, "--device", "cpu", "--help"])
    with pytest.raises(SystemExit, match="0"):
        benchmark(name).main()


def test_a_device_that_is_not_here_is_refused(benchmark, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    on_device = benchmark("on_device")
    with pytest.raises(argparse.ArgumentTypeError, match="finds here, got 'cuda'"):
        on_device.device_named("cuda")
    assert on_device.device_named("cpu") == torch.device("cpu")


def test_a_record_names_the_device(benchmark, monkeypatch):
    on_device = benchmark("on_device")
    about = on_device.record("python a.py", torch.device("cpu"))
    assert about["command"] == "python a.py" and about["device"]["type"] == "cpu"
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda: "A card")
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda: (9, 0))
    monkeypatch.setattr(torch, "get_float32_matmul_precision", lambda: "high")
    about = on_device.record("python a.py", torch.device("cuda"))
    assert about["command"] == "python a.py --device cuda"
    assert {"name": "A card", "capability": "9.0", "tf32": True}.items() <= about["device"].items()
    assert about["environment"]["packages"]["torch"] == importlib.metadata.version("torch")


def test_a_row_that_fails_leaves_the_others(benchmark, monkeypatch, tmp_path):
    accelerator_step = benchmark("accelerator_step")

    def fail(bench):
        raise ValueError("no such step")

    monkeypatch.setattr(accelerator_step.Bench, "sparse", fail)
    monkeypatch.setattr(accelerator_step, "IN_A_ROW", 1)
    precision = torch.get_float32_matmul_precision()
    with pytest.raises(SystemExit, match="1 of 12 rows failed"):
        accelerator_step.main(["--quick", "--rounds", "1", "--json", str(tmp_path / "a.json")])
    assert torch.get_float32_matmul_precision() == precision
    about = json.loads((tmp_path / "a.json").read_text())
    rows = about["rows"]
    (failed,) = [row for row in rows.values() if "error" in row]
    assert failed == {"error": "ValueError: no such step"}
    assert about["command"] == "python benchmarks/accelerator_step.py --rounds 1 --quick"
    for name, row in rows.items():
        if "128-128" in name:
            assert row["forward_ms"] > 0 and row["forward_and_backward_ms"] > 0 and row["limit_bytes"] == 4 * 10**9
        elif row is not failed:
            assert row["ours_over_theirs"] == pytest.approx(row["ours_ms"] / row["theirs_ms"])
            assert row["tf32"] == name.endswith("TF32") and row["bfloat16"] == name.endswith("bfloat16")


def test_the_largest_network_needs_memory_or_a_word(benchmark, monkeypatch):
    accelerator_step = benchmark("accelerator_step")
    monkeypatch.setattr(accelerator_step, "free_bytes", lambda device: 10**9)
    bench = accelerator_step.Bench(accelerator_step.Sizes(), torch.device("cpu"), 1, False)
    assert "--large" in bench.large()["skipped"]
    with pytest.raises(SystemExit):
        accelerator_step.main([])


def test_the_table_of_launches_is_that_of_the_record(benchmark):
    rows = json.loads((DOCS / "results" / "launches.json").read_text())["rows"]
    launches = benchmark("launches")
    assert rows.keys() == launches.cases().keys()
    assert launches.table(rows) in (DOCS / "accelerators.md").read_text()
