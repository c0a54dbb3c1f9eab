"""Compare the training step of SpatialRNN with those of nn.RNN and nn.GRU; run by hand on an idle machine.

    python benchmarks/recurrent_step.py --json docs/results/recurrent_step.json

Networks read MNIST-like sequences of 28 steps with 28 features, in batches of 128. Steps of all networks take turns in
one process with two threads; the rows hold medians.
"""

import argparse
import json
import statistics
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

import spatialgraph as sg
from spatialgraph import atomic
from spatialgraph.laws import Cosine
from spatialgraph.training import environment

SIDE, CLASSES, BATCH = 28, 10, 128
PLAIN = {"units": 300, "dim": 30}
GATED = {"units": 240, "dim": 36}

# Each spatial network, and the dense one of as many units that a user would take in its place.
PAIRS = {"plain": "nn.RNN", "gated": "nn.GRU"}


class Spatial(nn.Module):
    """A spatial recurrent network that is read out after the last step."""

    def __init__(self, units: int, dim: int, gated: bool) -> None:
        super().__init__()
        self.network = sg.SpatialRNN([SIDE, units, CLASSES], dim=dim, gated=gated, law=Cosine(1.5), spacing="free")

    def forward(self, x: Tensor) -> Tensor:
        """Return the logits of sequences."""
        logits: Tensor = self.network(x)[0]
        return logits


class Dense(nn.Module):
    """A recurrent network of PyTorch that is read out after the last step."""

    def __init__(self, kind: Callable[[int, int], nn.Module], units: int) -> None:
        super().__init__()
        self.network, self.read_out = kind(SIDE, units), nn.Linear(units, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        """Return the logits of sequences."""
        logits: Tensor = self.read_out(self.network(x)[0][-1])
        return logits


def models() -> dict[str, nn.Module]:
    """Return each spatial network beside the dense one of as many units."""
    return {
        "plain": Spatial(**PLAIN, gated=False),
        "nn.RNN": Dense(nn.RNN, PLAIN["units"]),
        "gated": Spatial(**GATED, gated=True),
        "nn.GRU": Dense(nn.GRU, GATED["units"]),
        "nn.RNN of the gated network's units": Dense(nn.RNN, GATED["units"]),
    }


def seconds_in_turn(candidates: Mapping[str, nn.Module], rounds: int) -> dict[str, list[float]]:
    """Return the time that each step with Adam takes, in turn; the first rounds warm up and are left out."""
    x, y = torch.rand(SIDE, BATCH, SIDE), torch.randint(0, CLASSES, (BATCH,))
    optimizers = {name: torch.optim.Adam(model.parameters()) for name, model in candidates.items()}
    seconds: dict[str, list[float]] = {name: [] for name in candidates}
    for number in range(rounds + 3):
        for name, model in candidates.items():
            began = time.perf_counter()
            optimizers[name].zero_grad()
            F.cross_entropy(model(x), y).backward()
            optimizers[name].step()
            if number >= 3:
                seconds[name].append(time.perf_counter() - began)
    return seconds


def ratio(mine: list[float], other: list[float]) -> float:
    """Return the median of the ratios within each round, which depends little on what else the machine does."""
    return statistics.median(a / b for a, b in zip(mine, other, strict=True))


def main() -> None:
    """Measure, print a table, and write it as JSON if requested."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--seen", default="", help="what else is to be known about the run, for the record")
    parser.add_argument("--json", type=Path, help="write the results to this file")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    torch.manual_seed(0)
    seconds = seconds_in_turn(models(), args.rounds)
    rows = {name: {"ms": 1e3 * statistics.median(record)} for name, record in seconds.items()}
    for spatial, dense in PAIRS.items():
        rows[spatial][f"over {dense}"] = ratio(seconds[spatial], seconds[dense])
    rows["gated"]["over nn.RNN"] = ratio(seconds["gated"], seconds["nn.RNN of the gated network's units"])
    for name, row in rows.items():
        print(f"{name:<36}" + "".join(f"  {key} {value:.2f}" for key, value in row.items()))
    if args.json is not None:
        command = f"python benchmarks/recurrent_step.py --rounds {args.rounds} --threads {args.threads}"
        about = {"command": command, "environment": environment(), "seen": args.seen, "rows": rows}
        atomic.write_text(args.json, json.dumps(about, indent=1))


if __name__ == "__main__":
    main()
