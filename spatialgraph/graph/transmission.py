"""Transmission: what a graph's projections compute in one forward pass of a model."""

import dataclasses
import functools
from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from spatialgraph.devices import WITHOUT_DOUBLE
from spatialgraph.functional.engine import Prepared, Synapses
from spatialgraph.functional.pairs import pairwise_weight
from spatialgraph.graph.observer import ObservedMatrix, Observer, finished
from spatialgraph.graph.projections import Projection, live_targets
from spatialgraph.graph.synapses import FreeSynapses
from spatialgraph.laws import Law

__all__ = ["PrecomputedTransmission", "Transmission"]


# Weights in a block.
_BLOCK = 2**24


class Transmission:
    """The projections of a graph, differentiable; positions and polarities are taken once, when it is made.

    :meth:`SpatialGraph.transmission <spatialgraph.SpatialGraph.transmission>` makes it.

    Args:
        projections: the projections to compute.
        pos: positions of the neurons of each block, shape ``(n, d)`` each, in length units.
        scale: polarity times gain of the neurons of each block that sends, shape ``(n,)`` each.
        bias: biases of the neurons of each block after the inputs, shape ``(n,)`` each.
        law: from length to weight.
        free: what synapses have of their own; None for nothing.
        gain: constant factor on free weights.
        velocity: length units that a spike travels in a time step; None for no delays.
        masked_share: share of each projection's synapses, those of the smallest weights, that weigh 0.
        tolerance: the largest relative error of sums over all-to-all projections; None for that of rounding.
        observer: records what is sent; None for no record.

    Example:
        >>> from spatialgraph import SpatialGraph
        >>> SpatialGraph.layered([3, 2]).transmission().send(0, torch.ones(5, 3)).shape
        torch.Size([5, 2])
    """

    def __init__(
        self,
        projections: tuple[Projection, ...],
        *,
        pos: Sequence[Tensor],
        scale: Sequence[Tensor],
        bias: Sequence[Tensor],
        law: Law,
        free: FreeSynapses | None,
        gain: float,
        velocity: float | None,
        masked_share: float,
        tolerance: float | None = None,
        observer: Observer | None = None,
    ) -> None:
        self.projections, self._pos, self._scale, self.law = projections, pos, scale, law
        self.velocity, self.masked_share, self._observer = velocity, masked_share, observer
        self.tolerance = tolerance
        self.biases = [bias[projection.block - 1] for projection in projections]
        weight, delay = (None, None) if free is None else (free.weight, free.delay)
        self.is_free = free is not None and weight is not None and not free.is_factor
        self._factors = _split(weight * gain if weight is not None and self.is_free else weight, projections)
        self._free_delays = _split(delay, projections)

    def send(
        self,
        number: int,
        x: Tensor,
        bias: Tensor | None = None,
        rectify: bool = False,
        scale: Tensor | None = None,
    ) -> Tensor:
        """Send activations through a projection.

        Args:
            number: the projection's number.
            x: activations of its sources, shape ``(..., n)``.
            bias: added to the inputs of its targets, shape ``(m,)``; None for nothing.
            rectify: whether negative inputs become 0, as by ``relu``.
            scale: polarity times gain of its sources, shape ``(n,)``; None for that of the graph.

        Returns:
            Inputs of its targets, shape ``(..., m)``.
        """
        engine, synapses = self.projections[number].engine, self._synapses(number, scale)
        if self._observer is None:
            return engine.send(x, synapses, bias, rectify)
        total = self._observer.send(number, (x,), lambda sent: engine.send(sent, synapses), scale)
        return finished(total, bias, rectify)

    def send_delayed(
        self, number: int, x: Tensor, line: Tensor | None, delay: Tensor, weight: Tensor | None = None
    ) -> Tensor:
        """Send a time series ``(T, ..., n)`` with delays, as in :mod:`spatialgraph.functional.delays`.

        Args:
            number: the projection's number.
            x: activations of its sources.
            line: those of the steps before; None for no activity.
            delay: delays in time steps, in the shape of the engine.
            weight: what :meth:`weight` returned; None computes it.
        """
        engine, weight = self.projections[number].engine, self.weight(number) if weight is None else weight
        if self._observer is None:
            return engine.send_delayed(x, weight, delay, line)
        sent = (x,) if line is None else (x, line)
        return self._observer.send(
            number, sent, lambda now, *past: engine.send_delayed(now, weight, delay, *past), delay=delay
        )

    def weight(self, number: int, scale: Tensor | None = None) -> Tensor:
        """Return the signed weights of a projection in the shape of its engine; 0 for masked synapses.

        Args:
            number: the projection's number.
            scale: as in :meth:`send`.
        """
        return self.projections[number].engine.weight(self._synapses(number, scale))

    def weight_blocks(self, number: int) -> Iterator[Tensor]:
        """Yield the signed weights of a projection in the order of its edges, flat, without gradients.

        Weights that take too much of the memory come in several blocks.
        """
        synapses = self._synapses(number)
        if not self.projections[number].is_large or synapses.factor is not None or synapses.has_masked:
            yield self.weight(number).detach().flatten()
            return
        for rows in synapses.target_pos.detach().split(max(1, _BLOCK // len(synapses.source_pos))):
            part = dataclasses.replace(synapses.detach(), target_pos=rows)
            yield pairwise_weight(*part.geometry).flatten()

    def unmasked(self, number: int) -> Tensor:
        """Tell which synapses of a projection are not masked, in the order of its edges, shape ``(E,)``, bool."""
        return self._unmasked(number).flatten()

    def live(self, number: int) -> Tensor | None:
        """List the hidden targets of a projection that a path of unmasked synapses leads from to an output.

        Returns:
            Their places among the targets, int64; None for all hidden targets.
        """
        return self._live[number] if self.masked_share else self.projections[number].live

    def length(self, number: int) -> Tensor:
        """Return the lengths of a projection's synapses in the shape of its engine, in length units."""
        projection = self.projections[number]
        return projection.engine.lengths(projection.of_sources(self._pos), self._pos[projection.block])

    def delay(self, number: int) -> Tensor:
        """Return the delays of a projection in time steps, in the shape of its engine; 0 without a velocity.

        Recurrent synapses delay by at least 1 step.
        """
        delay = self._delay(number)
        return delay.clamp(min=1.0) if self.projections[number].is_recurrent else delay

    def precomputed(self) -> "PrecomputedTransmission":
        """Return the projections with weights and biases computed once, for many passes without gradients."""
        matrices = [self.matrix(number).detach() for number in range(len(self.projections))]
        live = [self.live(number) for number in range(len(self.projections))]
        return PrecomputedTransmission(self.projections, matrices, [bias.detach() for bias in self.biases], live)

    def matrix(self, number: int, scale: Tensor | None = None) -> Prepared:
        """Return a projection for many products; arguments as in :meth:`weight`."""
        matrix = self.projections[number].engine.prepared(self._synapses(number, scale))
        return matrix if self._observer is None else ObservedMatrix(matrix, self._observer, number, scale)

    @functools.cached_property
    @torch.no_grad()
    def _live(self) -> list[Tensor | None]:
        def sources_of(number: int, targets: Tensor) -> Tensor:
            return self.projections[number].engine.sources_of(targets, self._unmasked(number))

        forward = [projection for projection in self.projections if not projection.is_recurrent]
        hidden = [marks[: p.hidden] for marks, p in zip(live_targets(forward, sources_of), forward, strict=True)]
        return [None if bool(marks.all()) else torch.nonzero(marks)[:, 0] for marks in hidden]

    def _unmasked(self, number: int) -> Tensor:
        return self.projections[number].engine.unmasked(self._synapses(number))

    def _delay(self, number: int) -> Tensor:
        free = self._free_delays[number]
        if self.velocity is None:
            return torch.zeros_like(self.length(number))
        return self.length(number) / self.velocity if free is None else free.abs().view(self._shape(number))

    def _shape(self, number: int) -> tuple[int, ...]:
        return self.projections[number].engine.shape

    def _masked(self, number: int) -> int | Tensor:
        """Return how many of a projection's synapses are masked."""
        if not self.masked_share:
            return 0
        synapses, pos = self.projections[number].synapses, self._pos[0]
        if not torch.compiler.is_dynamo_compiling() or pos.device.type in WITHOUT_DOUBLE:
            return round(self.masked_share * synapses)
        # A number would be a constant of what is compiled, and the share may change in each epoch.
        return torch.round(pos.new_full((), synapses, dtype=torch.float64) * self.masked_share).long()

    def _synapses(self, number: int, scale: Tensor | None = None) -> Synapses:
        projection = self.projections[number]
        return Synapses(
            projection.of_sources(self._pos),
            self._pos[projection.block],
            projection.of_sources(self._scale) if scale is None else scale,
            self.law,
            self._factors[number],
            self.is_free,
            self._masked(number),
            self.tolerance,
        )


class PrecomputedTransmission:
    """The projections of a graph with weights and biases that were computed once.

    Args:
        projections: the projections.
        matrices: their weights.
        biases: the biases of their targets, shape ``(m,)`` each.
        live: what :meth:`Transmission.live` returns, for each.
    """

    def __init__(
        self,
        projections: tuple[Projection, ...],
        matrices: Sequence[Prepared],
        biases: Sequence[Tensor],
        live: Sequence[Tensor | None],
    ) -> None:
        self.projections, self.matrices, self.biases = projections, list(matrices), list(biases)
        self._live = list(live)

    def live(self, number: int) -> Tensor | None:
        """List hidden targets as :meth:`Transmission.live` does."""
        return self._live[number]

    def send(self, number: int, x: Tensor, bias: Tensor | None = None, rectify: bool = False) -> Tensor:
        """Send activations as :meth:`Transmission.send` does."""
        return self.matrices[number].send(x, bias, rectify)

    def matrix(self, number: int) -> Prepared:
        """Return a projection with its weights."""
        return self.matrices[number]


def _split(values: Tensor | None, projections: Sequence[Projection]) -> Sequence[Tensor | None]:
    """Cut values of all edges by projection."""
    if values is None:
        return [None] * len(projections)
    return torch.split(values, [projection.synapses for projection in projections])
