"""Serving: the weights of a model's projections, kept between passes that need no gradients of them."""

import functools
from typing import Any

from torch import nn
from torch.nn.modules.module import _has_any_global_hook

from spatialgraph.graph import SpatialGraph
from spatialgraph.kept import Kept, Sources, law_settings, may_be_kept
from spatialgraph.laws import Law
from spatialgraph.positions import Positions
from spatialgraph.projections import Projection
from spatialgraph.synapses import FreeSynapses
from spatialgraph.transmission import Materialised, Transmission

__all__ = ["Served"]


class Served:
    """The projections of a model's network, with weights that are kept in ``eval()`` while they hold.

    Example:
        >>> graph, model = SpatialGraph.layered([3, 2]).requires_grad_(False), nn.Identity()
        >>> type(Served().transmission(model, graph, graph.projections)).__name__
        'Transmission'
        >>> type(Served().transmission(model.eval(), graph, graph.projections)).__name__
        'Materialised'
    """

    def __init__(self) -> None:
        self._kept: Kept[Materialised] = Kept()

    def transmission(
        self, model: nn.Module, graph: SpatialGraph, projections: tuple[Projection, ...]
    ) -> Transmission | Materialised:
        """Return what carries activations through the projections in this pass.

        Args:
            model: the model, in training or not.
            graph: its network.
            projections: the stages to compute.
        """
        if model.training:
            return Transmission(graph, projections)
        own: dict[str, Any] = graph._modules  # read as a dictionary: attributes of a module take a microsecond each
        modules = (graph, own["positions"], own["law"], own["free_synapses"])
        kept = self._kept.get(
            functools.partial(_sources, model, *modules, projections),
            functools.partial(Materialised, graph, projections),
            modules,
            (projections,),
        )
        return Transmission(graph, projections) if kept is None else kept


def _sources(
    model: nn.Module,
    graph: SpatialGraph,
    positions: Positions,
    law: Law,
    free: FreeSynapses,
    projections: tuple[Projection, ...],
) -> Sources | None:
    """Read all that the weights and biases of a network follow from; None if they may not be kept in this pass."""
    of_law = law_settings(law)
    if of_law is None or not _is_plain(graph, positions, free):
        return None
    tensors = [
        tensor
        for module in (graph, positions, law, free)
        for held in (module._parameters, module._buffers)
        for tensor in held.values()
        if tensor is not None and tensor.numel()
    ]
    if not may_be_kept(model, *tensors):
        return None
    settings = (graph.gain, graph.polarity_kind, graph.silent_share, free.weight_kind, positions.spacing)
    return Sources(tensors, settings + of_law, (projections,))


def _is_plain(graph: SpatialGraph, positions: Positions, free: FreeSynapses) -> bool:
    """Tell whether positions, polarities and biases follow from the parameters, and these are no functions of others.

    Subclasses, hooks and parametrisations may do anything.
    """
    return (
        type(graph) is SpatialGraph
        and type(positions) is Positions
        and type(free) is FreeSynapses
        and ("raw_polarity" in graph._parameters or "raw_polarity" in graph._buffers)
        and ("coords" in positions._parameters or "coords" in positions._buffers)
        and "forward" not in positions.__dict__
        and not (graph._forward_pre_hooks or positions._forward_pre_hooks or positions._forward_hooks)
        and not _has_any_global_hook()
    )
