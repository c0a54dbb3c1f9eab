"""The history of a training, whatever its length."""

import pytest

pytest.importorskip("matplotlib")

from spatialgraph import plotting


@pytest.mark.parametrize("epochs", [1, 3])
@pytest.mark.parametrize("names", [["train_accuracy"], ["train_accuracy", "validation_accuracy"]])
def test_every_curve_shows_every_epoch(epochs, names):
    rows = [
        {"epoch": epoch, **{name: epoch / 10 + place / 100 for place, name in enumerate(names)}}
        for epoch in range(1, epochs + 1)
    ]
    ax = plotting.history(rows)
    assert [list(line.get_xdata()) for line in ax.lines] == [[row["epoch"] for row in rows]] * len(names)
    assert [list(line.get_ydata()) for line in ax.lines] == [[100 * row[name] for row in rows] for name in names]
    assert all(line.get_marker() == "o" and line.get_markersize() > 0 for line in ax.lines)
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("epoch", "accuracy (%)")


def test_a_history_is_drawn_on_the_axes_it_is_given():
    rows = [{"epoch": 1, "train_accuracy": 0.5}]
    ax = plotting.history(rows)
    assert plotting.history(rows, ax, "again") is ax
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["training images", "again training images"]
    ax.figure.draw_without_rendering()
