"""The axes that figures are drawn on, and their colours."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.ticker import MaxNLocator

__all__ = ["COLORS", "given_or_new", "whole_numbers"]

COLORS = ("#0072b2", "#e69f00", "#000000", "#56b4e9", "#cc79a7", "#009e73")
"""Colours for classes and curves that colour-blind readers can tell apart (https://jfly.uni-koeln.de/color/)."""


def given_or_new(ax: "Axes | None") -> "Axes":
    """Return the axes that were given, or new ones where there are none.

    Raises:
        ImportError: if new ones are needed and matplotlib is not installed.

    Example:
        >>> given_or_new(None).get_title()
        ''
    """
    if ax is not None:
        return ax
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise ImportError('plotting needs matplotlib; install it with: pip install "spatialgraph[plot]"') from error
    return Figure(layout="constrained").add_subplot()


def whole_numbers() -> "MaxNLocator":
    """Return what puts the marks of an axis at whole numbers only."""
    from matplotlib.ticker import MaxNLocator

    return MaxNLocator(integer=True, min_n_ticks=1)
