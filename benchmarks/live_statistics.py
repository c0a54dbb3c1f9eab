"""Compare normalisation over all hidden neurons with that over those that a path leads from to an output.

    python benchmarks/live_statistics.py --json docs/results/live_statistics.json        # 20 minutes

Perceptrons are trained on MNIST for 4 epochs, pruned by length, and trained for another epoch; others have random
synapses from the start, and are trained for 3 epochs. Accuracies are those on 5,000 held-out training images, which
differ by seed.
"""

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

import spatialgraph as sg
from spatialgraph import atomic
from spatialgraph.datasets.mnist import load_mnist, validation_split
from spatialgraph.training import environment
from spatialgraph.wiring import Random

LAYERS = ([784, 2048, 10], [784, 512, 512, 10])
REMOVED = (0.8, 0.9, 0.95, 0.98)
DENSITIES = (0.2, 0.05, 0.02)
BATCH = 600
KINDS = (True, "live")


def train(model: nn.Module, images: Tensor, labels: Tensor, epochs: int, rate: float) -> None:
    """Train by Adam with a one-cycle schedule."""
    optimizer = torch.optim.Adam(model.parameters(), lr=rate)
    steps = len(images) // BATCH
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, rate, total_steps=epochs * steps, pct_start=0.1)
    model.train()
    for _ in range(epochs):
        for chosen in torch.randperm(len(images))[: steps * BATCH].view(steps, BATCH):
            optimizer.zero_grad()
            F.cross_entropy(model(images[chosen]), labels[chosen]).backward()
            optimizer.step()
            schedule.step()


@torch.no_grad()
def accuracy(model: nn.Module, images: Tensor, labels: Tensor) -> float:
    """Return the share of images that are classified correctly."""
    model.eval()
    return round(float((model(images).argmax(1) == labels).float().mean()), 4)


def pruned(sizes: list[int], seed: int, data: tuple[Tensor, ...]) -> list[dict[str, Any]]:
    """Prune a trained network, and train it again with either normalisation."""
    images, labels, held_images, held_labels = data
    torch.manual_seed(seed)
    whole = sg.SpatialMLP(sizes)
    train(whole, images, labels, 4, 0.05)
    rows = []
    for amount in REMOVED:
        for normalize in KINDS:
            model = sg.prune(whole, amount)
            model.normalize = normalize
            at_once = accuracy(model, held_images, held_labels)
            torch.manual_seed(seed)
            train(model, images, labels, 1, 0.02)
            found = {"at_once": at_once, "trained": accuracy(model, held_images, held_labels)}
            rows.append({"sizes": sizes, "removed": amount, "seed": seed, "normalize": normalize} | found)
            print(rows[-1], flush=True)
    return rows


def random(sizes: list[int], seed: int, data: tuple[Tensor, ...]) -> list[dict[str, Any]]:
    """Train networks of random synapses with either normalisation."""
    images, labels, held_images, held_labels = data
    rows = []
    for density in DENSITIES:
        for normalize in KINDS:
            torch.manual_seed(seed)
            model = sg.SpatialMLP(sizes, wiring=Random(density), normalize=normalize)
            train(model, images, labels, 3, 0.05)
            found = {"trained": accuracy(model, held_images, held_labels)}
            rows.append({"sizes": sizes, "density": density, "seed": seed, "normalize": normalize} | found)
            print(rows[-1], flush=True)
    return rows


def main(argv: Sequence[str] | None = None) -> None:
    """Train, print accuracies, and write JSON if requested."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--json", type=Path, help="write the results to this file")
    args = parser.parse_args(argv)
    torch.set_num_threads(args.threads)
    mnist, rows = load_mnist(), []
    for seed in range(args.seeds):
        data = validation_split(mnist, seed=seed)
        for sizes in LAYERS:
            rows += pruned(sizes, seed, data) + random(sizes, seed, data)
    if args.json is not None:
        command = f"python benchmarks/live_statistics.py --seeds {args.seeds} --threads {args.threads}"
        about = {"command": command, "environment": environment(), "data": mnist.source, "rows": rows}
        atomic.write_text(args.json, json.dumps(about, indent=1) + "\n")


if __name__ == "__main__":
    main()
