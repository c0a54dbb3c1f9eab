"""Compare SpatialConv with the convolutions of PyG whose kernels are functions of position: time and memory.

    python benchmarks/spatial_conv.py --json docs/results/spatial_conv.json

One pass forward and backward, with gradients of features, positions and parameters; operators are timed in turn in one
process. Memory is the largest resident size above that before the pass, in a process of its own; with CUDA the largest
allocated size.
"""

import argparse
import json
import statistics
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import torch
from memory import growth, step_bytes
from on_device import add_device, record
from timing import in_turn
from torch import Tensor, nn
from torch_geometric.nn import GMMConv, SplineConv

import spatialgraph as sg

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


def make_pass(operator: nn.Module, nodes: int, neighbors: int, device: torch.device | str = "cpu") -> Pass:
    """Return a function that runs an operator forward and backward."""
    torch.manual_seed(0)
    operator = operator.to(device)
    pos = torch.rand(nodes, DIM).to(device)
    edges = sg.wiring.knn(pos, None, k=neighbors)
    pos.requires_grad_()
    x = torch.randn(nodes, CHANNELS).to(device).requires_grad_()

    def run() -> Tensor:
        if isinstance(operator, sg.SpatialConv):
            y = operator(x, pos, edges)
        else:
            y = operator(x, edges, pos[edges[0]] - pos[edges[1]])
        y.sum().backward()
        result: Tensor = y.detach()
        return result

    return run


def times(nodes: int, neighbors: int, repeats: int, device: torch.device | str = "cpu") -> dict[str, float]:
    """Return the median time of each operator, timed in turn."""
    passes = {name: make_pass(operator, nodes, neighbors, device) for name, operator in operators().items()}
    measured = in_turn(passes, repeats, device, warm_up=1)
    return {name: round(1e3 * statistics.median(seconds), 3) for name, seconds in measured.items()}


def peak(name: str, nodes: int, neighbors: int, device: torch.device) -> float | None:
    """Return by how many MB a pass raises the largest size, after a small pass that loads all code.

    None where the system does not say.
    """
    make_pass(operators()[name], 100, 4, device)()
    run = make_pass(operators()[name], nodes, neighbors, device)
    found = growth(run) if device.type == "cpu" else step_bytes(run, device)
    return None if found is None else round(found / 2**20, 1)


def peak_of_process(name: str, nodes: int, neighbors: int, device: torch.device) -> float | None:
    """Return :func:`peak` of a new process."""
    command = [sys.executable, __file__, "--peak", name, "--nodes", str(nodes), "--neighbors", str(neighbors)]
    command += ["--device", device.type]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    found: float | None = json.loads(done.stdout.splitlines()[-1])
    return found


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
    add_device(parser)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--peak", help="print the memory of one operator and stop")
    args = parser.parse_args()
    if args.peak:
        print(json.dumps(peak(args.peak, args.nodes, args.neighbors, args.device)))
        return
    rows = {
        name: {
            "milliseconds": elapsed,
            "megabytes": peak_of_process(name, args.nodes, args.neighbors, args.device),
            "parameters": sum(parameter.numel() for parameter in operators()[name].parameters()),
        }
        for name, elapsed in times(args.nodes, args.neighbors, args.repeats, args.device).items()
    }
    print("| operator | time (ms) | memory (MB) | parameters |\n|---|---|---|---|")
    for name, row in rows.items():
        megabytes = "" if row["megabytes"] is None else f"{row['megabytes']:.0f}"
        print(f"| {name} | {row['milliseconds']:.3g} | {megabytes} | {row['parameters']} |")
    if args.json:
        about = record(command(args), args.device) | {
            "what": "one pass forward and backward, median; memory above that before the pass",
            "setting": f"{args.nodes} nodes, {args.neighbors} neighbours, {CHANNELS} to {CHANNELS} channels, d = {DIM}",
            "seen": args.seen,
            "rows": rows,
        }
        args.json.write_text(json.dumps(about, indent=1) + "\n")


if __name__ == "__main__":
    main()
