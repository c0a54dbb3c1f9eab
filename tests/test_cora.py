"""The example of Cora as a user runs it, on its synthetic graph."""

import json
from pathlib import Path

import pytest
import torch
import torch_geometric.nn as pyg

import spatialgraph as sg

pytest.importorskip("matplotlib")
pytest.importorskip("lightning")  # of the package of experiments

EDGES = torch.tensor([[0, 1, 2, 3], [1, 2, 3, 0]])


@pytest.fixture
def cora(scripts_of, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    return scripts_of("examples")("cora")


def test_it_prints_a_table_and_writes_all_files(cora, capsys):
    results = cora.main(["--epochs", "3", "--seeds", "2", "--hidden", "4", "--dim", "2"])
    printed = capsys.readouterr().out
    assert "Note: without --data a synthetic graph is used" in printed
    assert [result.network for result in results] == cora.NETWORKS
    assert all(f"| {result.network} | {result.parameters} |" in printed for result in results)
    written = json.loads(Path("runs/cora/metrics.json").read_text())
    assert written["data"] == "synthetic"
    assert written["settings"]["polarities"] == cora.POLARITIES
    assert "torch" in written["environment"]["packages"]
    assert [row["mean"] for row in written["results"]] == [result.mean for result in results]
    deviations = [abs(first - second) / 2**0.5 for first, second in (result.accuracies for result in results)]
    assert [row["deviation"] for row in written["results"]] == pytest.approx(deviations)
    assert Path("runs/cora/cora.png").exists()


def test_parameters(cora):
    gcn, spatial = cora.main(["--networks", "gcn", "spatial_gcn", "--epochs", "1", "--seeds", "1", "--hidden", "4"])
    assert gcn.deviation is None
    assert gcn.parameters == 60 * 4 + 4 + 4 * 3 + 3
    assert spatial.parameters == 60 * 9 + 4 * 8 + 4 + 4 * 9 + 3 * 8 + 3  # eight axes and, of a source, a polarity


def test_rates_and_weight_decay(cora):
    groups = {group["name"]: group for group in cora.parameter_groups(cora.Net("spatial_gcn", 6, 4, 3, dim=2))}
    decays = {name: group.get("weight_decay", 0.0) for name, group in groups.items()}
    assert decays == {"positions": 0.0, "polarities": 2e-3, "others": 5e-4}
    assert groups["others"]["lr"] == 0.01
    (dense,) = cora.parameter_groups(cora.Net("gcn", 6, 4, 3, dim=2))
    assert (dense["lr"], dense["weight_decay"]) == (0.01, 5e-4)


def test_words_are_dropped_as_by_dropout(cora):
    x = torch.rand(20, 50).sub(0.7).relu()
    dropped = cora.drop_words(x, 0.5)
    torch.manual_seed(0)
    kept = dropped != 0
    assert torch.equal(dropped[kept], 2 * x[kept])
    assert 0.3 < kept.sum() / (x != 0).sum() < 0.7


def test_spatial_networks_learn(cora):
    (result,) = cora.main(["--networks", "spatial_gcn", "--epochs", "60", "--seeds", "1"])
    assert result.mean > 60.0  # a guess has 33


@pytest.mark.parametrize("make", [pyg.GCNConv, pyg.SAGEConv, pyg.GATConv])
def test_linear_layers_are_replaced(cora, make):
    conv, x = make(6, 4), torch.randn(4, 6)
    replaced = cora.spatial(make(6, 4), dim=2)
    assert not any(isinstance(module, pyg.Linear) for module in replaced.modules())
    for name, layer in conv.named_children():
        if isinstance(layer, pyg.Linear):  # the same operator with the weights of the spatial layer
            linear = getattr(replaced, name).to_linear()
            layer.weight.data.copy_(linear.weight)
            if layer.bias is not None:
                layer.bias.data.copy_(linear.bias)
    own = {name: value for name, value in conv.state_dict().items() if name in replaced.state_dict()}
    replaced.load_state_dict(own, strict=False)
    y = replaced(x, EDGES)
    torch.testing.assert_close(y, conv(x, EDGES), rtol=1e-4, atol=1e-5)
    replaced.reset_parameters()
    replaced(x, EDGES).sum().backward()
    assert all(value.grad is not None for value in replaced.parameters())
    assert any(isinstance(module, sg.SpatialLinear) for module in replaced.modules())
