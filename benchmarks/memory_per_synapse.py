"""Measure the memory that a pruned network holds for each synapse, and what a training step allocates on top of it.

    python benchmarks/memory_per_synapse.py [--package FOLDER] [--json FILE]

``--package`` measures another version of the package, from a checkout.
"""

import argparse
import json
import sys
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.autograd.profiler import profile

SIZES, REMOVED = [784, 2048, 10], 0.9


def tensors_in(thing: Any, seen: set[int]) -> list[Tensor]:  # noqa: ANN401
    """Return the tensors that an object and its attributes hold."""
    if id(thing) in seen:
        return []
    seen.add(id(thing))
    if isinstance(thing, Tensor):
        return [thing]
    held = vars(thing).values() if hasattr(thing, "__dict__") and not isinstance(thing, type) else ()
    return [tensor for value in held for tensor in tensors_in(value, seen)]


def bytes_of(tensors: list[Tensor]) -> int:
    """Return the size of the storages, each counted once."""
    return sum({t.untyped_storage().data_ptr(): t.untyped_storage().nbytes() for t in tensors}.values())


def measure(package: Any) -> dict[str, float]:  # noqa: ANN401
    """Return bytes per synapse of the first projection, and of the whole structure."""
    torch.manual_seed(0)
    model = package.SpatialMLP(SIZES, normalize=False)
    package.prune_(model.graph, REMOVED)
    first = model.graph.projections[0]
    of_edges = bytes_of([t for t in tensors_in(first, set()) if t.numel() >= first.synapses])
    topology = vars(model.graph.connectivity.topology).values()
    listed = [values for values in topology if values.numel() >= model.graph.synapses]
    x = torch.rand(600, SIZES[0], requires_grad=True)
    model(x).sum().backward()
    with profile(profile_memory=True) as recorded:
        model(x).sum().backward()
    gathers = [e for e in recorded.function_events if e.name == "aten::index" and e.cpu_memory_usage > 0]
    return {
        "synapses": first.synapses,
        "projection": of_edges / first.synapses,
        "list of edges": bytes_of(listed) / model.graph.synapses,
        "gathered in a training step": sum(e.cpu_memory_usage for e in gathers) / model.graph.synapses,
    }


def main() -> None:
    """Print and write the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--package", type=Path, help="folder of a checkout to measure in place of this version")
    parser.add_argument("--json", type=Path, help="file to write the figures to")
    arguments = parser.parse_args()
    if arguments.package:
        sys.path.insert(0, str(arguments.package.resolve()))
    import spatialgraph

    figures = measure(spatialgraph)
    for name, value in figures.items():
        print(f"{name:28} {value:12,.2f}")
    if arguments.json:
        arguments.json.write_text(json.dumps(figures, indent=2) + "\n")


if __name__ == "__main__":
    main()
