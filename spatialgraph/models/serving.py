"""Serving: the weights of a model's projections, cached on the CPU between passes that need no gradients."""

import functools
from typing import Any

from torch import nn
from torch.nn.modules.module import _has_any_global_hook

from spatialgraph.graph.connectivity import Connectivity
from spatialgraph.graph.positions import Positions
from spatialgraph.graph.projections import Projection
from spatialgraph.graph.spatial_graph import SpatialGraph
from spatialgraph.graph.synapses import FreeSynapses
from spatialgraph.graph.transmission import PrecomputedTransmission, Transmission
from spatialgraph.layers.cache import Cache, Sources, law_settings, may_be_cached

__all__ = ["Served"]


class Served:
    """The projections of a model's network, with weights that are cached in ``eval()`` on the CPU, until it trains.

    Example:
        >>> graph, model = SpatialGraph.layered([3, 2]).requires_grad_(False), nn.Identity()
        >>> type(Served().transmission(model, graph)).__name__
        'Transmission'
        >>> type(Served().transmission(model.eval(), graph)).__name__
        'PrecomputedTransmission'
    """

    def __init__(self) -> None:
        self._cache: Cache[PrecomputedTransmission] = Cache()

    def transmission(
        self, model: nn.Module, graph: SpatialGraph, with_dead_ends: bool = True
    ) -> Transmission | PrecomputedTransmission:
        """Return what carries activations through the projections in this pass.

        Args:
            model: the model, in training or not.
            graph: its network.
            with_dead_ends: whether neurons that no path leads from to an output take part.

        Raises:
            RuntimeError: if the structure is not that of the network whose parameters are here.
        """
        is_observed = graph.observer is not None  # then every neuron counts
        if model.training:
            self._cache.clear()
        if model.training or is_observed:
            return graph.transmission(_projections(graph, with_dead_ends or is_observed))
        own: dict[str, Any] = graph._modules  # read as a dictionary: attributes of a module take a microsecond each
        modules: tuple[Any, ...] = (graph, own["connectivity"], own["positions"], own["law"])
        if own["free_synapses"] is not None:
            modules = (*modules, own["free_synapses"])
        objects = (with_dead_ends,)
        cached = self._cache.current(modules, objects)
        if cached is None:
            sources = functools.partial(_sources, model, modules, with_dead_ends)
            cached = self._cache.get(sources, functools.partial(_materialised, graph, with_dead_ends), modules, objects)
        return graph.transmission(_projections(graph, with_dead_ends)) if cached is None else cached


def _projections(graph: SpatialGraph, with_dead_ends: bool) -> tuple[Projection, ...]:
    """Return the stages to compute; neurons without a path to an output matter where synapses are counted."""
    graph.connectivity.verify()
    if with_dead_ends or graph.masked_share or graph.weight_mode != "law":
        return graph.projections
    return graph.connectivity.live_projections


def _materialised(graph: SpatialGraph, with_dead_ends: bool) -> PrecomputedTransmission:
    return graph.transmission(_projections(graph, with_dead_ends)).precomputed()


def _sources(model: nn.Module, modules: tuple[Any, ...], with_dead_ends: bool) -> Sources | None:
    """Read all that the weights and biases of a network follow from; None if they must not be cached in this pass."""
    graph, connectivity, positions, law = modules[:4]
    if not connectivity._buffers[
        "fingerprint"
    ].is_cpu:  # first, for the settings of some laws would have to be waited for
        return None
    of_law = law_settings(law)
    if of_law is None or not _is_plain(*modules):
        return None
    tensors = [
        tensor
        for module in modules
        for held in (module._parameters, module._buffers)
        for tensor in held.values()
        if tensor is not None and tensor.numel()
    ]
    if not may_be_cached(model, *tensors):
        return None
    settings = (graph.gain, graph.polarity_mode, graph.masked_share, graph.weight_mode, positions.spacing)
    return Sources(tensors, settings + of_law, (with_dead_ends, connectivity.located))


def _is_plain(graph: SpatialGraph, connectivity: Connectivity, positions: Positions, *others: nn.Module) -> bool:
    """Tell whether positions, polarities and biases follow from the parameters, and these are no functions of others.

    Subclasses, hooks and parametrisations may do anything.
    """
    return (
        type(graph) is SpatialGraph
        and type(positions) is Positions
        and all(type(module) is FreeSynapses for module in others[1:])
        and ("raw_polarity" in graph._parameters or "raw_polarity" in graph._buffers)
        and ("coords" in positions._parameters or "coords" in positions._buffers)
        and "forward" not in positions.__dict__
        and not (graph._forward_pre_hooks or positions._forward_pre_hooks or positions._forward_hooks)
        and not _has_any_global_hook()
    )
