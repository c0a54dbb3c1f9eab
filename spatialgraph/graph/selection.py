"""Selection: wirings choose the edges of a network of layers, from layer to layer and within layers."""

from collections.abc import Sequence

import torch
from torch import Tensor
from typing_extensions import TypeIs

from spatialgraph import checks
from spatialgraph.graph.topology import Topology
from spatialgraph.wiring.edges import random
from spatialgraph.wiring.wirings import AllToAll, Random, Wiring

__all__ = [
    "Recurrence",
    "Wirings",
    "check_recurrence",
    "check_wirings",
    "edges_into",
    "is_wiring",
    "seeded_into",
    "select",
]

Wirings = Wiring | Sequence[Wiring]
"""A wiring for all layers after the first, or one for each."""

Recurrence = Wiring | Sequence[Wiring | None] | None
"""A wiring within each hidden layer, one for each hidden layer, or None for a network that is not recurrent."""


def check_recurrence(recurrent: Recurrence, layer: Tensor) -> tuple[Wiring | None, ...]:
    """Return a wiring, or None, for each hidden layer; an empty tuple for a network that is not recurrent.

    Raises:
        TypeError: if ``recurrent`` is of the wrong type.
        ValueError: if there are no hidden layers, or as many as wirings.

    Example:
        >>> check_recurrence(AllToAll(), torch.tensor([0, 1, 1, 2]))
        (AllToAll(),)
    """
    if recurrent is None or (isinstance(recurrent, tuple) and not recurrent):
        return ()
    hidden = int(layer.max()) - 1
    if hidden < 1:
        raise ValueError(f"recurrent must be None for a network without hidden layers, got {recurrent!r}")
    if isinstance(recurrent, Wiring):
        return (recurrent,) * hidden
    if isinstance(recurrent, str) or not isinstance(recurrent, Sequence):
        raise TypeError(f"recurrent must be a wiring or a list of them, got {type(recurrent).__name__}")
    for each in recurrent:
        if each is not None and not isinstance(each, Wiring):
            raise TypeError(f"recurrent must be a list of wirings or None, got {type(each).__name__} in it")
    if len(recurrent) != hidden:
        raise ValueError(f"recurrent must have a wiring for each of {hidden} hidden layers, got {len(recurrent)}")
    return tuple(recurrent)


def is_wiring(edges: object) -> TypeIs[Wirings]:
    """Tell whether edges are selected by a wiring or by a list of wirings.

    Example:
        >>> is_wiring([AllToAll(), AllToAll()]), is_wiring([[0], [1]])
        (True, False)
    """
    if isinstance(edges, list | tuple):
        return bool(edges) and all(isinstance(each, Wiring) for each in edges)
    return isinstance(edges, Wiring)


def check_wirings(wiring: Wirings, layer: Tensor) -> tuple[Wiring, ...]:
    """Return the wiring into each layer after the first.

    Raises:
        TypeError: if ``wiring`` is neither a wiring nor a list of them.
        ValueError: if there are no layers, or as many after the first as wirings.

    Example:
        >>> check_wirings(AllToAll(), torch.tensor([0, 1, 1, 2]))
        (AllToAll(), AllToAll())
    """
    if not is_wiring(wiring):
        kind = type(wiring).__name__
        raise TypeError(f"wiring must be a Wiring such as sg.wiring.KNN(k=32), or a list of them, got {kind}")
    depth = int(layer.max())
    if depth < 1:
        raise ValueError(f"wiring must select edges layer by layer, got {wiring!r} for a network without layers")
    if isinstance(wiring, Wiring):
        return (wiring,) * depth
    if len(wiring) != depth:
        raise ValueError(f"wiring must have a wiring for each of {depth} layers after the first, got {len(wiring)}")
    return tuple(wiring)


def select(
    pos: Tensor,
    wirings: Sequence[Wiring],
    recurrence: Sequence[Wiring | None],
    topology: Topology,
    generator: torch.Generator | None,
) -> Topology:
    """Return the topology that wirings choose, layer by layer.

    Args:
        pos: positions of all neurons, shape ``(N, d)``.
        wirings: choose the edges into each layer after the first.
        recurrence: chooses the edges within each hidden layer; empty for a network that is not recurrent.
        topology: the neurons.
        generator: random number generator for random wirings.
    """
    members = _members(topology.layer)
    chosen = topology.connected(_between(pos, wirings, members, generator))
    chosen = chosen.with_all_to_all([_complete_reach(number, each) for number, each in enumerate(wirings, start=1)])
    return _with_recurrence(pos, recurrence, members, chosen, generator) if recurrence else chosen


def edges_into(layer: Tensor, number: int, wiring: Random) -> Tensor:
    """Return the edges that follow from a seed, into a layer, by neuron numbers, shape ``(2, E)``.

    Example:
        >>> edges_into(torch.tensor([0, 1, 1]), 1, Random(1.0, seed=0))
        tensor([[0, 0],
                [1, 2]])
    """
    is_source = layer < number if wiring.reach == "all" else layer == number - 1
    sources, targets = (torch.nonzero(group)[:, 0] for group in (is_source, layer == number))
    ends = random(len(sources), len(targets), wiring.density, seed=wiring.seed)
    return torch.stack([sources[ends[0]], targets[ends[1]]])


def seeded_into(topology: Topology, number: int, wiring: Wiring) -> Random | None:
    """Return the wiring whose seed the edges into a layer follow from; None where they do not."""
    if type(wiring) is not Random or wiring.seed is None or topology.all_to_all[number - 1]:
        return None
    listed, _ = topology.split_edges()
    own, expected = listed[:, topology.layer[listed[1]] == number], edges_into(topology.layer, number, wiring)
    keys = [(edges[0] << 32 | edges[1]).sort().values for edges in (own, expected)]
    return wiring if torch.equal(*keys) else None


def _complete_reach(number: int, wiring: Wiring) -> int:
    """Return from how many layers before it a layer receives everything; 0 where its edges are listed."""
    if type(wiring) is not AllToAll:  # a subclass may select others
        return 0
    return number if wiring.reach == "all" else 1


def _between(
    pos: Tensor, wirings: Sequence[Wiring], members: list[Tensor], generator: torch.Generator | None
) -> Tensor:
    """List the edges into the layers that are not all-to-all."""
    edges = [torch.empty(2, 0, dtype=torch.int64)]
    for number, (wiring, targets) in enumerate(zip(wirings, members[1:], strict=True), start=1):
        if _complete_reach(number, wiring):
            continue
        sources = torch.cat(members[:number] if wiring.reach == "all" else members[number - 1 : number])
        selected = wiring.select(pos[sources.to(pos.device)], pos[targets.to(pos.device)], generator)
        ends = checks.edges(f"edges of {wiring!r}", selected, len(sources), len(targets)).cpu()
        edges.append(torch.stack([sources[ends[0]], targets[ends[1]]]))
    return torch.cat(edges, dim=1)


def _with_recurrence(
    pos: Tensor,
    recurrence: Sequence[Wiring | None],
    members: list[Tensor],
    topology: Topology,
    generator: torch.Generator | None,
) -> Topology:
    """Add edges within hidden layers."""
    all_recurrent = torch.zeros(len(members), dtype=torch.bool)
    edges = [torch.empty(2, 0, dtype=torch.int64)]
    for number, wiring in enumerate(recurrence, start=1):
        if type(wiring) is AllToAll:
            all_recurrent[number] = len(members[number]) > 1
        elif wiring is not None:
            neurons = members[number]
            selected = wiring.select(pos[neurons.to(pos.device)], None, generator)
            ends = checks.edges(f"edges of {wiring!r}", selected, len(neurons), len(neurons)).cpu()
            edges.append(neurons[ends])
    return topology.with_recurrence(all_recurrent, torch.cat(edges, dim=1))


def _members(layer: Tensor) -> list[Tensor]:
    """Return the neurons of each layer."""
    return [torch.nonzero(layer == number)[:, 0] for number in range(int(layer.max()) + 1)]
