"""Which models can be saved: those that are registered, with what they are besides their graph."""

from collections.abc import Mapping
from typing import Any, Protocol, TypeVar, runtime_checkable

from torch import nn

from spatialgraph import checks
from spatialgraph.graph.spatial_graph import SpatialGraph

__all__ = ["Saved", "describe_model", "register_model", "restore_model", "unregister_model"]


@runtime_checkable
class Saved(Protocol):
    """What a model offers that can be saved."""

    @property
    def graph(self) -> SpatialGraph:
        """The network."""

    def saved_settings(self) -> dict[str, Any]:
        """Return what the model is besides its graph, as JSON holds it; raise ``ValueError`` for what it cannot."""

    @classmethod
    def from_saved(cls, graph: SpatialGraph, settings: Mapping[str, Any]) -> nn.Module:
        """Build the model again of its graph and what :meth:`saved_settings` returned."""


_MODELS: dict[str, Any] = {}

Model = TypeVar("Model", bound=type)


def register_model(model: Model) -> Model:
    """Let :func:`spatialgraph.save` and :func:`spatialgraph.load` keep models of a class, by its name. A decorator.

    Args:
        model: a class with ``graph``, ``saved_settings`` and ``from_saved``, see
            :class:`~spatialgraph.graph.saved_models.Saved`.

    Raises:
        TypeError: if it lacks one of them.
        ValueError: if another class of this name is registered.
    """
    for name in ("graph", "saved_settings", "from_saved"):
        if not hasattr(model, name):
            raise TypeError(f"model must have {name} to be registered, got {model!r}")
    if _MODELS.get(model.__name__, model) is not model:
        raise ValueError(f"model must have a name of its own, got {model.__name__!r} again")
    _MODELS[model.__name__] = model
    return model


def unregister_model(model: type) -> None:
    """Take back what :func:`register_model` did."""
    del _MODELS[model.__name__]


def describe_model(model: object) -> dict[str, Any] | None:
    """Return a model's kind and settings; None for a graph, which needs neither.

    Raises:
        TypeError: if models of its class cannot be saved.

    Example:
        >>> describe_model(SpatialGraph.layered([3, 2])) is None
        True
    """
    if isinstance(model, SpatialGraph):
        return None
    kind = type(model).__name__
    if _MODELS.get(kind) is not type(model) or not isinstance(model, Saved):
        raise TypeError(f"network must be a SpatialGraph, {', '.join(_MODELS)}, or of a registered class, got {kind}")
    return {"kind": kind, "settings": model.saved_settings()}


def restore_model(graph: SpatialGraph, described: object) -> nn.Module:
    """Return the model that :func:`describe_model` described, of its graph; the graph itself for None.

    Raises:
        TypeError: if the description is of the wrong type.
        ValueError: if its kind is unknown.
    """
    if described is None:
        return graph
    if not isinstance(described, dict) or not isinstance(described.get("settings"), dict):
        raise TypeError(f"model must be described by its kind and settings, got {described!r}")
    kind = checks.choice("kind", described.get("kind"), list(_MODELS))
    restored: nn.Module = _MODELS[kind].from_saved(graph, described["settings"])
    return restored
