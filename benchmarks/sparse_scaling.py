"""Measure time and memory of a training step of a sparse network against its number of hidden neurons.

    python benchmarks/sparse_scaling.py --json docs/results/sparse_scaling.json
    python benchmarks/sparse_scaling.py --hidden 100000 1000000 --neighbors 10 --batch 16 \
        --json docs/results/sparse_million.json

Each hidden neuron receives from its 32 nearest inputs, each of the 10 outputs from all hidden neurons. Each network is
built, trained, rewired and saved in a process of its own, whose peak memory is that of the imports, the network and the
steps; with CUDA it is that of the tensors on the device.
"""

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import torch
from memory import peak_megabytes
from on_device import add_device, record
from steps import random_images, whole_step
from timing import in_turn, timed

import spatialgraph as sg
from spatialgraph import atomic
from spatialgraph.wiring import KNN, AllToAll

INPUTS, OUTPUTS = 784, 10


def measure(hidden: int, neighbors: int, batch: int, steps: int, device: torch.device) -> dict[str, float]:
    """Build a network, train it for some steps, select its edges again and save it; return times and memory."""
    torch.manual_seed(0)
    imports, sizes, wiring = peak_megabytes(device), [INPUTS, hidden, OUTPUTS], [KNN(k=neighbors), AllToAll()]
    model, built = timed(lambda: sg.SpatialMLP(sizes, wiring=wiring, device=device), device)
    step = whole_step(model, *random_images(batch, INPUTS, OUTPUTS, device))
    seconds = in_turn({"step": step}, steps, device, warm_up=2)["step"]
    stepped = peak_megabytes(device)
    _, rewired = timed(model.graph.rewire_, device)
    with tempfile.TemporaryDirectory() as folder:
        _, saved = timed(lambda: sg.save(model, Path(folder) / "network.safetensors"), device)
    return {
        "hidden": hidden,
        "synapses": model.graph.synapses,
        "build_s": round(built, 3),
        "step_ms": round(1e3 * statistics.median(seconds), 3),
        "rewire_s": round(rewired, 3),
        "save_s": round(saved, 3),
        "peak_mb": round(peak_megabytes(device), 1),
        "peak_without_rewiring_mb": round(stepped, 1),
        "imports_mb": round(imports, 1),
    }


def in_a_process(
    hidden: int, steps: int, threads: int, neighbors: int = 32, batch: int = 64, device: str = "cpu"
) -> dict[str, Any]:
    """Measure a network in a process of its own."""
    options = ["--only", str(hidden), "--steps", str(steps), "--threads", str(threads)]
    options += ["--neighbors", str(neighbors), "--batch", str(batch), "--device", device]
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
    parser.add_argument("--neighbors", type=int, default=32, help="inputs that a hidden neuron receives from")
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--only", type=int, help="measure this many hidden neurons in this process")
    add_device(parser)
    parser.add_argument("--json", type=Path, help="write the results to this file")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    if args.only is not None:
        print(json.dumps(measure(args.only, args.neighbors, args.batch, args.steps, args.device)))
        return
    setting = args.steps, args.threads, args.neighbors, args.batch, args.device.type
    rows = [in_a_process(hidden, *setting) for hidden in args.hidden]
    print(f"{'hidden':>9} {'synapses':>10} {'build':>9} {'step':>11} {'rewire':>9} {'save':>9} {'peak memory':>12}")
    for row in rows:
        print(
            f"{row['hidden']:9,} {row['synapses']:10,} {row['build_s']:7.2f} s {row['step_ms']:8.1f} ms "
            f"{row['rewire_s']:7.2f} s {row['save_s']:7.2f} s {row['peak_mb']:9,.0f} MB"
        )
    per_thousand = slopes(rows) if len(rows) > 1 else {}
    print(f"1,000 more hidden neurons: {per_thousand}")
    if args.json is not None:
        command = (
            f"python benchmarks/sparse_scaling.py --hidden {' '.join(map(str, args.hidden))} --neighbors "
            f"{args.neighbors} --batch {args.batch} --steps {args.steps} --threads {args.threads}"
        )
        about = record(command, args.device) | {"rows": rows, "per_thousand_hidden": per_thousand}
        atomic.write_text(args.json, json.dumps(about, indent=1))


if __name__ == "__main__":
    main()
