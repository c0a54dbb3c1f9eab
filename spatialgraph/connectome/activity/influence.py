"""Influence: sums along a path of what passes through the neurons and synapses of a graph."""

import dataclasses
from collections.abc import Sequence
from typing import cast

import torch
from torch import Tensor

from spatialgraph.functional.engine import Engine
from spatialgraph.functional.precision import in_single
from spatialgraph.graph.observer import Sending
from spatialgraph.graph.spatial_graph import SpatialGraph
from spatialgraph.tracing import without_autocast

__all__ = ["Influence"]


@dataclasses.dataclass(frozen=True)
class _Step:
    """What a sending changes within a step of the path.

    Args:
        sending: the sending at the midpoint.
        grads: gradients of the output with respect to what was sent, and last to what was received.
        changes: differences between the ends of the step of the same.
    """

    sending: Sending
    grads: tuple[Tensor, ...]
    changes: tuple[Tensor, ...]


class Influence:
    """Sums, over the steps of a path, of gradients times differences.

    Of synapses only the products of gradients and differences are summed; their weights, which are the same all along
    the path, multiply the sum. No tensor of shape (edges, samples) is made.

    Args:
        graph: the network.

    Example:
        >>> graph, sums = SpatialGraph.layered([3, 2]), []
        >>> for x in (torch.zeros(3), 0.5 * torch.ones(3).requires_grad_(), torch.ones(3)):
        ...     with graph.observed() as observer:
        ...         sums.append(graph.transmission().send(0, x).sum())
        ...     sums.append(observer.sendings)
        >>> influence = Influence(graph)
        >>> influence.start((), sums[1])
        >>> influence.add(sums[2], sums[3], sums[5])
        >>> torch.allclose(influence.synapses(), graph.weights())
        True
    """

    neurons: Tensor
    """Relevance of each neuron for each sample, shape ``(..., N)``."""

    def __init__(self, graph: SpatialGraph) -> None:
        self._graph = graph
        self._products: dict[tuple[int, int], Tensor] = {}
        self._scales: dict[tuple[int, int], Tensor | None] = {}
        self._before: Sequence[Sending] = ()

    def start(self, samples: tuple[int, ...], sendings: Sequence[Sending]) -> None:
        """Begin a path.

        Args:
            samples: shape of the samples.
            sendings: what the projections carried at its first point.

        Raises:
            ValueError: if what they carried is not that of these samples.
        """
        for sending in sendings:
            _check_samples(sending.received.shape[:-1], samples)
        self._samples, self._before = samples, sendings
        self.neurons = _accumulator(self._graph.raw_bias, (*samples, self._graph.neurons))

    def add(self, output: Tensor, passing: Sequence[Sending], after: Sequence[Sending]) -> None:
        """Add a step of the path.

        Args:
            output: output at its midpoint for each sample.
            passing: what the projections carried there, with gradients.
            after: what they carried at its end.

        Raises:
            RuntimeError: if no gradient leads to what they carried, or it differs in number between the points.
        """
        if not len(self._before) == len(passing) == len(after):
            raise RuntimeError("the network must compute the same along the whole path, got passes that differ")
        steps = _steps(self._before, passing, _gradients(output, passing), after)
        self._before = after
        for step in steps:
            self._add_neurons(step)
        for key, same in self._by_weights(steps).items():
            self._scales[key] = _detached(same[0].sending.scale)
            product = self._sampled(same)
            self._products[key] = self._products[key] + product if key in self._products else product

    @torch.no_grad()
    def synapses(self) -> Tensor:
        """Return the relevance of each synapse, summed over the samples, in the order of ``edge_index``, ``(E,)``."""
        transmission = self._graph.transmission()
        parts = [_accumulator(self._graph.raw_bias, projection.engine.shape) for projection in transmission.projections]
        for (number, place), product in self._products.items():
            parts[number] += transmission.weight(number, self._scales[number, place]) * product
        return torch.cat([part.flatten() for part in parts])

    def _add_neurons(self, step: _Step) -> None:
        sending = step.sending
        projection = self._graph.projections[sending.number]
        for grad, change in zip(step.grads[:-1], step.changes[:-1], strict=True):
            self.neurons.index_add_(-1, projection.sources, self._summed(grad * change))
        if not projection.is_recurrent:  # outputs send nothing, and have what they receive
            outputs = (step.grads[-1] * step.changes[-1])[..., projection.hidden :]
            self.neurons.index_add_(-1, projection.targets[projection.hidden :], self._summed(outputs))

    def _summed(self, values: Tensor) -> Tensor:
        """Sum over the time steps, if there are any."""
        return values.sum(0) if values.dim() > len(self._samples) + 1 else values

    def _by_weights(self, steps: Sequence[_Step]) -> dict[tuple[int, int], list[_Step]]:
        """Group what went through the same weights: those of a projection, or of one of its kinds of gates."""
        groups: dict[tuple[int, int], list[_Step]] = {}
        kinds: dict[int, list[int]] = {}
        for step in steps:
            seen = kinds.setdefault(step.sending.number, [])
            kind = id(step.sending.scale)
            if kind not in seen:
                seen.append(kind)
            groups.setdefault((step.sending.number, seen.index(kind)), []).append(step)
        return groups

    def _sampled(self, steps: Sequence[_Step]) -> Tensor:
        """Return the sums over samples and time of gradient times difference for each synapse, in the engine's shape.

        It is the gradient of what the engine sends, given the differences, with respect to its weights.
        """
        engine = self._graph.projections[steps[0].sending.number].engine
        weight = steps[0].changes[0].new_zeros(engine.shape).requires_grad_()
        with without_autocast(weight.device.type):
            if steps[0].sending.delay is None:
                change = torch.cat([_rows(step.changes[0]) for step in steps])
                received = [engine.multiply(change, weight)]
                grads = [torch.cat([_rows(step.grads[-1]) for step in steps])]
            else:
                received = [_delayed(engine, weight, step) for step in steps]
                grads = [step.grads[-1] for step in steps]
            return torch.autograd.grad(received, weight, grads)[0]


def _delayed(engine: Engine, weight: Tensor, step: _Step) -> Tensor:
    """Send the differences of a step with delays."""
    now, *past = step.changes[:-1]
    delay = cast(Tensor, step.sending.delay).detach().to(weight)
    return engine.send_delayed(now, weight, delay, *past)


def _check_samples(shape: tuple[int, ...], samples: tuple[int, ...]) -> None:
    """Check that activations have the samples' axes, and one of time steps before them at most."""
    extra = len(shape) - len(samples)
    if extra not in (0, 1) or shape[extra:] != samples:
        raise ValueError(
            f"the network must return outputs of shape (samples, outputs) for neurons of shape (samples, neurons) or "
            f"(T, samples, neurons), got {(*samples, 'outputs')} and {(*shape, 'neurons')}"
        )


def _steps(
    before: Sequence[Sending], middle: Sequence[Sending], grads: Sequence[Tensor], after: Sequence[Sending]
) -> list[_Step]:
    """Put together what each sending changes; the gradients follow each other, those of each sending as it holds them.

    Sums of half precision are taken in single precision.
    """
    steps, remaining = [], iter(grads)
    for old, now, new in zip(before, middle, after, strict=True):
        ends = list(zip(_tensors(old), _tensors(new), strict=True))
        own = tuple(in_single(next(remaining)) for _ in ends)
        steps.append(
            _Step(now, own, tuple(in_single(last.detach()) - in_single(first.detach()) for first, last in ends))
        )
    return steps


def _gradients(output: Tensor, sendings: Sequence[Sending]) -> list[Tensor]:
    """Return the gradients of the sum of outputs with respect to all that was sent and received."""
    wanted = [values for sending in sendings for values in _tensors(sending)]
    is_linked = output.requires_grad and all(values.requires_grad for values in wanted)
    grads = torch.autograd.grad(output.sum(), wanted, allow_unused=True) if is_linked else [None]
    if all(grad is None for grad in grads):
        raise RuntimeError("the output must depend on what the network sends by operations with gradients, got none")
    return [torch.zeros_like(values) if grad is None else grad for values, grad in zip(wanted, grads, strict=True)]


def _tensors(sending: Sending) -> tuple[Tensor, ...]:
    return *sending.sent, sending.received


def _rows(values: Tensor) -> Tensor:
    return values.reshape(values.shape[:-1].numel(), values.shape[-1])


def _detached(values: Tensor | None) -> Tensor | None:
    return None if values is None else values.detach()


def _accumulator(like: Tensor, shape: tuple[int, ...]) -> Tensor:
    return in_single(like.new_zeros(shape))
