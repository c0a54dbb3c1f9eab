"""Measure steps on a GPU beside those of nn.Linear and snnTorch; one run writes one file.

    python benchmarks/accelerator_step.py --device cuda --json accelerator_step.json
    python benchmarks/accelerator_step.py --quick                    # small networks, to see that it works

Each row alternates between two candidates in one process, five steps of each in a row, and holds medians of the times
between events of the device, their ratio, and the memory that a step of each adds at its peak. A row that fails holds
the error in place of figures, and the file is written after each row.

The largest network, whose 65,536 x 65,536 weights would take 17 GB, is measured where a GPU has memory for them, should
they be held after all, and with ``--large`` on any GPU. It is to stay below 4 GB.
"""

import argparse
import contextlib
import dataclasses
import gc
import importlib.util
import json
import statistics
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from memory import free_bytes, step_bytes
from on_device import add_device, record, uses_tf32
from spiking_step import STEPS, SnnTorchNetwork
from steps import in_bfloat16, inference, random_images, training_step, words
from timing import Step, compare, in_turn
from torch import nn
from torch.nn.utils import prune

import spatialgraph as sg
from spatialgraph import atomic

IN_A_ROW = 5
REMOVED = 0.95
LIMIT = 4 * 10**9
PRECISIONS = {"TF32": "high", "bfloat16": "highest", "float32": "highest"}
"""What PyTorch is told about the products of each; bfloat16 is that of autocast."""

Figures = dict[str, Any]
Row = Callable[[], Figures]


@dataclasses.dataclass(frozen=True)
class Sizes:
    """Sizes of the networks, with the samples of a batch."""

    layers: tuple[int, ...] = (784, 2048, 10)
    batch: int = 600
    wide: int = 8192
    wide_batch: int = 4096
    few: int = 16
    large: int = 65_536
    spiking: tuple[int, ...] = (784, 1000, 10)


QUICK = Sizes((20, 30, 10), 8, 64, 32, 4, 128, (20, 30, 10))


@dataclasses.dataclass(frozen=True)
class Bench:
    """The rows: what is measured where, on networks of which sizes, and in how many turns."""

    sizes: Sizes
    device: torch.device
    rounds: int
    is_large_asked: bool

    def rows(self) -> dict[str, Row]:
        """Return the rows by name."""
        sizes, wide = self.sizes, (self.sizes.wide, self.sizes.wide)
        found: dict[str, Row] = {}
        for layers, batch in {sizes.layers: sizes.batch, wide: sizes.wide_batch}.items():
            for name in PRECISIONS:
                found[f"training step, {words(layers, batch)}, {name}"] = self.training(layers, batch, name)
        for name in ("TF32", "float32"):
            found[f"inference, {words(wide, sizes.few)}, {name}"] = self.inference(wide, sizes.few, name)
        removed = f"{REMOVED:.0%} removed, against nn.Linear with a mask"
        found[f"training step, {words(sizes.layers, sizes.batch)}, {removed}"] = self.sparse
        spiking = f"training step, {words(sizes.spiking, sizes.batch)}, {STEPS} time steps"
        found[f"{spiking}, against nn.Linear and snntorch.Leaky"] = self.against_snntorch
        found[f"{spiking}, against nn.Linear and the fused neurons"] = self.against_fused
        found[f"training step, {words((sizes.large, sizes.large), sizes.few)}, float32"] = self.large
        return found

    def training(self, layers: tuple[int, ...], batch: int, precision: str) -> Row:
        """Return the row of a training step of dense networks."""

        def row() -> Figures:
            images, labels = random_images(batch, layers[0], layers[-1], self.device)
            step_of = in_bfloat16 if precision == "bfloat16" else training_step
            return self.measured(*self.pair(layers), lambda model: step_of(model, images, labels), precision)

        return row

    def inference(self, layers: tuple[int, ...], batch: int, precision: str) -> Row:
        """Return the row of a forward pass of dense networks in evaluation mode."""

        def row() -> Figures:
            images, _ = random_images(batch, layers[0], layers[-1], self.device)
            return self.measured(*self.pair(layers), lambda model: inference(model, images), precision)

        return row

    def pair(self, layers: tuple[int, ...]) -> tuple[nn.Module, nn.Module]:
        """Return a spatial network and one of nn.Linear."""
        return sg.SpatialMLP(layers, device=self.device), sg.DenseMLP(layers, device=self.device)

    def sparse(self) -> Figures:
        """Compare a pruned network with one of nn.Linear whose weights are multiplied by a mask."""
        ours, theirs = self.pair(self.sizes.layers)
        sg.prune_(ours, REMOVED)
        for module in theirs.modules():
            if isinstance(module, nn.Linear):
                prune.random_unstructured(module, "weight", REMOVED)
        return self.trained(ours, theirs, self.sizes.layers)

    def against_snntorch(self) -> Figures:
        """Compare a spiking network with one of snnTorch, step by step."""
        if importlib.util.find_spec("snntorch") is None:
            return {"skipped": "snntorch is not installed"}
        return self.spiking(lambda ours: SnnTorchNetwork(self.sizes.spiking, ours.drive))

    def against_fused(self) -> Figures:
        """Compare a spiking network with one of nn.Linear and the library's neurons."""
        return self.spiking(lambda _: sg.DenseSNN(self.sizes.spiking, num_steps=STEPS, normalize=True))

    def spiking(self, make: Callable[[sg.SpatialSNN], nn.Module]) -> Figures:
        """Compare a spiking network with another."""
        ours = sg.SpatialSNN(self.sizes.spiking, num_steps=STEPS, device=self.device)
        return self.trained(ours, make(ours).to(self.device), self.sizes.spiking)

    def large(self) -> Figures:
        """Measure a projection too large for its weights to be held."""
        size, batch = self.sizes.large, self.sizes.few
        needed = 10 * size**2  # weights, their gradients, and half as much again
        if not (self.is_large_asked or self.sizes == QUICK or free_bytes(self.device) > needed):
            return {"skipped": f"needs {needed / 1e9:.0f} GB of free memory on the GPU, or --large"}
        images, labels = random_images(batch, size, size, self.device)
        model = sg.SpatialMLP([size, size], device=self.device)
        step = training_step(model, images, labels)
        with products_in("float32"):
            figures: Figures = {"tf32": uses_tf32(), "peak_bytes": self.peak(model, step), "limit_bytes": LIMIT}
            figures["forward_and_backward_ms"] = self.milliseconds(step)
            figures["forward_ms"] = self.milliseconds(inference(model, images))
        return figures

    def trained(self, ours: nn.Module, theirs: nn.Module, layers: tuple[int, ...]) -> Figures:
        """Compare training steps of two networks in single precision."""
        images, labels = random_images(self.sizes.batch, layers[0], layers[-1], self.device)
        return self.measured(ours, theirs, lambda model: training_step(model, images, labels), "float32")

    def measured(
        self, ours: nn.Module, theirs: nn.Module, step_of: Callable[[nn.Module], Step], precision: str
    ) -> Figures:
        """Compare steps of two networks in a precision."""
        with products_in(precision):
            figures = compare(step_of(ours), step_of(theirs), self.rounds, self.device, IN_A_ROW)
            about = {"tf32": uses_tf32(), "bfloat16": precision == "bfloat16"}
            peaks = {
                f"{whose}_peak_bytes": self.peak(model, step_of(model))
                for whose, model in (("our", ours), ("their", theirs))
            }
        return figures | about | peaks

    def milliseconds(self, step: Step) -> float:
        """Return the median time of a step that runs by itself."""
        return 1e3 * statistics.median(in_turn({"step": step}, self.rounds, self.device, warm_up=1)["step"])

    def peak(self, model: nn.Module, step: Step) -> int | None:
        """Return the memory that a step adds at its peak, its gradients among it."""
        model.zero_grad(set_to_none=True)
        return step_bytes(step, self.device)


@contextlib.contextmanager
def products_in(precision: str) -> Iterator[None]:
    """Let products of single-precision numbers be exact ones, or those of TF32, for a while."""
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision(PRECISIONS[precision])
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before)


def figures_of(row: Row) -> Figures:
    """Return what a row measures, or the error that it raises."""
    torch.manual_seed(0)
    try:
        return row()
    except Exception as error:  # the other rows are still to be measured
        return {"error": f"{type(error).__name__}: {error}"}
    finally:
        gc.collect()
        if torch.cuda.is_available():
            torch.cuda.empty_cache()


def line_of(name: str, figures: Mapping[str, Any]) -> str:
    """Return a line that says what was found."""
    if "ours_ms" in figures:
        times = f"{figures['ours_ms']:9.3f} ms {figures['theirs_ms']:9.3f} ms  ratio {figures['ours_over_theirs']:.3f}"
        return f"{name:<100} {times}"
    return f"{name:<100} " + ", ".join(f"{key} {str(value).splitlines()[0]}" for key, value in figures.items())


def main(argv: list[str] | None = None) -> None:
    """Measure, print a line for each row, and write all of them as JSON if requested."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--quick", action="store_true", help="small networks")
    parser.add_argument("--large", action="store_true", help="measure the largest network on a GPU of any memory")
    add_device(parser)
    parser.add_argument("--json", type=Path, help="write the results to this file")
    args = parser.parse_args(argv)
    if args.device.type == "cpu" and not args.quick:
        parser.error("--device must be a GPU without --quick: the large networks take hours on a CPU")
    bench = Bench(QUICK if args.quick else Sizes(), args.device, args.rounds, args.large)
    command = f"python benchmarks/accelerator_step.py --rounds {args.rounds}"
    command += "".join(f" --{name}" for name in ("quick", "large") if getattr(args, name))
    about = record(command, args.device)
    about["device"].pop("tf32", None)  # each row says so
    about["rows"] = rows = {}
    for name, row in bench.rows().items():
        rows[name] = figures_of(row)
        print(line_of(name, rows[name]), flush=True)
        if args.json is not None:
            atomic.write_text(args.json, json.dumps(about, indent=1) + "\n")
    failed = [name for name, figures in rows.items() if "error" in figures]
    if failed:
        raise SystemExit(f"{len(failed)} of {len(rows)} rows failed")


if __name__ == "__main__":
    main()
