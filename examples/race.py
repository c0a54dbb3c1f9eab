"""Accuracy per parameter: small spatial networks beside dense, hashed and tensor-train networks of equal size.

    python examples/race.py --jobs 2                                # all networks, three seeds
    python examples/race.py --only image --seeds 1                  # one group
    python examples/race.py --only "spatial, 10,572" --validate     # on held-out training images
    python examples/race.py --only fashion --data-dir /usr/share/datasets/fashion-mnist
    python examples/race.py --seeds 1 --epochs 1                    # a quick look

A group of networks shares data, schedule and augmentation: ``image`` (inputs are a grid of pixels, images are distorted
anew each time), ``any order`` (no layer knows where pixels are, no augmentation), ``spiking`` and ``fashion``. Networks
of few bits continue from those with full precision. Settings were chosen on held-out training images; models are
evaluated on the test images once, after training. A run has a folder below ``runs/race``; the same command continues
what was interrupted and repeats nothing that is finished. Prints a table, and writes ``race.json``.
"""

import argparse
import dataclasses
import functools
import json
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from compressed_layers import hashed, tensor_train
from torch import nn

import spatialgraph as sg
from spatialgraph import atomic, experiments, training
from spatialgraph.experiments import CLASSES, Candidate, Experiment, LazyMnist, Run
from spatialgraph.laws import Cosine

SIDE = 28
PIXELS = SIDE * SIDE
GRID = (SIDE, SIDE)

GROUPS = ("image", "any order", "spiking", "fashion")

# Chosen on held-out training images, as the learning rates below.
EPOCHS, FURTHER_EPOCHS = 240, 10
# The file in the folder of a run that holds its network.
NETWORK = "network.safetensors"
# Weaker than the defaults: small networks fit the training images of stronger distortions less well.
DISTORTED = training.RandomAffine(GRID, degrees=6.0, translate=0.05, scale=(0.95, 1.05), shear=3.0)


@dataclasses.dataclass(frozen=True)
class Entry:
    """A network that takes part.

    Args:
        name: its name.
        group: what it is compared with.
        build: returns it.
        learning_rate: the peak rate.
        bits: of each number; None for single precision.
        after: the entry whose trained network it continues from; empty for a new one.
    """

    name: str
    group: str
    build: Callable[[], nn.Module]
    learning_rate: float
    bits: int | None = None
    after: str = ""


def spatial(hidden: Sequence[int], dim: int, model: Callable[..., nn.Module] = sg.SpatialMLP) -> nn.Module:
    """Return a network whose inputs are the cells of a grid, with coordinates and polarities of rows and columns."""
    return model([GRID, *hidden, CLASSES], dim, spacing="free", law=Cosine(1.0), grid_polarity="axes")


def spatial_any_order() -> sg.SpatialMLP:
    """Return a network in which each input has a position of its own."""
    return sg.SpatialMLP([PIXELS, 200, 143, CLASSES], 9, law=Cosine(3.0))


def entries() -> list[Entry]:
    """Return the networks that take part."""
    large = functools.partial(spatial, (320, 205), 16)
    middle = functools.partial(spatial, (190, 125), 16)
    small = functools.partial(spatial, (130, 85), 16)
    dense = functools.partial(sg.DenseMLP, [PIXELS, 13, CLASSES])
    shared = functools.partial(hashed, [PIXELS, 200, CLASSES], 10_572)
    train = functools.partial(tensor_train, [(4, 7, 7, 4), (4, 4, 4, 4), (4, 4, 4, 4)], 7)
    return [
        Entry("spatial, 10,572", "image", large, 0.06),
        Entry("spatial, 6,792", "image", middle, 0.06),
        Entry("spatial, 4,992", "image", small, 0.06),
        Entry("dense", "image", dense, 0.02),
        Entry("hashed", "image", shared, 0.02),
        Entry("tensor train", "image", train, 0.02),
        Entry("spatial, 10,572, 4 bits", "image", large, 0.003, bits=4, after="spatial, 10,572"),
        Entry("spatial, 6,792, 4 bits", "image", middle, 0.003, bits=4, after="spatial, 6,792"),
        Entry("spatial, any order", "any order", spatial_any_order, 0.05),
        Entry("dense, any order", "any order", dense, 0.02),
        Entry("hashed, any order", "any order", shared, 0.02),
        Entry("tensor train, any order", "any order", train, 0.02),
        Entry("spatial, spiking", "spiking", functools.partial(spatial, (525,), 16, sg.SpatialSNN), 0.06),
        Entry("dense, spiking", "spiking", functools.partial(sg.DenseSNN, [PIXELS, 13, CLASSES]), 0.02),
        Entry("spatial, fashion", "fashion", large, 0.06),
        Entry("dense, fashion", "fashion", dense, 0.02),
    ]


@dataclasses.dataclass(frozen=True)
class Race:
    """How the networks are trained.

    Args:
        folder: where the runs are.
        validate: whether networks are evaluated on held-out training images, not on the test images.
        epochs: number of epochs of new networks; None for as many as were chosen.
        learning_rate: the peak rate of all networks; None for those that were chosen.
        data: folder of the images; None for the usual places.
    """

    folder: Path
    validate: bool = False
    epochs: int | None = None
    learning_rate: float | None = None
    data: str | None = None

    def experiment(self, chosen: Sequence[Entry], seeds: Sequence[int]) -> Experiment:
        """Return the runs of some entries."""
        return Experiment([self._run(entry, seed) for entry in chosen for seed in seeds], LazyMnist(self.data))

    def _run(self, entry: Entry, seed: int) -> Run:
        recipe = training.Recipe(
            epochs=min(self.epochs or EPOCHS, FURTHER_EPOCHS if entry.after else EPOCHS),
            learning_rate=self.learning_rate or entry.learning_rate,
            batch_size=300,
        )
        build, finish = entry.build, Candidate.finish
        if entry.after:
            low = LowBits(entry, self._run(named(entry.after), seed).folder(self.folder))
            build, finish = low.build, low.finish
        candidate = Candidate(entry.name, build, finish=finish, examine=examine)
        distorted = DISTORTED if entry.group in ("image", "spiking", "fashion") else None
        return Run(candidate, recipe, seed, validate=self.validate, augment=distorted)


class LowBits:
    """Builds a network that was trained with full precision, and trains it further with few bits.

    Args:
        entry: the network with few bits.
        before: folder of the trained one.
    """

    def __init__(self, entry: Entry, before: Path) -> None:
        if entry.bits is None:
            raise ValueError(f"bits must be given for a network that continues from another, got None for {entry.name}")
        self._entry, self._before, self._quantizer = entry, before, sg.QuantizeWhileTraining(entry.bits)

    def build(self) -> nn.Module:
        """Return the trained network, which computes with few bits from now on."""
        model: nn.Module = sg.load(self._before / NETWORK)
        self._quantizer = sg.QuantizeWhileTraining(self._quantizer.bits).attach(model)
        return model

    def finish(self) -> None:
        """Round for good."""
        self._quantizer.remove()


def named(name: str) -> Entry:
    """Return the entry of a name."""
    return next(entry for entry in entries() if entry.name == name)


def examine(model: nn.Module, judged: training.Images, folder: Path) -> dict[str, Any]:
    """Save a spatial network, and return its accuracy with 8 bits."""
    if not isinstance(model, sg.SpatialMLP | sg.SpatialSNN):
        return {}
    sg.save(model, folder / NETWORK)
    if model.graph.quantization is not None:
        return {"bits": model.graph.quantization.bits}
    return {"accuracy_with_8_bits": training.accuracy(sg.quantize(model, 8), judged)}


def record(studied: Experiment, chosen: dict[str, Entry], folder: Path) -> list[dict[str, Any]]:
    """Return what was measured in each finished run."""
    return [
        {"network": run.candidate.name, "group": chosen[run.candidate.name].group}
        | figures
        | {"recipe": dataclasses.asdict(run.recipe), "augmented": run.augment is not None}
        for run, figures in zip(studied.runs, studied.metrics(folder), strict=True)
        if figures is not None
    ]


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    names = [entry.name for entry in entries()]
    parts = f"some of {', '.join(GROUPS)}, or names of networks ({', '.join(GROUPS[:-1])})"
    add("--only", nargs="+", choices=[*GROUPS, *names], default=GROUPS[:-1], metavar="PART", help=parts)
    add("--seeds", type=int, default=3, metavar="COUNT", help="train with the seeds 0 to COUNT-1 (3)")
    add("--jobs", type=int, default=os.cpu_count(), metavar="N", help="runs at a time, on one thread each (all cores)")
    add("--epochs", type=int, help=f"number of epochs of new networks ({EPOCHS})")
    add("--learning-rate", type=float, help="peak rate of all networks (default: those that were chosen)")
    add("--validate", action="store_true", help="evaluate on 5,000 held-out training images")
    add("--data-dir", help="folder of MNIST, or of another set in its format")
    add("--out", type=Path, default=Path("runs/race"), help="folder for the results (runs/race)")
    args = parser.parse_args(argv)
    for name in ("seeds", "jobs", "epochs"):
        if getattr(args, name) is not None and getattr(args, name) < 1:
            parser.error(f"--{name} must be at least 1, got {getattr(args, name)}")
    return args


def main(argv: Sequence[str] | None = None) -> list[training.Result]:
    """Train what is asked for, print a table, write all that is finished, and return the rows."""
    args = parse(argv)
    race = Race(args.out, args.validate, args.epochs, args.learning_rate, args.data_dir)
    chosen = [entry for entry in entries() if {entry.name, entry.group} & set(args.only)]
    results, runs = [], []
    for is_later in (False, True):  # networks of few bits continue from others
        some = [entry for entry in chosen if bool(entry.after) is is_later]
        studied = race.experiment(some, range(args.seeds))
        results += studied.run(args.out, jobs=args.jobs, threads=1)
        runs += record(studied, {entry.name: entry for entry in some}, args.out)
    judged_on = "validation" if args.validate else "test"
    about = {
        "command": experiments.command_line("race", argv),
        "environment": training.environment(),
        "data": studied.data().source,
        "judged_on": judged_on,
        "runs": runs,
    }
    atomic.write_text(args.out / "race.json", json.dumps(about, indent=1) + "\n")
    print(f"\n{training.table(results, judged_on)}\n\nWritten to {args.out}")
    return results


if __name__ == "__main__":
    experiments.as_script(main)
