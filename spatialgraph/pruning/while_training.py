"""Pruning while training: the smallest weights are masked in each pass and may be unmasked later."""

import weakref

import torch
from torch import nn

from spatialgraph import checks
from spatialgraph.graph.network import graph_of
from spatialgraph.graph.spatial_graph import SpatialGraph

__all__ = ["PruneWhileTraining"]

# Who masks which graph, for two pruners would overwrite each other's share; in no attribute, which copies would share.
_PRUNERS: "weakref.WeakKeyDictionary[SpatialGraph, weakref.ref[PruneWhileTraining]]" = weakref.WeakKeyDictionary()


class PruneWhileTraining:
    """Mask the smallest weights of a network in every forward pass.

    In each forward pass, of training and of evaluation, the share ``amount`` of each projection's synapses with the
    smallest absolute weights is masked: they weigh 0, and get no gradient in that pass. The mask is recomputed in each
    pass: a masked synapse is unmasked when it becomes shorter than others. This is the in-training pruning of `Erb et
    al. (2025) <https://arxiv.org/abs/2506.13410>`_, section 3.2. The threshold is exact: ``round(amount * synapses)``
    weights of each projection are masked, fewer only if several equal the smallest unmasked one.

    Masked synapses also weigh 0 in ``weights()``, files and exports. :meth:`remove` removes them permanently.

    Args:
        amount: share of the synapses, from 0 to 1; may be set at any time.

    Raises:
        TypeError: if ``amount`` is not a number.
        ValueError: if ``amount`` is not between 0 and 1.

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
        """Share of the synapses that is masked."""
        return self._amount

    @amount.setter
    def amount(self, amount: float) -> None:
        self._amount = checks.between("amount", amount, 0.0, 1.0)
        if self._graph is not None:
            self._graph.masked_share = self._amount

    def attach(self, network: nn.Module) -> "PruneWhileTraining":
        """Attach to a graph or a model that has one, and start masking.

        Raises:
            TypeError: if ``network`` is neither a SpatialGraph nor a model that has one.
            ValueError: if already attached to another network, or if another pruner is attached to this one.
        """
        graph = graph_of(network)
        if self._graph not in (None, graph):
            raise ValueError("network must be the one attached before, or remove() be called first, got another")
        other = _PRUNERS[graph]() if graph in _PRUNERS else None
        if other not in (None, self):
            raise ValueError(
                "network must have no other pruner, whose amount this one would replace; set that one's amount, or "
                f"remove() it first, got one of amount {other.amount:g}"
            )
        self._graph, _PRUNERS[graph] = graph, weakref.ref(self)
        graph.masked_share = self.amount
        return self

    @torch.no_grad()
    def remove(self) -> None:
        """Remove the masked synapses permanently, and detach; does nothing if not attached."""
        if self._graph is None:
            return
        graph = self._graph
        transmission = graph.transmission()
        unmasked = torch.cat([transmission.unmasked(number) for number in range(len(graph.projections))])
        graph.masked_share = 0.0
        graph.keep_(unmasked)
        self._graph = None
        _PRUNERS.pop(graph, None)
