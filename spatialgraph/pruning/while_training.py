"""Pruning while training: small weights are left out of each pass and may return."""

import torch

from spatialgraph import checks
from spatialgraph.graph.spatial_graph import SpatialGraph
from spatialgraph.graph.transmission import Transmission

__all__ = ["PruneWhileTraining"]


class PruneWhileTraining:
    """Leave the smallest weights out of every pass, found anew each time, so that synapses may return.

    In each forward pass, of training and of evaluation, the share ``amount`` of each projection's synapses with the
    smallest absolute weights counts as 0, and no gradient reaches them in that pass; they move with their neurons, and
    are heard again when they have become shorter than others. This is the in-training pruning of `Erb et al. (2025)
    <https://arxiv.org/abs/2506.13410>`_, section 3.2. The threshold is exact: ``round(amount * synapses)`` weights of
    each projection are left out, fewer only where several equal the smallest one that stays.

    Files, exports and ``weights()`` know nothing of it: call :meth:`remove` first.

    Args:
        amount: share of the synapses, from 0 to 1; may be set at any time.

    Raises:
        TypeError: if ``amount`` is not a number.
        ValueError: if it is out of range.

    Example:
        >>> graph = SpatialGraph.layered([8, 4])
        >>> pruner = PruneWhileTraining(0.75).attach(graph)  # train the model of this graph, then:
        >>> pruner.remove()
        >>> graph
        SpatialGraph(neurons=12, synapses=8, dim=3, spacing='learned')
    """

    def __init__(self, amount: float) -> None:
        self._graph: SpatialGraph | None = None
        self.amount = amount

    @property
    def amount(self) -> float:
        """Share of the synapses that is left out."""
        return self._amount

    @amount.setter
    def amount(self, amount: float) -> None:
        self._amount = checks.between("amount", amount, 0.0, 1.0)
        if self._graph is not None:
            self._graph.silent_share = self._amount

    def attach(self, graph: SpatialGraph) -> "PruneWhileTraining":
        """Leave synapses of this network out from now on; of a model, give ``model.graph``.

        Raises:
            TypeError: if ``graph`` is not a SpatialGraph.
            ValueError: if another network is attached.
        """
        if not isinstance(graph, SpatialGraph):
            raise TypeError(f"graph must be a SpatialGraph (of a model: model.graph), got {type(graph).__name__}")
        if self._graph not in (None, graph):
            raise ValueError("graph must be the one attached before, or remove() be called first, got another")
        self._graph = graph
        graph.silent_share = self.amount
        return self

    @torch.no_grad()
    def remove(self) -> None:
        """Remove for good the synapses that are left out now, and detach; without a network nothing happens."""
        if self._graph is None:
            return
        transmission = Transmission(self._graph)
        heard = [transmission.heard(number) for number in range(len(self._graph.projections))]
        self._graph.silent_share = 0.0
        self._graph.keep(torch.cat(heard))
        self._graph = None
