"""Measure time and memory of a training step of a sparse network against its number of hidden neurons.

    python benchmarks/sparse_scaling.py --json docs/results/sparse_scaling.json

Each hidden neuron receives from its 32 nearest inputs, each of the 10 outputs from all hidden neurons. Each network is
built and trained in a process of its own, whose peak memory is that of the imports, the network and the steps.
"""

import argparse
import json
import resource
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F

import spatialgraph as sg
from spatialgraph import atomic
from spatialgraph.training import environment
from spatialgraph.wiring import KNN, AllToAll

INPUTS, OUTPUTS, BATCH, NEIGHBORS = 784, 10, 64, 32


def peak_megabytes() -> float:
    """Return the largest memory that this process has held so far."""
    status = Path("/proc/self/status")
    if status.exists():  # Linux; what getrusage returns there includes the process that started this one
        rows = dict(line.split(":", 1) for line in status.read_text().splitlines())
        return int(rows["VmHWM"].split()[0]) / 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def measure(hidden: int, steps: int) -> dict[str, float]:
    """Build a network, train it for some steps and select its edges again; return times and memory."""
    torch.manual_seed(0)
    imports, began = peak_megabytes(), time.perf_counter()
    model = sg.SpatialMLP([INPUTS, hidden, OUTPUTS], wiring=[KNN(k=NEIGHBORS), AllToAll()])
    built = time.perf_counter() - began
    images, labels = torch.rand(BATCH, INPUTS), torch.randint(0, OUTPUTS, (BATCH,))
    optimizer = torch.optim.Adam(sg.parameter_groups(model))
    seconds = []
    for _ in range(steps + 2):  # the first two warm up
        began = time.perf_counter()
        optimizer.zero_grad()
        F.cross_entropy(model(images), labels).backward()
        optimizer.step()
        seconds.append(time.perf_counter() - began)
    stepped, began = peak_megabytes(), time.perf_counter()
    model.graph.rewire_()
    return {
        "hidden": hidden,
        "synapses": model.graph.synapses,
        "build_s": round(built, 3),
        "step_ms": round(1e3 * statistics.median(seconds[2:]), 3),
        "rewire_s": round(time.perf_counter() - began, 3),
        "peak_mb": round(peak_megabytes(), 1),
        "peak_without_rewiring_mb": round(stepped, 1),
        "imports_mb": round(imports, 1),
    }


def in_a_process(hidden: int, steps: int, threads: int) -> dict[str, Any]:
    """Measure a network in a process of its own."""
    options = ["--only", str(hidden), "--steps", str(steps), "--threads", str(threads)]
    run = subprocess.run([sys.executable, __file__, *options], check=True, capture_output=True, text=True)  # noqa: S603
    row: dict[str, Any] = json.loads(run.stdout)
    return row


def slopes(rows: list[dict[str, Any]]) -> dict[str, float]:
    """Return what a thousand hidden neurons add, from the smallest to the largest network."""
    first, last = rows[0], rows[-1]
    thousands = (last["hidden"] - first["hidden"]) / 1000
    return {name: round((last[name] - first[name]) / thousands, 4) for name in ("step_ms", "peak_mb")}


def main() -> None:
    """Measure, print a table, and write it as JSON if requested."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--hidden", type=int, nargs="+", default=[2_000, 20_000, 200_000])
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--only", type=int, help="measure this many hidden neurons in this process")
    parser.add_argument("--json", type=Path, help="write the results to this file")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    if args.only is not None:
        print(json.dumps(measure(args.only, args.steps)))
        return
    rows = [in_a_process(hidden, args.steps, args.threads) for hidden in args.hidden]
    print(f"{'hidden':>9} {'synapses':>10} {'build':>9} {'step':>11} {'rewire':>9} {'peak memory':>12}")
    for row in rows:
        print(
            f"{row['hidden']:9,} {row['synapses']:10,} {row['build_s']:7.2f} s {row['step_ms']:8.1f} ms "
            f"{row['rewire_s']:7.2f} s {row['peak_mb']:9,.0f} MB"
        )
    per_thousand = slopes(rows) if len(rows) > 1 else {}
    print(f"1,000 more hidden neurons: {per_thousand}")
    if args.json is not None:
        command = f"python benchmarks/sparse_scaling.py --steps {args.steps} --threads {args.threads}"
        about = {"command": command, "environment": environment(), "rows": rows, "per_thousand_hidden": per_thousand}
        atomic.write_text(args.json, json.dumps(about, indent=1))


if __name__ == "__main__":
    main()
