"""The synapses of a network as arrays, which measures and null models take."""

import dataclasses
from typing import TYPE_CHECKING

import numpy as np
from torch import nn

from spatialgraph.connectome.formats.tables import Tables

if TYPE_CHECKING:
    import scipy.sparse

__all__ = ["WeightedEdges", "among"]


@dataclasses.dataclass(frozen=True)
class WeightedEdges:
    """Directed edges without parallel ones.

    Args:
        count: number of neurons N.
        source: number of each edge's source, shape ``(E,)``.
        target: number of each edge's target, shape ``(E,)``.
        weight: signed weights, shape ``(E,)``.
        length: lengths, shape ``(E,)``, in length units.
    """

    count: int
    source: np.ndarray
    target: np.ndarray
    weight: np.ndarray
    length: np.ndarray

    @classmethod
    def of(cls, network: nn.Module) -> "WeightedEdges":
        """Return the synapses of a graph, or of the one of a model.

        Example:
            >>> from spatialgraph import SpatialGraph
            >>> WeightedEdges.of(SpatialGraph.layered([3, 2])).count
            5
        """
        tables = Tables.of(network)
        columns = (tables.synapses[name] for name in ("source", "target", "weight", "length"))
        source, target, weight, length = columns
        return cls(len(tables.neurons["x"]), source, target, weight.astype(np.float64), length.astype(np.float64))

    def matrix(self, values: np.ndarray) -> "scipy.sparse.csr_array":
        """Return values of the edges as a matrix from sources (rows) to targets (columns)."""
        from scipy.sparse import csr_array

        return csr_array((values, (self.source, self.target)), shape=(self.count, self.count))

    def sums(self, end: str, values: np.ndarray) -> np.ndarray:
        """Return the sums of values over the edges of each neuron at one end, ``"source"`` or ``"target"``."""
        return np.bincount(getattr(self, end), values, minlength=self.count)


def among(numbers: np.ndarray, ordered: np.ndarray) -> np.ndarray:
    """Tell which numbers are among others, which are in order: much faster than ``numpy.isin``.

    Example:
        >>> among(np.array([3, 4, 9]), np.array([1, 4])).tolist()
        [False, True, False]
    """
    if not len(ordered):
        return np.zeros(numbers.shape, bool)
    found: np.ndarray = ordered[np.searchsorted(ordered, numbers).clip(max=len(ordered) - 1)] == numbers
    return found
