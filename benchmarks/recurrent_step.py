"""Compare the training step of SpatialRNN with those of nn.RNN and nn.GRU; run by hand on an idle machine.

    python benchmarks/recurrent_step.py --json docs/results/recurrent_step.json

Networks read images row by row in 28 steps, in batches of 128. Steps of all networks take turns in one process with two
threads; the rows hold medians and their ratios.
"""

import argparse
import json
import statistics
from collections.abc import Callable, Mapping
from pathlib import Path

import torch
from on_device import add_device, record
from steps import random_images, whole_step
from timing import in_turn
from torch import Tensor, nn

import spatialgraph as sg
from spatialgraph import atomic
from spatialgraph.laws import Cosine

SIDE, CLASSES, BATCH = 28, 10, 128
UNITS, DIM = 300, 30
GATED_UNITS, GATED_DIM = 240, 36

# Each spatial network beside dense ones of as many units.
PAIRS = [
    ("plain", "nn.RNN"),
    ("leaky", "nn.RNN"),
    ("gated", "nn.GRU"),
    ("gated", "nn.RNN of as many units"),
]


class Spatial(nn.Module):
    """A spatial recurrent network that is read out after the last step."""

    def __init__(self, units: int, dim: int, cell: str) -> None:
        super().__init__()
        self.network = sg.SpatialRNN([SIDE, units, CLASSES], dim=dim, cell=cell, law=Cosine(1.5), spacing="free")

    def forward(self, x: Tensor) -> Tensor:
        """Return the logits of images ``(batch, 784)``."""
        logits: Tensor = self.network(rows_of(x))[0]
        return logits


class Dense(nn.Module):
    """A recurrent network of PyTorch that is read out after the last step."""

    def __init__(self, kind: Callable[[int, int], nn.Module], units: int) -> None:
        super().__init__()
        self.network, self.read_out = kind(SIDE, units), nn.Linear(units, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        """Return the logits of images ``(batch, 784)``."""
        logits: Tensor = self.read_out(self.network(rows_of(x))[0][-1])
        return logits


def rows_of(images: Tensor) -> Tensor:
    """Return images ``(batch, 784)`` as sequences ``(28, batch, 28)``."""
    return images.view(-1, SIDE, SIDE).transpose(0, 1)


def models() -> dict[str, nn.Module]:
    """Return each spatial network beside the dense one of as many units."""
    return {
        "plain": Spatial(UNITS, DIM, "plain"),
        "leaky": Spatial(UNITS, DIM, "leaky"),
        "nn.RNN": Dense(nn.RNN, UNITS),
        "gated": Spatial(GATED_UNITS, GATED_DIM, "gated"),
        "nn.GRU": Dense(nn.GRU, GATED_UNITS),
        "nn.RNN of as many units": Dense(nn.RNN, GATED_UNITS),
    }


def step_milliseconds(
    models: Mapping[str, nn.Module], features: int, batch: int, rounds: int, device: torch.device | str = "cpu"
) -> dict[str, float]:
    """Return the median time of a training step of each model with Adam; models take turns."""
    images, labels = random_images(batch, features, CLASSES, device)
    steps = {}
    for name, model in models.items():
        optimizer = torch.optim.Adam(model.to(device).parameters(), lr=1e-6)
        steps[name] = whole_step(model, images, labels, optimizer)
    seconds = in_turn(steps, rounds, device)
    return {name: round(1e3 * statistics.median(each), 3) for name, each in seconds.items()}


def main() -> None:
    """Measure, print a table, and write it as JSON if requested."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--seen", default="", help="what else is to be known about the run, for the record")
    add_device(parser)
    parser.add_argument("--json", type=Path, help="write the results to this file")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    torch.manual_seed(0)
    times = step_milliseconds(models(), SIDE**2, BATCH, args.rounds, args.device)
    rows = {name: {"ms": elapsed} for name, elapsed in times.items()}
    for spatial, dense in PAIRS:
        rows[spatial][f"over {dense}"] = times[spatial] / times[dense]
    for name, row in rows.items():
        print(f"{name:<36}" + "".join(f"  {key} {value:.2f}" for key, value in row.items()))
    if args.json is not None:
        command = f"python benchmarks/recurrent_step.py --rounds {args.rounds} --threads {args.threads}"
        about = record(command, args.device) | {"seen": args.seen, "rows": rows}
        atomic.write_text(args.json, json.dumps(about, indent=1))


if __name__ == "__main__":
    main()
