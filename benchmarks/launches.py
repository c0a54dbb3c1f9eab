"""Count what a training step asks of a GPU, on the simulated accelerator of the tests: launches, waits and memory.

    python benchmarks/launches.py --json docs/results/launches.json

A step is forward, loss and backward; the first one, in which things are made that stay, is not counted. Each network is
counted with the kernels in Triton, which their interpreter runs, and with tensor operations in their place. Memory is
the peak of a step above what was in use before it, over that of single-precision weights of all synapses.
"""

import argparse
import contextlib
import importlib
import json
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from steps import random_images, training_step, words
from timing import Step
from torch import nn

import spatialgraph as sg
from spatialgraph import atomic
from spatialgraph.kernels.cuda import launching

SIZES, NARROW, BATCH = [784, 2048, 10], [784, 256, 10], 600
SPIKING, SPIKING_BATCH, STEPS = [784, 256, 10], 20, 25
DELAYED, DELAYED_BATCH = [60, 40, 10], 5  # their kernels take long in the interpreter
RECURRENT, RECURRENT_BATCH, LENGTH = [28, 300, 10], 128, 28
NODES, NEIGHBORS, CHANNELS = 2000, 16, 16
BYTES = 4
DEVICE = "sim"

Case = Callable[[], tuple[Step, int]]
"""Makes a step, and tells how many synapses its network has."""


def simulated() -> Any:  # noqa: ANN401 - a module of the tests
    """Make the simulated accelerator ready for the rest of the process, and return its module."""
    folder = str(Path(__file__).parents[1] / "tests")
    if folder not in sys.path:
        sys.path.append(folder)
    importlib.import_module("devices").prepare(DEVICE)
    return importlib.import_module("simulated_device")


def perceptron(
    sizes: Sequence[int] = NARROW,
    removed: float = 0.0,
    masked: float = 0.0,
    **options: Any,  # noqa: ANN401
) -> Case:
    """Return the case of a perceptron, of whose synapses a share is removed or masked."""

    def make() -> tuple[Step, int]:
        model = sg.SpatialMLP(sizes, **options)
        if removed:
            sg.prune_(model, removed)
        model.graph.masked_share = masked
        images = random_images(BATCH, sizes[0], sizes[-1], DEVICE)
        return training_step(model.to(DEVICE), *images), model.graph.synapses

    return make


def spiking(sizes: Sequence[int] = SPIKING, batch: int = SPIKING_BATCH, **options: Any) -> Case:  # noqa: ANN401
    """Return the case of a spiking network."""

    def make() -> tuple[Step, int]:
        model = sg.SpatialSNN(sizes, num_steps=STEPS, **options)
        images = random_images(batch, sizes[0], sizes[-1], DEVICE)
        return training_step(model.to(DEVICE), *images), model.graph.synapses

    return make


class ReadOut(nn.Module):
    """A recurrent network that reads its input step by step, and answers after the last step."""

    def __init__(self, network: sg.SpatialRNN) -> None:
        super().__init__()
        self.network = network

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return the logits of sequences ``(batch, steps x features)``."""
        series = x.view(len(x), LENGTH, -1).transpose(0, 1)
        logits: torch.Tensor = self.network(series)[0]
        return logits


def recurrent(cell: str) -> Case:
    """Return the case of a recurrent network."""

    def make() -> tuple[Step, int]:
        network = sg.SpatialRNN(RECURRENT, cell=cell)
        images = random_images(RECURRENT_BATCH, LENGTH * RECURRENT[0], RECURRENT[-1], DEVICE)
        return training_step(ReadOut(network).to(DEVICE), *images), network.graph.synapses

    return make


def convolution() -> tuple[Step, int]:
    """Make a step of a spatial convolution of points, with gradients of their positions."""
    operator = sg.SpatialConv(CHANNELS, CHANNELS, dim=2).to(DEVICE)
    points = torch.rand(NODES, 2)
    edges = sg.wiring.knn(points, None, k=NEIGHBORS).to(DEVICE)
    pos = points.to(DEVICE).requires_grad_()
    x, labels = torch.randn(NODES, CHANNELS).to(DEVICE), torch.randint(0, CHANNELS, (NODES,)).to(DEVICE)

    def step() -> None:
        operator.zero_grad(set_to_none=True)
        pos.grad = None
        F.cross_entropy(operator(x, pos, edges), labels).backward()

    return step, edges.shape[1] * CHANNELS**2  # each pair of channels has a synapse along each edge


def cases() -> dict[str, Case]:
    """Return what is counted, by name."""
    layers, times, units = words(NARROW, BATCH), words(SPIKING, SPIKING_BATCH), words(RECURRENT, RECURRENT_BATCH)
    delayed = words(DELAYED, DELAYED_BATCH)
    return {
        words(SIZES, BATCH): perceptron(SIZES),
        f"{layers}": perceptron(),
        f"{layers}, without normalisation": perceptron(normalize=False),
        f"{layers}, 95 % removed": perceptron(removed=0.95),
        f"{layers}, 50 % removed": perceptron(removed=0.5),
        f"{layers}, 50 % masked in training": perceptron(masked=0.5),
        f"{layers}, inputs anchored": perceptron(anchored=[0]),
        f"spiking, {times}, {STEPS} time steps": spiking(),
        f"spiking, {delayed}, {STEPS} time steps, delays": spiking(DELAYED, DELAYED_BATCH, velocity=0.5),
        f"spiking, {times}, {STEPS} time steps, recurrent": spiking(recurrent=sg.wiring.AllToAll()),
        f"recurrent, {units}, {LENGTH} steps": recurrent("plain"),
        f"recurrent, {units}, {LENGTH} steps, gated": recurrent("gated"),
        f"convolution, {NODES:,} points, {NEIGHBORS} neighbours": convolution,
    }


@contextlib.contextmanager
def kernels(is_on: bool) -> Iterator[None]:
    """Let the kernels in Triton run on the simulated accelerator, or tensor operations in their place, for a while."""
    change = launching.DEVICES.add if is_on else launching.DEVICES.discard
    change(DEVICE)
    try:
        yield
    finally:
        launching.DEVICES.add(DEVICE)


def counted(case: Case, is_on: bool, device: Any) -> dict[str, Any]:  # noqa: ANN401 - the simulated one
    """Return what the second step of a case asks for."""
    torch.manual_seed(0)
    with kernels(is_on):
        step, synapses = case()
        step()
        with device.recorded(is_exact=True) as record:
            before = record.live
            step()
    peak = record.peak - before
    return {
        "launches": len(record.launches),
        "waits": len(record.waits),
        "peak_bytes": peak,
        "weights_bytes": BYTES * synapses,
        "peak_over_weights": round(peak / (BYTES * synapses), 3),
    }


def table(rows: Mapping[str, Mapping[str, Mapping[str, Any]]]) -> str:
    """Return the rows as a table in Markdown."""
    lines = [
        "| training step | launches | with tensor operations | waits | memory over weights | with tensor operations |",
        "|---|---|---|---|---|---|",
    ]
    for name, row in rows.items():
        ours, plain = row["kernels"], row["tensor operations"]
        memory = f"{ours['peak_over_weights']:.1f} | {plain['peak_over_weights']:.1f}"
        lines.append(f"| {name} | {ours['launches']} | {plain['launches']} | {ours['waits']} | {memory} |")
    return "\n".join(lines)


def main(argv: list[str] | None = None) -> None:
    """Count, print a table in Markdown, and write the counts as JSON if requested."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default="", help="networks whose name contains this")
    parser.add_argument("--json", type=Path, help="write the counts to this file")
    args = parser.parse_args(argv)
    device = simulated()
    rows = {}
    for name, case in cases().items():
        if args.only in name:
            rows[name] = {"kernels": counted(case, True, device), "tensor operations": counted(case, False, device)}
            print(name, rows[name], flush=True)
    print(table(rows))
    from spatialgraph.training import environment  # here: it imports Triton, which is told first to interpret

    if args.json is not None:
        command = "python benchmarks/launches.py" + (f" --only '{args.only}'" if args.only else "")
        about = {"command": command, "environment": environment(), "rows": rows}
        atomic.write_text(args.json, json.dumps(about, indent=1) + "\n")


if __name__ == "__main__":
    main()
