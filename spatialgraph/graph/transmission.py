"""Transmission: how the neurons of a graph hear each other in one forward pass of a model."""

import dataclasses

import torch.nn.functional as F
from torch import Tensor

from spatialgraph.functional.compressed_edges import CompressedEdges
from spatialgraph.functional.delays import delayed
from spatialgraph.functional.dense import all_to_all, edge_weight, pairwise_weight, sparse
from spatialgraph.functional.smallest import without_smallest
from spatialgraph.graph.projections import Projection
from spatialgraph.graph.spatial_graph import SpatialGraph
from spatialgraph.graph.synapses import projection_lengths

__all__ = ["Materialised", "Matrix", "Transmission", "materialise"]


class Transmission:
    """The projections of a graph, differentiable; positions and polarities are taken once, when it is made.

    Args:
        graph: the network.
        projections: the stages to compute, where they are not all of the network's.

    Example:
        >>> import torch
        >>> transmission = Transmission(SpatialGraph.layered([3, 2]))
        >>> transmission.send(0, torch.ones(5, 3)).shape
        torch.Size([5, 2])
    """

    def __init__(self, graph: SpatialGraph, projections: tuple[Projection, ...] | None = None) -> None:
        self.graph = graph
        self.projections = graph.projections if projections is None else projections
        self.pos = graph.pos
        self.scale = graph.gain * graph.polarity
        free = graph.free_synapses
        self._free_weights = free.split(free.weight, self.projections)
        self._free_delays = free.split(free.delay, self.projections)

    @property
    def biases(self) -> list[Tensor]:
        """The biases of each projection's targets, shape ``(m,)``."""
        bias = self.graph.bias
        return [bias[projection.target_index] for projection in self.projections]

    def send(self, number: int, x: Tensor, bias: Tensor | None = None, rectify: bool = False) -> Tensor:
        """Send activations through a projection with the engine that fits it.

        Args:
            number: the projection's number.
            x: activations of its sources, shape ``(..., n)``.
            bias: added to the inputs of its targets, shape ``(m,)``; None for nothing.
            rectify: whether negative inputs become 0, as by ``relu``.

        Returns:
            Inputs of its targets, shape ``(..., m)``.
        """
        projection = self.projections[number]
        is_dense = projection.edges is None or projection.mask is not None
        if is_dense and self._free_weights[number] is None:
            geometry, silent = self._geometry(projection), self._silent(projection)
            y = all_to_all(x, *geometry, self.graph.law, bias, projection.mask, silent)
        elif projection.edges is None:
            y = F.linear(x, self.weight(number), bias)
        else:
            return sparse(x, self.weight(number), projection.edges, bias, rectify)
        return F.relu(y) if rectify else y

    def send_delayed(self, number: int, x: Tensor, line: Tensor | None, delay: Tensor) -> Tensor:
        """Send a time series ``(T, ..., n)`` with delays, as in :mod:`spatialgraph.functional.delays`."""
        return delayed(x, self.weight(number), delay, self.projections[number].edges, line)

    def weight(self, number: int) -> Tensor:
        """Return the signed weights of a projection, ``(m, n)`` where all-to-all, else ``(E,)``; 0 for silent ones."""
        weight = self._weight(number)
        silent = self._silent(self.projections[number])
        return weight * without_smallest(weight.detach(), silent) if silent else weight

    def heard(self, number: int) -> Tensor:
        """Return which synapses of a projection are not silent, in the order of its edges, shape ``(E,)``, bool."""
        return without_smallest(self._weight(number).detach().flatten(), self._silent(self.projections[number]))

    def _silent(self, projection: Projection) -> int:
        return round(self.graph.silent_share * projection.synapses)

    def _weight(self, number: int) -> Tensor:
        projection, free = self.projections[number], self._free_weights[number]
        if free is not None and self.graph.free_synapses.weight_kind == "free":
            return self.graph.gain * free
        geometry = self._geometry(projection)
        if projection.edges is None:
            weight = pairwise_weight(*geometry, self.graph.law)
        else:
            weight = edge_weight(*geometry, self.graph.law, projection.edges)
        return weight if free is None else weight * free

    def delay(self, number: int) -> Tensor:
        """Return the delays of a projection in time steps, in the shape of its weights."""
        free = self._free_delays[number]
        lengths = projection_lengths(self.pos, self.projections[number]) if free is None else free
        return self.graph.free_synapses.delays_of(lengths, free)

    def _geometry(self, projection: Projection) -> tuple[Tensor, Tensor, Tensor]:
        index = projection.source_index
        return self.pos[index], self.pos[projection.target_index], self.scale[index]


class Materialised:
    """The projections of a graph with weights and biases computed once, for many passes without gradients.

    Args:
        graph: the network.
        projections: the stages to compute, where they are not all of the network's.

    Example:
        >>> Materialised(SpatialGraph.layered([3, 2])).matrices[0].weight.shape
        torch.Size([2, 3])
    """

    def __init__(self, graph: SpatialGraph, projections: tuple[Projection, ...] | None = None) -> None:
        transmission = Transmission(graph, projections)
        self.projections = transmission.projections
        self.matrices = [materialise(transmission, number) for number in range(len(transmission.projections))]
        self.biases = [bias.detach() for bias in transmission.biases]

    def send(self, number: int, x: Tensor, bias: Tensor | None = None, rectify: bool = False) -> Tensor:
        """Send activations as :meth:`Transmission.send` does."""
        return self.matrices[number].send(x, bias, rectify)


@dataclasses.dataclass(frozen=True)
class Matrix:
    """The weights of a projection.

    Args:
        weight: shape ``(m, n)``, or of each edge, shape ``(E,)``.
        edges: the edges that these are the weights of; None for the matrix.
    """

    weight: Tensor
    edges: CompressedEdges | None = None

    def send(self, x: Tensor, bias: Tensor | None = None, rectify: bool = False) -> Tensor:
        """Send activations of shape ``(..., n)`` on as ``(..., m)``."""
        if self.edges is not None:
            return sparse(x, self.weight, self.edges, bias, rectify)
        y = F.linear(x, self.weight, bias)
        return F.relu(y) if rectify else y

    def dense(self) -> Tensor:
        """Return the weights of all pairs, shape ``(m, n)``; 0 where there is no edge."""
        return self.weight if self.edges is None else self.edges.matrix(self.weight).to_dense()


def materialise(transmission: Transmission, number: int) -> Matrix:
    """Return the weights of a projection, without gradients, for the engine that fits it."""
    projection, weight = transmission.projections[number], transmission.weight(number).detach()
    if projection.edges is None:
        return Matrix(weight)
    if projection.mask is not None:
        return Matrix(projection.edges.matrix(weight).to_dense())
    return Matrix(weight, projection.edges)
