"""Train spatial multi-layer perceptrons on MNIST and compare them with dense ones.

    python examples/mnist_mlp.py                                     # 784-2048-10 in 3-D, 20 epochs
    python examples/mnist_mlp.py --preset compact --baseline 14 --seeds 3
    python examples/mnist_mlp.py --protocol paper --spacing fixed    # the paper's 300 epochs
    python examples/mnist_mlp.py --epochs 1 --hidden 200             # a quick look

Prints a table and writes metrics, checkpoints and figures to ``runs/``. Models are evaluated on the test images once,
after training; with ``--validate`` on 5,000 held-out training images instead. ``--resume`` continues an
interrupted run.
"""

import argparse
import functools

from torch import nn

import spatialgraph as sg
from spatialgraph import experiments, training
from spatialgraph.experiments import CLASSES, Candidate, Program

# Test accuracies in percent from Erb et al., 2025 (https://arxiv.org/abs/2506.13410), tables 1 and 3.
PAPER_SPATIAL = {"fixed": "90.18", "learned": "92.17 ± 0.24", "free": "93.37 ± 0.40"}
PAPER_DENSE = {14: "94.29", 17: "95.07"}


def candidates(args: argparse.Namespace, features: int) -> list[Candidate]:
    """List the models that the command line asks for."""
    sizes = [features, *args.hidden, CLASSES]

    def spatial() -> nn.Module:
        # The paper's protocol has no normalisation.
        return sg.SpatialMLP(sizes, normalize=args.protocol != "paper", **experiments.spatial_options(args))

    paper = PAPER_SPATIAL[args.spacing] if experiments.is_papers(args) else ""
    models = [Candidate(experiments.spatial_name(args, sizes), spatial, paper)]
    for width in args.baseline:
        dense = functools.partial(sg.DenseMLP, [features, width, CLASSES])
        models.append(Candidate(f"dense {features}-{width}-{CLASSES}", dense, PAPER_DENSE.get(width, "")))
    return models


PROGRAM = Program(
    name="mnist_mlp",
    description=__doc__,
    presets={
        "paper3d": {"hidden": [2048], "dim": 3, "spacing": "learned"},
        # About as many parameters as paper3d, with more dimensions and a second hidden layer. The law was chosen on
        # held-out training images.
        "compact": {
            "hidden": [200, 143],
            "dim": 9,
            "spacing": "learned",
            "polarity": "graded",
            "law": "cosine:3",
        },
    },
    recipes={name: training.RECIPES[name] for name in ("fast", "paper")},
    candidates=candidates,
)


main = functools.partial(experiments.run_program, PROGRAM)

if __name__ == "__main__":
    experiments.as_script(main)
