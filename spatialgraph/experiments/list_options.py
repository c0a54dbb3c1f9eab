"""Options of the command line of a list of runs."""

import argparse
import os
from pathlib import Path

__all__ = ["add_list_options"]


def add_list_options(parser: argparse.ArgumentParser, out: Path, usual_epochs: str) -> None:
    """Add the options that lists of runs have in common: seeds, jobs, epochs, and folders.

    Args:
        parser: the parser.
        out: the usual folder of the results.
        usual_epochs: how many epochs there are without ``--epochs``, in words.

    Example:
        >>> parser = argparse.ArgumentParser()
        >>> add_list_options(parser, Path("runs"), "those of the protocol")
        >>> args = parser.parse_args(["--jobs", "2"])
        >>> args.seeds, args.jobs, args.epochs, args.data_dir, args.out.name
        (3, 2, None, None, 'runs')
    """
    add = parser.add_argument
    add("--seeds", type=_count, default=3, metavar="COUNT", help="train with the seeds 0 to COUNT-1 (3)")
    add("--jobs", type=_count, default=os.cpu_count(), metavar="N", help="runs at a time, a thread each (all cores)")
    add("--epochs", type=_count, metavar="N", help=f"number of epochs at most (default: {usual_epochs})")
    add("--data-dir", metavar="FOLDER", help="folder of MNIST, or of another set in its format")
    add("--out", type=Path, default=out, metavar="FOLDER", help=f"folder for the results ({out})")


def _count(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"must be at least 1, got {number}")
    return number


_count.__name__ = "int"  # named in messages about text that is no number
