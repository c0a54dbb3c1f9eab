"""Perceptrons of every kind."""

from functools import partial

import numpy as np
import pytest
import torch
from changed_graphs import dag_graph

from spatialgraph import SpatialMLP
from spatialgraph.wiring import KNN, AllToAll

SIZES = [6, 5, 4, 3]
KINDS = {
    "all-to-all": partial(SpatialMLP, SIZES),
    "skip": partial(SpatialMLP, SIZES, wiring=AllToAll(reach="all"), spacing="free"),
    "nearest": partial(SpatialMLP, SIZES, wiring=KNN(k=2), polarity_mode="binary"),
    "plain": partial(SpatialMLP, SIZES, normalize=False, spacing="fixed", activation="tanh"),
    "dag": lambda: SpatialMLP(dag_graph(), activation="tanh"),
}
every_kind = pytest.mark.parametrize("make", KINDS.values(), ids=KINDS.keys())
DENSE = ["all-to-all", "skip", "plain"]


def features(model, *leading, dtype=torch.float32):
    return torch.randn(*leading, len(model.graph.inputs), dtype=dtype)


def layer_norm(total):
    return (total - total.mean(1, keepdims=True)) / np.sqrt(total.var(1, keepdims=True) + 1e-5)


def step(model):
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.1)
    with torch.enable_grad():
        model(features(model, 4)).square().sum().backward()
    optimizer.step()
    model.zero_grad()
