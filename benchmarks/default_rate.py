"""Compare one learning rate for all parameters with sg.parameter_groups; a run that was measured is not repeated.

    python benchmarks/default_rate.py --data FOLDER

Plain loops without a schedule. Accuracies are those on held-out training images, except for ``final``: test images.
"""

import dataclasses
import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from short_training import Task, digits, mean_and_spread, mnist, start, train, yin_yang_points
from torch import Tensor, nn
from torch_geometric.data import Data
from torch_geometric.datasets import Planetoid
from torch_geometric.utils import add_self_loops, to_torch_csr_tensor

import spatialgraph as sg

SEEDS = 3
OPTIMIZERS: dict[str, Callable[..., torch.optim.Optimizer]] = {
    "Adam": torch.optim.Adam,
    "AdamW": torch.optim.AdamW,
    "SGD": functools.partial(torch.optim.SGD, momentum=0.9),
}
# An optimiser, and the one rate for all parameters or that of ordinary weights in groups.
WITH_ADAM = [
    ("Adam", "groups", 0.001),
    ("Adam", "one rate", 0.1),
    ("Adam", "one rate", 0.03),
    ("Adam", "one rate", 0.01),
    ("Adam", "one rate", 0.001),
]
WITH_OTHERS = [
    ("AdamW", "one rate", 0.03),
    ("AdamW", "groups", 0.001),
    ("SGD", "one rate", 0.1),
    ("SGD", "groups", 0.03),
]


@dataclasses.dataclass(frozen=True)
class Case:
    """A network, and how long it is trained on what."""

    model: Callable[[], nn.Module]
    task: Callable[[], Task]
    epochs: int
    batch_size: int

    def run(self, make: Callable[[nn.Module], torch.optim.Optimizer]) -> float:
        """Return the accuracy."""
        model = self.model()
        return train(model, make(model), self.task(), self.epochs, self.batch_size)


class CoraNet(nn.Module):
    """A graph network of SpatialSimpleConv, whose positions and polarities are parameters of its own."""

    def __init__(self, data: Data, edges: Tensor) -> None:
        super().__init__()
        self.edges = edges
        self.pos = nn.Parameter(0.5 * torch.randn(data.num_nodes, 2))
        self.polarity = nn.Parameter(torch.ones(data.num_nodes))
        self.first, self.last = nn.Linear(data.num_features, 16), nn.Linear(16, 7)
        self.conv = sg.SpatialSimpleConv(law="gaussian", gain=0.3)

    def forward(self, x: Tensor) -> Tensor:
        """Return the logits of all nodes."""
        x = F.dropout(self.first(x).relu(), 0.5, self.training)
        x = F.dropout(self._convolve(x).relu(), 0.5, self.training)
        return self._convolve(self.last(x))

    def _convolve(self, x: Tensor) -> Tensor:
        out: Tensor = self.conv(x, self.pos, self.edges, polarity=self.polarity)
        return out


@dataclasses.dataclass(frozen=True)
class Cora:
    """Classes of the papers of Cora, judged by its validation nodes."""

    folder: Path
    epochs: int = 100

    def run(self, make: Callable[[nn.Module], torch.optim.Optimizer]) -> float:
        """Return the accuracy."""
        data = Planetoid(str(self.folder), "Cora")[0]
        edges = add_self_loops(data.edge_index)[0].flip(0)
        model = CoraNet(data, to_torch_csr_tensor(edges, size=(data.num_nodes, data.num_nodes)))
        optimizer = make(model)
        x = data.x / data.x.sum(1, keepdim=True).clamp(min=1.0)
        for _ in range(self.epochs):
            optimizer.zero_grad()
            F.cross_entropy(model(x)[data.train_mask], data.y[data.train_mask]).backward()
            optimizer.step()
        with torch.no_grad():
            right = model.eval()(x).argmax(1) == data.y
        return round(100 * float(right[data.val_mask].float().mean()), 2)


def spatial(sizes: list[int], **options: Any) -> Callable[[], nn.Module]:  # noqa: ANN401 - passed on
    """Return a maker of networks."""
    return functools.partial(sg.SpatialMLP, sizes, **options)


def linear_layers() -> nn.Module:
    """Return two SpatialLinear layers without normalisation."""
    return nn.Sequential(sg.SpatialLinear(64, 128), nn.ReLU(), sg.SpatialLinear(128, 10))


def free_delays() -> nn.Module:
    """Return a spiking network with a free weight and a free delay for each synapse."""
    graph = sg.SpatialGraph.layered([4, 30, 3], weight_mode="free", velocity=0.3, delay_mode="free")
    return sg.SpatialSNN(graph, coding="latency", num_steps=30)


def cases(folder: Path | None) -> dict[str, Case | Cora]:
    """Return the tasks; those of MNIST and Cora where there is a folder with them."""
    found: dict[str, Case | Cora] = {
        "digits, 64-32-10": Case(spatial([64, 32, 10]), digits, 20, 64),
        "digits, 64-128-10": Case(spatial([64, 128, 10]), digits, 20, 64),
        "digits, 64-128-10, plain": Case(spatial([64, 128, 10], normalize=False), digits, 20, 64),
        "digits, SpatialLinear, 64-128-10": Case(linear_layers, digits, 20, 64),
        "Yin-Yang, free weights and delays": Case(free_delays, yin_yang_points, 4, 50),
    }
    if folder is None:
        return found
    some = functools.partial(mnist, folder, 10_000, 2000)
    final = functools.partial(mnist, folder, 55_000, 5000, final=True)
    return found | {
        "Cora, SpatialSimpleConv": Cora(folder / "Planetoid"),
        "MNIST, 784-256-10": Case(spatial([784, 256, 10]), some, 6, 128),
        "MNIST, 784-2048-10": Case(spatial([784, 2048, 10]), some, 3, 128),
        "final: MNIST, 784-2048-10": Case(spatial([784, 2048, 10]), final, 3, 600),
    }


def measure(case: Case | Cora, optimizer: str, groups: str, rate: float, seed: int) -> dict[str, float]:
    """Train with an optimiser and a way to set its rates."""
    torch.manual_seed(seed)

    def make(model: nn.Module) -> torch.optim.Optimizer:
        if groups == "groups":
            return OPTIMIZERS[optimizer](sg.parameter_groups(model, rate), lr=rate)
        return OPTIMIZERS[optimizer](model.parameters(), lr=rate)

    return {"accuracy": case.run(make)}


def main() -> None:
    """Measure what is missing and print the table."""
    what = "accuracy in percent on held-out training samples (final: on the test images), plain loop"
    args, record = start(__doc__, "default_rate", what, "means")
    for name, case in cases(args.data).items():
        if args.only not in name:
            continue
        ways = WITH_ADAM + WITH_OTHERS if name == "digits, 64-128-10" else WITH_ADAM
        for optimizer, groups, rate in ways[:2] if name.startswith("final") else ways:
            values = []
            for seed in range(SEEDS):
                settings = {"case": name, "optimizer": optimizer, "rates": groups, "lr": rate, "seed": seed}
                run = functools.partial(measure, case, optimizer, groups, rate, seed)
                values.append(record.get(settings, run)["accuracy"])
            way = f"{optimizer}, {groups}, {rate:g}"
            record.about["means"].setdefault(name, {})[way] = mean_and_spread(values)
            print(f"| {name} | {way} | {mean_and_spread(values)} |", flush=True)
    record.write()


if __name__ == "__main__":
    main()
