"""Time the building of k-nearest-neighbour graphs in 3-D; run by hand on an idle machine.

python benchmarks/neighbors.py
"""

import argparse
import json
import statistics
import time
from pathlib import Path

import torch

from spatialgraph import atomic
from spatialgraph.training import environment
from spatialgraph.wiring import knn


def seconds(neurons: int, k: int, rounds: int) -> list[float]:
    """Return the seconds to build the graph in each round, on new positions."""
    taken = []
    for _ in range(rounds):
        pos = torch.rand(neurons, 3)
        began = time.perf_counter()
        knn(pos, None, k)
        taken.append(time.perf_counter() - began)
    return taken


def main() -> None:
    """Measure, print a table, and write it as JSON if requested."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--neurons", type=int, nargs="+", default=[100_000, 1_000_000])
    parser.add_argument("--k", type=int, default=16)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", type=Path, help="write the results to this file")
    args = parser.parse_args()
    torch.manual_seed(0)
    rows = {}
    for neurons in args.neurons:
        taken = seconds(neurons, args.k, args.rounds)
        rows[str(neurons)] = {"median_s": statistics.median(taken), "all_s": taken}
        print(f"{neurons:>10,} neurons, k = {args.k}: {statistics.median(taken):.2f} s")
    if args.json is not None:
        command = f"python benchmarks/neighbors.py --k {args.k} --rounds {args.rounds}"
        about = {"command": command, "environment": environment(), "rows": rows}
        atomic.write_text(args.json, json.dumps(about, indent=1))


if __name__ == "__main__":
    main()
