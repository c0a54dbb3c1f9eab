"""From training to a microcontroller: networks in a few kilobytes, as C code that is run on all test images.

    python examples/microcontroller.py --jobs 2                   # three networks, three seeds
    python examples/microcontroller.py --seeds 1 --epochs 1 --race runs/quick --out runs/quick-c  # a quick look

Trains networks of ``examples/race.py`` (those that ``runs/race`` has are not trained again), gives their numbers few
bits, writes each as a C header, compiles it, and runs all test images through the program. Classes and outputs are
compared with those of Python. Where compilers for a Cortex-M0 and a RISC-V processor and the package ``unicorn`` are
installed, the network is also run on these processors in a simulator, which counts instructions and measures the stack.
Prints tables, and writes ``microcontroller.json`` and the headers.
"""

import argparse
import dataclasses
import json
import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import race

import spatialgraph as sg
from spatialgraph import atomic, experiments, training
from spatialgraph.deploy.c.building import integer_network
from spatialgraph.deploy.c.host import compile_here
from spatialgraph.deploy.c.processors import PROCESSORS, Processor, compile_for

# Published networks that run on microcontrollers: kilobytes of constants, accuracy, million cycles.
PUBLISHED = {
    "BitNetMCU, 25,216 parameters of 4 bits (https://github.com/cpldcpu/BitNetMCU)": (12.6, 99.02, 0.53),
    "BitNetMCU, 4,512 parameters of 2 bits": (1.1, 94.22, 0.10),
    "BakeNN, convolutional (https://github.com/scienthoon/bakeNN)": (4.5, 97.02, 3.2),
}
# Images whose activations choose the ranges of bytes, and images that are run in a simulator.
CALIBRATION, SIMULATED = 1000, 10


@dataclasses.dataclass(frozen=True)
class Deployed:
    """A network for a microcontroller.

    Args:
        entry: its name in the race.
        bits: of each number.
    """

    entry: str
    bits: int

    @property
    def name(self) -> str:
        """Its name in tables."""
        return self.entry if "bits" in self.entry else f"{self.entry}, {self.bits} bits"


DEPLOYED = (Deployed("spatial, 10,572", 8), Deployed("spatial, 6,792, 4 bits", 4), Deployed("spatial, spiking", 8))


def as_bytes(images: training.Images) -> np.ndarray:
    """Return images as bytes, which is what they were in their files."""
    return (images[0] * 255).round().byte().numpy()


def deploy(network: Deployed, run: Path, folder: Path, data: training.Mnist) -> dict[str, Any]:
    """Export the network of a run, compile it, and return what was measured on the test images."""
    trained = sg.load(run / race.NETWORK).eval()  # a network of few bits was quantised while it was trained
    model = trained if trained.graph.quantization is not None else sg.quantize(trained, network.bits)
    folder.mkdir(parents=True, exist_ok=True)
    header, calibration = folder / "network.h", data.train_images[:CALIBRATION]
    manifest = sg.to_c(model, header, samples=calibration, labels=data.train_labels[:CALIBRATION])
    inputs, labels = as_bytes((data.test_images, data.test_labels)), data.test_labels.numpy()
    in_python = integer_network(model, samples=calibration)(inputs)
    classes, outputs = compile_here(header, folder / "program")(inputs)
    found = {
        "network": network.name,
        "parameters": sum(p.numel() for p in model.parameters()),
        "accuracy_trained": training.accuracy(trained, (data.test_images, data.test_labels)),
        "accuracy_quantised": training.accuracy(model, (data.test_images, data.test_labels)),
        "accuracy_in_c": float((classes == labels).mean()),
        "images": len(inputs),
        "equal_classes": int((classes == in_python.argmax(1)).sum()),
        "equal_outputs": int((outputs == in_python).all(1).sum()),
        "manifest": manifest,
    }
    here = [processor for processor in PROCESSORS.values() if processor.is_here]
    return found | {"processors": {each.name: simulate(each, header, inputs, outputs) for each in here}}


def simulate(processor: Processor, header: Path, inputs: np.ndarray, outputs: np.ndarray) -> dict[str, Any]:
    """Return sizes on a processor, and what some images take there."""
    program = compile_for(processor, header, optimize="-O2")
    found: dict[str, Any] = {"flash_bytes": program.flash_bytes, "variable_bytes": program.variable_bytes}
    try:
        runs = [program.run(each) for each in inputs[:SIMULATED]]
    except ImportError:
        return found
    return found | {
        "instructions": statistics.fmean(run.instructions for run in runs),
        "stack_bytes": max(run.stack_bytes for run in runs),
        "equal_outputs": sum(bool((run.outputs == own).all()) for run, own in zip(runs, outputs, strict=False)),
        "simulated_images": len(runs),
    }


def tables(rows: Sequence[dict[str, Any]]) -> str:
    """Return two tables: accuracy, and what each processor needs, beside published figures."""
    accuracy = [
        [
            row["network"],
            str(row["seed"]),
            f"{row['parameters']:,}",
            *(f"{100 * row[name]:.2f}" for name in ("accuracy_trained", "accuracy_quantised", "accuracy_in_c")),
            f"{row['equal_classes']:,} of {row['images']:,}",
        ]
        for row in rows
    ]
    header = ["network", "seed", "parameters", "as trained (%)", "few bits (%)", "in C (%)", "equal classes in Python"]
    sizes = [
        [
            f"{row['network']}, seed {row['seed']}, {processor}",
            f"{row['manifest']['constant_bytes'] / 1000:.2f}",
            f"{(found['flash_bytes'] - row['manifest']['constant_bytes']) / 1000:.2f}",
            f"{(found['variable_bytes'] + found.get('stack_bytes', 0)) / 1000:.2f}",
            f"{100 * row['accuracy_in_c']:.2f}",
            f"{found['instructions'] / 1e6:.2f}" if "instructions" in found else "-",
        ]
        for row in rows
        for processor, found in row["processors"].items()
    ]
    sizes += [
        [name, f"{size}", "-", "-", f"{percent:.2f}", f"{cycles:.2f} (cycles)"]
        for name, (size, percent, cycles) in PUBLISHED.items()
    ]
    columns = ["network", "constants (kB)", "code (kB)", "RAM (kB)", "accuracy (%)", "million instructions"]
    return f"{training.markdown(header, accuracy)}\n\n{training.markdown(columns, sizes)}"


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    race_help = "folder of the race (runs/race)"
    parser.add_argument("--race", type=Path, default=Path("runs/race"), metavar="FOLDER", help=race_help)
    experiments.add_list_options(parser, Path("runs/microcontroller"), "those of the race")
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> list[dict[str, Any]]:
    """Train, export, compile and run; print tables, write all that was measured, and return it."""
    args = parse(argv)
    contest, data = race.Race(args.race, epochs=args.epochs, data=args.data_dir), experiments.load_mnist(args.data_dir)
    contest.train([race.named(network.entry) for network in DEPLOYED], range(args.seeds), args.jobs)
    rows = []
    for network in DEPLOYED:
        for run in contest.experiment([race.named(network.entry)], range(args.seeds)).runs:
            folder = args.out / experiments.folder_name(network.name) / f"seed-{run.seed}"
            rows.append({"seed": run.seed} | deploy(network, run.folder(args.race), folder, data))
    about = {
        "command": experiments.command_line("microcontroller", argv),
        "environment": training.environment(),
        "data": data.source,
        "networks": rows,
    }
    atomic.write_text(args.out / "microcontroller.json", json.dumps(about, indent=1) + "\n")
    print(f"\n{tables(rows)}\n\nWritten to {args.out}")
    return rows


if __name__ == "__main__":
    experiments.as_script(main, option="")
