"""Wirings: small objects that hold the choice of which synapses exist, and the functions behind them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import MISSING, dataclass, field, fields
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from spatialgraph import checks
from spatialgraph.wiring.arguments import check_density, check_integer, check_radius, check_small_world
from spatialgraph.wiring.clouds import prepare
from spatialgraph.wiring.edges import all_to_all, knn, radius, random, small_world, without_own
from spatialgraph.wiring.neighbors import BACKENDS, Backend

__all__ = [
    "AllToAll",
    "KNN",
    "Radius",
    "Random",
    "SmallWorld",
    "Wiring",
    "all_to_all",
    "knn",
    "radius",
    "random",
    "small_world",
]

Reach = Literal["layer", "all"]
REACHES = ("layer", "all")


@dataclass(frozen=True, repr=False)
class Wiring(ABC):
    """Which synapses a graph is given: the common base of all wirings.

    Attributes:
        reach: Which sources a target may hear: those of the layer before (``"layer"``) or of all earlier
            layers (``"all"``), that is with skip connections.
    """

    reach: Reach = field(default="layer", kw_only=True)

    def __post_init__(self) -> None:
        """Checks the fields, and turns NumPy's numbers into Python's, so that equal wirings show as equal."""
        for option in fields(self):
            value = getattr(self, option.name)
            if isinstance(value, np.generic):
                object.__setattr__(self, option.name, value.item())
        checks.choice("reach", self.reach, REACHES)

    @abstractmethod
    def select(self, source_pos: Tensor, target_pos: Tensor | None, generator: torch.Generator | None = None) -> Tensor:
        """Selects the edges between source and target neurons.

        Args:
            source_pos: Source positions (N, d), in length units.
            target_pos: Target positions (M, d), in length units, or None for one cloud of neurons without
                self-connections.
            generator: Source of randomness for wirings that draw; None takes PyTorch's global one.

        Returns:
            Edges (2, E), int64, on the device of the positions.

        Raises:
            TypeError: If the positions are not floating-point tensors.
            ValueError: If the positions do not fit together or to the fields of the wiring.
        """

    def __repr__(self) -> str:
        """The call that makes this wiring, defaults left out."""
        own = [f for f in fields(self) if f.name != "reach"]
        shown = [
            f"{f.name}={getattr(self, f.name)!r}"
            for f in (*own, *(f for f in fields(self) if f.name == "reach"))
            if f.default is MISSING or getattr(self, f.name) != f.default
        ]
        return f"{type(self).__name__}({', '.join(shown)})"


@dataclass(frozen=True, repr=False)
class AllToAll(Wiring):
    """Each target hears all sources.

    Example:
        >>> import torch
        >>> AllToAll().select(torch.rand(3, 2), torch.rand(5, 2)).shape
        torch.Size([2, 15])
    """

    def select(  # noqa: D102
        self, source_pos: Tensor, target_pos: Tensor | None, generator: torch.Generator | None = None
    ) -> Tensor:
        clouds = prepare(source_pos, target_pos)
        edges = all_to_all(clouds.available, len(clouds.target), source_pos.device)
        return edges if clouds.own is None else without_own(edges)


@dataclass(frozen=True, repr=False)
class KNN(Wiring):
    """Each target hears its k nearest sources; see :func:`knn`.

    Args:
        k: In-degree of every target, at least 1.
        backend: As in :func:`knn`.
        reach: As in :class:`Wiring`.

    Raises:
        TypeError: If k is not an int.
        ValueError: If k is below 1, or the backend or the reach is unknown.

    Example:
        >>> import torch
        >>> wiring = KNN(k=2, reach="all")
        >>> wiring
        KNN(k=2, reach='all')
        >>> wiring.select(torch.rand(3, 2), torch.rand(5, 2)).shape
        torch.Size([2, 10])
    """

    k: int
    backend: Backend = field(default="auto", kw_only=True)

    def __post_init__(self) -> None:
        """Checks the fields."""
        super().__post_init__()
        check_integer("k", self.k, 1)
        checks.choice("backend", self.backend, BACKENDS)

    def select(  # noqa: D102
        self, source_pos: Tensor, target_pos: Tensor | None, generator: torch.Generator | None = None
    ) -> Tensor:
        return knn(source_pos, target_pos, self.k, self.backend)


@dataclass(frozen=True, repr=False)
class Radius(Wiring):
    """Each target hears all sources within the distance r; see :func:`radius`.

    Args:
        r: Largest length of an edge, in length units, finite and positive.
        max_sources: Largest in-degree, of the nearest sources; None keeps all.
        backend: As in :func:`knn`.
        reach: As in :class:`Wiring`.

    Raises:
        TypeError: If r is not a number or max_sources not an int.
        ValueError: If r or max_sources is out of range, or the backend or the reach is unknown.

    Example:
        >>> import torch
        >>> Radius(r=1.0).select(torch.zeros(3, 2), torch.ones(5, 2)).shape
        torch.Size([2, 0])
    """

    r: float
    max_sources: int | None = None
    backend: Backend = field(default="auto", kw_only=True)

    def __post_init__(self) -> None:
        """Checks the fields."""
        super().__post_init__()
        check_radius(self.r, self.max_sources)
        checks.choice("backend", self.backend, BACKENDS)

    def select(  # noqa: D102
        self, source_pos: Tensor, target_pos: Tensor | None, generator: torch.Generator | None = None
    ) -> Tensor:
        return radius(source_pos, target_pos, self.r, self.max_sources, self.backend)


@dataclass(frozen=True, repr=False)
class Random(Wiring):
    """A share of all possible edges, drawn uniformly; see :func:`random`.

    Args:
        density: Share of the possible edges that exist, above 0 and at most 1.
        reach: As in :class:`Wiring`.

    Raises:
        TypeError: If the density is not a number.
        ValueError: If the density is outside (0, 1] or the reach is unknown.

    Example:
        >>> import torch
        >>> Random(density=0.5).select(torch.rand(4, 2), torch.rand(5, 2)).shape
        torch.Size([2, 10])
    """

    density: float

    def __post_init__(self) -> None:
        """Checks the fields."""
        super().__post_init__()
        check_density(self.density)

    def select(  # noqa: D102
        self, source_pos: Tensor, target_pos: Tensor | None, generator: torch.Generator | None = None
    ) -> Tensor:
        clouds = prepare(source_pos, target_pos)
        edges = random(clouds.available, len(clouds.target), self.density, generator, source_pos.device)
        return edges if clouds.own is None else without_own(edges)


@dataclass(frozen=True, repr=False)
class SmallWorld(Wiring):
    """Each target hears its nearest sources and a few far ones; see :func:`small_world`.

    Args:
        k: Number of nearest sources per target, at least 1.
        long_range: Number of sources drawn per target, at least 0.
        exponent: Decay of the probability with length, at least 0.
        reach: As in :class:`Wiring`.

    Raises:
        TypeError: If a number is of the wrong type.
        ValueError: If a number is out of range or the reach is unknown.

    Example:
        >>> import torch
        >>> SmallWorld(k=2, long_range=1).select(torch.rand(4, 2), torch.rand(5, 2)).shape
        torch.Size([2, 15])
    """

    k: int
    long_range: int
    exponent: float = 2.0

    def __post_init__(self) -> None:
        """Checks the fields."""
        super().__post_init__()
        check_integer("k", self.k, 1)
        check_small_world(self.k, self.long_range, self.exponent)

    def select(  # noqa: D102
        self, source_pos: Tensor, target_pos: Tensor | None, generator: torch.Generator | None = None
    ) -> Tensor:
        return small_world(source_pos, target_pos, self.k, self.long_range, self.exponent, generator)
