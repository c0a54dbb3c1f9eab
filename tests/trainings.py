"""A small task, a model of it, and what interrupts its training."""

import signal

import torch

import spatialgraph as sg
from spatialgraph.training import Recipe

RECIPE = Recipe(epochs=4, learning_rate=0.05, batch_size=20)  # 20 steps of 90 images


def images(count=90, features=6, classes=3, seed=0):
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(count, features, generator=generator)
    return x, x[:, :classes].argmax(1)


def new_model(seed=0):
    torch.manual_seed(seed)
    return sg.SpatialMLP([6, 12, 3], dim=2)


def interrupting_after(epochs):
    """A penalty of 0 that presses Ctrl-C in the middle of the epoch after the given one."""
    steps = 0

    def penalty():
        nonlocal steps
        steps += 1
        if steps == 5 * epochs + 3:
            signal.raise_signal(signal.SIGINT)
        return torch.zeros(())

    return penalty
