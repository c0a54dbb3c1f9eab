"""The interface of engines: an engine computes one projection."""

import abc
import dataclasses
from collections.abc import Callable
from typing import Protocol

from torch import Tensor

from spatialgraph.functional.compressed_edges import CompressedEdges
from spatialgraph.functional.delays import delayed
from spatialgraph.functional.smallest import without_smallest
from spatialgraph.laws import Law

__all__ = ["Engine", "Matrix", "Prepared", "Recomputed", "Synapses"]


@dataclasses.dataclass(frozen=True)
class Synapses:
    r"""The quantities that determine the weights of a projection, :math:`w_{ij} = s_i\, w(|p_i - q_j|)\, f_{ij}`.

    Args:
        source_pos: positions of the sources, shape ``(n, d)``, in length units.
        target_pos: positions of the targets, shape ``(m, d)``, in length units.
        scale: polarity times gain of each source, shape ``(n,)``.
        law: the law from length to weight.
        factor: a factor for each synapse, shape ``(E,)``, in the order of the engine; None for 1.
        is_free: whether the factors are the weights themselves.
        masked: number of masked synapses, those with the smallest absolute weights, which weigh 0; a tensor without
            axes while a compiler traces, which would else compile anew for each number.
        tolerance: the largest relative error that sums may have, see :func:`~spatialgraph.functional.meshed`; None
            for that of rounding.
    """

    source_pos: Tensor
    target_pos: Tensor
    scale: Tensor
    law: Law
    factor: Tensor | None = None
    is_free: bool = False
    masked: int | Tensor = 0
    tolerance: float | None = None

    @property
    def has_masked(self) -> bool:
        """Whether synapses are masked."""
        return isinstance(self.masked, Tensor) or self.masked > 0

    @property
    def geometry(self) -> tuple[Tensor, Tensor, Tensor, Law]:
        """The quantities that determine the law's weights, in the order of :mod:`spatialgraph.functional`."""
        return self.source_pos, self.target_pos, self.scale, self.law

    def detach(self) -> "Synapses":
        """Return the same without gradients by positions and scales."""
        values = {name: getattr(self, name).detach() for name in ("source_pos", "target_pos", "scale")}
        return dataclasses.replace(self, **values)


class Engine(abc.ABC):
    """Base class of engines, which compute one projection.

    To add an engine, pass a subclass to :func:`spatialgraph.functional.engines.register`. Values of synapses are
    ordered by target, then source, in the engine's ``shape``.

    Args:
        n_sources: number of sources n.
        n_targets: number of targets m.
        edges: the synapses; None where every pair has one.
    """

    synapses: int
    """Number of synapses E."""
    shape: tuple[int, ...]
    """Shape in which the engine takes values of synapses, ``(E,)`` or ``(m, n)``."""

    def __init__(self, n_sources: int, n_targets: int, edges: CompressedEdges | None) -> None:
        self.n_sources, self.n_targets, self.edges = n_sources, n_targets, edges
        self.synapses = n_sources * n_targets if edges is None else edges.count
        self.shape = (self.synapses,)

    @classmethod
    @abc.abstractmethod
    def serves(cls, n_sources: int, n_targets: int, edges: CompressedEdges | None) -> bool:
        """Tell whether to use this engine for these synapses; arguments as in the constructor."""

    @abc.abstractmethod
    def lengths(self, source_pos: Tensor, target_pos: Tensor) -> Tensor:
        """Return the length of each synapse in the engine's shape, in length units, differentiable."""

    @abc.abstractmethod
    def law_weight(self, synapses: Synapses) -> Tensor:
        """Return scale times the law's weight of each synapse in the engine's shape, differentiable."""

    @abc.abstractmethod
    def multiply(self, x: Tensor, weight: Tensor, bias: Tensor | None = None, rectify: bool = False) -> Tensor:
        """Map activations ``(..., n)`` to ``(..., m)``, with weights in the engine's shape."""

    @abc.abstractmethod
    def dense(self, weight: Tensor) -> Tensor:
        """Return the weights of all pairs, shape ``(m, n)``; 0 where there is no synapse."""

    @abc.abstractmethod
    def edge_index(self, sources: Tensor, targets: Tensor) -> Tensor:
        """List the synapses, given the numbers of the sources and of the targets, shape ``(2, E)``, int64."""

    @abc.abstractmethod
    def sources_of(self, targets: Tensor, unmasked: Tensor | None = None) -> Tensor:
        """Mark the sources with a synapse to one of the marked targets, shapes ``(m,)`` and ``(n,)``, bool.

        Only synapses of which ``unmasked`` is true count, in the engine's shape; None for all.
        """

    @abc.abstractmethod
    def restricted(self, sources: Tensor, targets: Tensor) -> "Engine":
        """Return an engine of the same kind for the marked sources ``(n,)`` and targets ``(m,)`` only, bool."""

    def send(self, x: Tensor, synapses: Synapses, bias: Tensor | None = None, rectify: bool = False) -> Tensor:
        """Send activations through the projection.

        Args:
            x: activations of the sources, shape ``(..., n)``.
            synapses: the quantities that determine the weights.
            bias: added to the inputs of the targets, shape ``(m,)``; None for nothing.
            rectify: whether to set negative results to 0, as ``relu`` does.

        Returns:
            Inputs of the targets, shape ``(..., m)``.
        """
        return self.multiply(x, self.weight(synapses), bias, rectify)

    def send_delayed(self, x: Tensor, weight: Tensor, delay: Tensor, line: Tensor | None = None) -> Tensor:
        """Send a time series with delays, as :func:`spatialgraph.functional.delays.delayed` does."""
        return delayed(x, weight, delay, self.edges, line)

    def weight(self, synapses: Synapses) -> Tensor:
        """Return the signed weight of each synapse in the engine's shape, differentiable; 0 where masked."""
        weight = self._unmasked(synapses)
        return weight * without_smallest(weight.detach(), synapses.masked) if synapses.has_masked else weight

    def unmasked(self, synapses: Synapses) -> Tensor:
        """Tell which synapses are not masked, in the engine's shape, bool."""
        return without_smallest(self._unmasked(synapses).detach(), synapses.masked)

    def prepared(self, synapses: Synapses) -> "Prepared":
        """Return the projection for many products, which compute its weights as rarely as memory allows."""
        return self.precomputed(self.weight(synapses))

    def precomputed(self, weight: Tensor) -> "Matrix":
        """Return the projection with precomputed weights in the engine's shape, for many passes."""
        return Matrix(self, weight)

    def carrier(self, weight: Tensor) -> Tensor | Callable[[Tensor], Tensor]:
        """Return what carries activations many times, a function from ``(..., n)`` to ``(..., m)`` or a matrix."""
        return lambda x: self.multiply(x, weight)

    def _unmasked(self, synapses: Synapses) -> Tensor:
        factor = None if synapses.factor is None else synapses.factor.view(self.shape)
        if synapses.is_free and factor is not None:
            return factor
        weight = self.law_weight(synapses)
        return weight if factor is None else weight * factor


class Prepared(Protocol):
    """A projection that is ready for many products."""

    @property
    def weight(self) -> Tensor:
        """Weights in the shape of the engine."""

    def detach(self) -> "Prepared":
        """Return the same without gradients."""

    def send(self, x: Tensor, bias: Tensor | None = None, rectify: bool = False) -> Tensor:
        """Map activations ``(..., n)`` to ``(..., m)``."""

    def carrier(self) -> Tensor | Callable[[Tensor], Tensor]:
        """Return a dense matrix ``(m, n)``, or a function that maps activations."""

    def dense(self) -> Tensor:
        """Return the weights of all pairs, shape ``(m, n)``; 0 where there is no synapse."""


@dataclasses.dataclass(frozen=True)
class Matrix:
    """A projection with precomputed weights."""

    engine: Engine
    weight: Tensor

    def detach(self) -> "Matrix":
        """Return the same without gradients."""
        return Matrix(self.engine, self.weight.detach())

    def send(self, x: Tensor, bias: Tensor | None = None, rectify: bool = False) -> Tensor:
        """Map activations ``(..., n)`` to ``(..., m)``."""
        return self.engine.multiply(x, self.weight, bias, rectify)

    def carrier(self) -> Tensor | Callable[[Tensor], Tensor]:
        """Return a dense matrix ``(m, n)``, or a function that does the same where most pairs have no synapse."""
        return self.engine.carrier(self.weight)

    def dense(self) -> Tensor:
        """Return the weights of all pairs, shape ``(m, n)``; 0 where there is no synapse."""
        return self.engine.dense(self.weight)


@dataclasses.dataclass(frozen=True)
class Recomputed:
    """A projection that its engine computes anew from positions in each product.

    Args:
        engine: its engine.
        synapses: the quantities that determine the weights.
    """

    engine: Engine
    synapses: Synapses

    @property
    def weight(self) -> Tensor:
        """All weights, in the shape of the engine."""
        return self.engine.weight(self.synapses)

    def detach(self) -> "Recomputed":
        """Return the same without gradients."""
        return Recomputed(self.engine, self.synapses.detach())

    def send(self, x: Tensor, bias: Tensor | None = None, rectify: bool = False) -> Tensor:
        """Map activations ``(..., n)`` to ``(..., m)``."""
        return self.engine.send(x, self.synapses, bias, rectify)

    def carrier(self) -> Callable[[Tensor], Tensor]:
        """Return a function that maps activations ``(..., n)`` to ``(..., m)``."""
        return self.send

    def dense(self) -> Tensor:
        """Return the weights of all pairs, shape ``(m, n)``; 0 where there is no synapse."""
        return self.engine.dense(self.weight)
