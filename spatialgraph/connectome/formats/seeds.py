"""Seeds in files: where edges follow from the seeds of wirings, a file holds these in place of a list."""

from typing import Any

import torch
from torch import Tensor

from spatialgraph.graph.connectivity import Connectivity
from spatialgraph.graph.selection import Wirings, check_wirings, edges_into, seeded_into
from spatialgraph.graph.topology import Topology
from spatialgraph.wiring.wirings import AllToAll, Random, Wiring

__all__ = ["known_wirings", "seeded_edges", "seeds_of"]

Seeds = dict[str, list[Any]]
"""Density, seed and reach of the wiring into each seeded layer, by the layer's number as JSON holds it."""


def seeds_of(connectivity: Connectivity) -> Seeds:
    """Return the seeds that the edges of a network follow from, with none listed; empty where some are."""
    topology, wiring = connectivity.topology, connectivity.wiring
    if wiring is None or not topology.is_layered:
        return {}
    found: Seeds = {}
    for number, each in enumerate(check_wirings(wiring, topology.layer), start=1):
        if topology.all_to_all[number - 1]:
            continue
        seeded = seeded_into(topology, number, each)
        if seeded is None:
            return {}
        found[str(number)] = [seeded.density, seeded.seed, seeded.reach]
    return found


def seeded_edges(seeds: Seeds, layer: Tensor) -> Tensor:
    """Return the edges that follow from seeds, shape ``(2, E)``."""
    edges = [torch.empty(2, 0, dtype=torch.int64)]
    for key, (density, seed, reach) in seeds.items():
        edges.append(edges_into(layer, int(key), Random(density, seed, reach=reach)))
    return torch.cat(edges, dim=1)


def known_wirings(topology: Topology, seeds: Seeds) -> Wirings | None:
    """Return the wiring of a network whose projections are all-to-all or seeded; None for others."""
    reaches = topology.all_to_all
    if torch.equal(reaches, torch.ones_like(reaches)):
        return AllToAll()
    if torch.equal(reaches, torch.arange(1, len(reaches) + 1)):
        return AllToAll(reach="all")
    if not seeds:
        return None
    found: list[Wiring] = []
    for number, reach in enumerate(topology.all_to_all.tolist(), start=1):
        if str(number) in seeds:
            density, seed, own_reach = seeds[str(number)]
            found.append(Random(density, seed, reach=own_reach))
        elif reach in (1, number):
            found.append(AllToAll(reach="layer" if reach == 1 else "all"))
        else:
            return None
    return found
