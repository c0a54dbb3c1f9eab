"""Which axes of space the explorer shows, and where neurons are along these."""

import dataclasses
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from spatialgraph import checks
from spatialgraph.graph.fields import axis_names
from spatialgraph.graph.spatial_graph import SpatialGraph

__all__ = ["AxesShown"]


@dataclasses.dataclass(frozen=True)
class AxesShown:
    """The axes to the right, up and towards the viewer, and the point in the middle of the picture.

    Args:
        numbers: numbers of one to three axes.
        names: their names.
        centre: the middle of the network along these axes, in length units.
    """

    numbers: list[int]
    names: list[str]
    centre: Tensor

    @classmethod
    def of(cls, graph: SpatialGraph, axes: Sequence[int] | None = None) -> "AxesShown":
        """Return the axes that are asked for, or those that suit a network: layers stand from left to right.

        Raises:
            TypeError: if ``axes`` is no sequence of ints.
            ValueError: if there is no such axis, one is named twice, or there are more than three.

        Example:
            >>> AxesShown.of(SpatialGraph.layered([3, 2], dim=5)).names
            ['p4', 'y', 'x']
        """
        numbers = _default(graph) if axes is None else _checked(axes, graph.dim)
        pos = checks.positions("pos", graph.positions().detach())[:, numbers].cpu().double()
        centre = pos.amin(0) / 2 + pos.amax(0) / 2
        return cls(numbers, [axis_names(graph.dim)[number] for number in numbers], centre)

    def place(self, pos: Tensor) -> np.ndarray:
        """Return positions ``(..., N, d)`` about the centre, shape ``(..., N, 3)``, float64; 0 where an axis lacks.

        Example:
            >>> graph = SpatialGraph(torch.tensor([[1.0], [3.0]]), torch.tensor([[0], [1]]))
            >>> AxesShown.of(graph).place(graph.pos.detach())
            array([[-1.,  0.,  0.],
                   [ 1.,  0.,  0.]])
        """
        shown = pos[..., self.numbers].detach().cpu().double() - self.centre
        filled: np.ndarray = torch.nn.functional.pad(shown, (0, 3 - len(self.numbers))).numpy()
        return filled


def _default(graph: SpatialGraph) -> list[int]:
    if not graph.is_layered:
        return list(range(min(3, graph.dim)))
    others = list(range(min(2, graph.dim - 1)))[::-1]
    return [graph.dim - 1, *others]


def _checked(axes: Sequence[int], dim: int) -> list[int]:
    if isinstance(axes, str | bytes) or not isinstance(axes, Sequence):
        raise TypeError(f"axes must be a sequence of ints, got {type(axes).__name__}")
    numbers = [checks.integer(f"axes[{place}]", axis) for place, axis in enumerate(axes)]
    for place, axis in enumerate(numbers):
        if not -dim <= axis < dim:
            raise ValueError(f"axes[{place}] must be the number of one of {dim} axes, got {axis}")
    numbers = [axis % dim for axis in numbers]
    if not 1 <= len(numbers) <= 3 or len(set(numbers)) < len(numbers):
        raise ValueError(f"axes must name one to three different axes, got {list(axes)}")
    return numbers
