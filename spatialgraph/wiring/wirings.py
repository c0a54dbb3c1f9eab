"""Wirings: objects that select which synapses exist."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import MISSING, dataclass, field, fields
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from spatialgraph import checks
from spatialgraph.wiring.arguments import check_density, check_radius, check_seed, check_small_world
from spatialgraph.wiring.clouds import prepare
from spatialgraph.wiring.edges import all_to_all, knn, radius, random, small_world, without_own
from spatialgraph.wiring.neighbors import BACKENDS, Backend

__all__ = ["AllToAll", "KNN", "Radius", "Random", "SmallWorld", "Wiring"]

Reach = Literal["layer", "all"]
REACHES = ("layer", "all")


@dataclass(frozen=True, repr=False)
class Wiring(ABC):
    """Base class of wirings, which select the synapses of a graph.

    Attributes:
        reach: layers from which a target may receive: the one before (``"layer"``) or all earlier ones (``"all"``),
            which adds skip connections.
    """

    reach: Reach = field(default="layer", kw_only=True)

    def __post_init__(self) -> None:
        """Check the fields, and convert NumPy's numbers to Python's, so that equal wirings have the same repr."""
        for option in fields(self):
            value = getattr(self, option.name)
            if isinstance(value, np.generic):
                object.__setattr__(self, option.name, value.item())
        checks.choice("reach", self.reach, REACHES)

    @abstractmethod
    def select(self, source_pos: Tensor, target_pos: Tensor | None, generator: torch.Generator | None = None) -> Tensor:
        """Select the edges between source and target neurons.

        Args:
            source_pos: source positions (N, d), in length units.
            target_pos: target positions (M, d), in length units, or None if sources and targets are the same neurons;
                there are then no self-connections.
            generator: random number generator for random wirings; None for PyTorch's default.

        Returns:
            Edges (2, E), int64, on the device of the positions.

        Raises:
            TypeError: if the positions are not floating-point tensors.
            ValueError: if the positions have different dimensions or devices or are not finite, or there are too few
                sources for the fields of the wiring.
        """

    def __repr__(self) -> str:
        """Return the constructor call, without default arguments."""
        own = [f for f in fields(self) if f.name != "reach"]
        shown = [
            f"{f.name}={getattr(self, f.name)!r}"
            for f in (*own, *(f for f in fields(self) if f.name == "reach"))
            if f.default is MISSING or getattr(self, f.name) != f.default
        ]
        return f"{type(self).__name__}({', '.join(shown)})"


@dataclass(frozen=True, repr=False)
class AllToAll(Wiring):
    """Connects each target to all sources.

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
    """Connects each target to its k nearest sources; see :func:`knn`.

    Args:
        k: in-degree of every target, at least 1.
        backend: as in :func:`knn`.
        reach: as in :class:`Wiring`.

    Raises:
        TypeError: if k is not an int.
        ValueError: if k is below 1, or the backend or the reach is unknown.

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
        """Check the fields."""
        super().__post_init__()
        checks.integer("k", self.k, minimum=1)
        checks.choice("backend", self.backend, BACKENDS)

    def select(  # noqa: D102
        self, source_pos: Tensor, target_pos: Tensor | None, generator: torch.Generator | None = None
    ) -> Tensor:
        return knn(source_pos, target_pos, self.k, self.backend)


@dataclass(frozen=True, repr=False)
class Radius(Wiring):
    """Connects each target to all sources within the distance r; see :func:`radius`.

    Args:
        r: largest length of an edge, in length units, finite and positive.
        max_sources: largest in-degree, of the nearest sources; None keeps all.
        backend: as in :func:`knn`.
        reach: as in :class:`Wiring`.

    Raises:
        TypeError: if r is not a number or max_sources not an int.
        ValueError: if r is not finite and positive, max_sources is below 1, or the backend or the reach is unknown.

    Example:
        >>> import torch
        >>> Radius(r=1.0).select(torch.zeros(3, 2), torch.ones(5, 2)).shape
        torch.Size([2, 0])
    """

    r: float
    max_sources: int | None = None
    backend: Backend = field(default="auto", kw_only=True)

    def __post_init__(self) -> None:
        """Check the fields."""
        super().__post_init__()
        check_radius(self.r, self.max_sources)
        checks.choice("backend", self.backend, BACKENDS)

    def select(  # noqa: D102
        self, source_pos: Tensor, target_pos: Tensor | None, generator: torch.Generator | None = None
    ) -> Tensor:
        return radius(source_pos, target_pos, self.r, self.max_sources, self.backend)


@dataclass(frozen=True, repr=False)
class Random(Wiring):
    """Draws a share of all possible edges uniformly, or takes those of a seed; see :func:`random`.

    With a seed the edges follow from it: files hold the seed in place of a list of edges. Where several layers have a
    seeded wiring, give each a seed of its own.

    Args:
        density: share of the possible edges that exist, above 0 and at most 1.
        seed: from 0 to 2**32 - 1; None to draw the edges.
        reach: as in :class:`Wiring`.

    Raises:
        TypeError: if the density is not a number or the seed not an int.
        ValueError: if the density is outside (0, 1], the seed out of range, or the reach unknown.

    Example:
        >>> import torch
        >>> Random(density=0.5).select(torch.rand(4, 2), torch.rand(5, 2)).shape
        torch.Size([2, 10])
        >>> Random(density=0.5, seed=0).select(torch.rand(2, 2), torch.rand(2, 2))
        tensor([[1],
                [0]])
    """

    density: float
    seed: int | None = None

    def __post_init__(self) -> None:
        """Check the fields."""
        super().__post_init__()
        check_density(self.density)
        check_seed(self.seed)

    def select(  # noqa: D102
        self, source_pos: Tensor, target_pos: Tensor | None, generator: torch.Generator | None = None
    ) -> Tensor:
        clouds = prepare(source_pos, target_pos)
        counts = clouds.available, len(clouds.target)
        edges = random(*counts, self.density, generator, source_pos.device, self.seed)
        return edges if clouds.own is None else without_own(edges)


@dataclass(frozen=True, repr=False)
class SmallWorld(Wiring):
    """Connects each target to its nearest sources and to a few far ones; see :func:`small_world`.

    Args:
        k: number of nearest sources per target, at least 1.
        long_range: number of sources drawn per target, at least 0.
        exponent: decay of the probability with length, at least 0.
        reach: as in :class:`Wiring`.

    Raises:
        TypeError: if k or long_range is not an int, or the exponent not a number.
        ValueError: if k is below 1, long_range or the exponent is negative, the exponent is not finite, or the reach is
            unknown.

    Example:
        >>> import torch
        >>> SmallWorld(k=2, long_range=1).select(torch.rand(4, 2), torch.rand(5, 2)).shape
        torch.Size([2, 15])
    """

    k: int
    long_range: int
    exponent: float = 2.0

    def __post_init__(self) -> None:
        """Check the fields."""
        super().__post_init__()
        checks.integer("k", self.k, minimum=1)
        check_small_world(self.k, self.long_range, self.exponent)

    def select(  # noqa: D102
        self, source_pos: Tensor, target_pos: Tensor | None, generator: torch.Generator | None = None
    ) -> Tensor:
        return small_world(source_pos, target_pos, self.k, self.long_range, self.exponent, generator)
