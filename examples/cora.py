"""Classify the papers of Cora: graph convolutions of PyG with their own linear layers and with SpatialLinear.

    python examples/cora.py --data FOLDER                # PyG's Planetoid; downloaded if FOLDER lacks it
    python examples/cora.py --data FOLDER --networks gcn spatial_gcn --seeds 3
    python examples/cora.py                              # without data: a small synthetic graph

Every network has two layers and the same schedule; a spatial one has a SpatialLinear in place of each linear layer.
The epoch is chosen by the validation nodes, and the accuracy on the test nodes is that of the chosen epoch. Prints a
table and writes metrics and a figure to ``runs/cora``.
"""

import argparse
import dataclasses
import json
import statistics
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch_geometric.data import Data
from torch_geometric.datasets import Planetoid
from torch_geometric.nn import GATConv, GCNConv, Linear, SAGEConv

import spatialgraph as sg
from spatialgraph import atomic, experiments, training

CONVS: dict[str, Callable[..., nn.Module]] = {"gcn": GCNConv, "sage": SAGEConv, "gat": GATConv}
NETWORKS = [*CONVS, *(f"spatial_{name}" for name in CONVS)]

# Chosen by the validation nodes. With inverse distances the spatial GCN has 63 % there.
LAW = "cosine"
SPATIAL_RATE = 1e-3
# The default gain is for inputs of variance 1; features that sum to 1 are far smaller, and gradients with them.
GAIN = 10.0
# For what the spatial layers do not hold: all of a dense network, and attention and biases of a spatial one.
OTHERS = {"lr": 0.01, "weight_decay": 5e-4}
POLARITIES = {"weight_decay": 2e-3}


@dataclasses.dataclass(frozen=True)
class Result:
    """What was measured of one network."""

    network: str
    parameters: int
    accuracies: list[float]
    validation: list[float]

    @property
    def mean(self) -> float:
        """Mean test accuracy in percent."""
        return statistics.fmean(self.accuracies)

    @property
    def deviation(self) -> float | None:
        """Sample standard deviation of the test accuracy over the seeds, in percent; None for one seed."""
        return statistics.stdev(self.accuracies) if len(self.accuracies) > 1 else None

    @property
    def percent(self) -> str:
        """Mean and standard deviation."""
        return f"{self.mean:.1f}" + ("" if self.deviation is None else f" ± {self.deviation:.1f}")


def spatial(conv: nn.Module, dim: int) -> nn.Module:
    """Replace the linear layers of an operator by spatial ones."""
    for name, layer in list(conv.named_children()):
        if isinstance(layer, Linear):
            sizes, has_bias = (layer.in_channels, layer.out_channels), layer.bias is not None
            spatial_layer = sg.SpatialLinear(*sizes, has_bias, dim=dim, law=LAW)
            spatial_layer.gain *= GAIN
            setattr(conv, name, spatial_layer)
    return conv


def drop_words(x: Tensor, p: float) -> Tensor:
    """Return ``F.dropout(x, p)``, several times faster where most features are 0."""
    words = torch.nonzero(x, as_tuple=True)
    return torch.zeros_like(x).index_put_(words, F.dropout(x[words], p))


class Net(nn.Module):
    """Two layers of a graph convolution."""

    def __init__(self, network: str, features: int, hidden: int, classes: int, dim: int) -> None:
        super().__init__()
        make = CONVS[network.removeprefix("spatial_")]
        self.convs = nn.ModuleList([make(features, hidden), make(hidden, classes)])
        if network.startswith("spatial_"):
            for conv in self.convs:
                spatial(conv, dim)

    def forward(self, x: Tensor, edge_index: Tensor) -> Tensor:
        """Return the logits of all nodes."""
        first, second = self.convs
        x = first(drop_words(x, 0.5) if self.training else x, edge_index).relu()
        y: Tensor = second(F.dropout(x, 0.5, self.training), edge_index)
        return y


def load(folder: Path | None) -> Data:
    """Return Cora with the public split and features that sum to 1, or a synthetic graph."""
    data = synthetic() if folder is None else Planetoid(str(folder), "Cora")[0]
    data.x = data.x / data.x.sum(1, keepdim=True).clamp(min=1.0)
    return data


def synthetic(nodes: int = 300, features: int = 60, classes: int = 3) -> Data:
    """Return a graph whose edges join nodes of a class more often, and whose features are words of the classes."""
    generator = torch.Generator().manual_seed(0)
    y = torch.arange(nodes) % classes
    chance = torch.where(y[:, None] == y, 0.06, 0.005).triu(1)
    edges = torch.nonzero(torch.rand(nodes, nodes, generator=generator) < chance).t()
    words = torch.arange(features) % classes
    x = (torch.rand(nodes, features, generator=generator) < torch.where(y[:, None] == words, 0.3, 0.05)).float()
    order = torch.randperm(nodes, generator=generator)
    masks = torch.zeros(3, nodes, dtype=torch.bool)
    for mask, part in zip(masks, order.split([60, 90, nodes - 150]), strict=True):
        mask[part] = True
    both = torch.cat([edges, edges.flip(0)], 1)
    return Data(x=x, edge_index=both, y=y, train_mask=masks[0], val_mask=masks[1], test_mask=masks[2])


def parameter_groups(model: nn.Module) -> list[dict[str, Any]]:
    """Return the groups of parameters for the optimiser, with rates and weight decay."""
    options = {"others": OTHERS, "polarities": POLARITIES}
    return [group | options.get(group["name"], {}) for group in sg.parameter_groups(model, SPATIAL_RATE)]


def train(network: str, data: Data, seed: int, args: argparse.Namespace) -> tuple[float, float, int]:
    """Train one network; return validation and test accuracy in percent, and the number of parameters."""
    torch.manual_seed(seed)
    model = Net(network, data.num_features, args.hidden, int(data.y.max()) + 1, args.dim)
    optimizer = torch.optim.Adam(parameter_groups(model))
    best = (0.0, 0.0)
    for _ in range(args.epochs):
        model.train()
        optimizer.zero_grad()
        F.cross_entropy(model(data.x, data.edge_index)[data.train_mask], data.y[data.train_mask]).backward()
        optimizer.step()
        accuracies = evaluate(model, data)
        best = accuracies if accuracies[0] > best[0] else best
    return *best, sum(parameter.numel() for parameter in model.parameters())


@torch.no_grad()
def evaluate(model: nn.Module, data: Data) -> tuple[float, float]:
    """Return the accuracies on validation and test nodes, in percent."""
    right = model.eval()(data.x, data.edge_index).argmax(1) == data.y
    return 100 * float(right[data.val_mask].float().mean()), 100 * float(right[data.test_mask].float().mean())


def measure(network: str, data: Data, args: argparse.Namespace) -> Result:
    """Train one network with all seeds."""
    runs = [train(network, data, seed, args) for seed in range(args.seeds)]
    validation, test, parameters = zip(*runs, strict=True)
    return Result(network, parameters[0], list(test), list(validation))


def draw(results: Sequence[Result], path: Path) -> None:
    """Draw accuracy against the number of parameters."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6, 4), layout="constrained")
    ax = figure.subplots()
    for result in results:
        error = result.deviation or 0.0
        marker = "o" if result.network.startswith("spatial_") else "s"
        ax.errorbar(result.parameters, result.mean, error, marker=marker, capsize=3, label=result.network)
    ax.set(xlabel="parameters", ylabel="accuracy on the test nodes (%)")
    ax.grid(alpha=0.3)
    ax.legend()
    experiments.save_figure(figure, path)


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("--data", type=Path, help="folder of PyG's Planetoid data; a synthetic graph if not given")
    add("--networks", nargs="+", choices=NETWORKS, default=NETWORKS, help="networks to train (all)")
    add("--hidden", type=int, default=16, metavar="N", help="hidden channels (16)")
    add("--dim", type=int, default=8, metavar="D", help="dimensions of the spatial layers (8)")
    add("--epochs", type=int, default=200, help="number of epochs (200)")
    add("--seeds", type=int, default=10, metavar="COUNT", help="train with the seeds 0 to COUNT-1 (10)")
    add("--out", type=Path, default=Path("runs/cora"), help="folder for the results (runs/cora)")
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> list[Result]:
    """Train what the command line asks for and report."""
    args = parse(argv)
    data = load(args.data)
    if args.data is None:
        print("Note: without --data a synthetic graph is used; accuracies are not those of Cora")
    results = []
    print("| network | parameters | test accuracy (%) | validation accuracy (%) |\n|---|---|---|---|")
    for network in args.networks:
        result = measure(network, data, args)
        held = sum(result.validation) / len(result.validation)
        print(f"| {network} | {result.parameters} | {result.percent} | {held:.1f} |", flush=True)
        results.append(result)
    write(results, args, argv)
    return results


def write(results: Sequence[Result], args: argparse.Namespace, argv: Sequence[str] | None) -> None:
    """Write the metrics and the figure."""
    args.out.mkdir(parents=True, exist_ok=True)
    record: dict[str, Any] = {
        "command": experiments.command_line("cora", argv),
        "data": "synthetic" if args.data is None else "Cora",
        "environment": training.environment(),
        "settings": {
            "others": OTHERS,
            "polarities": POLARITIES,
            "spatial_rate": SPATIAL_RATE,
            "gain": GAIN,
            "law": LAW,
            "epochs": args.epochs,
            "hidden": args.hidden,
            "dim": args.dim,
        },
        "results": [
            dataclasses.asdict(result) | {"mean": result.mean, "deviation": result.deviation} for result in results
        ],
    }
    atomic.write_text(args.out / "metrics.json", json.dumps(record, indent=1) + "\n")
    draw(results, args.out / "cora.png")


if __name__ == "__main__":
    experiments.as_script(main)
