"""Axes of figures."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.ticker import MaxNLocator

__all__ = ["given_or_new", "whole_numbers"]


def given_or_new(ax: "Axes | None") -> "Axes":
    """Return the given axes, or new ones if None.

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
    """Return a locator that places ticks at integers only."""
    from matplotlib.ticker import MaxNLocator

    return MaxNLocator(integer=True, min_n_ticks=1)
