"""embed: positions for a graph that has weights but no positions, such as a measured connectome."""

import warnings
from collections.abc import Hashable, Iterable
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch
from torch import Tensor

from spatialgraph import checks
from spatialgraph.conversion.fitting import best_factors, minimise
from spatialgraph.devices import draw
from spatialgraph.graph.networkx_reader import coordinates, read_column, read_number
from spatialgraph.graph.spatial_graph import SpatialGraph
from spatialgraph.laws import Law

if TYPE_CHECKING:
    import networkx

__all__ = ["Embedding", "embed"]

_TINY = torch.finfo(torch.float64).tiny


class Embedding(NamedTuple):
    """A network that was made from a graph with weights, and how much of these its positions explain."""

    graph: SpatialGraph
    """The network."""

    explained: float
    r""":math:`1 - \lVert w - \hat w \rVert^2 / \lVert w \rVert^2` over all synapses."""


def embed(
    graph: "networkx.DiGraph",
    dim: int | None = None,
    *,
    weight: str = "weight",
    inputs: Iterable[Hashable] = (),
    outputs: Iterable[Hashable] = (),
    law: str | Law = "inverse_distance",
    steps: int = 500,
    generator: torch.Generator | None = None,
) -> Embedding:
    r"""Find positions for the nodes of any directed graph, such that the law reproduces the weights of its edges.

    .. math:: \min_{p, s} \sum_{(i, j)} \left( w_{ij} - s_i\, w(|p_i - p_j|) \right)^2

    over positions and polarities. Positions are learned by Adam; for given positions the best polarities follow from
    least squares. All synapses of a source share its polarity: a law that changes its sign, such as ``"cosine"``, is
    needed to explain sources with weights of both signs.

    A network needs neurons without incoming edges, its inputs, and neurons without outgoing edges, its outputs. Where
    the graph has none, as most connectomes, ``inputs`` and ``outputs`` add some; these come after the nodes that are
    inputs and outputs by themselves. Edges from a node to itself are left out, with a warning.

    Args:
        graph: the directed graph. Neurons are numbered in the order of its nodes; then follow the added inputs and
            outputs.
        dim: number of axes d, with random positions to start from. None starts from the coordinates ``x``, ``y``,
            ``z``, ... of the nodes, or in 3-D if no node has any.
        weight: name of the attribute of the edges; 1 for all if no edge has it.
        inputs: nodes that receive the input. Each gets an input neuron with a synapse of weight 1 to it.
        outputs: nodes that are read out. Each gets an output neuron with a synapse of weight 1 from it.
        law: from length to weight. Learnable parameters of a law are fitted too.
        steps: number of steps of the fit; with 0 positions stay, and polarities alone are fitted.
        generator: source of random numbers for the start. The same numbers give the same network.

    Returns:
        ``(graph, explained)``: the network, without biases; and the explained share of the squared weights, 1 for all,
        never below 0.

    Raises:
        TypeError: if ``graph`` is not a directed networkx graph without parallel edges.
        ValueError: if a weight or coordinate is missing for some edges or nodes, or is no finite number; if a node does
            not exist; if there is no edge, or no path from an input to an output.

    Warns:
        UserWarning: if edges from nodes to themselves are left out.

    Example:
        >>> import networkx as nx
        >>> ring = nx.DiGraph([(0, 1, {"weight": 2.0}), (1, 2, {"weight": 3.0}), (2, 0, {"weight": 0.5})])
        >>> network, explained = embed(ring, inputs=[0], outputs=[2], steps=300)
        >>> network.neurons, round(explained, 2)
        (5, 1.0)
    """
    steps = checks.integer("steps", steps, minimum=0)
    edge_index, weights, added = _read(graph, weight, {"inputs": list(inputs), "outputs": list(outputs)})
    pos = _start(graph, added, dim, generator)
    fitted = SpatialGraph(pos, edge_index, law=law, gain=1.0, generator=generator)
    explained = _fit(fitted, edge_index, weights, steps)
    return Embedding(fitted.to(torch.get_default_dtype()), explained)


def _read(graph: "networkx.DiGraph", name: str, ends: dict[str, list[Hashable]]) -> tuple[Tensor, Tensor, list[int]]:
    """Return edges, their weights, and for each neuron that is added the node that it belongs to."""
    import networkx

    if not isinstance(graph, networkx.DiGraph) or graph.is_multigraph():
        raise TypeError(f"graph must be a networkx.DiGraph, got {type(graph).__name__}")
    edges = [((source, target), data) for source, target, data in graph.edges(data=True) if source != target]
    if not edges:
        raise ValueError("graph must have at least one edge between two nodes, got none")
    if len(edges) < graph.number_of_edges():
        left_out = graph.number_of_edges() - len(edges)
        warnings.warn(f"graph has {left_out} edges from a node to itself, which are left out", stacklevel=3)
    weights = read_column(edges, name, read_number, "edge")
    weights = np.ones(len(edges)) if weights is None else weights
    if np.isnan(weights).any():
        edge = edges[int(np.isnan(weights).argmax())][0]
        raise ValueError(f"graph must give every edge a {name!r}, got none for edge {edge!r}")
    number = {node: place for place, node in enumerate(graph)}
    pairs = [(number[source], number[target]) for (source, target), _ in edges]
    added: list[int] = []
    for why, nodes in ends.items():
        for node in dict.fromkeys(nodes):
            if node not in number:
                raise ValueError(f"{why} must be nodes of the graph, got {node!r}")
            own = len(graph) + len(added)
            pairs.append((own, number[node]) if why == "inputs" else (number[node], own))
            added.append(number[node])
    return torch.tensor(pairs).t(), torch.tensor([*weights, *(1.0 for _ in added)], dtype=torch.float64), added


def _start(graph: "networkx.DiGraph", added: list[int], dim: int | None, generator: torch.Generator | None) -> Tensor:
    """Return positions to start from; added neurons stand near the nodes that they belong to."""
    names = {name for data in graph.nodes.values() for name in data}
    if dim is None and names & {"x", "pos"}:
        own = torch.from_numpy(coordinates(dict(graph.nodes.items())))
    else:
        own = draw(
            torch.randn, len(graph), checks.integer("dim", 3 if dim is None else dim, minimum=1), generator=generator
        )
    near = own[added].double()
    return torch.cat([own.double(), near + draw(torch.randn, near.shape, generator=generator)])


def _fit(graph: SpatialGraph, edge_index: Tensor, weights: Tensor, steps: int) -> float:
    """Fit positions, parameters of the law and polarities in place; return the explained share."""
    weights = weights[_order(edge_index, graph.edge_index, graph.neurons)]
    source, total = graph.edge_index[0], weights.square().sum()
    polarities = weights.new_zeros(graph.neurons)
    with torch.no_grad():
        graph.raw_bias.zero_()
        graph.raw_polarity.fill_(1.0)

    def polarity_and_error() -> tuple[Tensor, Tensor]:
        unsigned = graph.weights()
        fixed = unsigned.detach()  # the error does not change with the best polarities to first order
        of_sources = [
            torch.zeros_like(polarities).index_add(0, source, values) for values in (weights * fixed, fixed.square())
        ]
        polarity = best_factors(*of_sources)
        return polarity, (weights - polarity[source] * unsigned).square().sum() / total.clamp(min=_TINY)

    graph.raw_polarity.requires_grad_(False)
    minimise([*graph.positions.parameters(), *graph.law.parameters()], steps, lambda: polarity_and_error()[1])
    graph.raw_polarity.requires_grad_(True)
    with torch.no_grad():
        polarity, error = polarity_and_error()
        graph.raw_polarity.copy_(polarity[graph.connectivity.located.senders])
    return 1.0 - float(error)


def _order(given: Tensor, wanted: Tensor, neurons: int) -> Tensor:
    """Return where each wanted edge stands among the given ones."""
    numbers, place = (given[0] * neurons + given[1]).sort()
    return place[torch.searchsorted(numbers, wanted[0] * neurons + wanted[1])]
