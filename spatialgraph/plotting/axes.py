"""The axes that figures are drawn on, and their colours."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.ticker import MaxNLocator

__all__ = [
    "COLORS",
    "EXCITATORY",
    "INHIBITORY",
    "NEUTRAL",
    "SIGNED",
    "colors_of",
    "given_or_new",
    "given_or_new_3d",
    "whole_numbers",
]

COLORS = ("#0072b2", "#e69f00", "#000000", "#56b4e9", "#cc79a7", "#009e73")
"""Colours for classes and curves that colour-blind readers can tell apart (https://jfly.uni-koeln.de/color/)."""

EXCITATORY, INHIBITORY, NEUTRAL = "#b2182b", "#2166ac", "#808080"
SIGNED = "RdBu_r"
"""Colour map of signed values, from the blue of inhibition to the red of excitation."""


def colors_of(count: int) -> list[str]:
    """Return colours for so many classes or curves, as hexadecimal numbers.

    Example:
        >>> colors_of(2)
        ['#0072b2', '#e69f00']
    """
    if count <= len(COLORS):
        return list(COLORS[:count])
    from matplotlib import colormaps
    from matplotlib.colors import to_hex

    return [to_hex(colormaps["viridis"](place / count)) for place in range(count)]


def given_or_new(ax: "Axes | None") -> "Axes":
    """Return the axes that were given, or new ones where there are none.

    Raises:
        ImportError: if new ones are needed and matplotlib is not installed.

    Example:
        >>> given_or_new(None).get_title()
        ''
    """
    return _new(None) if ax is None else ax


def given_or_new_3d(ax: "Axes | None") -> "Axes":
    """Return the three-dimensional axes that were given, or new ones where there are none.

    Raises:
        TypeError: if the axes that were given have two dimensions.
        ImportError: if new ones are needed and matplotlib is not installed.

    Example:
        >>> given_or_new_3d(None).name
        '3d'
    """
    if ax is None:
        return _new("3d")
    if getattr(ax, "name", None) != "3d":
        got = type(ax).__name__
        raise TypeError(f"ax must be three-dimensional axes, such as figure.add_subplot(projection='3d'), got {got}")
    return ax


def _new(projection: str | None) -> "Axes":
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise ImportError('plotting needs matplotlib; install it with: pip install "spatialgraph[plot]"') from error
    ax: Axes = Figure(layout="constrained").add_subplot(projection=projection)
    return ax


def whole_numbers() -> "MaxNLocator":
    """Return what puts the marks of an axis at whole numbers only."""
    from matplotlib.ticker import MaxNLocator

    return MaxNLocator(integer=True, min_n_ticks=1)
