"""Recordings hold what a network was, and files of them what was recorded."""

import re

import pytest
import torch

import spatialgraph as sg
from spatialgraph import Recording


def recorded(times=3, **options):
    """A recording, and the positions and polarities at its times."""
    model = sg.SpatialMLP([4, 3, 2], **options)
    recording, seen = Recording(), []
    for epoch in range(times):
        with torch.no_grad():
            model.graph.positions.coords.add_(1.0)
            model.graph.raw_polarity.mul_(2.0)
        recording.add(model, 2 * epoch)
        seen.append((model.graph.pos.detach().clone(), model.graph.polarity.detach().clone()))
    return recording, seen


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.float16])
def test_a_recording_holds_what_the_network_was(dtype):
    recording, seen = recorded(dtype=dtype, polarity_mode="binary")
    assert len(recording) == 3 and recording.epochs == [0, 2, 4]
    assert repr(recording) == "Recording(times=3, neurons=9, dim=3)"
    assert torch.equal(recording.positions, torch.stack([pos for pos, _ in seen]))
    assert torch.equal(recording.polarities, torch.stack([polarity for _, polarity in seen]))
    assert recording.positions.dtype == dtype and type(recording.polarities) is torch.Tensor
    assert not recording.positions.requires_grad


def test_an_empty_recording():
    recording = Recording()
    assert len(recording) == 0 and recording.epochs == [] and recording.positions.shape == (0, 0, 0)
    assert repr(recording) == "Recording(times=0, neurons=0, dim=0)"


@pytest.mark.parametrize("times", [0, 1, 3])
def test_files(tmp_path, times):
    recording, _ = recorded(times)
    recording.save(tmp_path / "a.pt")
    assert [path.name for path in tmp_path.iterdir()] == ["a.pt"]
    again = Recording.load(str(tmp_path / "a.pt"))
    assert again.epochs == recording.epochs and torch.equal(again.positions, recording.positions)
    assert torch.equal(again.polarities, recording.polarities)
    if times:
        again.add(sg.SpatialGraph.layered([4, 3, 2]), 99.5)
        assert again.epochs[-1] == 99.5 and len(again) == times + 1 and len(recording) == times


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"no recording",
        {"epochs": [1]},
        {"epochs": [1], "positions": torch.zeros(2, 3, 1), "polarities": torch.zeros(2, 3)},
        {"epochs": [1], "positions": torch.zeros(1, 3), "polarities": torch.zeros(1, 3)},
        {"epochs": [1], "positions": torch.zeros(1, 3, 2), "polarities": torch.zeros(1, 2)},
        {"epochs": [1], "positions": torch.full((1, 3, 2), torch.nan), "polarities": torch.zeros(1, 3)},
        {"epochs": [1, 1], "positions": torch.zeros(2, 3, 2), "polarities": torch.zeros(2, 3)},
    ],
    ids=range(8),
)
def test_files_that_are_no_recordings(tmp_path, content):
    path = tmp_path / "a.pt"
    if isinstance(content, bytes):
        path.write_bytes(content)
    else:
        torch.save(content, path)
    with pytest.raises(ValueError, match=f"{re.escape(str(path))} must be a recording that Recording.save wrote: "):
        Recording.load(path)


def test_no_file(tmp_path):
    with pytest.raises(FileNotFoundError):
        Recording.load(tmp_path / "a.pt")


def with_nan(name):
    graph = sg.SpatialGraph.layered([4, 3, 2])
    dict(graph.named_parameters())[name].data.view(-1)[1] = torch.nan
    return graph


@pytest.mark.parametrize(
    ("network", "epoch", "error", "message"),
    [
        (sg.SpatialGraph.layered([4, 3, 2]), 4, ValueError, r"epoch must be above the last one \(4\), got 4"),
        (sg.SpatialGraph.layered([4, 3, 2]), "5", TypeError, "epoch must be a number, got '5'"),
        (sg.SpatialGraph.layered([4, 3, 2]), float("nan"), ValueError, "epoch must be finite, got nan"),
        (sg.SpatialGraph.layered([5, 3, 2]), 5, ValueError, r"as many neurons and axes as before, \(9, 3\), got \(10"),
        (sg.SpatialGraph.layered([4, 3, 2], dim=2), 5, ValueError, r"as before, \(9, 3\), got \(9, 2\)"),
        (torch.nn.Linear(2, 1), 5, TypeError, "network must be a SpatialGraph or a model"),
        (with_nan("positions.coords"), 5, ValueError, "pos must be finite, got .*nan.* for neuron 0"),
        (with_nan("raw_polarity"), 5, ValueError, r"polarity must be finite, got nan at \(1,\)"),
    ],
)
def test_a_failed_addition_changes_nothing(network, epoch, error, message):
    recording, _ = recorded()
    with pytest.raises(error, match=message):
        recording.add(network, epoch)
    assert len(recording) == 3 and len(recording.positions) == len(recording.polarities) == 3
