"""Classify MNIST row by row: spatial recurrent networks beside nn.GRU and nn.RNN under the same schedule.

    python examples/rnn_rows.py --seeds 3                        # gated, 28-240-10, d = 36
    python examples/rnn_rows.py --baseline 48 --rnn-baseline 91  # beside nn.GRU and nn.RNN of about as many parameters
    python examples/rnn_rows.py --cell plain --hidden 300 --dim 30
    python examples/rnn_rows.py --epochs 1 --hidden 32 --dim 4   # a quick look

In each of 28 time steps the networks receive a row of the image; the outputs are read after the last one. Prints a
table and writes metrics, checkpoints and figures to ``runs/``. Models are evaluated on the test images once, after
training; with ``--validate`` on 5,000 held-out training images instead. ``--resume`` continues an interrupted run.
"""

import argparse
import functools
from collections.abc import Callable

from torch import Tensor, nn

import spatialgraph as sg
from spatialgraph import experiments, training
from spatialgraph.experiments import CLASSES, Candidate, Program

SIDE = 28

# Peak learning rates, chosen on held-out training images as that of the spatial network.
LEARNING_RATES: dict[Callable[[int, int], nn.Module], float] = {nn.GRU: 0.01, nn.RNN: 0.002}


class SpatialRows(nn.Module):
    """A spatial recurrent network that reads images row by row."""

    def __init__(self, network: sg.SpatialRNN) -> None:
        super().__init__()
        self.network = network

    @property
    def graph(self) -> sg.SpatialGraph:
        """The network's graph."""
        return self.network.graph

    def forward(self, images: Tensor) -> Tensor:
        """Return the logits of images ``(batch, 784)``."""
        logits: Tensor = self.network(rows(images))[0]
        return logits


class DenseRows(nn.Module):
    """A recurrent network of PyTorch that reads images row by row."""

    def __init__(self, kind: Callable[[int, int], nn.Module], units: int) -> None:
        super().__init__()
        self.network = kind(SIDE, units)
        self.read_out = nn.Linear(units, CLASSES)

    def forward(self, images: Tensor) -> Tensor:
        """Return the logits of images ``(batch, 784)``."""
        states = self.network(rows(images))[0]
        logits: Tensor = self.read_out(states[-1])
        return logits


def rows(images: Tensor) -> Tensor:
    """Return images ``(batch, 784)`` as sequences ``(28, batch, 28)``."""
    return images.view(-1, SIDE, SIDE).transpose(0, 1)


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of recurrent networks."""
    add = parser.add_argument
    add("--cell", choices=["gated", "leaky", "plain"], default="gated", help="kind of the spatial network (gated)")
    add("--read-out", choices=["last", "mean"], default="last", help="outputs: in the last step, or their mean (last)")
    add("--recurrent", default="all", metavar="W", help="wiring within the hidden layer, as --wiring")
    add("--rnn-baseline", type=int, nargs="+", default=[], metavar="N", help="as --baseline, nn.RNN in place of nn.GRU")


def candidates(args: argparse.Namespace, features: int) -> list[Candidate]:
    """List the models that the command line asks for."""
    sizes = [SIDE, *args.hidden, CLASSES]

    def spatial() -> nn.Module:
        network = sg.SpatialRNN(
            sizes,
            cell=args.cell,
            read_out=args.read_out,
            **experiments.spatial_options(args),
            recurrent=experiments.make_wiring(args.recurrent),
        )
        return SpatialRows(network)

    models = [Candidate(f"{args.cell} {experiments.spatial_name(args, sizes)}", spatial)]
    for kind, widths in ((nn.GRU, args.baseline), (nn.RNN, args.rnn_baseline)):
        for units in widths:
            dense = functools.partial(DenseRows, kind, units)
            name = f"nn.{kind.__name__} {SIDE}-{units}-{CLASSES}"
            models.append(Candidate(name, dense, learning_rate=LEARNING_RATES[kind]))
    return models


PROGRAM = Program(
    name="rnn_rows",
    description=__doc__,
    presets={"gated": {"hidden": [240], "dim": 36, "spacing": "free", "law": "cosine:1.5"}},
    recipes={name: training.Recipe(epochs=15, learning_rate=0.04, batch_size=128) for name in ("fast", "paper")},
    candidates=candidates,
    settings=("cell", "read_out", "recurrent"),
    add_options=add_options,
)


main = functools.partial(experiments.run_program, PROGRAM)

if __name__ == "__main__":
    experiments.as_script(main)
