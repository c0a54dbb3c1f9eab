"""Options of models: which belong to the graph, and which to the model."""

import difflib
import inspect
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

from spatialgraph.graph.spatial_graph import SpatialGraph

__all__ = ["keywords", "make_graph", "refuse_unknown"]


def keywords(function: Callable[..., Any]) -> list[str]:
    """Return the names of a function's keyword-only arguments.

    Example:
        >>> keywords(SpatialGraph.layered)[:2]
        ['wiring', 'spacing']
    """
    parameters = inspect.signature(function).parameters.values()
    return [parameter.name for parameter in parameters if parameter.kind is parameter.KEYWORD_ONLY]


def refuse_unknown(owner: str, options: Mapping[str, Any], known: Collection[str]) -> None:
    """Raise ``TypeError`` for an option that is not among those known.

    Example:
        >>> refuse_unknown("SpatialMLP", {"activaton": "relu"}, ["activation"])
        Traceback (most recent call last):
        TypeError: SpatialMLP takes no argument 'activaton'; did you mean 'activation'?
    """
    for name in options:
        if name not in known:
            near = difflib.get_close_matches(name, known, 1)
            hint = f"did you mean {near[0]!r}?" if near else f"it takes {', '.join(sorted(known))}"
            raise TypeError(f"{owner} takes no argument {name!r}; {hint}")


def make_graph(
    owner: str, graph: Sequence[int] | SpatialGraph, dim: int | None, options: dict[str, Any], known: Collection[str]
) -> SpatialGraph:
    """Return the graph that a model was given, or build one of layers.

    Args:
        owner: the model's class, for messages.
        graph: layer sizes or a graph.
        dim: number of axes d, with sizes only.
        options: options of :meth:`SpatialGraph.layered <spatialgraph.SpatialGraph.layered>`, with sizes only.
        known: names of the model's other arguments, for messages.

    Raises:
        TypeError: if an option is unknown, or given beside a graph.

    Example:
        >>> make_graph("SpatialMLP", [3, 2], None, {}, [])
        SpatialGraph(neurons=5, synapses=6, dim=3, spacing='learned')
    """
    allowed = {*keywords(SpatialGraph.layered), *keywords(SpatialGraph.__init__)} - {"layer"}
    refuse_unknown(owner, options, [*known, *allowed])
    if not isinstance(graph, SpatialGraph):
        return SpatialGraph.layered(graph, 3 if dim is None else dim, **options)
    given = (["dim"] if dim is not None else []) + list(options)
    if given:
        raise TypeError(f"{given[0]} must be set where the graph is made, got it beside a SpatialGraph")
    return graph
