"""Observers: what the projections of a graph carry in the passes of a model, for gradients at single neurons."""

import dataclasses
import threading
from collections.abc import Callable

import torch
from torch import Tensor

from spatialgraph.functional.engine import Prepared

__all__ = ["ObservedMatrix", "Observer", "Sending", "finished"]


@dataclasses.dataclass(frozen=True)
class Sending:
    """What one projection carried once.

    Args:
        number: the projection's number.
        sent: activations of its sources, shape ``(..., n)``; with delays also those of the steps before. No other
            sending holds these tensors, so that a gradient with respect to them is that of this sending alone.
        received: summed inputs of its targets, before normalisation and bias, shape ``(..., m)``.
        scale: polarity times gain of the sources, shape ``(n,)``; None for that of the graph.
        delay: delays in time steps, in the shape of the engine; None for no delays.
    """

    number: int
    sent: tuple[Tensor, ...]
    received: Tensor
    scale: Tensor | None = None
    delay: Tensor | None = None


class Observer:
    """The sendings of all projections of a graph, in their order.

    :meth:`SpatialGraph.observed <spatialgraph.SpatialGraph.observed>` makes it.

    Example:
        >>> from spatialgraph import SpatialMLP
        >>> model = SpatialMLP([3, 4, 2])
        >>> with model.graph.observed() as observer:
        ...     y = model(torch.rand(5, 3))
        >>> [tuple(sending.received.shape) for sending in observer.sendings]
        [(5, 4), (5, 2)]
    """

    def __init__(self) -> None:
        self.sendings: list[Sending] = []
        self._thread = threading.get_ident()

    @property
    def is_present(self) -> bool:
        """Whether this is the thread that it observes."""
        return threading.get_ident() == self._thread

    def send(
        self,
        number: int,
        sent: tuple[Tensor, ...],
        carry: Callable[..., Tensor],
        scale: Tensor | None = None,
        delay: Tensor | None = None,
    ) -> Tensor:
        """Send and record it.

        Args:
            number: as in :class:`Sending`.
            sent: as in :class:`Sending`.
            carry: from ``sent`` to what arrives, shape ``(..., m)``.
            scale: as in :class:`Sending`.
            delay: as in :class:`Sending`.
        """
        own = tuple(_alias(values) for values in sent)
        received = carry(*own)
        self.sendings.append(Sending(number, own, received, scale, delay))
        return received


@dataclasses.dataclass(frozen=True)
class ObservedMatrix:
    """A projection whose sendings are recorded."""

    matrix: Prepared
    observer: Observer
    number: int
    scale: Tensor | None

    @property
    def weight(self) -> Tensor:
        """Weights in the shape of the engine."""
        return self.matrix.weight

    def detach(self) -> Prepared:
        """Return the same without gradients and without a record."""
        return self.matrix.detach()

    def dense(self) -> Tensor:
        """Return the weights of all pairs, shape ``(m, n)``; 0 where there is no synapse."""
        return self.matrix.dense()

    def send(self, x: Tensor, bias: Tensor | None = None, rectify: bool = False) -> Tensor:
        """Map activations ``(..., n)`` to ``(..., m)``."""
        total = self.observer.send(self.number, (x,), self.matrix.send, self.scale)
        return finished(total, bias, rectify)

    def carrier(self) -> Callable[[Tensor], Tensor]:
        """Return a function that maps activations."""
        return self.send


def finished(total: Tensor, bias: Tensor | None, rectify: bool) -> Tensor:
    """Return summed inputs with a bias, if any, and without negative values, if these are to be 0.

    Example:
        >>> finished(torch.tensor([1.0, 2.0]), torch.tensor([-3.0, 3.0]), True)
        tensor([0., 5.])
    """
    total = total if bias is None else total + bias
    return torch.relu(total) if rectify else total


def _alias(x: Tensor) -> Tensor:
    """Return the same values as a tensor of its own, with respect to which gradients can be taken."""
    return x.view_as(x) if x.requires_grad else x.detach().requires_grad_(torch.is_grad_enabled())
