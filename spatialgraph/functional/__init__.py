"""Differentiable functions that compute one projection on plain tensors."""

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
