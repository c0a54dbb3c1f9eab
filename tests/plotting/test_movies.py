"""Movies have a frame for each time, and are written whole or not at all."""

import numpy as np
import pytest
import torch

pytest.importorskip("matplotlib")

from matplotlib.animation import FFMpegWriter
from matplotlib.figure import Figure
from PIL import Image

import spatialgraph as sg
from spatialgraph import plotting


def recorded(times=3, sizes=(6, 5, 3), **options):
    model = sg.SpatialMLP(list(sizes), **options)
    recording = sg.Recording()
    for epoch in range(times):
        recording.add(model, 2 * epoch)
        model.graph.positions.coords.data.mul_(1.5)
        model.graph.raw_polarity.data.neg_()
    return recording, model


@pytest.mark.parametrize("times", [1, 3])
@pytest.mark.parametrize("is_known", [False, True])
def test_a_frame_for_each_time(tmp_path, times, is_known):
    recording, model = recorded(times)
    path = tmp_path / "a.gif"
    ax = plotting.movie(recording, path, model if is_known else None, fps=5, dpi=30)
    with Image.open(path) as movie:
        assert movie.n_frames == times and movie.format == "GIF"
        assert times == 1 or movie.info["duration"] == 200
    assert [each.name for each in tmp_path.iterdir()] == ["a.gif"]
    assert ax.get_title() == f"epoch {2 * times - 2}"


def test_the_last_frame_shows_the_last_time(tmp_path):
    recording, model = recorded(2)
    ax = plotting.movie(recording, str(tmp_path / "a.gif"), model, dpi=30)
    inputs, dots = ax.collections[:2]
    pos = recording.positions[-1].numpy()
    assert np.asarray(inputs.get_offsets()) == pytest.approx(pos[:6, :2])
    assert np.asarray(dots.get_offsets()) == pytest.approx(pos[6:11, :2])
    assert np.asarray(dots.get_array()) == pytest.approx(recording.polarities[-1, 6:11].numpy())
    assert [text.get_text() for text in ax.texts] == ["0", "1", "2"]
    assert np.array([text.get_position() for text in ax.texts]) == pytest.approx(pos[11:, :2])
    low, high = recording.positions[..., :2].amin((0, 1)), recording.positions[..., :2].amax((0, 1))
    for (first, last), least, most in zip((ax.get_xlim(), ax.get_ylim()), low, high, strict=True):
        assert first < least and most < last


@pytest.mark.parametrize("dim", [1, 2, 5])
def test_without_the_network_all_neurons_are_dots(tmp_path, dim):
    recording, _ = recorded(1, dim=dim, dtype=torch.float64)
    ax = plotting.movie(recording, tmp_path / "a.gif", dpi=30)
    found = np.asarray(ax.collections[1].get_offsets())
    assert found[:, 0] == pytest.approx(recording.positions[-1][:, 0].numpy()) and not ax.texts
    assert found[:, 1] == pytest.approx(recording.positions[-1][:, 1].numpy() if dim > 1 else np.zeros(14))


def test_many_outputs_are_dots(tmp_path):
    recording, model = recorded(2, (3, 21))
    ax = plotting.movie(recording, tmp_path / "a.gif", model, dpi=30)
    assert not ax.texts and len(ax.collections[2].get_offsets()) == 21


def test_given_axes_are_the_frame(tmp_path):
    ax = Figure(figsize=(3, 2)).add_subplot()
    recording, _ = recorded(2)
    assert plotting.movie(recording, tmp_path / "a.GIF", None, ax, dpi=50) is ax
    with Image.open(tmp_path / "a.GIF") as movie:
        assert movie.size == (150, 100)


def test_a_failure_leaves_the_file_as_it_was(tmp_path, monkeypatch):
    path = tmp_path / "a.gif"
    path.write_bytes(b"before")
    monkeypatch.setattr(Image.Image, "save", lambda *_, **__: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        plotting.movie(recorded(2)[0], path)
    assert path.read_bytes() == b"before" and len(list(tmp_path.iterdir())) == 1


def test_mp4_without_ffmpeg(tmp_path, monkeypatch):
    monkeypatch.setattr(FFMpegWriter, "isAvailable", classmethod(lambda cls: False))
    with pytest.raises(RuntimeError, match=r"suffix \.mp4 needs the program ffmpeg, which is not installed"):
        plotting.movie(recorded(2)[0], tmp_path / "a.mp4")
    assert not list(tmp_path.iterdir())


@pytest.mark.skipif(not FFMpegWriter.isAvailable(), reason="needs ffmpeg")
def test_mp4(tmp_path):
    plotting.movie(recorded(3)[0], tmp_path / "a.mp4")
    assert b"ftyp" in (tmp_path / "a.mp4").read_bytes()[:12]


@pytest.mark.parametrize(
    ("recording", "path", "options", "error", "message"),
    [
        (None, "a.gif", {}, TypeError, "recording must be a Recording, got NoneType"),
        (sg.Recording(), "a.gif", {}, ValueError, "recording must hold at least one time, got none"),
        (recorded(1)[0], "a.avi", {}, ValueError, "the suffix of path must be one of '.gif', '.mp4', got '.avi'"),
        (recorded(1)[0], 3, {}, TypeError, "path must be a string or a path, got int"),
        (recorded(1)[0], "a.gif", {"fps": 0}, ValueError, "fps must be between 0.1 and 50, got 0"),
        (recorded(1)[0], "a.gif", {"dpi": 0}, ValueError, "dpi must be at least 1, got 0"),
        (
            recorded(1)[0],
            "a.gif",
            {"network": sg.SpatialGraph.layered([3, 2])},
            ValueError,
            "network must have the 14 neurons of the recording, got 5",
        ),
        (recorded(1)[0], "a.gif", {"network": torch.nn.Linear(2, 1)}, TypeError, "network must be a SpatialGraph"),
    ],
)
def test_wrong_calls(tmp_path, recording, path, options, error, message):
    with pytest.raises(error, match=message):
        plotting.movie(recording, tmp_path / path if isinstance(path, str) else path, **options)
    assert not list(tmp_path.iterdir())


def test_no_folder(tmp_path):
    with pytest.raises(FileNotFoundError):
        plotting.movie(recorded(1)[0], tmp_path / "none" / "a.gif")
