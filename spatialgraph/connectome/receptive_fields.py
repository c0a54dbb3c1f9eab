"""Receptive fields: the weights from the inputs to a neuron, through all paths."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from spatialgraph import checks
from spatialgraph.graph.network import graph_of
from spatialgraph.graph.positions import neuron_numbers
from spatialgraph.graph.projections import Projection
from spatialgraph.graph.spatial_graph import SpatialGraph

__all__ = ["receptive_fields"]

# At most so many numbers are held for the inputs that are followed together.
_NUMBERS = 2**24


@torch.no_grad()
def receptive_fields(network: nn.Module, neurons: int | Tensor | None = None) -> Tensor:
    r"""Return the signed weights from the inputs to neurons, through all paths of the linearised network.

    .. math:: F_{ji} = \sum_{i \to k_1 \to \dots \to j} w_{i k_1} w_{k_1 k_2} \cdots w_{k_n j}

    That of a neuron without hidden neurons before it holds the weights of its synapses. Activation functions, biases
    and normalisation are left out, and so are recurrent synapses, which act at a later time step.

    Args:
        network: a graph, or a model that has one.
        neurons: a layer's number, neuron numbers or a boolean mask of shape ``(N,)``; None for all neurons.

    Returns:
        Tensor of shape ``(K, inputs)``, detached: a row for each neuron in the order given, a column for each input
        neuron in the order of :attr:`SpatialGraph.inputs <spatialgraph.SpatialGraph.inputs>`. The row of an input has
        1 in its own column.

    Raises:
        TypeError: if ``network`` is neither a graph nor a model that has one, or ``neurons`` is of the wrong type.
        ValueError: if there is no such layer or neuron, or a weight is infinite or NaN.

    Example:
        >>> graph = SpatialGraph(torch.tensor([[0.0], [1.0], [3.0]]), torch.tensor([[0, 1], [1, 2]]))
        >>> field, (first, second) = receptive_fields(graph, graph.outputs), graph.weights().detach()
        >>> torch.allclose(field, first * second)
        True
    """
    graph = graph_of(network)
    numbers = neuron_numbers(neurons, graph.connectivity.layer)
    stages = _stages(graph, numbers)
    inputs = graph.inputs
    fields = graph.raw_bias.new_empty(len(numbers), len(inputs))
    for columns in torch.arange(len(inputs), device=inputs.device).split(max(1, _NUMBERS // graph.neurons)):
        reached = fields.new_zeros(len(columns), graph.neurons)
        reached[torch.arange(len(columns), device=inputs.device), inputs[columns]] = 1.0
        for projection, send in stages:
            reached[:, projection.targets] = send(reached[:, projection.sources])
        fields[:, columns] = reached[:, numbers].t()
    return fields


def _stages(graph: SpatialGraph, numbers: Tensor) -> list[tuple[Projection, Callable[[Tensor], Tensor]]]:
    """Return the feed-forward projections up to the last one that leads to some neurons, with their weights."""
    graph.connectivity.verify()
    asked = torch.zeros(graph.neurons, dtype=torch.bool, device=numbers.device)
    asked[numbers] = True
    transmission = graph.transmission()
    stages: list[tuple[Projection, Callable[[Tensor], Tensor]]] = []
    projections = graph.feed_forward_projections
    last = max((number for number, each in enumerate(projections) if bool(asked[each.targets].any())), default=-1)
    for number, projection in enumerate(projections[: last + 1]):
        matrix = transmission.matrix(number).detach()
        checks.finite(f"the weights of projection {number}", matrix.weight)
        stages.append((projection, matrix.send))
    return stages
