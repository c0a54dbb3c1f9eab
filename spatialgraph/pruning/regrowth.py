"""Regrowth: synapses move to where they are short, and their number stays."""

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
from spatialgraph.wiring.clouds import Clouds, check_positions
from spatialgraph.wiring.neighbors import within

__all__ = ["regrow_"]

# A search radius may hold this many pairs without a synapse beside twice those it is to find.
_SPARE_PAIRS = 4096

# Halvings of the radius after which the pairs that are too many are as good as tied.
_HALVINGS = 30

# The trees' distances and the canonical ones differ by a few units in the 16th digit, and squares may underflow.
_ROUNDING = 1e-9
_ROUNDING_FLOOR = 1e-150


@torch.no_grad()
def regrow_(
    network: Network, share: float, *, scope: str = "projection", generator: torch.Generator | None = None
) -> Network:
    """Drop the longest synapses of a network and grow as many of the nearest pairs that have none, in place.

    It keeps a fixed budget of synapses on the shortest pairs while neurons move: sparse training as of `Evci et al.
    (2020) <https://arxiv.org/abs/1911.11134>`_, with lengths in place of weights and gradients. A pair may be grown
    between the sources and the targets of a projection, so that paths keep their direction and inputs and outputs stay
    what they are; one that was just dropped returns if it is among the nearest. Lengths are compared in float64; of
    equal ones those with the lower target, then the lower source, count as shorter. The nearest pairs are found by
    neighbour search, without a list of all pairs.

    Positions, polarities and biases stay the same parameters, and so do free weights and delays: those of synapses that
    stay keep their values, new ones get first values. What an optimiser knows of these belongs to their places in
    ``edge_index``.

    Args:
        network: a graph, or a model that has one.
        share: share of the synapses to drop, from 0 to 1, rounded to whole synapses.
        scope: whether the share is that of each ``"projection"``, whose number of synapses stays, or of all synapses
            together (``"global"``), which may then move from one projection to another. All-to-all projections have no
            pair to grow; they lose synapses with ``"global"`` only.
        generator: source of random numbers for the free weights of new synapses.

    Returns:
        The network itself.

    Raises:
        TypeError: if an argument is of the wrong type.
        ValueError: if ``share`` is out of range, ``scope`` unknown, or a position not finite.

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
    """The pairs between which synapses of a projection may exist: sources and targets by neuron number, ascending."""

    sources: Tensor
    targets: Tensor

    def clouds(self, pos: Tensor) -> Clouds:
        return Clouds(pos[self.sources], pos[self.targets])


def _stages(graph: SpatialGraph) -> list[_Stage]:
    stages = []
    former = graph.inputs
    for projection in graph.projections:
        # Without synapses a projection does not tell whom it hears: the generation before it.
        sources = projection.sources if projection.synapses else former
        sources = sources[~graph.is_output[sources]]
        stages.append(_Stage(sources.sort().values.cpu(), projection.targets.sort().values.cpu()))
        former = projection.targets
    return stages


def _regrown(pos: Tensor, stages: list[_Stage], numbers: Tensor, share: float) -> Tensor:
    """Drop the longest synapses and grow the nearest.

    Args:
        pos: positions of all neurons, shape ``(N, d)``, float64.
        stages: the pairs that may have a synapse.
        numbers: those that have one, ``target * N + source``, ascending.
        share: share of the synapses to drop.

    Returns:
        The numbers of the pairs that have a synapse then; the same tensor where these are the same.
    """
    wanted = round(share * len(numbers))
    if wanted == 0:
        return numbers
    squared = _squared_lengths(pos, numbers)
    stays = _smallest(squared, len(numbers) - wanted)
    reach, is_crowded = _reach(pos, stages, squared[stays].sqrt(), squared[~stays].sqrt())
    nearest = _Nearest(pos, numbers[stays], wanted)
    for stage in stages:
        for sources, targets in _within(stage.clouds(pos), reach, is_crowded):
            nearest.add(stage.targets[targets] * len(pos) + stage.sources[sources])
    if torch.equal(nearest.numbers, numbers[~stays]):
        return numbers
    return torch.cat([nearest.kept, nearest.numbers])


class _Nearest:
    """The nearest pairs without a synapse of those met so far."""

    def __init__(self, pos: Tensor, kept: Tensor, wanted: int) -> None:
        self.pos, self.kept, self.wanted = pos, kept, wanted
        self.numbers = kept[:0]

    def add(self, numbers: Tensor) -> None:
        """Take the nearest of these and those before."""
        numbers = torch.cat([self.numbers, numbers]).sort().values  # sorted ones are looked up several times faster
        if len(self.kept):
            place = torch.searchsorted(self.kept, numbers).clamp(max=len(self.kept) - 1)
            numbers = numbers[self.kept[place] != numbers]
        self.numbers = numbers[_smallest(_squared_lengths(self.pos, numbers), min(self.wanted, len(numbers)))]


def _smallest(values: Tensor, k: int) -> Tensor:
    """Mark the k smallest values, of equal ones the first."""
    if k == 0:
        return torch.zeros_like(values, dtype=torch.bool)
    border = values.kthvalue(k).values
    below, tied = values < border, values == border
    return below | (tied & (tied.cumsum(0) <= k - below.sum()))


def _reach(pos: Tensor, stages: list[_Stage], kept: Tensor, dropped: Tensor) -> tuple[float, bool]:
    """Find a radius that holds enough pairs without a synapse, and not many more pairs than needed.

    Args:
        pos: positions of all neurons, shape ``(N, d)``.
        stages: the pairs that may have a synapse.
        kept: lengths of the synapses that stay.
        dropped: lengths of the others; so many pairs without a synapse are needed, and a radius of the longest of these
            holds enough.

    Returns:
        The radius, and whether ties at its border make the pairs within many more than the synapses.
    """
    clouds = [stage.clouds(pos) for stage in stages]
    trees = [(cKDTree(cloud.source.numpy()), cKDTree(cloud.target.numpy())) for cloud in clouds]
    shortest = min(float(source.query(target.data)[0].min()) for source, target in trees)
    wanted, longest = len(dropped), float(dropped.max())

    def radius(spread: float) -> float:
        return _widened(math.hypot(shortest, spread))

    def absent(spread: float) -> int:
        """How many pairs without a synapse the radius holds at least."""
        pairs = sum(int(source.count_neighbors(target, radius(spread))) for source, target in trees)
        return pairs - int((kept <= _widened(radius(spread))).sum())

    # From below, because it takes time to count many pairs; and in squares above the shortest length, because between
    # two layers no pair is shorter than the gap.
    most = math.sqrt(max(longest**2 - shortest**2, 0.0))
    possible = sum(len(stage.sources) * len(stage.targets) for stage in stages)
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
    return _widened(radius(high)), found > 2 * (len(kept) + wanted) + _SPARE_PAIRS


def _widened(length: float) -> float:
    return length * (1 + _ROUNDING) + _ROUNDING_FLOOR


def _within(clouds: Clouds, reach: float, is_crowded: bool) -> Iterator[tuple[Tensor, Tensor]]:
    """List the pairs within a radius; where ties make them too many to hold, piece by piece."""
    if not is_crowded:
        yield within(clouds, reach)
        return
    for rows, table in clouds.tables():
        row, source = (table <= reach**2).nonzero(as_tuple=True)
        yield source, rows[row]


def _numbers(edge_index: Tensor, neurons: int) -> Tensor:
    """Number pairs so that they ascend by target, then source."""
    return (edge_index[1] * neurons + edge_index[0]).sort().values


def _pairs(numbers: Tensor, neurons: int) -> Tensor:
    return torch.stack([numbers % neurons, numbers.div(neurons, rounding_mode="floor")])


def _squared_lengths(pos: Tensor, numbers: Tensor) -> Tensor:
    sources, targets = _pairs(numbers, len(pos))
    return Clouds(pos, pos).squared_lengths(sources, targets)
