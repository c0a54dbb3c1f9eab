"""Small networks of each kind on the device of this session, and their training steps."""

import torch
import torch.nn.functional as F
from conftest import DEVICE

import spatialgraph as sg
from spatialgraph import wiring
from spatialgraph.deploy.quantize_while_training import QuantizeWhileTraining

SMALL = [60, 150, 10]


def pruned(amount, **options):
    model = sg.SpatialMLP(SMALL, **options)
    sg.prune_(model, amount)
    return model


def masked(**options):
    model = sg.SpatialMLP(SMALL, **options)
    model.graph.masked_share = 0.5
    return model


def quantised(**options):
    model = sg.SpatialMLP(SMALL, **options)
    QuantizeWhileTraining(4).attach(model)
    return model


# Each with the most kernels that a step may launch.
NETWORKS = {
    "dense": (lambda: sg.SpatialMLP(SMALL), 45),
    "plain": (lambda: sg.SpatialMLP(SMALL, normalize=False), 40),
    "free spacing": (lambda: sg.SpatialMLP(SMALL, spacing="free"), 35),
    "binary": (lambda: sg.SpatialMLP(SMALL, polarity_mode="binary"), 50),
    "learnable law": (lambda: sg.SpatialMLP(SMALL, law=sg.laws.Cosine(learnable=True)), 50),
    "anchored": (lambda: sg.SpatialMLP(SMALL, anchored=[0]), 50),
    "grid": (lambda: sg.SpatialMLP([(6, 10), 150, 10]), 55),
    "free weights": (lambda: sg.SpatialMLP(SMALL, weight_mode="free"), 35),
    "half of the pairs": (lambda: sg.SpatialMLP(SMALL, wiring=wiring.Random(density=0.5)), 60),
    "masked": (masked, 65),
    "masked, half of the pairs": (lambda: masked(wiring=wiring.Random(density=0.5)), 75),
    "quantised": (lambda: quantised(spacing="free"), 90),
    "anchored, quantised": (lambda: quantised(anchored=[0, 1]), 150),
    "sparse": (lambda: sg.SpatialMLP(SMALL, wiring=wiring.KNN(k=5)), 55),
    "pruned": (lambda: pruned(0.95), 60),
    "pruned, live": (lambda: pruned(0.95, normalize="live"), 80),
    "spiking": (lambda: sg.SpatialSNN(SMALL, num_steps=25), 75),
    "delayed": (lambda: sg.SpatialSNN([12, 20, 10], num_steps=6, velocity=0.5), 135),
    "sparse delayed": (lambda: sg.SpatialSNN([50, 40, 10], num_steps=6, velocity=0.5, wiring=wiring.KNN(k=3)), 165),
    "short delayed": (lambda: sg.SpatialSNN([12, 20, 10], num_steps=6, velocity=0.5, max_delay=20), 140),
    "sparse spiking": (lambda: sg.SpatialSNN(SMALL, num_steps=25, wiring=wiring.KNN(k=5)), 90),
}


def step_of(model, batch, classes=10):
    """Return a training step on the device, without the first one, in which things are made that stay."""
    model = model.to(DEVICE)
    x = torch.rand(batch, len(model.graph.inputs)).to(DEVICE)
    y = torch.randint(0, classes, (batch,)).to(DEVICE)

    def step():
        model.zero_grad(set_to_none=True)
        F.cross_entropy(model(x), y).backward()

    step()
    model.zero_grad(set_to_none=True)
    return step
