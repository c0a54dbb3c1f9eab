"""Convert trained dense networks, then train the copies further; a run that was measured is not repeated.

    python benchmarks/from_linear.py

Dense networks of 64-32-10 that were trained on digits of 8 x 8 pixels are converted with each law and number of
dimensions. Explained are the shares of the squared weights of both layers. The copies are then trained further on the
classes (fine-tuned) or on the dense network's outputs (distilled), and spatial networks of the same form from a random
start likewise. Accuracies are those on the test digits.
"""

import copy
import functools
import statistics
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from short_training import accuracy, digits, start, train
from torch import nn

import spatialgraph as sg
from spatialgraph.training import Recipe, distil, fit

LAWS = ("inverse_distance", "cosine", "sine_wave", "mexican_hat")
DIMS = (3, 9, 16)
SEEDS = 3
RECIPE = Recipe(epochs=20, learning_rate=0.02, batch_size=100)


@functools.cache
def dense_network(seed: int) -> nn.Sequential:
    """Return a trained dense network, in ``eval()``."""
    torch.manual_seed(seed)
    network = nn.Sequential(nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 10))
    train(network, torch.optim.Adam(network.parameters(), 0.01), digits(), epochs=60, batch_size=50, one_cycle=True)
    return network.eval()


def trained(model: nn.Module, teacher: nn.Module | None, seed: int) -> float:
    """Train a model on classes, or on a teacher's outputs; return its accuracy on the test digits."""
    torch.manual_seed(seed)
    with tempfile.TemporaryDirectory() as folder:
        options: dict[str, Any] = {"seed": seed, "progress": False}
        if teacher is None:
            fit(model, digits().train, RECIPE, Path(folder), **options)
        else:
            distil(model, teacher, digits().train, RECIPE, Path(folder), **options)
    return accuracy(model, digits(final=True).validation)


def run(law: str, dim: int, seed: int) -> dict[str, Any]:
    """Convert a network, and train copies and networks from a random start."""
    dense = dense_network(seed)

    def random() -> nn.Module:
        generator = torch.Generator().manual_seed(seed)
        return sg.SpatialMLP([64, 32, 10], dim, law=law, normalize=False, generator=generator)

    test = digits(final=True).validation
    model, explained = sg.from_linear(dense, dim, law=law, generator=torch.Generator().manual_seed(seed))
    return {
        "parameters": sum(parameter.numel() for parameter in model.parameters()),
        "explained": [round(100 * share, 1) for share in explained],
        "dense": accuracy(dense, test),
        "converted": accuracy(model, test),
        "fine-tuned": trained(copy.deepcopy(model), None, seed),
        "distilled": trained(model, dense, seed),
        "random start, trained": trained(random(), None, seed),
        "random start, distilled": trained(random(), dense, seed),
    }


def one_sign_bound(network: nn.Sequential) -> list[float]:
    """Return the share of the squared weights of each layer that laws of one sign can explain at most.

    All weights of a source then have one sign, so that this is the larger of its positive and its negative part.
    """
    bounds = []
    for layer in (each for each in network if isinstance(each, nn.Linear)):
        weight = layer.weight.detach()
        parts = torch.stack([weight.clamp(min=0).square().sum(0), weight.clamp(max=0).square().sum(0)])
        bounds.append(100 * float(parts.amax(0).sum() / parts.sum()))
    return bounds


def mean(rows: list[dict[str, Any]], value: Callable[[dict[str, Any]], float]) -> float:
    """Return the mean of a value of the rows, rounded."""
    return round(statistics.mean(map(value, rows)), 2)


def summary(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """Return the means over the seeds."""
    names = [name for name in rows[0] if name not in ("law", "dim", "seed", "explained")]
    means = {name: mean(rows, lambda row, name=name: row[name]) for name in names}  # type: ignore[misc]
    return {"explained": [mean(rows, lambda row, at=at: row["explained"][at]) for at in (0, 1)]} | means  # type: ignore[misc]


def main() -> None:
    """Measure what is missing and print a table."""
    what = "shares of squared weights and test accuracies in percent; summary: means over the seeds"
    args, record = start(__doc__, "from_linear", what, "summary")
    record.about["command"] = "python benchmarks/from_linear.py"
    for law in LAWS:
        for dim in DIMS:
            case = f"{law}, d = {dim}"
            if args.only not in case:
                continue
            each: list[dict[str, Any]] = [{"law": law, "dim": dim, "seed": seed} for seed in range(SEEDS)]
            rows = [record.get(settings, functools.partial(run, **settings)) for settings in each]
            record.about["summary"][case] = summary(rows)
            print(f"| {case} | " + " | ".join(map(str, record.about["summary"][case].values())) + " |", flush=True)
    bounds = [one_sign_bound(dense_network(seed)) for seed in range(SEEDS)]
    record.about["one_sign_bound"] = [round(statistics.mean(layer), 2) for layer in zip(*bounds, strict=True)]
    record.write()


if __name__ == "__main__":
    main()
