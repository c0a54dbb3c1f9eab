"""Measure how long the analysis of networks takes, and their export to networkx beside networkx alone.

    python benchmarks/analysis.py --json docs/results/analysis.json
    python benchmarks/analysis.py --cases pruned --nulls 2             # a quick look

Each network is analysed in a process of its own with null models of three kinds; ``large`` has 100,000 neurons.
"""

import argparse
import json
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import networkx as nx
import torch

import spatialgraph as sg
from spatialgraph import atomic
from spatialgraph.training import environment
from spatialgraph.wiring import KNN


def pruned() -> sg.SpatialGraph:
    """Return 784-2048-10 of which 5 % of the synapses are left."""
    graph = sg.SpatialGraph.layered([784, 2048, 10])
    return sg.prune_(graph, 0.95)


def all_to_all() -> sg.SpatialGraph:
    """Return 784-2048-10 with all synapses."""
    return sg.SpatialGraph.layered([784, 2048, 10])


def large() -> sg.SpatialGraph:
    """Return 100,000 neurons that receive from their 16 nearest."""
    return sg.SpatialGraph.layered([30_000, 40_000, 29_990, 10], wiring=KNN(k=16))


CASES: dict[str, Callable[[], sg.SpatialGraph]] = {"pruned": pruned, "all_to_all": all_to_all, "large": large}


def measure(case: str, nulls: int) -> dict[str, Any]:
    """Analyse a network; return the time and the peak memory of this process."""
    torch.manual_seed(0)
    graph = CASES[case]()
    began = time.perf_counter()
    found = sg.analyse(graph, nulls=nulls, progress=False)
    return {
        "case": case,
        "neurons": found.neurons,
        "synapses": found.synapses,
        "nulls_of_each_kind": nulls,
        "seconds": round(time.perf_counter() - began, 1),
        "peak_mb": peak_memory(),
    }


def peak_memory() -> int | None:
    """Return the most memory that this process has held, in MB; None where the system does not say.

    ``getrusage`` would count what the process held that started this one.
    """
    try:
        lines = Path("/proc/self/status").read_text().splitlines()
    except FileNotFoundError:
        return None
    return next(int(line.split()[1]) // 1024 for line in lines if line.startswith("VmHWM"))


def in_a_process(case: str, nulls: int) -> dict[str, Any]:
    """Measure a network in a process of its own."""
    command = [sys.executable, __file__, "--only", case, "--nulls", str(nulls)]
    row: dict[str, Any] = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)  # noqa: S603
    return row


def export(repeats: int) -> dict[str, Any]:
    """Compare ``to_networkx`` of all synapses with networkx's own method on ready tuples, in turns."""
    graph = all_to_all()
    weights = graph.weights().detach().tolist()
    tuples = list(zip(*graph.edge_index.tolist(), weights, strict=True))
    ours, theirs = [], []
    for _ in range(repeats):
        began = time.perf_counter()
        sg.to_networkx(graph)
        ours.append(time.perf_counter() - began)
        began = time.perf_counter()
        nx.DiGraph().add_weighted_edges_from(tuples)
        theirs.append(time.perf_counter() - began)
    ratio = statistics.median(one / other for one, other in zip(ours, theirs, strict=True))
    return {
        "synapses": len(tuples),
        "to_networkx_s": round(statistics.median(ours), 2),
        "add_weighted_edges_from_s": round(statistics.median(theirs), 2),
        "ratio": round(ratio, 2),
        "ratios": [round(one / other, 2) for one, other in zip(ours, theirs, strict=True)],
    }


def main() -> None:
    """Measure, print, and write JSON if requested."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cases", nargs="*", choices=CASES, default=list(CASES))
    parser.add_argument("--nulls", type=int, default=20)
    parser.add_argument("--repeats", type=int, default=7, help="of the export")
    parser.add_argument("--only", choices=CASES, help="analyse this network in this process")
    parser.add_argument("--json", type=Path, help="write the results to this file")
    args = parser.parse_args()
    if args.only is not None:
        print(json.dumps(measure(args.only, args.nulls)))
        return
    exported = export(args.repeats)
    print(f"to_networkx: {exported['ratio']} times add_weighted_edges_from")
    rows = []
    for case in args.cases:
        rows.append(in_a_process(case, args.nulls))
        print(rows[-1], flush=True)
    if args.json is not None:
        command = f"python benchmarks/analysis.py --nulls {args.nulls} --repeats {args.repeats}"
        about = {"command": command, "environment": environment(), "to_networkx": exported, "analyse": rows}
        atomic.write_text(args.json, json.dumps(about, indent=1))


if __name__ == "__main__":
    main()
