"""Accuracy over training."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from spatialgraph.plotting.axes import COLORS, given_or_new, whole_numbers

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["history"]

# Labels of quantities on the axes of figures.
_CURVES = {"train_accuracy": "training images", "validation_accuracy": "held-out images"}


def history(rows: Sequence[dict[str, Any]], ax: "Axes | None" = None, label: str = "") -> "Axes":
    """Draw the accuracies over the epochs of a training.

    Args:
        rows: what :func:`spatialgraph.training.fit` returns.
        ax: axes to draw on; None for new ones.
        label: prefix of the names in the legend.

    Returns:
        The axes.

    Raises:
        ValueError: if there are no rows.
        ImportError: if matplotlib is not installed.

    Example:
        >>> history([{"epoch": 1, "train_accuracy": 0.9}]).get_xlabel()
        'epoch'
    """
    if not rows:
        raise ValueError("rows must hold at least one epoch, got none")
    ax = given_or_new(ax)
    epochs = [row["epoch"] for row in rows]
    for (name, words), color in zip(_CURVES.items(), COLORS, strict=False):
        if name in rows[0]:
            # A line through a single point is empty: the marker shows it.
            percent = [100 * row[name] for row in rows]
            ax.plot(epochs, percent, marker="o", markersize=3, color=color, label=f"{label} {words}".strip())
    ax.set(xlabel="epoch", ylabel="accuracy (%)")
    ax.xaxis.set_major_locator(whole_numbers())
    ax.grid(alpha=0.3)
    ax.legend()
    return ax
