"""A law as a table of whole numbers over the squared distance."""

import dataclasses
import math
from collections.abc import Sequence

import numpy as np
import torch

from spatialgraph.laws import Law

__all__ = ["WEIGHT_BITS", "LawTable", "fitted_table", "law_table"]

WEIGHT_BITS = 10
# Steps between two entries.
_FRACTION_BITS = 7
# Numbers of intervals that are tried, and the largest error of a table's weights, root mean square, in that of the
# weights.
_SIZES, _LARGEST_ERROR = (200, 400, 800, 1600, 3200), 0.05


@dataclasses.dataclass(frozen=True)
class LawTable:
    r"""A law over the squared distance :math:`U`, as whole numbers with straight lines between them.

    .. math:: w(U) = T_k + \left\lfloor \frac{(T_{k+1} - T_k) f + 2^{b-1}}{2^b} \right\rfloor, \quad
        k = \left\lfloor \frac{U - U_0}{2^s} \right\rfloor

    with :math:`f` the :math:`b` highest of the :math:`s` lower bits of :math:`U - U_0`.

    Args:
        entries: :math:`T`, int16, at most :math:`2^{10} - 1` in size.
        start: :math:`U_0`.
        shift: :math:`s`.
        fraction: :math:`b`, at most :math:`s`.
        unit: weight for one step of an entry.
        exact: the weights themselves.

    Example:
        >>> entries = np.array([0, 8], dtype=np.int16)
        >>> LawTable(entries, start=0, shift=3, fraction=2, unit=1.0, exact=entries)(np.arange(8)).tolist()
        [0, 0, 2, 2, 4, 4, 6, 6]
    """

    entries: np.ndarray
    start: int
    shift: int
    fraction: int
    unit: float
    exact: np.ndarray

    def __call__(self, square: np.ndarray) -> np.ndarray:
        """Return the weights at squared distances, int64, of the same shape."""
        offset = square - self.start
        at = offset >> self.shift
        part = (offset >> (self.shift - self.fraction)) & ((1 << self.fraction) - 1)
        low, high = (self.entries.astype(np.int64)[at + step] for step in (0, 1))
        weights: np.ndarray = low + (((high - low) * part + ((1 << self.fraction) >> 1)) >> self.fraction)
        return weights


def law_table(law: Law, gain: float, unit: float, low: int, high: int, size: int = _SIZES[0]) -> LawTable:
    """Return a law as a table.

    Args:
        law: the law.
        gain: factor on all weights.
        unit: length unit of the squared distances.
        low: smallest squared distance.
        high: largest squared distance.
        size: largest number of intervals.

    Raises:
        ValueError: if a weight is not finite.

    Example:
        >>> from spatialgraph.laws import InverseDistance
        >>> table = law_table(InverseDistance(), 1.0, 0.01, 10_000, 40_000)  # lengths from 1 to 2
        >>> (table.unit * table(np.array([10_000, 40_000]))).round(2).tolist()
        [1.0, 0.5]
    """
    shift = max(0, math.ceil(math.log2((high - low + 1) / size)))
    squares = low + np.arange(((high - low) >> shift) + 2, dtype=np.float64) * 2.0**shift
    exact = _weights(law, gain, unit, squares)
    if not np.isfinite(exact).all():
        lengths = unit * np.sqrt(squares[~np.isfinite(exact)])
        raise ValueError(f"law must be finite between the neurons, got others at a length of {lengths[0]:.3g}")
    step = float(np.abs(exact).max()) / (2**WEIGHT_BITS - 1) or 1.0
    return LawTable(np.round(exact / step).astype(np.int16), low, shift, min(shift, _FRACTION_BITS), step, exact)


def fitted_table(
    law: Law, gain: float, unit: float, squares: Sequence[np.ndarray], exact: Sequence[np.ndarray] | None = None
) -> LawTable:
    """Return a table with as many intervals as the law needs at the lengths of a network.

    Args:
        law: the law.
        gain: factor on all weights.
        unit: length unit of the squared distances.
        squares: the squared distances of each projection, shape ``(targets, sources)``; masked where no synapse is.
        exact: the same before they were rounded, not masked; None for the same numbers.

    Raises:
        ValueError: if a weight is not finite, or the law changes too fast for the largest table.

    Example:
        >>> from spatialgraph.laws import InverseDistance
        >>> len(fitted_table(InverseDistance(), 1.0, 0.01, [np.array([[10_000, 40_000]])]).entries)
        119
    """
    low, high = min(int(each.min()) for each in squares), max(int(each.max()) for each in squares)
    wanted = [
        np.where(np.ma.getmaskarray(each), 0.0, _weights(law, gain, unit, np.ma.filled(real, low)))
        for each, real in zip(squares, squares if exact is None else exact, strict=True)
    ]
    for size in _SIZES:
        table = law_table(law, gain, unit, low, high, size)
        error = max(_error(table, each, weights) for each, weights in zip(squares, wanted, strict=True))
        if error <= _LARGEST_ERROR:
            return table
    raise ValueError(
        f"law must be smooth enough for a table of {_SIZES[-1]} intervals, got weights that are {error:.0%} off; "
        "larger gaps between layers or a softer law help"
    )


def _error(table: LawTable, squares: np.ndarray, wanted: np.ndarray) -> float:
    """Return the largest error of a target's weights, root mean square, in that of its weights or a typical target's.

    Masked squared distances do not count; rows are targets.
    """
    found = table.unit * table(np.ma.filled(squares, table.start))
    wrong = np.where(np.ma.getmaskarray(squares), 0.0, found) - wanted
    sizes, errors = (np.sqrt((each**2).sum(-1)) for each in (wanted, wrong))
    floor = np.maximum(sizes, np.median(sizes))
    return float(np.max(errors / np.where(floor > 0, floor, 1.0)))


def _weights(law: Law, gain: float, unit: float, squares: np.ndarray) -> np.ndarray:
    """Return the exact weights at squared distances."""
    with torch.no_grad():
        weights = law.from_square(torch.from_numpy(squares * unit**2 + law.softening**2))
    exact: np.ndarray = gain * weights.double().numpy()
    return exact
