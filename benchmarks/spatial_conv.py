"""Compare SpatialConv with the convolutions of PyG whose kernels are functions of position: time and memory.

    python benchmarks/spatial_conv.py --json docs/results/spatial_conv.json

One pass forward and backward, with gradients of features, positions and parameters; operators are timed in turn in one
process. Memory is the largest resident size above that before the pass, in a process of its own.
"""

import argparse
import json
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor, nn
from torch_geometric.nn import GMMConv, SplineConv

import spatialgraph as sg
from spatialgraph.training import environment

CHANNELS, DIM = 16, 2
Pass = Callable[[], Tensor]


def has_spline() -> bool:
    """Tell whether the kernels of SplineConv are installed."""
    try:
        SplineConv(1, 1, dim=DIM, kernel_size=2)
    except ImportError:
        return False
    return True


def operators() -> dict[str, nn.Module]:
    """Return the operators by name, all with 16 channels, no root weight and a bias."""
    found: dict[str, nn.Module] = {
        "SpatialConv": sg.SpatialConv(CHANNELS, CHANNELS, dim=DIM),
        "SpatialConv, Gaussian": sg.SpatialConv(CHANNELS, CHANNELS, dim=DIM, law="gaussian"),
        "SpatialConv, normalize='sum'": sg.SpatialConv(CHANNELS, CHANNELS, dim=DIM, normalize="sum"),
    }
    for size in (5, 25):
        found[f"GMMConv, {size} kernels"] = GMMConv(CHANNELS, CHANNELS, dim=DIM, kernel_size=size, aggr="add")
    if has_spline():
        found["SplineConv, 5 x 5"] = SplineConv(CHANNELS, CHANNELS, dim=DIM, kernel_size=5, aggr="add")
    return found


def make_pass(operator: nn.Module, nodes: int, neighbors: int) -> Pass:
    """Return a function that runs an operator forward and backward."""
    torch.manual_seed(0)
    pos = torch.rand(nodes, DIM)
    edges = sg.wiring.knn(pos, None, k=neighbors)
    pos.requires_grad_()
    x = torch.randn(nodes, CHANNELS, requires_grad=True)

    def run() -> Tensor:
        if isinstance(operator, sg.SpatialConv):
            y = operator(x, pos, edges)
        else:
            y = operator(x, edges, pos[edges[0]] - pos[edges[1]])
        y.sum().backward()
        result: Tensor = y.detach()
        return result

    return run


def milliseconds(run: Pass) -> float:
    """Return the time of one pass."""
    start = time.perf_counter()
    run()
    return 1e3 * (time.perf_counter() - start)


def times(nodes: int, neighbors: int, repeats: int) -> dict[str, float]:
    """Return the median time of each operator, timed in turn."""
    passes = {name: make_pass(operator, nodes, neighbors) for name, operator in operators().items()}
    measured: dict[str, list[float]] = {name: [] for name in passes}
    for number in range(repeats + 1):
        for name, run in passes.items():
            elapsed = milliseconds(run)
            if number:  # the first passes compile
                measured[name].append(elapsed)
    return {name: round(statistics.median(values), 1) for name, values in measured.items()}


def peak(name: str, nodes: int, neighbors: int) -> float:
    """Return by how many MB a pass raises the largest resident size, after a small pass that loads all code."""
    make_pass(operators()[name], 100, 4)()
    run = make_pass(operators()[name], nodes, neighbors)
    Path("/proc/self/clear_refs").write_text("5")  # forgets the largest size so far
    before = kilobytes("VmRSS")
    run()
    return round((kilobytes("VmHWM") - before) / 1024, 1)


def kilobytes(field: str) -> int:
    """Return a resident size of this process, as Linux reports it."""
    status = Path("/proc/self/status").read_text()
    return int(status.split(f"{field}:")[1].split()[0])


def peak_of_process(name: str, nodes: int, neighbors: int) -> float:
    """Return :func:`peak` of a new process."""
    command = [sys.executable, __file__, "--peak", name, "--nodes", str(nodes), "--neighbors", str(neighbors)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return float(done.stdout.splitlines()[-1])


def command(args: argparse.Namespace) -> str:
    """Return the command that measures the same again."""
    numbers = f"--nodes {args.nodes} --neighbors {args.neighbors} --repeats {args.repeats}"
    return f"python benchmarks/spatial_conv.py {numbers}"


def main() -> None:
    """Measure and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--nodes", type=int, default=10_000)
    parser.add_argument("--neighbors", type=int, default=16)
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--seen", default="", help="what else is to be known about the run, for the record")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--peak", help="print the memory of one operator and stop")
    args = parser.parse_args()
    if args.peak:
        print(peak(args.peak, args.nodes, args.neighbors))
        return
    rows = {
        name: {
            "milliseconds": elapsed,
            "megabytes": peak_of_process(name, args.nodes, args.neighbors),
            "parameters": sum(parameter.numel() for parameter in operators()[name].parameters()),
        }
        for name, elapsed in times(args.nodes, args.neighbors, args.repeats).items()
    }
    print("| operator | time (ms) | memory (MB) | parameters |\n|---|---|---|---|")
    for name, row in rows.items():
        print(f"| {name} | {row['milliseconds']:.0f} | {row['megabytes']:.0f} | {row['parameters']} |")
    if args.json:
        about = {
            "command": command(args),
            "environment": environment(),
            "what": "one pass forward and backward, median; memory above that before the pass",
            "setting": f"{args.nodes} nodes, {args.neighbors} neighbours, {CHANNELS} to {CHANNELS} channels, d = {DIM}",
            "seen": args.seen,
            "rows": rows,
        }
        args.json.write_text(json.dumps(about, indent=1) + "\n")


if __name__ == "__main__":
    main()
