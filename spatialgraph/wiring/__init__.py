"""Wirings, which select the synapses of a network, and the functions that they call."""

from spatialgraph.wiring.edges import all_to_all, knn, radius, random, small_world
from spatialgraph.wiring.wirings import KNN, AllToAll, Radius, Random, SmallWorld, Wiring

__all__ = [
    "AllToAll",
    "KNN",
    "Radius",
    "Random",
    "SmallWorld",
    "Wiring",
    "all_to_all",
    "knn",
    "radius",
    "random",
    "small_world",
]
