"""A law as a table of whole numbers over the squared distance."""

import dataclasses
import math

import numpy as np
import torch

from spatialgraph.laws import Law

__all__ = ["WEIGHT_BITS", "LawTable", "law_table"]

WEIGHT_BITS = 10
# Steps between two entries.
_FRACTION_BITS = 7


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


def law_table(law: Law, gain: float, unit: float, low: int, high: int, size: int = 200) -> LawTable:
    """Return a law as a table.

    Args:
        law: the law.
        gain: factor on all weights.
        unit: length unit of the squared distances.
        low: smallest squared distance.
        high: largest squared distance.
        size: largest number of intervals.

    Example:
        >>> from spatialgraph.laws import InverseDistance
        >>> table = law_table(InverseDistance(), 1.0, 0.01, 10_000, 40_000)  # lengths from 1 to 2
        >>> (table.unit * table(np.array([10_000, 40_000]))).round(2).tolist()
        [1.0, 0.5]
    """
    shift = max(0, math.ceil(math.log2((high - low + 1) / size)))
    squares = low + np.arange(((high - low) >> shift) + 2, dtype=np.float64) * 2.0**shift
    with torch.no_grad():
        exact = gain * law.from_square(torch.from_numpy(squares * unit**2 + law.softening**2)).double().numpy()
    step = float(np.abs(exact).max()) / (2**WEIGHT_BITS - 1) or 1.0
    return LawTable(np.round(exact / step).astype(np.int16), low, shift, min(shift, _FRACTION_BITS), step, exact)
