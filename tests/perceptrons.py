"""Perceptrons of every kind."""

from functools import partial

import numpy as np
import pytest
import torch
from references import random_dag, randomise

from spatialgraph import SpatialGraph, SpatialMLP
from spatialgraph.wiring import KNN, AllToAll

SIZES = [6, 5, 4, 3]
KINDS = {
    "all-to-all": partial(SpatialMLP, SIZES),
    "skip": partial(SpatialMLP, SIZES, wiring=AllToAll(reach="all"), spacing="free"),
    "nearest": partial(SpatialMLP, SIZES, wiring=KNN(k=2), polarity_mode="binary"),
    "plain": partial(SpatialMLP, SIZES, normalize=False, spacing="fixed", activation="tanh"),
    "dag": lambda: SpatialMLP(dag_graph(10, 0.4, 3), activation="tanh"),
}
every_kind = pytest.mark.parametrize("make", KINDS.values(), ids=KINDS.keys())
DENSE = ["all-to-all", "skip", "plain"]


def dag_graph(neurons, density, seed, **options):
    edges = random_dag(neurons, density, seed)
    return randomise(SpatialGraph(2.0 * torch.randn(neurons, 3).double(), edges, **options)).float()


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
