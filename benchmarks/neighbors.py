"""Time the building of k-nearest-neighbour graphs in 3-D; run by hand on an idle machine.

python benchmarks/neighbors.py
"""

import argparse
import json
import statistics
from functools import partial
from pathlib import Path

import torch
from on_device import add_device, record
from timing import timed

from spatialgraph import atomic
from spatialgraph.wiring import knn


def seconds(neurons: int, k: int, rounds: int, device: torch.device) -> list[float]:
    """Return the seconds to build the graph in each round, on new positions."""
    clouds = (torch.rand(neurons, 3).to(device) for _ in range(rounds))
    return [timed(partial(knn, pos, None, k), device)[1] for pos in clouds]


def main() -> None:
    """Measure, print a table, and write it as JSON if requested."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--neurons", type=int, nargs="+", default=[100_000, 1_000_000])
    parser.add_argument("--k", type=int, default=16)
    parser.add_argument("--rounds", type=int, default=3)
    add_device(parser)
    parser.add_argument("--json", type=Path, help="write the results to this file")
    args = parser.parse_args()
    torch.manual_seed(0)
    rows = {}
    for neurons in args.neurons:
        taken = seconds(neurons, args.k, args.rounds, args.device)
        rows[str(neurons)] = {"median_s": statistics.median(taken), "all_s": taken}
        print(f"{neurons:>10,} neurons, k = {args.k}: {statistics.median(taken):.2f} s")
    if args.json is not None:
        command = f"python benchmarks/neighbors.py --k {args.k} --rounds {args.rounds}"
        about = record(command, args.device) | {"rows": rows}
        atomic.write_text(args.json, json.dumps(about, indent=1))


if __name__ == "__main__":
    main()
