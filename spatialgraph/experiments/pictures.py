"""Figures of a training, as files."""

import functools
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from spatialgraph import atomic, plotting
from spatialgraph.graph.spatial_graph import SpatialGraph
from spatialgraph.plotting.layers import draw_neurons, polarity_colors

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["draw_history", "draw_layers", "save_figure"]


def save_figure(figure: "Figure", path: Path, dpi: int = 110) -> None:
    """Write a figure as PNG, atomically.

    Args:
        figure: the figure.
        path: the file.
        dpi: dots per inch.

    Example:
        >>> import tempfile
        >>> from matplotlib.figure import Figure
        >>> path = Path(tempfile.mkdtemp()) / "empty.png"
        >>> save_figure(Figure(), path)
        >>> path.exists()
        True
    """
    atomic.write(path, functools.partial(figure.savefig, format="png", dpi=dpi))


def draw_layers(graph: SpatialGraph, path: Path) -> None:
    """Draw the positions of each layer, on the same scales and with one colour bar."""
    from matplotlib.figure import Figure

    count = int(graph.layer.max()) + 1
    figure = Figure(figsize=(4.6 * count + 1.0, 4.6), layout="constrained")
    axes = figure.subplots(1, count, squeeze=False)[0]
    for number, ax in enumerate(axes):
        draw_neurons(graph, number, ax)
    figure.colorbar(polarity_colors(graph), ax=axes, label="polarity", shrink=0.8)
    save_figure(figure, path)


def draw_history(rows: Sequence[dict[str, Any]], title: str, path: Path) -> None:
    """Draw the accuracy over the epochs."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6.4, 4.2), layout="constrained")
    plotting.history(rows, ax=figure.add_subplot()).set_title(title)
    save_figure(figure, path)
