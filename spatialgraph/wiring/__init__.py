"""Wirings: small objects that hold the choice of which synapses exist, and the functions behind them."""

from spatialgraph.wiring.wirings import (
    KNN,
    AllToAll,
    Radius,
    Random,
    SmallWorld,
    Wiring,
    all_to_all,
    knn,
    radius,
    random,
    small_world,
)

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
