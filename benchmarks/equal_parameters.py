"""Compare spatial with dense perceptrons of equal parameters on several data sets; a measured run is not repeated.

    python benchmarks/equal_parameters.py --data FOLDER    # digits, cancer and wine need scikit-learn

Each network is trained by Adam with a one-cycle schedule. Its peak rate is chosen on held-out samples with the seed 0;
then it is trained with three seeds and judged once by the test samples.
"""

import dataclasses
import functools
import importlib
import statistics
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from short_training import Record, Task, mean_and_spread, mnist, start, train, yin_yang_points
from torch import nn
from torch_geometric.datasets import Planetoid

import spatialgraph as sg

SEEDS = 3
SPATIAL_RATES = (0.02, 0.05, 0.1)
DENSE_RATES = (0.003, 0.01, 0.03)

# All-to-all networks with more synapses than this take too long here.
MOST_SYNAPSES = 2_500_000

MORE_DIMENSIONS = (2, 3, 5, 9, 12)


@dataclasses.dataclass(frozen=True)
class DataSet:
    """Samples, the hidden neurons of the dense networks that set the budgets, and the length of a training."""

    load: Callable[[bool], Task]
    dense_hidden: tuple[int, ...]
    epochs: int
    batch_size: int
    dims: tuple[int, ...] = (3, 5, 9)


@dataclasses.dataclass(frozen=True)
class Network:
    """A network of given sizes, and the peak rates to choose from."""

    make: Callable[[list[int]], nn.Module]
    rates: tuple[float, ...] = SPATIAL_RATES


def bundled(name: str, final: bool) -> Task:
    """Return a data set that is part of scikit-learn, standardised; 20 % are held out and 30 % are test samples."""
    data = importlib.import_module("sklearn.datasets")
    x, y = (torch.from_numpy(part) for part in getattr(data, f"load_{name}")(return_X_y=True))
    order = torch.randperm(len(y), generator=torch.Generator().manual_seed(0))
    tests, held_out = round(0.3 * len(y)), round(0.2 * len(y))
    test, held, used = order.split([tests, held_out, len(y) - tests - held_out])
    judged = test if final else held
    x = ((x - x[used].mean(0)) / x[used].std(0).clamp(min=1e-6)).float()
    return Task((x[used], y[used]), (x[judged], y[judged]))


def bags_of_words(folder: Path, final: bool) -> Task:
    """Return the words and classes of the papers of Cora, without the citations."""
    data = Planetoid(str(folder), "Cora")[0]
    x = data.x / data.x.sum(1, keepdim=True).clamp(min=1.0)
    judged = data.test_mask if final else data.val_mask
    return Task((x[data.train_mask], data.y[data.train_mask]), (x[judged], data.y[judged]))


def data_sets(folder: Path | None) -> dict[str, DataSet]:
    """Return the data sets; those of MNIST and Cora where there is a folder with them."""
    found = {
        "Yin-Yang": DataSet(yin_yang_points, (10, 30), 30, 50),
        "digits": DataSet(functools.partial(bundled, "digits"), (8, 16, 32), 60, 50),
        "cancer": DataSet(functools.partial(bundled, "breast_cancer"), (4, 8), 60, 20),
        "wine": DataSet(functools.partial(bundled, "wine"), (4, 8), 60, 10),
    }
    if folder is None:
        return found
    images = functools.partial(mnist, folder, 20_000, 5000)
    return found | {
        "Cora, words": DataSet(functools.partial(bags_of_words, folder / "Planetoid"), (3, 6, 12), 100, 140),
        "MNIST": DataSet(images, (7, 14), 6, 200, MORE_DIMENSIONS),
    }


def parameters(model: nn.Module) -> int:
    """Return the number of parameters."""
    return sum(parameter.numel() for parameter in model.parameters())


def spatial(dim: int, density: float | None = None) -> Network:
    """Return a spatial network of some dimensions, all-to-all or with random synapses."""
    wiring = None if density is None else sg.wiring.Random(density)
    return Network(functools.partial(sg.SpatialMLP, dim=dim, wiring=wiring))


def networks(dims: tuple[int, ...]) -> dict[str, Network]:
    """Return the networks that are compared with the dense one."""
    named = {f"spatial, d = {dim}": spatial(dim) for dim in dims}
    return named | {"spatial, d = 3, a random tenth": spatial(3, 0.1)}


def hidden_neurons(network: Network, features: int, classes: int, budget: int) -> int:
    """Return the largest number of hidden neurons within a budget of parameters; 0 if two are too many."""

    def cost(hidden: int) -> int:
        return parameters(network.make([features, hidden, classes]))

    many = 50  # a random wiring of few neurons may lead to no output
    each = cost(many + 1) - cost(many)
    hidden = many + (budget - cost(many)) // each
    return hidden if hidden >= 2 else 0


def run(network: Network, sizes: list[int], data: DataSet, rate: float, seed: int, final: bool) -> dict[str, Any]:
    """Train a network and return its accuracy."""
    torch.manual_seed(seed)
    model = network.make(sizes)
    optimizer = torch.optim.Adam(model.parameters(), rate)
    task = data.load(final)
    accuracy = train(model, optimizer, task, data.epochs, data.batch_size, one_cycle=True)
    return {"accuracy": accuracy, "parameters": parameters(model)}


def measure(record: Record, name: str, network: Network, sizes: list[int], data: DataSet) -> dict[str, Any]:
    """Choose the rate on held-out samples and measure on the test samples."""

    def row(rate: float, seed: int, final: bool) -> dict[str, Any]:
        training = {"samples": samples, "epochs": data.epochs, "batch_size": data.batch_size, "rate": rate}
        settings = {"case": name, "sizes": sizes, "seed": seed, "judged by": "test" if final else "held"} | training
        return record.get(settings, functools.partial(run, network, sizes, data, rate, seed, final))

    samples = len(data.load(False).train[1])
    best = max(network.rates, key=lambda rate: row(rate, 0, final=False)["accuracy"])
    rows = [row(best, seed, final=True) for seed in range(SEEDS)]
    accuracies = [each["accuracy"] for each in rows]
    return {
        "network": "-".join(map(str, sizes)),
        "parameters": rows[0]["parameters"],
        "rate": best,
        "accuracy": mean_and_spread(accuracies),
        "mean": statistics.mean(accuracies),
    }


def shape_of(task: Task) -> tuple[int, int]:
    """Return the numbers of features and classes."""
    x, y = task.train
    return x.shape[1], int(y.max()) + 1


def compare(record: Record, name: str, data: DataSet) -> None:
    """Measure a data set at each of its budgets and print the rows."""
    features, classes = shape_of(data.load(False))
    for width in data.dense_hidden:
        dense = Network(sg.DenseMLP, DENSE_RATES)
        budget = parameters(dense.make([features, width, classes]))
        rows = {"dense": measure(record, f"{name}, dense", dense, [features, width, classes], data)}
        for kind, network in networks(data.dims).items():
            hidden = hidden_neurons(network, features, classes, budget)
            is_slow = hidden * (features + classes) > MOST_SYNAPSES and "tenth" not in kind
            if hidden and not is_slow:
                rows[kind] = measure(record, f"{name}, {kind}", network, [features, hidden, classes], data)
        record.about["rows"][f"{name}, {budget} parameters"] = rows
        for kind, row in rows.items():
            print(f"| {name} | {kind} | {row['network']} | {row['parameters']:,} | {row['accuracy']} |", flush=True)


def main() -> None:
    """Measure what is missing and print the table."""
    what = "test accuracy in percent at equal parameters; peak rates chosen on held-out samples with the seed 0"
    args, record = start(__doc__, "equal_parameters", what, "rows")
    for name, data in data_sets(args.data).items():
        if args.only in name:
            compare(record, name, data)
    record.write()


if __name__ == "__main__":
    main()
