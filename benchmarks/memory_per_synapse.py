"""Measure the memory that a pruned network holds for each synapse, and what a training step allocates on top of it.

    python benchmarks/memory_per_synapse.py [--package FOLDER] [--device DEVICE] [--json FILE]

``--package`` measures another version of the package, from a checkout.
"""

import argparse
import json
import sys
from pathlib import Path
from typing import Any

import torch
from memory import step_bytes
from on_device import add_device, record
from timing import Step
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


def gathered(step: Step) -> int:
    """Return the bytes that a step on the CPU gathers."""
    with profile(profile_memory=True) as recorded:
        step()
    events = [e for e in recorded.function_events if e.name == "aten::index" and e.cpu_memory_usage > 0]
    return sum(e.cpu_memory_usage for e in events)


def measure(package: Any, device: torch.device) -> dict[str, float]:  # noqa: ANN401
    """Return bytes per synapse of the first projection, of the whole structure, and of a training step.

    A step on the CPU is measured by what it gathers, one with CUDA by its peak.
    """
    torch.manual_seed(0)
    model = package.SpatialMLP(SIZES, normalize=False)
    package.prune_(model.graph, REMOVED)
    model.to(device)
    first = model.graph.projections[0]
    of_edges = bytes_of([t for t in tensors_in(first, set()) if t.numel() >= first.synapses])
    topology = vars(model.graph.connectivity.topology).values()
    listed = [values for values in topology if values.numel() >= model.graph.synapses]
    x = torch.rand(600, SIZES[0]).to(device).requires_grad_()

    def step() -> None:
        model(x).sum().backward()

    step()
    found = {
        "synapses": first.synapses,
        "projection": of_edges / first.synapses,
        "list of edges": bytes_of(listed) / model.graph.synapses,
    }
    if device.type == "cpu":
        found["gathered in a training step"] = gathered(step) / model.graph.synapses
    elif (peak := step_bytes(step, device)) is not None:
        found["peak of a training step"] = peak / model.graph.synapses
    return found


def main() -> None:
    """Print and write the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--package", type=Path, help="folder of a checkout to measure in place of this version")
    add_device(parser)
    parser.add_argument("--json", type=Path, help="file to write the figures to")
    arguments = parser.parse_args()
    if arguments.package:
        sys.path.insert(0, str(arguments.package.resolve()))
    import spatialgraph

    figures = measure(spatialgraph, arguments.device)
    for name, value in figures.items():
        print(f"{name:28} {value:12,.2f}")
    if arguments.json:
        command = "python benchmarks/memory_per_synapse.py" + (" --package CHECKOUT" if arguments.package else "")
        arguments.json.write_text(json.dumps(figures | record(command, arguments.device), indent=2) + "\n")


if __name__ == "__main__":
    main()
