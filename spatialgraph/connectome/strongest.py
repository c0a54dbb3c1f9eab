"""The strongest synapses of a network, for files and pictures that cannot show all of them."""

import torch
from torch import Tensor, nn

from spatialgraph import checks
from spatialgraph.graph.network import graph_of
from spatialgraph.graph.projections import Projection
from spatialgraph.graph.transmission import Transmission

__all__ = ["strongest", "strongest_synapses"]

SCOPES = ("global", "projection")

# Synapses of a projection whose weights can be looked at in minutes.
_MOST = 10**11


def strongest(
    weight: Tensor, *, min_weight: float | None = None, top: int | None = None, fraction: float | None = None
) -> Tensor:
    """Return the numbers of the synapses with the largest absolute weights, in ascending order.

    Args:
        weight: weights of all synapses, shape ``(E,)``.
        min_weight: keep those with at least this absolute weight.
        top: keep so many; all where there are fewer.
        fraction: keep this share, rounded to a whole number of synapses.

    Returns:
        int64 tensor; all numbers where none of the three is given. Of equal weights, the first synapses are kept.

    Raises:
        ValueError: if more than one of the three is given, or one is out of range.

    Example:
        >>> strongest(torch.tensor([0.1, -3.0, 2.0]), top=2)
        tensor([1, 2])
    """
    given = {"min_weight": min_weight, "top": top, "fraction": fraction}
    named = [name for name, value in given.items() if value is not None]
    if len(named) > 1:
        raise ValueError(f"at most one of min_weight, top and fraction may be given, got {' and '.join(named)}")
    count = len(weight)
    if min_weight is not None:
        return torch.nonzero(weight.abs() >= checks.number("min_weight", min_weight))[:, 0]
    if top is not None:
        count = min(count, checks.integer("top", top, minimum=0))
    if fraction is not None:
        count = round(count * checks.between("fraction", fraction, 0.0, 1.0))
    if count == len(weight):
        return torch.arange(count, device=weight.device)
    return _largest(weight.abs(), count)


@torch.no_grad()
def strongest_synapses(
    network: nn.Module,
    *,
    min_weight: float | None = None,
    top: int | None = None,
    fraction: float | None = None,
    scope: str = "global",
) -> tuple[Tensor, Tensor]:
    """Return the synapses of a network with the largest absolute weights, without a list of all synapses.

    Args:
        network: a graph, or a model that has one.
        min_weight: as in :func:`strongest`.
        top: as in :func:`strongest`.
        fraction: as in :func:`strongest`.
        scope: ``"global"`` to choose from all synapses together, ``"projection"`` to choose ``top`` or ``fraction`` of
            each projection.

    Returns:
        Sources and targets, shape ``(2, K)``, and signed weights, shape ``(K,)``, in the order of ``edge_index``.

    Raises:
        TypeError: if ``network`` is neither a graph nor a model that has one.
        ValueError: if more than one of the three is given, or one is out of range, or ``scope`` is unknown; or if a
            weight is infinite or NaN.

    Example:
        >>> from spatialgraph import SpatialGraph
        >>> edges, weight = strongest_synapses(SpatialGraph.layered([784, 20, 10]), top=3)
        >>> edges.shape, weight.shape
        (torch.Size([2, 3]), torch.Size([3]))
    """
    graph = graph_of(network)
    checks.choice("scope", scope, SCOPES)
    strongest(torch.empty(0), min_weight=min_weight, top=top, fraction=fraction)  # checks the three
    if fraction is not None and scope == "global":
        top, fraction = round(graph.synapses * fraction), None
    graph.connectivity.verify()
    transmission, ends, weights = graph.transmission(), [], []
    for number, projection in enumerate(graph.projections):
        most = top if fraction is None else round(projection.synapses * fraction)
        kept, weight = _strongest_of(transmission, number, min_weight, most)
        ends.append(_ends(projection, kept))
        weights.append(weight)
    edges, weight = torch.cat(ends, dim=1), torch.cat(weights)
    kept = strongest(weight, top=top if scope == "global" else None)
    return edges[:, kept], weight[kept]


def _strongest_of(
    transmission: Transmission, number: int, min_weight: float | None, top: int | None
) -> tuple[Tensor, Tensor]:
    """Return the places of a projection's strongest synapses among its edges, and their weights, block by block."""
    synapses, first = transmission.projections[number].synapses, 0
    if transmission.projections[number].is_large and synapses > _MOST:
        raise ValueError(
            f"network must have at most {_MOST:,} synapses in a projection, which are looked at one by one, got "
            f"{synapses:,}; prune_(graph, amount) finds the shortest ones by a search of neighbours"
        )
    weights = transmission.biases[0].new_empty(0)
    places = torch.empty(0, dtype=torch.int64, device=weights.device)
    for block in transmission.weight_blocks(number):
        checks.finite(f"the weights of projection {number}", block)
        some = strongest(block, min_weight=min_weight, top=top)
        places, weights = torch.cat([places, first + some]), torch.cat([weights, block[some]])
        first += len(block)
        if first > len(block):
            kept = strongest(weights, top=top)
            places, weights = places[kept], weights[kept]
    return places, weights


def _largest(size: Tensor, count: int) -> Tensor:
    """Return the places of the largest numbers, in ascending order; of equal ones the first, and NaN before all."""
    if not count:
        return torch.arange(0, device=size.device)
    size = size.nan_to_num(nan=torch.inf, posinf=torch.inf)
    least = torch.topk(size, count, sorted=False).values.amin()  # to sort all of them would take ten times as long
    above, equal = (torch.nonzero(mark)[:, 0] for mark in (size > least, size == least))
    return torch.cat([above, equal[: count - len(above)]]).sort().values


def _ends(projection: Projection, kept: Tensor) -> Tensor:
    """Return the sources and targets of some synapses of a projection."""
    if projection.is_complete and not projection.is_recurrent:
        targets = torch.div(kept, projection.n_sources, rounding_mode="floor")
        return torch.stack([projection.sources[kept % projection.n_sources], projection.targets[targets]])
    return projection.edge_index()[:, kept]
