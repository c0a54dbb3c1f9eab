"""Accuracy per parameter: small spatial networks beside dense, hashed and tensor-train networks of equal size.

    python examples/race.py --jobs 2                                # all networks, three seeds
    python examples/race.py --only image --seeds 1                  # one group
    python examples/race.py --only "spatial, 10,572" --validate --out runs/held-out  # on held-out training images
    python examples/race.py --only fashion --data-dir /usr/share/datasets/fashion-mnist --out runs/fashion
    python examples/race.py --seeds 1 --epochs 1 --out runs/quick   # a quick look

A group of networks shares data, schedule and augmentation: ``image`` (images are distorted anew each time),
``distilled`` (as ``image``, and the network learns from the outputs of a large dense one, too), ``any order`` (no
network knows where pixels are, no augmentation), ``spiking``, and ``fashion``, which is trained as ``image`` is.
Networks of few bits continue from those with full precision. Peak rates, shapes and distortions were tried on held-out
training images (``benchmarks/race_settings.py``); models are evaluated on the test images once, after training. A run
has a folder below ``runs/race``; the same command continues what was interrupted and repeats nothing that is finished.
Prints a table, and writes ``race.json`` with what was asked for.
"""

import argparse
import dataclasses
import functools
import hashlib
import json
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import torch
from compressed_layers import AnyOrder, hashed, tensor_train
from torch import nn

import spatialgraph as sg
from spatialgraph import atomic, experiments, training
from spatialgraph.experiments import CLASSES, Candidate, Experiment, LazyMnist, Run
from spatialgraph.laws import Cosine

SIDE = 28
PIXELS = SIDE * SIDE
GRID = (SIDE, SIDE)

# Number of epochs of each group.
EPOCHS = {"image": 180, "distilled": 180, "any order": 20, "spiking": 60, "fashion": 180}
TEMPERATURE = 3.0
TEACHER = "teacher"
# The file in the folder of a run that holds its network.
NETWORK = "network.safetensors"
# Factors of the numbers of inputs and hidden neurons of tensor trains, and their rank.
TRAIN = [(4, 7, 7, 4), (4, 5, 5, 4)], 9
DISTORTED = training.RandomAffine(GRID, degrees=8.0, translate=0.07, scale=(0.93, 1.07), shear=4.0)


@dataclasses.dataclass(frozen=True)
class Entry:
    """A network that takes part.

    Args:
        name: its name.
        group: what it is compared with.
        build: returns it.
        learning_rate: the peak rate.
        epochs: number of epochs; None for that of the group.
        teacher: the entry whose outputs it learns from; empty for none.
        before: the entry whose trained network it continues from, with few bits; empty for a new one.
        bits: of each number of a network that continues from another.
    """

    name: str
    group: str
    build: Callable[[], nn.Module]
    learning_rate: float
    epochs: int | None = None
    teacher: str = ""
    before: str = ""
    bits: int = 8

    @property
    def needs(self) -> list[str]:
        """The names of the entries that must be trained before."""
        return [name for name in (self.teacher, self.before) if name]


def spatial(hidden: Sequence[int], dim: int, model: Callable[..., nn.Module] = sg.SpatialMLP) -> nn.Module:
    """Return a network whose inputs are the cells of a grid, with coordinates and polarities of rows and columns."""
    return model([GRID, *hidden, CLASSES], dim, spacing="free", law=Cosine(1.0), grid_polarity="axes")


def train_any_order() -> nn.Module:
    """Return a tensor train that does not know where pixels are."""
    return nn.Sequential(AnyOrder(PIXELS), tensor_train(*TRAIN))


def spatial_any_order() -> sg.SpatialMLP:
    """Return a network in which each input has a position of its own."""
    return sg.SpatialMLP([PIXELS, 200, 143, CLASSES], 9, law=Cosine(3.0))


@functools.cache
def entries() -> tuple[Entry, ...]:
    """Return the networks that take part, each after those that it needs."""
    large, middle, small = (functools.partial(spatial, hidden, 16) for hidden in ((320, 205), (190, 125), (130, 85)))
    spiking = functools.partial(spatial, (525,), 16, sg.SpatialSNN)
    dense = functools.partial(sg.DenseMLP, [PIXELS, 13, CLASSES])
    shared = functools.partial(hashed, [PIXELS, 200, 100, CLASSES], 10_572)
    dense_spiking = functools.partial(sg.DenseSNN, [PIXELS, 13, CLASSES])
    teacher = functools.partial(sg.DenseMLP, [PIXELS, 1024, 512, CLASSES])
    low_bits = functools.partial(Entry, group="image", learning_rate=0.003, epochs=10, bits=4)
    return (
        Entry("spatial, 10,572", "image", large, 0.03),
        Entry("spatial, 6,792", "image", middle, 0.03),
        Entry("spatial, 4,992", "image", small, 0.03),
        Entry("dense", "image", dense, 0.05),
        Entry("hashed", "image", shared, 0.02),
        Entry("tensor train", "image", functools.partial(tensor_train, *TRAIN), 0.02),
        low_bits("spatial, 10,572, 4 bits", build=large, before="spatial, 10,572"),
        low_bits("spatial, 6,792, 4 bits", build=middle, before="spatial, 6,792"),
        Entry(TEACHER, "distilled", teacher, 0.003, epochs=30),
        Entry("spatial, distilled", "distilled", large, 0.03, teacher=TEACHER),
        Entry("spatial, any order", "any order", spatial_any_order, 0.05),
        Entry("dense, any order", "any order", dense, 0.05),
        Entry("hashed, any order", "any order", shared, 0.02),
        Entry("tensor train, any order", "any order", train_any_order, 0.02),
        Entry("spatial, spiking", "spiking", spiking, 0.03),
        Entry("dense, spiking", "spiking", dense_spiking, 0.01),
        Entry("spatial, fashion", "fashion", large, 0.03),
        Entry("dense, fashion", "fashion", dense, 0.05),
    )


def waves(chosen: Iterable[Entry]) -> list[list[Entry]]:
    """Return the chosen entries and those that they need, in groups of which each needs earlier ones only."""
    left = {entry.name: entry for entry in chosen}
    for entry in reversed(entries()):
        if any(entry.name in other.needs for other in left.values()):
            left[entry.name] = entry
    found: list[list[Entry]] = []
    while left:
        ready = [entry for entry in entries() if entry.name in left and not set(entry.needs) & set(left)]
        found.append(ready)
        for entry in ready:
            del left[entry.name]
    return found


@dataclasses.dataclass(frozen=True)
class Race:
    """How the networks are trained.

    Args:
        folder: where the runs are.
        validate: whether networks are evaluated on held-out training images, not on the test images.
        epochs: number of epochs at most; None for as many as were chosen.
        learning_rate: the peak rate of all networks but the teacher and those of few bits; None for those chosen.
        data: folder of the images; None for the usual places.
    """

    folder: Path
    validate: bool = False
    epochs: int | None = None
    learning_rate: float | None = None
    data: str | None = None

    def train(self, chosen: Iterable[Entry], seeds: Sequence[int], jobs: int) -> list[Experiment]:
        """Train some entries and those that they need, and return the finished experiments."""
        studied = []
        for wave in waves(chosen):  # a run knows the files that it needs once these are there
            studied.append(self.experiment(wave, seeds))
            studied[-1].run(self.folder, jobs=jobs, threads=1)
        return studied

    def experiment(self, chosen: Iterable[Entry], seeds: Sequence[int]) -> Experiment:
        """Return the runs of some entries."""
        return Experiment([self.run(entry, seed) for entry in chosen for seed in seeds], LazyMnist(self.data))

    def run(self, entry: Entry, seed: int) -> Run:
        """Return the training of a network with a seed."""
        build, finish, loss, settings = entry.build, Candidate.finish, None, {}
        if entry.before:
            before = self.run(named(entry.before), seed).folder(self.folder) / NETWORK
            low = LowBits(entry.bits, before)
            build, finish = low.build, low.finish
            settings = {"before": checksum(before), "bits": entry.bits}
        if entry.teacher:
            taught_by = named(entry.teacher)
            where = self.run(taught_by, seed).folder(self.folder) / "model.pt"
            loss = functools.partial(distillation, taught_by.build, where)
            settings = {"teacher": checksum(where), "temperature": TEMPERATURE}
        return Run(
            Candidate(entry.name, build, finish=finish, examine=examine),
            self._recipe(entry),
            seed,
            validate=self.validate,
            settings=settings,
            augment=None if entry.group == "any order" else DISTORTED,
            loss=loss,
        )

    def _recipe(self, entry: Entry) -> training.Recipe:
        epochs = entry.epochs or EPOCHS[entry.group]
        rate = entry.learning_rate if entry.epochs else self.learning_rate or entry.learning_rate
        return training.Recipe(epochs=min(self.epochs or epochs, epochs), learning_rate=rate, batch_size=300)


def checksum(path: Path) -> str:
    """Return what tells the content of a file from others."""
    return f"sha256 {hashlib.sha256(path.read_bytes()).hexdigest()}"


def distillation(build: Callable[[], nn.Module], weights: Path) -> training.Distillation:
    """Return the loss of a network that learns from a trained one."""
    teacher = build()
    teacher.load_state_dict(torch.load(weights, weights_only=True))
    return training.Distillation(teacher.eval(), temperature=TEMPERATURE)


class LowBits:
    """Builds a network that was trained with full precision, and trains it further with few bits.

    Args:
        bits: of each number.
        before: file of the trained network.
    """

    def __init__(self, bits: int, before: Path) -> None:
        self._quantizer, self._before = sg.QuantizeWhileTraining(bits), before

    def build(self) -> nn.Module:
        """Return the trained network, which computes with few bits from now on."""
        model: nn.Module = sg.load(self._before)
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


def record(studied: Experiment, folder: Path) -> list[dict[str, Any]]:
    """Return what was measured in each finished run."""
    return [
        {"network": run.candidate.name, "group": named(run.candidate.name).group}
        | figures
        | {"recipe": dataclasses.asdict(run.recipe), "augmented": run.augment is not None}
        | {"teacher": named(run.candidate.name).teacher}
        for run, figures in zip(studied.runs, studied.metrics(folder), strict=True)
        if figures is not None
    ]


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    names = [entry.name for entry in entries()]
    usual = [group for group in EPOCHS if group != "fashion"]
    parts = f"some of {', '.join(EPOCHS)}, or names of networks ({', '.join(usual)})"
    add("--only", nargs="+", choices=[*EPOCHS, *names], default=usual, metavar="PART", help=parts)
    add(
        "--learning-rate",
        type=float,
        help="peak rate of all but the teacher and few bits (default: those that were chosen)",
    )
    add("--validate", action="store_true", help="evaluate on 5,000 held-out training images")
    experiments.add_list_options(parser, Path("runs/race"), "those that were chosen")
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> list[training.Result]:
    """Train what is asked for, print a table, write the results, and return the rows."""
    args = parse(argv)
    chosen = [entry for entry in entries() if {entry.name, entry.group} & set(args.only)]
    source = LazyMnist(args.data_dir)().source
    if source in ("MNIST", "bundled sample") and any(entry.group == "fashion" for entry in chosen):
        raise SystemExit(f"--data-dir must be a folder with Fashion-MNIST for the networks of fashion, got {source}")
    race = Race(args.out, args.validate, args.epochs, args.learning_rate, args.data_dir)
    studied = race.train(chosen, range(args.seeds), args.jobs)
    judged_on = "validation" if args.validate else "test"
    about = {
        "command": experiments.command_line("race", argv),
        "environment": training.environment(),
        "data": source,
        "judged_on": judged_on,
        "runs": [row for each in studied for row in record(each, args.out)],
    }
    atomic.write_text(args.out / "race.json", json.dumps(about, indent=1) + "\n")
    results = [result for each in studied for result in each.results(args.out)]
    print(f"\n{training.table(results, judged_on)}\n\nWritten to {args.out}")
    return results


if __name__ == "__main__":
    experiments.as_script(main, option="")
