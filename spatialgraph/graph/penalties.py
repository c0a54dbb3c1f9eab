"""Penalties: what a network's geometry adds to a loss, so that training saves wiring or keeps neurons apart.

They sum over a whole network: those of networks in half precision are computed and returned in single precision.
"""

from collections.abc import Callable, Mapping

import torch
from torch import Tensor, nn

from spatialgraph import checks
from spatialgraph.functional.ordered import summed
from spatialgraph.functional.precision import in_single
from spatialgraph.graph.network import Network, graph_of
from spatialgraph.wiring.edges import radius as within

__all__ = [
    "PENALTIES",
    "collapse_cost",
    "communicability_cost",
    "make_penalty",
    "repulsion_cost",
    "wiring_cost",
]


def wiring_cost(network: Network) -> Tensor:
    r"""Return the wiring cost of a network, the sum of absolute weight times length over all synapses.

    .. math:: \sum_{ij} |w_{ij}|\, r_{ij}

    Add it, times a small factor, to the loss, so that strong synapses become short.

    Args:
        network: a graph, or a model that has one.

    Returns:
        Tensor without axes, in length units, differentiable.

    Raises:
        TypeError: if ``network`` is neither a graph nor a model with one.

    Example:
        >>> from spatialgraph import SpatialGraph
        >>> pos = torch.tensor([[0.0, 0.0], [3.0, 4.0]])
        >>> graph = SpatialGraph(pos, torch.tensor([[0], [1]]), polarity_mode="graded", gain=2.0)
        >>> bool(torch.isclose(wiring_cost(graph), 2.0 * graph.polarity[0].abs()))
        True
    """
    graph = graph_of(network)
    graph.connectivity.verify()
    transmission = graph.transmission()
    numbers = range(len(graph.projections))
    costs = [in_single(transmission.weight(n)).abs() * in_single(transmission.length(n)) for n in numbers]
    return torch.stack([cost.sum() for cost in costs]).sum()


def communicability_cost(network: Network) -> Tensor:
    r"""Return the wiring cost in which each synapse counts by how well its ends communicate over all paths.

    .. math::
        \sum_{ij} |w_{ij}|\, r_{ij}\, C_{ij}, \qquad
        C = \exp\left(O^{-1/2} |W| I^{-1/2}\right)

    Here :math:`O` and :math:`I` are the diagonal matrices of outgoing and incoming strengths, and :math:`\exp` is the
    exponential of a matrix. It is the regularisation of spatially embedded recurrent networks (`Achterberg et al., 2023
    <https://doi.org/10.1038/s42256-023-00748-9>`_), which divide by the outgoing strengths of both ends; with incoming
    ones for targets, neurons that send nothing are allowed.

    Args:
        network: a graph, or a model that has one. Memory grows with the square of its neurons and time with the cube.

    Returns:
        Tensor without axes, in length units, differentiable.

    Raises:
        TypeError: if ``network`` is neither a graph nor a model with one.

    Example:
        >>> from spatialgraph import SpatialGraph
        >>> graph = SpatialGraph(torch.tensor([[0.0], [1.0]]), torch.tensor([[0], [1]]))
        >>> bool(torch.isclose(communicability_cost(graph), wiring_cost(graph)))
        True
    """
    graph = graph_of(network)
    source, target = graph.edge_index
    size = in_single(graph.weights()).abs()
    strengths = [summed(size, ends, graph.neurons) for ends in (source, target)]
    # The product of two strengths may lie beyond the range of their type, that of their roots does not.
    outgoing, incoming = (torch.where(each > 0, each, 1.0).sqrt() for each in strengths)
    share = size / (outgoing[source] * incoming[target])
    matrix = size.new_zeros(graph.neurons, graph.neurons).index_put((source, target), share)
    communicability = torch.linalg.matrix_exp(matrix)[source, target]
    cost: Tensor = (size * in_single(graph.lengths()) * communicability).sum()
    return cost


def repulsion_cost(network: Network, radius: float = 0.1) -> Tensor:
    r"""Return a cost of neurons that are closer to each other than a radius.

    .. math:: \sum_{i < j} \max(0, 1 - r_{ij} / R)^2

    Only pairs within the radius are listed, so that the cost of large networks is that of a neighbour search.

    Args:
        network: a graph, or a model that has one.
        radius: the radius R, in length units.

    Returns:
        Tensor without axes, differentiable. The gradient is 0 for neurons at the same position.

    Raises:
        TypeError: if ``network`` is neither a graph nor a model with one, or ``radius`` is not a number.
        ValueError: if ``radius`` is not positive, or a position is not finite.

    Example:
        >>> from spatialgraph import SpatialGraph
        >>> graph = SpatialGraph(torch.tensor([[0.0], [0.5], [3.0]]), torch.tensor([[0, 1], [1, 2]]))
        >>> repulsion_cost(graph, radius=1.0).item()
        0.25
    """
    graph, radius = graph_of(network), checks.positive("radius", radius)
    pos = in_single(graph.positions())
    pairs = within(pos.detach().cpu(), None, radius)  # a search on an accelerator would wait for it several times
    first, second = pairs[:, pairs[0] < pairs[1]].to(pos.device)
    lengths = torch.linalg.vector_norm(pos[first] - pos[second], dim=1)
    cost: Tensor = (1.0 - lengths / radius).clamp(min=0.0).square().sum()
    return cost


def collapse_cost(network: Network) -> Tensor:
    r"""Return a cost of layers that are closer than 1 to each other, :math:`\sum_l \max(0, 1 - |g_l|)^2`.

    In training the gaps :math:`g_l` between layers tend to shrink towards 0, where all layers lie in one plane. For
    spacing ``"free"`` a gap is the distance between the layers' mean last coordinates.

    Args:
        network: a graph, or a model that has one.

    Returns:
        Tensor without axes, differentiable.

    Raises:
        TypeError: if ``network`` is neither a graph nor a model with one.
        ValueError: if the network has no layers.

    Example:
        >>> from spatialgraph import SpatialGraph
        >>> collapse_cost(SpatialGraph.layered([2, 2])).item()
        0.0
    """
    graph = graph_of(network)
    if not graph.is_layered:
        raise ValueError("network must have layers for collapse_cost, got a graph without")
    cost: Tensor = (1.0 - in_single(graph.positions.heights()).diff().abs()).clamp(min=0.0).square().sum()
    return cost


PENALTIES: dict[str, Callable[[nn.Module], Tensor]] = {
    "wiring": wiring_cost,
    "communicability": communicability_cost,
    "repulsion": repulsion_cost,
    "collapse": collapse_cost,
}
"""Penalties by name."""


def make_penalty(network: nn.Module, factors: Mapping[str, float]) -> Callable[[], Tensor]:
    """Return a function without arguments whose value, the sum of penalties times their factors, is added to a loss.

    Args:
        network: a graph, or a model that has one.
        factors: a factor for each penalty: ``"wiring"``, ``"communicability"``, ``"repulsion"``, ``"collapse"``.

    Raises:
        TypeError: if ``network`` is neither a graph nor a model with one, ``factors`` is no dictionary, or a factor is
            not a number.
        ValueError: if there is no factor, a name is unknown, or a factor is not finite.

    Example:
        >>> from spatialgraph import SpatialMLP
        >>> make_penalty(SpatialMLP([4, 3, 2]), {"wiring": 1e-4, "collapse": 0.1})().shape
        torch.Size([])
    """
    if not isinstance(factors, Mapping):
        raise TypeError(f"factors must be a dictionary of a factor for each penalty, got {type(factors).__name__}")
    if not factors:
        raise ValueError("factors must have a factor for each penalty, and one at least, got none")
    graph = graph_of(network)
    terms = [
        (PENALTIES[checks.choice("penalty", name, list(PENALTIES))], checks.number(f"factor of {name}", factor))
        for name, factor in factors.items()
    ]
    return lambda: torch.stack([factor * cost(graph) for cost, factor in terms]).sum()
