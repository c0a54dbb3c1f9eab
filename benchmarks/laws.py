"""Compare the training step of each law with that of the inverse distance; run by hand on an idle machine.

    python benchmarks/laws.py --json docs/results/laws.json

Steps of all laws take turns in one process with two threads; the rows hold medians. The networks are 784-2048-10, all
to all and with 5 % of the synapses.
"""

import argparse
import json
import statistics
from collections.abc import Mapping
from pathlib import Path

import torch
from on_device import add_device, record
from steps import random_images, training_step
from timing import in_turn

import spatialgraph as sg
from spatialgraph import atomic
from spatialgraph.laws import Law, make_law
from spatialgraph.wiring import Random

SIZES = [784, 2048, 10]
BATCH = 600
DENSITY = 0.05


def laws() -> dict[str, Law]:
    """Return the laws by name; the inverse distance is first."""
    names = ["inverse_distance", "gaussian", "yukawa", "cosine", "sine_wave", "cosine_wave", "mexican_hat", "compact"]
    found = {name: make_law(name) for name in names}
    found |= {f"{name}, learnable": make_law(name, learnable=True) for name in ("cosine", "mexican_hat")}
    return found | {"inverse_power": make_law("inverse_power")}  # has no kernels of its own


def models(sizes: list[int], density: float | None = None) -> dict[str, sg.SpatialMLP]:
    """Return a network by name of its law; with a density, sparse ones."""
    if density is None:
        return {name: sg.SpatialMLP(sizes, law=law) for name, law in laws().items()}
    return {name: sg.SpatialMLP(sizes, law=law, wiring=Random(density)) for name, law in laws().items()}


def measure(candidates: Mapping[str, sg.SpatialMLP], rounds: int, device: torch.device) -> dict[str, dict[str, float]]:
    """Return the median milliseconds of each network's step, and their ratio to those of the first network.

    Networks take turns. The median of the ratios within each round depends less on what else the machine does than the
    ratio of the medians.
    """
    first = next(iter(candidates.values()))
    images, labels = random_images(BATCH, first.graph.inputs.numel(), 10, device)
    steps = {name: training_step(model.to(device), images, labels) for name, model in candidates.items()}
    seconds = in_turn(steps, rounds, device)
    reference = next(iter(seconds.values()))
    return {
        name: {
            "ms": 1e3 * statistics.median(record),
            "over_inverse_distance": statistics.median(record) / statistics.median(reference),
            "median_of_ratios": statistics.median(mine / other for mine, other in zip(record, reference, strict=True)),
        }
        for name, record in seconds.items()
    }


def main() -> None:
    """Measure, print a table, and write it as JSON if requested."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=60)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--seen", default="", help="what else is to be known about the run, for the record")
    add_device(parser)
    parser.add_argument("--json", type=Path, help="write the results to this file")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    torch.manual_seed(0)
    rows = {
        "all to all": measure(models(SIZES), args.rounds, args.device),
        f"{DENSITY:.0%} of the synapses": measure(models(SIZES, DENSITY), args.rounds, args.device),
    }
    for network, by_law in rows.items():
        print(f"{'-'.join(map(str, SIZES))}, {network}, batch {BATCH}, {args.threads} threads")
        for name, row in by_law.items():
            ratios = f"ratio {row['over_inverse_distance']:.3f}, in rounds {row['median_of_ratios']:.3f}"
            print(f"  {name:<25} {row['ms']:8.2f} ms  {ratios}")
    if args.json is not None:
        command = f"python benchmarks/laws.py --rounds {args.rounds} --threads {args.threads}"
        about = record(command, args.device) | {"seen": args.seen, "rows": rows}
        atomic.write_text(args.json, json.dumps(about, indent=1))


if __name__ == "__main__":
    main()
