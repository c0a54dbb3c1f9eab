"""Build, cast, print and save a network of 10^12 synapses; measure the time and the memory that this takes.

python benchmarks/large_network.py [--threads N] [--json FILE]
"""

import argparse
import json
import resource
import tempfile
import time
from pathlib import Path

import torch

import spatialgraph as sg
from spatialgraph import atomic
from spatialgraph.training import environment

SIZES = [10**6, 10**6]


def peak_megabytes() -> float:
    """Return the largest memory that this process has held so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def main() -> None:
    """Print and write the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--json", type=Path, help="file to write the figures to")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    before, start = peak_megabytes(), time.perf_counter()
    graph = sg.SpatialGraph.layered(SIZES).to(torch.float64)
    print(graph)
    with tempfile.TemporaryDirectory() as folder:
        sg.save(graph, Path(folder) / "network.safetensors")
    figures = {
        "synapses": graph.synapses,
        "seconds": time.perf_counter() - start,
        "peak memory above that of the imports (MB)": peak_megabytes() - before,
        "peak memory (MB)": peak_megabytes(),
    }
    for name, value in figures.items():
        print(f"{name:44} {value:,.2f}" if isinstance(value, float) else f"{name:44} {value}")
    if arguments.json:
        command = f"python benchmarks/large_network.py --threads {arguments.threads}"
        about = figures | {"command": command, "environment": environment()}
        atomic.write_text(arguments.json, json.dumps(about, indent=2) + "\n")


if __name__ == "__main__":
    main()
