"""Positions: where neurons start, which of their coordinates are learnt, and how layers are spaced."""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import ClassVar

import torch
from torch import Tensor, nn

from spatialgraph import checks
from spatialgraph.devices import draw, on_cpu
from spatialgraph.functional.ordered import summed, taken
from spatialgraph.functional.precision import in_single
from spatialgraph.graph.connectivity import Connectivity
from spatialgraph.graph.grids import LEVEL, Grid, Sums
from spatialgraph.graph.used import hold, hold_rows, replace

__all__ = ["INITS", "LEVEL", "SPACINGS", "Init", "Positions", "anchor_mask", "initial_positions", "neuron_numbers"]

SPACINGS = ("fixed", "learned", "free")
INITS = ("normal", "uniform", "grid")

Init = str | Tensor | Callable[[int, int, int], Tensor]
"""A name, a tensor of shape (N, d), or a function of (layer, number of neurons, number of axes)."""


class Positions(nn.Module):
    r"""The positions of a network's neurons, as parameters.

    With spacing ``"free"`` all :math:`d` coordinates of a neuron are learnable. Otherwise the neurons of layer
    :math:`l` share their last coordinate, :math:`z_l = \sum_{k < l} g_k`: with ``"learned"`` each gap :math:`g_k` is a
    parameter, with ``"fixed"`` it is 1. The neurons of a layer that is a grid stand where the coordinates of their row
    and column add up to. An anchored neuron keeps all its coordinates and has no parameters. What no output depends on,
    or has no elements, is a buffer of the same name and no parameter.

    Args:
        pos: positions to start from, shape ``(N, d)``, in length units.
        connectivity: says which neurons there are: their layers, and who is anchored.
        spacing: ``"fixed"``, ``"learned"`` or ``"free"``.
        learnable: whether anything depends on the positions.

    Example:
        >>> from spatialgraph.wiring.wirings import AllToAll
        >>> pos = torch.tensor([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0]])
        >>> positions = Positions(pos, Connectivity(pos, AllToAll(), torch.tensor([0, 0, 1]), None), "learned")
        >>> [tuple(p.shape) for p in positions.parameters()]
        [(3, 1), (1,)]
    """

    parameter_kinds: ClassVar[dict[str, str]] = {"coords": "positions", "grid_coords": "positions", "gaps": "positions"}

    coords: Tensor
    grid_coords: Tensor
    gaps: Tensor
    anchor_pos: Tensor

    def __init__(self, pos: Tensor, connectivity: Connectivity, spacing: str, learnable: bool = True) -> None:
        super().__init__()
        self.spacing = spacing
        self.dim = pos.shape[1]
        self._owner = (connectivity,)  # in a tuple, for it is no part of the positions
        topology = connectivity.topology
        free = ~topology.anchored
        axes = self.dim if spacing == "free" else self.dim - 1
        gaps = pos.new_ones(0 if spacing == "free" else int(topology.layer.max()))
        are_gaps_used = spacing == "learned" and bool((topology.layer[free] > 0).any())
        movable = connectivity.located.movable
        hold(self, "coords", pos.new_empty(len(movable.single), axes), learnable)
        hold_rows(self, "grid_coords", pos.new_empty(movable.rows, axes), learnable)
        hold(self, "gaps", gaps, learnable and are_gaps_used)
        self.register_buffer("anchor_pos", pos[connectivity.anchored].clone())
        self.place_(pos)

    @property
    def layer(self) -> Tensor:
        """Layer of each neuron, shape ``(N,)``; -1 where the network has no layers."""
        return self._owner[0].layer

    @property
    def anchored(self) -> Tensor:
        """Marks the neurons that never move, shape ``(N,)``."""
        return self._owner[0].anchored

    def forward(self) -> Tensor:
        """Return the positions of all neurons, shape ``(N, d)``, differentiable."""
        located = self._owner[0].located
        movable = located.movable
        in_order = self.anchor_pos.shape[0] == 0 and len(movable.grids) == 0  # a compiler refuses `not` of a tuple
        pos = movable.values(self.coords, self.grid_coords)
        if self.spacing != "free":
            layer = located.topology.layer if in_order else located.topology.layer[movable.members]
            pos = torch.cat([pos, taken(self.heights(), layer)[:, None]], dim=1)
        if in_order:
            return pos
        everywhere = pos.new_empty(located.topology.layer.numel(), self.dim)
        if self.anchor_pos.shape[0]:
            everywhere = everywhere.index_put((located.anchors,), self.anchor_pos)
        return everywhere.index_put((movable.members,), pos)

    def heights(self) -> Tensor:
        """Return the last coordinate of each layer, its neurons' mean where they differ, shape ``(layers,)``."""
        if self.spacing != "free":
            return torch.cat([self.gaps.new_zeros(1), self.gaps.cumsum(0)])
        sizes = self._owner[0].located.sizes
        last: Tensor = self()[:, -1]
        exact = in_single(last)  # a sum of hundreds of numbers does not fit half precision
        return (summed(exact, self.layer, len(sizes)) / sizes).to(last.dtype)

    @torch.no_grad()
    @on_cpu
    def place_(self, pos: Tensor) -> None:
        """Set the positions of all neurons, anchored ones included.

        Args:
            pos: new positions, shape ``(N, d)``.

        Raises:
            ValueError: if the last coordinates do not fit the spacing, or positions in a grid are no sums of
                coordinates of rows and columns.
        """
        free, movable = ~self.anchored, self._owner[0].located.movable
        coords, rows = self._split(movable, pos)
        if self.spacing != "free":
            heights = self._heights(pos[free, -1], self.layer[free])
            if self.spacing == "learned":
                self.gaps.copy_(heights.diff())
        self.coords.copy_(coords)
        self.grid_coords.copy_(rows)
        self.anchor_pos.copy_(pos[self.anchored])

    @torch.no_grad()
    @on_cpu
    def keep_neurons_(self, kept: Tensor) -> None:
        """Keep some neurons, in their order; their coordinates become a new parameter. Their owner drops them next.

        Args:
            kept: marks those to keep, at least one in each layer, shape ``(N,)``, bool.
        """
        free, layer = ~self.anchored, self.layer
        replace(self, "coords", self.coords[kept[self._owner[0].located.movable.single]])
        if not (kept & free & (layer > 0)).any():
            replace(self, "gaps", self.gaps, is_used=False)
        self.anchor_pos = self.anchor_pos[kept[~free]]

    def _split(self, movable: Sums, pos: Tensor) -> tuple[Tensor, Tensor]:
        """Return the coordinates of single neurons, and those of the rows and columns of grids, that give positions."""
        coords, rows = movable.fit(pos[movable.members, : self.coords.shape[1]])
        movable.check_fit("pos", pos[movable.members, : self.coords.shape[1]], coords, rows)
        return coords, rows

    def _heights(self, last: Tensor, layer: Tensor) -> Tensor:
        """Find the height of each layer, and refuse heights that this spacing cannot express."""
        heights = self.heights()
        shared = heights.clone()
        shared[layer] = last
        shared[0] = 0.0
        bad = torch.nonzero(~torch.isclose(last, shared[layer], rtol=0.0, atol=LEVEL))
        if len(bad):
            at = int(bad[0])
            raise ValueError(
                f"pos must have the same last coordinate within a layer, and 0 in layer 0, for spacing="
                f"{self.spacing!r}, got {float(last[at]):g} in layer {int(layer[at])}; use spacing='free' to place "
                "neurons anywhere"
            )
        if self.spacing == "fixed" and not torch.allclose(shared, heights, rtol=0.0, atol=LEVEL):
            raise ValueError(
                f"pos must have the layer's number as last coordinate for spacing='fixed', got {shared.tolist()}"
            )
        return shared


@on_cpu
def initial_positions(
    sizes: list[int],
    dim: int,
    spacing: str,
    init: Init,
    generator: torch.Generator | None,
    grids: Mapping[int, Grid] | None = None,
) -> Tensor:
    """Return positions for layers to start from.

    The last coordinate is the layer's number; with spacing ``"free"`` it is uniform in ``[l, l + 1)``. The others are
    drawn from N(0, 1) (``"normal"``), from a uniform distribution of unit variance (``"uniform"``), or lie on a square
    grid of unit variance in the first two axes (``"grid"``, row by row as pixels are). Neurons of layers that are grids
    have sums of what is drawn for their row and column, of the same variance.

    Args:
        sizes: number of neurons in each layer.
        dim: number of axes d.
        spacing: ``"fixed"``, ``"learned"`` or ``"free"``.
        init: a name, a tensor of shape ``(N, d)``, or a function of ``(layer, n, axes)`` that returns ``(n, axes)``
            coordinates, where ``axes`` is ``d - 1``.
        generator: source of random numbers.
        grids: the layers that are grids, by their numbers.

    Returns:
        Tensor of shape ``(N, d)``.

    Example:
        >>> initial_positions([4, 1], 3, "fixed", "grid", None)[:4, :2].tolist()
        [[-1.0, -1.0], [1.0, -1.0], [-1.0, 1.0], [1.0, 1.0]]
    """
    if isinstance(init, Tensor):
        return init
    layers = []
    for layer, n in enumerate(sizes):
        grid = None if grids is None else grids.get(layer)
        if grid is None or callable(init):
            plane = _plane(layer, n, dim - 1, init, generator)
        else:
            plane = _in_grid(grid, dim - 1, init, generator)
        height = torch.full((n, 1), float(layer))
        if spacing == "free":
            height = height + _share(grid, n, generator)
        layers.append(torch.cat([plane, height], dim=1))
    return torch.cat(layers)


def _in_grid(grid: Grid, axes: int, init: Init, generator: torch.Generator | None) -> Tensor:
    """Draw for each row and column of a grid, and return the sums; the grid itself for ``"grid"``."""
    if init == "grid":
        steps = [math.sqrt(12 / max(1, size**2 - 1)) * (torch.arange(size) - (size - 1) / 2) for size in grid.shape]
        rows = torch.zeros(grid.rows, axes)
        # The last axis of the grid, along a row, is the first one of space.
        for axis, (part, step) in enumerate(zip(reversed(rows.split(grid.shape)), reversed(steps), strict=True)):
            if axis < axes:
                part[:, axis] = step
        return grid.spread(rows)
    return grid.spread(_plane(0, grid.rows, axes, init, generator) / math.sqrt(len(grid.shape)))


def _share(grid: Grid | None, n: int, generator: torch.Generator | None) -> Tensor:
    """Draw from [0, 1) for each neuron; for rows and columns in a grid, whose sums lie there too."""
    if grid is None:
        return draw(torch.rand, n, 1, generator=generator)
    return grid.spread(draw(torch.rand, grid.rows, 1, generator=generator) / len(grid.shape))


def _plane(layer: int, n: int, axes: int, init: Init, generator: torch.Generator | None) -> Tensor:
    if callable(init):
        plane = init(layer, n, axes)
        if not isinstance(plane, Tensor) or plane.shape != (n, axes):
            shape = tuple(plane.shape) if isinstance(plane, Tensor) else type(plane).__name__
            raise ValueError(f"init must return a tensor of shape ({n}, {axes}) for layer {layer}, got {shape}")
        return plane
    if init == "normal":
        return draw(torch.randn, n, axes, generator=generator)
    if init == "uniform":
        return (draw(torch.rand, n, axes, generator=generator) * 2 - 1) * math.sqrt(3)
    if init == "grid":
        return _grid(n, axes)
    raise ValueError(f"init must be one of {', '.join(map(repr, INITS))}, a tensor or a function, got {init!r}")


def _grid(n: int, axes: int) -> Tensor:
    """Lay n points row by row on a centred square grid of about unit variance in the first two axes."""
    plane = torch.zeros(n, axes)
    width = math.ceil(math.sqrt(n)) if axes > 1 else n
    step = math.sqrt(12 / max(1, width**2 - 1))
    number = torch.arange(n)
    for axis, coordinate in enumerate((number % width, number // width)[:axes]):
        plane[:, axis] = (coordinate - (width - 1) / 2) * step
    return plane


def anchor_mask(anchored: Sequence[int] | Tensor | None, layer: Tensor) -> Tensor:
    """Turn layer numbers, or a mask, into a mask of all neurons.

    Example:
        >>> anchor_mask([0], torch.tensor([0, 0, 1]))
        tensor([ True,  True, False])
    """
    if anchored is None:
        return torch.zeros_like(layer, dtype=torch.bool)
    if isinstance(anchored, Tensor):
        return checks.mask("anchored", anchored, layer.numel()).to(layer.device)
    if isinstance(anchored, str) or not isinstance(anchored, Sequence):
        raise TypeError(f"anchored must be a list of layer numbers or a boolean mask, got {type(anchored).__name__}")
    numbers = list(anchored)
    for number in numbers:
        checks.layer_number("anchored", number, layer)
    return torch.isin(layer, torch.tensor(numbers, dtype=torch.int64, device=layer.device))


def neuron_numbers(neurons: int | Tensor | None, layer: Tensor) -> Tensor:
    """Turn a layer's number, neuron numbers, a mask, or None for all neurons, into neuron numbers.

    Example:
        >>> neuron_numbers(1, torch.tensor([0, 1, 1]))
        tensor([1, 2])
    """
    everyone = torch.arange(layer.numel(), device=layer.device)
    if neurons is None:
        return everyone
    if isinstance(neurons, Tensor):
        return everyone[checks.neuron_index("neurons", neurons, layer.numel()).to(everyone.device)]
    checks.layer_number("neurons", neurons, layer)
    return everyone[layer == neurons]
