"""Regrowth: long synapses are replaced by short ones."""

import dataclasses
import math
from collections.abc import Iterator

import torch
from scipy.spatial import cKDTree
from torch import Tensor

from spatialgraph import checks
from spatialgraph.graph.network import Network, graph_of
from spatialgraph.graph.spatial_graph import SpatialGraph
from spatialgraph.pruning.removal import SCOPES
from spatialgraph.wiring.clouds import Clouds, check_positions, prepare
from spatialgraph.wiring.neighbors import within

__all__ = ["regrow_"]

# A search radius may contain this many more pairs than twice the number needed.
_SPARE_PAIRS = 4096

# Number of bisections of the radius, after which excess pairs are considered tied.
_HALVINGS = 30

# The trees' distances and the canonical ones differ by a few units in the 16th digit, and squares may underflow.
_ROUNDING = 1e-9
_ROUNDING_FLOOR = 1e-150


@torch.no_grad()
def regrow_(
    network: Network, share: float, *, scope: str = "projection", generator: torch.Generator | None = None
) -> Network:
    """Remove the longest synapses of a network and add the same number between the nearest unconnected pairs, in place.

    The number of synapses does not change. This is sparse training as in `Evci et al. (2020)
    <https://arxiv.org/abs/1911.11134>`_, with lengths instead of weights and gradients. Synapses are added between
    sources and targets of the same projection only. A removed synapse is added again if it is among the nearest pairs.
    Lengths are compared in float64; ties are resolved in favour of the lower target, then the lower source. The nearest
    pairs are found by neighbour search, without a list of all pairs.

    All parameters remain the same objects. Free weights and delays of the remaining synapses keep their values; those
    of new synapses are initialised. Optimiser state of free weights and delays is not remapped when edges change,
    except by callbacks such as :class:`~spatialgraph.training.EverySteps`: no error tells that it then belongs to other
    synapses, for their number is the same, so delete it.

    Args:
        network: a graph, or a model that has one.
        share: share of the synapses to replace, from 0 to 1, rounded to whole synapses.
        scope: ``"projection"`` to replace the share within each projection, whose number of synapses then does not
            change, or ``"global"`` to replace the share of all synapses, which may then move between projections.
            All-to-all projections have no unconnected pairs, and lose synapses with ``"global"`` only.
        generator: random number generator for the free weights of new synapses.

    Returns:
        The network itself.

    Raises:
        TypeError: if ``network`` is neither a graph nor a model with one, or ``share`` is not a number.
        ValueError: if ``share`` is not between 0 and 1, ``scope`` is unknown, or a position is not finite.

    Example:
        >>> from spatialgraph.wiring.wirings import Random
        >>> graph = SpatialGraph.layered([784, 256, 10], wiring=Random(0.1))
        >>> before = graph.lengths().max()
        >>> regrow_(graph, 0.3)
        SpatialGraph(neurons=1050, synapses=20326, dim=3, spacing='learned')
        >>> bool(graph.lengths().max() < before)
        True
    """
    graph = graph_of(network)
    graph.connectivity.verify()
    checks.between("share", share, 0.0, 1.0)
    checks.choice("scope", scope, SCOPES)
    check_positions("graph.pos", graph.pos)
    pos = graph.pos.cpu().to(torch.float64)
    stages = _stages(graph)
    before = [_numbers(projection.edge_index().cpu(), graph.neurons) for projection in graph.projections]
    if scope == "global":
        before = [torch.cat(before).sort().values]
        after = [_regrown(pos, stages, before[0], share)]
    else:
        after = [
            numbers if projection.is_complete else _regrown(pos, [stage], numbers, share)
            for projection, stage, numbers in zip(graph.projections, stages, before, strict=True)
        ]
    if all(new is old for old, new in zip(before, after, strict=True)):
        return network
    graph.connect_(_pairs(torch.cat(after), graph.neurons).to(graph.layer.device), generator)
    return network


@dataclasses.dataclass(frozen=True)
class _Stage:
    """The sources and targets of a projection, between which synapses may exist, in ascending order.

    In a recurrent projection they are the same neurons, which have no synapse to themselves.
    """

    sources: Tensor
    targets: Tensor
    is_recurrent: bool

    def clouds(self, pos: Tensor) -> Clouds:
        return prepare(pos[self.sources], None if self.is_recurrent else pos[self.targets])

    @property
    def pairs(self) -> int:
        return len(self.sources) * (len(self.targets) - self.is_recurrent)


def _stages(graph: SpatialGraph) -> list[_Stage]:
    stages = []
    former = graph.inputs
    for projection in graph.feed_forward_projections:
        # A projection without synapses has no sources; use the neurons before it.
        sources = projection.sources if projection.synapses else former
        sources = sources[~graph.is_output[sources]]
        stages.append(_Stage(sources.sort().values.cpu(), projection.targets.sort().values.cpu(), is_recurrent=False))
        former = projection.targets
    for projection in graph.projections[len(stages) :]:
        neurons = projection.targets.sort().values.cpu()
        stages.append(_Stage(neurons, neurons, is_recurrent=True))
    return stages


def _regrown(pos: Tensor, stages: list[_Stage], numbers: Tensor, share: float) -> Tensor:
    """Remove the longest synapses and add the nearest pairs.

    Args:
        pos: positions of all neurons, shape ``(N, d)``, float64.
        stages: the pairs that may have a synapse.
        numbers: the existing synapses as ``target * N + source``, ascending.
        share: share of the synapses to remove.

    Returns:
        The numbers of all synapses afterwards; the same tensor if nothing changes.
    """
    wanted = round(share * len(numbers))
    if wanted == 0:
        return numbers
    squared = _squared_lengths(pos, numbers)
    remains = _smallest(squared, len(numbers) - wanted)
    reach, is_crowded = _reach(pos, stages, squared[remains].sqrt(), squared[~remains].sqrt())
    nearest = _Nearest(pos, numbers[remains], wanted)
    for stage in stages:
        for sources, targets in _within(stage.clouds(pos), reach, is_crowded):
            nearest.add(stage.targets[targets] * len(pos) + stage.sources[sources])
    if torch.equal(nearest.numbers, numbers[~remains]):
        return numbers
    return torch.cat([nearest.remaining, nearest.numbers])


class _Nearest:
    """The nearest unconnected pairs among those added so far."""

    def __init__(self, pos: Tensor, remaining: Tensor, wanted: int) -> None:
        self.pos, self.remaining, self.wanted = pos, remaining, wanted
        self.numbers = remaining[:0]

    def add(self, numbers: Tensor) -> None:
        """Update the nearest pairs with new candidates."""
        # searchsorted is several times faster for sorted values.
        numbers = torch.cat([self.numbers, numbers]).sort().values
        if len(self.remaining):
            place = torch.searchsorted(self.remaining, numbers).clamp(max=len(self.remaining) - 1)
            numbers = numbers[self.remaining[place] != numbers]
        self.numbers = numbers[_smallest(_squared_lengths(self.pos, numbers), min(self.wanted, len(numbers)))]


def _smallest(values: Tensor, k: int) -> Tensor:
    """Mark the k smallest values; ties are resolved in favour of the first."""
    if k == 0:
        return torch.zeros_like(values, dtype=torch.bool)
    border = values.kthvalue(k).values
    below, tied = values < border, values == border
    return below | (tied & (tied.cumsum(0) <= k - below.sum()))


def _reach(pos: Tensor, stages: list[_Stage], remaining: Tensor, removed: Tensor) -> tuple[float, bool]:
    """Find a radius that contains enough unconnected pairs, and not many more pairs than needed.

    Args:
        pos: positions of all neurons, shape ``(N, d)``.
        stages: the pairs that may have a synapse.
        remaining: lengths of the remaining synapses.
        removed: lengths of the removed synapses; the same number of unconnected pairs is needed, and the longest of
            these lengths is a sufficient radius.

    Returns:
        The radius, and whether ties make the number of pairs within it much larger than the number of synapses.
    """
    clouds = [stage.clouds(pos) for stage in stages]
    trees = [(cKDTree(cloud.source.numpy()), cKDTree(cloud.target.numpy())) for cloud in clouds]
    shortest = min(float(source.query(target.data)[0].min()) for source, target in trees)
    wanted, longest = len(removed), float(removed.max())
    itself = sum(len(stage.sources) for stage in stages if stage.is_recurrent)

    def radius(spread: float) -> float:
        return _widened(math.hypot(shortest, spread))

    def absent(spread: float) -> int:
        """Return a lower bound on the number of unconnected pairs within the radius."""
        pairs = sum(int(source.count_neighbors(target, radius(spread))) for source, target in trees) - itself
        return pairs - int((remaining <= _widened(radius(spread))).sum())

    # The search starts at small radii, because counting many pairs is slow. It uses squared lengths above the shortest
    # one, because no pair between two layers is shorter than the gap.
    most = math.sqrt(max(longest**2 - shortest**2, 0.0))
    possible = sum(stage.pairs for stage in stages)
    low, high = 0.0, most * (wanted / possible) ** (1 / pos.shape[1]) / 2
    while (found := absent(high)) < wanted and high < most:
        low, high = high, 2 * high
    for _ in range(_HALVINGS):
        if found <= 2 * wanted + _SPARE_PAIRS:
            break
        middle = (low + high) / 2
        fewer = absent(middle)
        if fewer < wanted:
            low = middle
        else:
            high, found = middle, fewer
    return _widened(radius(high)), found > 2 * (len(remaining) + wanted) + _SPARE_PAIRS


def _widened(length: float) -> float:
    return length * (1 + _ROUNDING) + _ROUNDING_FLOOR


def _within(clouds: Clouds, reach: float, is_crowded: bool) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield the pairs within a radius, in blocks if ties make them too many for memory."""
    if not is_crowded:
        yield within(clouds, reach)
        return
    for rows, table in clouds.tables():
        row, source = (table <= reach**2).nonzero(as_tuple=True)
        yield source, rows[row]


def _numbers(edge_index: Tensor, neurons: int) -> Tensor:
    """Return pairs as numbers, sorted by target, then source."""
    return (edge_index[1] * neurons + edge_index[0]).sort().values


def _pairs(numbers: Tensor, neurons: int) -> Tensor:
    return torch.stack([numbers % neurons, numbers.div(neurons, rounding_mode="floor")])


def _squared_lengths(pos: Tensor, numbers: Tensor) -> Tensor:
    sources, targets = _pairs(numbers, len(pos))
    return Clouds(pos, pos).squared_lengths(sources, targets)
