"""The command line of a program."""

import argparse
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from spatialgraph import laws, wiring
from spatialgraph.experiments.program import Program
from spatialgraph.graph.penalties import PENALTIES
from spatialgraph.training.precision import PRECISIONS

__all__ = ["is_papers", "make_law", "make_wiring", "parse", "spatial_name", "spatial_options"]

DEFAULT_LAW = "inverse_distance"

_WIRINGS: dict[str, Callable[..., wiring.Wiring]] = {
    "all": wiring.AllToAll,
    "knn": lambda k: wiring.KNN(k=int(k)),
    "radius": lambda r: wiring.Radius(r=float(r)),
    "random": lambda density, *seed: wiring.Random(float(density), *map(int, seed)),
    "small-world": lambda k, far: wiring.SmallWorld(k=int(k), long_range=int(far)),
}


def parse(program: Program, argv: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line; the options of a preset and a protocol fill what was not given.

    Args:
        program: the program.
        argv: the arguments; None for those of the process.

    Raises:
        SystemExit: if an option is unknown, or two do not fit together.

    Example:
        >>> from spatialgraph.training import Recipe
        >>> program = Program(
        ...     name="mnist",
        ...     description="",
        ...     presets={"paper3d": {"hidden": [2048], "dim": 3, "spacing": "learned"}},
        ...     recipes={"fast": Recipe(), "paper": Recipe(epochs=300)},
        ...     candidates=lambda args, features: [],
        ... )
        >>> args = parse(program, ["--dim", "2", "--seeds", "3"])
        >>> args.hidden, args.dim, args.seeds, args.polarity
        ([2048], 2, 3, 'graded')
    """
    parser = argparse.ArgumentParser(
        description=program.description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    _add_network(parser, program)
    _add_training(parser, program)
    _add_run(parser)
    program.add_options(parser)
    args = parser.parse_args(argv)
    if args.seed is not None and args.seeds is not None:
        parser.error("--seed and --seeds exclude each other")
    if args.seeds is not None and args.seeds < 1:
        parser.error(f"--seeds must be at least 1, got {args.seeds}")
    if args.patience is not None and not args.validate:
        parser.error("--patience needs --validate")
    _check_numbers(parser, args)
    _fill(args, program)
    penalties = [_penalty(parser, given) for given in args.penalty]
    args.penalty = dict(penalties)
    if len(args.penalty) < len(penalties):
        parser.error(f"--penalty must have each name once, got {' '.join(name for name, _ in penalties)}")
    return args


def _check_numbers(parser: argparse.ArgumentParser, args: argparse.Namespace) -> None:
    """Refuse numbers that no network or training can have."""
    for name in ("hidden", "dim", "baseline", "epochs", "batch_size", "jobs", "threads"):
        given = getattr(args, name)
        for number in given if isinstance(given, list) else [given]:
            if number is not None and number < 1:
                parser.error(f"--{name.replace('_', '-')} must be at least 1, got {number}")
    if args.learning_rate is not None and not 0.0 < args.learning_rate < math.inf:  # false for NaN too
        parser.error(f"--learning-rate must be above 0 and finite, got {args.learning_rate}")
    if args.patience is not None and args.patience < 0:
        parser.error(f"--patience must be at least 0, got {args.patience}")


def _penalty(parser: argparse.ArgumentParser, given: str) -> tuple[str, float]:
    """Read a penalty and its factor, such as ``wiring:1e-4``."""
    name, _, factor = given.partition(":")
    try:
        if name in PENALTIES and math.isfinite(float(factor)):
            return name, float(factor)
    except ValueError:
        pass
    names = ", ".join(PENALTIES)
    parser.error(f"--penalty must be one of {names} with a finite factor, such as wiring:1e-4, got {given}")


def _add_network(parser: argparse.ArgumentParser, program: Program) -> None:
    add = parser.add_argument
    add(
        "--preset",
        choices=program.presets,
        default=next(iter(program.presets)),
        help="network to start from; the options below override it",
    )
    add("--hidden", type=int, nargs="+", metavar="N", help="neurons in each hidden layer")
    add("--dim", type=int, help="dimensions of space")
    add("--spacing", choices=["fixed", "learned", "free"], help="how layers are spaced along the last axis")
    add("--polarity", choices=["binary", "graded"], help="default: graded, and binary with --protocol paper")
    add("--wiring", default="all", metavar="W", help="all, knn:K, radius:R, random:DENSITY[,SEED] or small-world:K,FAR")
    add("--law", metavar="L", help=f"{', '.join(laws.LAWS)}; its first setting may follow, as in cosine:2")
    add(
        "--baseline",
        type=int,
        nargs="+",
        default=[],
        metavar="N",
        help="also train dense networks with N hidden neurons",
    )


def _add_training(parser: argparse.ArgumentParser, program: Program) -> None:
    add = parser.add_argument
    fast, paper = program.recipes["fast"], program.recipes["paper"]
    protocols = f"fast: {fast.epochs} epochs; paper: the paper's {paper.epochs}"
    add("--protocol", choices=program.recipes, default="fast", help=protocols)
    add("--epochs", type=int, help="number of epochs (default: the protocol's)")
    add("--batch-size", type=int, metavar="N", help="images per step (default: the protocol's)")
    add("--learning-rate", type=float, metavar="X", help="(peak) learning rate (default: the protocol's)")
    add("--seed", type=int, help="train with this seed")
    add("--seeds", type=int, metavar="COUNT", help="train with the seeds 0 to COUNT-1")
    add("--validate", action="store_true", help="evaluate on 5,000 held-out training images, not on the test images")
    add("--patience", type=int, help="with --validate: stop after this many epochs without a better accuracy")
    add("--penalty", nargs="+", default=[], metavar="NAME:FACTOR", help=f"added to the loss: {', '.join(PENALTIES)}")


def _add_run(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("--device", default="cpu", help="cpu, cuda or auto")
    add("--precision", choices=PRECISIONS, default=PRECISIONS[0], help="precision of the training")
    add("--threads", type=int, metavar="N", help="threads of each training (default: PyTorch's number over --jobs)")
    add("--jobs", type=int, default=1, metavar="N", help="trainings at a time, each in a process of its own (1)")
    add("--data-dir", help="MNIST folder; download target")
    add("--resume", action="store_true", help="continue an interrupted run; finished trainings are not repeated")
    add("--out", type=Path, help="folder for the results (default: below runs/, named after the options)")


def _fill(args: argparse.Namespace, program: Program) -> None:
    for name, value in program.presets[args.preset].items():
        if getattr(args, name) is None:
            setattr(args, name, value)
    if args.polarity is None:
        args.polarity = "binary" if args.protocol == "paper" else "graded"
    if args.law is None:
        args.law = DEFAULT_LAW


def make_wiring(text: str) -> wiring.Wiring:
    """Turn the text of ``--wiring`` into a wiring.

    Args:
        text: ``all``, ``knn:K``, ``radius:R``, ``random:DENSITY[,SEED]`` or ``small-world:K,FAR``.

    Raises:
        SystemExit: if the text is none of these, or a number in it is out of range.

    Example:
        >>> make_wiring("knn:32")
        KNN(k=32)
    """
    name, _, numbers = text.partition(":")
    try:
        return _WIRINGS[name](*(number for number in numbers.split(",") if number))
    except (KeyError, TypeError, ValueError) as error:
        raise SystemExit(
            f"--wiring must be all, knn:K, radius:R, random:DENSITY[,SEED] or small-world:K,FAR, got {text!r} ({error})"
        ) from None


def make_law(text: str) -> laws.Law:
    """Turn the text of ``--law`` into a law.

    Args:
        text: the name of a law; after a colon the first of its settings, or several with commas between them.

    Raises:
        SystemExit: if there is no such law, or a number is out of range.

    Example:
        >>> make_law("cosine:2")
        Cosine(wavenumber=2.0, learnable=False, softening=0.001)
    """
    name, _, numbers = text.partition(":")
    try:
        return laws.LAWS[name](*(float(number) for number in numbers.split(",") if number))
    except (KeyError, TypeError, ValueError) as error:
        raise SystemExit(f"--law must be one of {', '.join(laws.LAWS)}, got {text!r} ({error})") from None


def spatial_name(args: argparse.Namespace, sizes: list[int]) -> str:
    """Return the name of a spatial network in tables.

    Args:
        args: the options.
        sizes: numbers of neurons in the layers.

    Example:
        >>> args = argparse.Namespace(dim=3, spacing="learned", polarity="graded", wiring="knn:32", law="cosine:2")
        >>> spatial_name(args, [784, 200, 10])
        'spatial 784-200-10, d=3, learned, graded, knn:32, cosine:2'
    """
    name = f"spatial {'-'.join(map(str, sizes))}, d={args.dim}, {args.spacing}, {args.polarity}"
    name = name if args.wiring == "all" else f"{name}, {args.wiring}"
    return name if args.law == DEFAULT_LAW else f"{name}, {args.law}"


def spatial_options(args: argparse.Namespace) -> dict[str, Any]:
    """Return the arguments of a spatial network that the command line asks for, beside its sizes.

    Args:
        args: the options.

    Raises:
        SystemExit: if there is no such wiring or law.

    Example:
        >>> args = argparse.Namespace(dim=3, spacing="learned", polarity="graded", wiring="knn:32", law="cosine:2")
        >>> spatial_options(args)["wiring"]
        KNN(k=32)
    """
    return {
        "dim": args.dim,
        "spacing": args.spacing,
        "polarity_mode": args.polarity,
        "wiring": make_wiring(args.wiring),
        "law": make_law(args.law),
    }


def is_papers(args: argparse.Namespace) -> bool:
    """Tell whether the network is the paper's, so that its figures may stand beside ours.

    Args:
        args: the options.

    Example:
        >>> is_papers(argparse.Namespace(hidden=[2048], dim=3, wiring="all", law="inverse_distance"))
        True
    """
    return bool(args.hidden == [2048] and args.dim == 3 and args.wiring == "all" and args.law == DEFAULT_LAW)
