"""The numerical engines: how a batch of activations crosses a projection."""

from spatialgraph.functional.dense import (
    all_to_all,
    edge_weight,
    pairwise_length,
    pairwise_weight,
    sparse,
)

__all__ = [
    "all_to_all",
    "edge_weight",
    "pairwise_length",
    "pairwise_weight",
    "sparse",
]
