"""Columns of numbers that a reader found, one entry for each neuron or edge, and what messages call these.

NaN stands for a value that is left open.
"""

import dataclasses
from collections.abc import Hashable, Mapping, Sequence

import numpy as np
import torch
from torch import Tensor

from spatialgraph.functional.precision import dtype_name

__all__ = ["Labels", "check_complete", "fitting", "flags", "refuse"]


@dataclasses.dataclass(frozen=True)
class Labels:
    """What messages call the neurons: by the names of nodes, or by numbers where there are none.

    Example:
        >>> Labels().neuron(3), Labels(["a", "b"]).edge(0, 1)
        ('neuron 3', "edge ('a', 'b')")
    """

    names: Sequence[Hashable] | None = None

    def neuron(self, number: int) -> str:
        """Return what a neuron is called."""
        return f"neuron {number}" if self.names is None else f"node {self.names[number]!r}"

    def edge(self, source: int, target: int) -> str:
        """Return what an edge is called."""
        return f"edge {(source, target)}" if self.names is None else f"edge {(self.names[source], self.names[target])}"

    def entry(self, at: int, edge_index: Tensor | None) -> str:
        """Return what an entry of a column belongs to, a neuron or, where an ``edge_index`` is given, an edge."""
        return self.neuron(at) if edge_index is None else self.edge(*edge_index[:, at].tolist())


def check_complete(columns: Mapping[str, np.ndarray], labels: Labels, edge_index: Tensor | None = None) -> None:
    """Refuse columns with NaN or infinite values, of neurons or, where an ``edge_index`` is given, of its edges.

    Raises:
        ValueError: naming the neuron or edge, the column and the value.

    Example:
        >>> check_complete({"bias": np.array([0.0, np.nan])}, Labels())
        Traceback (most recent call last):
        ValueError: graph must hold finite numbers in 'bias', got nan for neuron 1
    """
    for name, values in columns.items():
        if values.dtype.kind not in "fiub":
            raise ValueError(f"graph must hold numbers in {name!r}, got {values.dtype}")
        bad = np.flatnonzero(~np.isfinite(values))
        if bad.size:
            entry = labels.entry(int(bad[0]), edge_index)
            raise ValueError(f"graph must hold finite numbers in {name!r}, got {values[bad[0]]} for {entry}")


def fitting(
    name: str, values: np.ndarray, dtype: torch.dtype, labels: Labels, edge_index: Tensor | None = None
) -> Tensor:
    """Return numbers in the network's dtype, which must be able to hold them."""
    own = torch.from_numpy(np.asarray(values, dtype=np.float64)).to(dtype)
    bad = torch.nonzero(torch.isinf(own))
    if len(bad):
        at = int(bad[0])
        raise ValueError(
            f"graph must hold numbers in {name!r} that fit {dtype_name(dtype)}, "
            f"got {values[at]} for {labels.entry(at, edge_index)}"
        )
    return own


def refuse(name: str, rule: str, values: np.ndarray, bad: np.ndarray, labels: Labels) -> None:
    """Raise where values of a column are not allowed."""
    if bad.any():
        at = int(np.flatnonzero(bad)[0])
        raise ValueError(f"graph must hold {rule} in {name!r}, got {values[at]:g} for {labels.neuron(at)}")


def flags(name: str, values: np.ndarray | None, labels: Labels) -> Tensor | None:
    """Return truth values; a neuron without one has False."""
    if values is None:
        return None
    known = np.where(np.isnan(values), 0.0, values)
    refuse(name, "True, False, 1 or 0", known, (known != 0) & (known != 1), labels)
    return torch.from_numpy(known != 0)
