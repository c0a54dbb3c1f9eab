"""Build, cast, print and save a network of 10^12 synapses; measure the time and the memory that this takes.

python benchmarks/large_network.py [--threads N] [--device DEVICE] [--json FILE]
"""

import argparse
import json
import tempfile
from pathlib import Path

import torch
from memory import peak_megabytes
from on_device import add_device, record
from timing import timed

import spatialgraph as sg
from spatialgraph import atomic

SIZES = [10**6, 10**6]


def build_and_save(device: torch.device) -> int:
    """Build, cast, print and save the network; return how many synapses it has."""
    kind = torch.float32 if device.type == "mps" else torch.float64  # Apple's GPUs have no double precision
    graph = sg.SpatialGraph.layered(SIZES, device=device).to(kind)
    print(graph)
    with tempfile.TemporaryDirectory() as folder:
        sg.save(graph, Path(folder) / "network.safetensors")
    return graph.synapses


def main() -> None:
    """Print and write the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=2)
    add_device(parser)
    parser.add_argument("--json", type=Path, help="file to write the figures to")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    device = arguments.device
    before = peak_megabytes(device)
    synapses, seconds = timed(lambda: build_and_save(device), device)
    figures = {
        "synapses": synapses,
        "seconds": seconds,
        "peak memory above that of the imports (MB)": peak_megabytes(device) - before,
        "peak memory (MB)": peak_megabytes(device),
    }
    for name, value in figures.items():
        print(f"{name:44} {value:,.2f}" if isinstance(value, float) else f"{name:44} {value}")
    if arguments.json:
        command = f"python benchmarks/large_network.py --threads {arguments.threads}"
        about = figures | record(command, device)
        atomic.write_text(arguments.json, json.dumps(about, indent=2) + "\n")


if __name__ == "__main__":
    main()
