"""Classify MNIST as graphs: 75 superpixels of each image, or the cloud of its non-zero pixels.

    python examples/point_cloud.py --seeds 3                      # superpixels by PyG's ToSLIC; needs scikit-image
    python examples/point_cloud.py --data pixels --seeds 3        # point clouds
    python examples/point_cloud.py --networks spatial --validate  # evaluate on 5,000 held-out training images
    python examples/point_cloud.py --epochs 1 --images 1000       # a quick look

A node is a superpixel with its centroid and mean intensity, or a pixel. Each layer sends from the nearest nodes to the
points of a coarser grid, down to a single one, whose channels a linear layer classifies. Beside ``SpatialGNN`` stands
the same network with PyG's ``GMMConv`` (MoNet) in place of the spatial convolution. A third network, like PyG's
``GravNetConv``, keeps all nodes and looks for neighbours in a learned space. Superpixels are computed once and kept in
a file. Prints a table and writes metrics, checkpoints and a figure to ``runs/``.
"""

import argparse
import dataclasses
import statistics
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import mnist_graphs
import torch
from mnist_graphs import FAR, PITCH, SIDE, edges_of, grid, nearest
from torch import Tensor, nn
from torch_geometric.nn import GMMConv

import spatialgraph as sg
from spatialgraph import experiments, training
from spatialgraph.experiments import CLASSES

GRIDS = (7, 4, 1)  # points along a side at each level
NEIGHBORS = (8, 9, 16)  # edges into each point
DIM = 16  # dimensions of the offsets of channels

RECIPE = training.Recipe(epochs=8, batch_size=128)
RATES = {"spatial": 0.03, "monet": 0.03, "gravnet": 0.01}  # peak learning rates

# Accuracy with 75 superpixels in Monti et al. (2017), https://arxiv.org/abs/1611.08402
PUBLISHED = {"superpixels monet": "91.11"}


# Networks ----


class Entry(nn.Module):
    """The way into a network: each point of the finest grid receives from its nearest nodes."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("grid", grid(GRIDS[0]), persistent=False)

    def forward(self, graphs: Tensor) -> tuple[Tensor, tuple[Tensor, Tensor], Tensor]:
        """Return features ``(nodes, 1)``, positions of nodes and points, and edges.

        All graphs of the batch are joined into one.
        """
        count, nodes, _ = graphs.shape
        x, places = graphs[..., :1].float(), graphs[..., 1:].float() / PITCH
        points = self.get_buffer("grid").expand(count, -1, -1)
        edges = edges_of(nearest(points, places, NEIGHBORS[0]), nodes)
        return x.flatten(0, 1), (places.flatten(0, 1), points.flatten(0, 1)), edges


def between_grids() -> list[tuple[Tensor, Tensor, Tensor]]:
    """Return the points of each grid and of the next coarser one, with the edges between them."""
    grids = [grid(side) for side in GRIDS]
    pairs = zip(grids, grids[1:], NEIGHBORS[1:], strict=False)
    return [(fine, coarse, edges_of(nearest(coarse[None], fine[None], k), len(fine))) for fine, coarse, k in pairs]


class Spatial(nn.Module):
    """Spatial convolutions from the nodes to ever coarser grids.

    All graphs share the grids, so that the weights between them are computed once for a batch.
    """

    def __init__(self, channels: Sequence[int]) -> None:
        super().__init__()
        first, *others = channels
        options: dict[str, Any] = {"dim": DIM, "pos_dim": 2, "law": "sine_wave"}
        self.entry = Entry()
        self.conv, self.norm = sg.SpatialConv(1, first, **options), nn.BatchNorm1d(first)
        self.network = sg.SpatialGNN(first, others, len(others), CLASSES, norm="batch", **options)
        for level, side in enumerate(GRIDS):
            self.register_buffer(f"grid{level}", grid(side), persistent=False)
        for level, (_, _, edges) in enumerate(between_grids()):
            self.register_buffer(f"edges{level}", edges, persistent=False)

    def forward(self, graphs: Tensor) -> Tensor:
        """Return the logits of graphs ``(batch, nodes, 3)``."""
        x, pos, edges = self.entry(graphs)
        x = self.norm(self.conv((x, None), pos, edges)).relu()
        grids = [self.get_buffer(f"grid{level}") for level in range(len(GRIDS))]
        between = [self.get_buffer(f"edges{level}") for level in range(len(GRIDS) - 1)]
        logits: Tensor = self.network(x.view(len(graphs), len(grids[0]), -1), grids, between)
        return logits.squeeze(1)


class MoNet(nn.Module):
    """The same with Gaussian mixtures, PyG's GMMConv."""

    def __init__(self, channels: Sequence[int], kernels: int = 6) -> None:
        super().__init__()
        self.entry = Entry()
        sizes = zip([1, *channels], channels, strict=False)
        self.convs = nn.ModuleList(GMMConv(*size, 2, kernels, root_weight=False, bias=False) for size in sizes)
        self.norms = nn.ModuleList(map(nn.BatchNorm1d, channels))
        self.head = nn.Linear(channels[-1], CLASSES)
        for level, (fine, coarse, edges) in enumerate(between_grids()):
            self.register_buffer(f"displacement{level}", fine[edges[0]] - coarse[edges[1]], persistent=False)
            self.register_buffer(f"edges{level}", edges, persistent=False)

    def forward(self, graphs: Tensor) -> Tensor:
        """Return the logits of graphs ``(batch, nodes, 3)``."""
        count = len(graphs)
        x, (pos, points), edges = self.entry(graphs)
        displacement = pos[edges[0]] - points[edges[1]]
        for level, (conv, norm) in enumerate(zip(self.convs, self.norms, strict=True)):
            if level:
                edges = repeated(self.get_buffer(f"edges{level - 1}"), count, GRIDS[level - 1] ** 2, GRIDS[level] ** 2)
                displacement = self.get_buffer(f"displacement{level - 1}").repeat(count, 1)
            x = norm(conv((x, None), edges, displacement, size=(len(x), count * GRIDS[level] ** 2))).relu()
        logits: Tensor = self.head(x)
        return logits


def repeated(edges: Tensor, count: int, sources: int, targets: int) -> Tensor:
    """Return the edges of as many copies of a graph in one."""
    steps = torch.tensor([[sources], [targets]], device=edges.device) * torch.arange(count, device=edges.device)
    return (edges[:, None] + steps[:, :, None]).flatten(1)


class GravNetLikeConv(nn.Module):
    """Convolution over the nearest nodes in a learned space, on padded graphs, like PyG's GravNetConv.

    Qasim, Kieseler, Iiyama and Pierini (2019), https://arxiv.org/abs/1902.07987.
    """

    def __init__(self, in_channels: int, out_channels: int, space: int = 4, sent: int = 16, k: int = 8) -> None:
        super().__init__()
        self.k = k
        self.space, self.sent = nn.Linear(in_channels, space), nn.Linear(in_channels, sent)
        self.own, self.received = nn.Linear(in_channels, out_channels, bias=False), nn.Linear(2 * sent, out_channels)

    def forward(self, x: Tensor, is_node: Tensor) -> Tensor:
        """Return the channels of all nodes, shape ``(graphs, nodes, out_channels)``."""
        place, sent = self.space(x), self.sent(x)
        with torch.no_grad():
            near = (
                torch.cdist(place, place).masked_fill(~is_node[:, None], torch.inf).topk(self.k, largest=False).indices
            )
            near += x.shape[1] * torch.arange(len(x), device=x.device)[:, None, None]
        theirs, messages = (
            values.flatten(0, 1).index_select(0, near.flatten()).unflatten(0, near.shape) for values in (place, sent)
        )
        square = (theirs - place[:, :, None]).square().sum(-1)
        messages = messages * torch.exp(-10.0 * square)[..., None]
        received = torch.cat([messages.mean(2), messages.amax(2)], -1)
        y: Tensor = self.own(x) + self.received(received)
        return y


class GravNetLike(nn.Module):
    """GravNet-like layers on all nodes, with their mean and maximum as the features of a graph."""

    def __init__(self, channels: Sequence[int]) -> None:
        super().__init__()
        sizes = zip([3, *channels], channels, strict=False)
        self.convs = nn.ModuleList(GravNetLikeConv(*size) for size in sizes)
        self.norms = nn.ModuleList(map(nn.BatchNorm1d, channels))
        self.head = nn.Linear(2 * channels[-1], CLASSES)

    def forward(self, graphs: Tensor) -> Tensor:
        """Return the logits of graphs ``(batch, nodes, 3)``."""
        is_node = graphs[..., 1] < FAR
        pos = (graphs[..., 1:].float() - SIDE / 2) / (SIDE / 2)
        x = torch.cat([graphs[..., :1].float(), pos], -1).masked_fill(~is_node[..., None], 0.0)
        for conv, norm in zip(self.convs, self.norms, strict=True):
            y = conv(x, is_node)
            x = torch.zeros_like(y).masked_scatter(is_node[..., None], norm(y[is_node]).relu())
        mean = x.sum(1) / is_node.sum(1, keepdim=True)
        logits: Tensor = self.head(torch.cat([mean, x.amax(1)], -1))
        return logits


NETWORKS: dict[str, tuple[str, Callable[..., nn.Module], list[int]]] = {
    "spatial": ("SpatialGNN", Spatial, [32, 64, 128]),
    "monet": ("MoNet (GMMConv)", MoNet, [16, 28, 40]),
    "gravnet": ("GravNet-like", GravNetLike, [32, 32, 48]),
}


# Training ----


def load(args: argparse.Namespace) -> training.Mnist:
    """Return MNIST with a graph in place of each image."""
    data = experiments.load_mnist(args.data_dir)
    train, train_labels, test, test_labels = (
        values[: args.images] for values in (data.train_images, data.train_labels, data.test_images, data.test_labels)
    )
    return training.Mnist(graphs(train, args), train_labels, graphs(test, args), test_labels, source=data.source)


def graphs(images: Tensor, args: argparse.Namespace) -> Tensor:
    """Return the graphs of images, padded, shape ``(graphs, nodes, 3)``."""
    if args.data == "superpixels":
        return mnist_graphs.cached(images, args.cache or args.out, args.workers)
    return mnist_graphs.padded(mnist_graphs.pixels(images))


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("--data", choices=["superpixels", "pixels"], default="superpixels", help="kind of graphs (superpixels)")
    add("--networks", nargs="+", choices=NETWORKS, default=list(NETWORKS), help="networks to train (all)")
    add("--channels", type=int, nargs=len(GRIDS), metavar="N", help="channels of the layers (each network's own)")
    add("--epochs", type=int, default=RECIPE.epochs, help=f"number of epochs ({RECIPE.epochs})")
    add(
        "--batch-size", type=int, default=RECIPE.batch_size, metavar="N", help=f"graphs in a step ({RECIPE.batch_size})"
    )
    add("--learning-rate", type=float, metavar="X", help="peak learning rate (each network's own)")
    add("--images", type=int, metavar="N", help="use the first N training and test images only (all)")
    add("--seed", type=int, default=0, help="train with this seed (0)")
    add("--seeds", type=int, metavar="COUNT", help="train with the seeds 0 to COUNT-1")
    add("--validate", action="store_true", help="evaluate on 5,000 held-out training images, not on the test images")
    add("--device", default="cpu", help="cpu, cuda or auto (cpu)")
    add("--data-dir", help="MNIST folder; download target")
    add("--cache", type=Path, help="folder of superpixels.pt (that of the results)")
    add("--workers", type=int, default=2, metavar="N", help="processes that compute superpixels (2)")
    add("--resume", action="store_true", help="continue an interrupted run; finished trainings are not repeated")
    add("--out", type=Path, default=Path("runs/point_cloud"), help="folder for the results (runs/point_cloud)")
    return parser.parse_args(argv)


def train(network: str, seed: int, data: training.Mnist, args: argparse.Namespace) -> dict[str, Any]:
    """Train one network with one seed, or read the figures of a finished run."""
    name, build, channels = NETWORKS[network]
    channels = args.channels or channels
    folder = args.out / network / f"seed-{seed}"
    recipe = recipe_of(network, args)
    settings = dataclasses.asdict(recipe) | {"channels": channels, "validate": args.validate, "data": args.data}
    experiments.prepare(folder, settings | {"source": data.source, "images": args.images}, args.resume)
    if args.resume and (before := experiments.finished(folder)) is not None:
        print(f"{name}, seed {seed}: finished before", flush=True)
        return before
    print(f"{name}, seed {seed}", flush=True)
    torch.manual_seed(seed)
    model = build(channels)
    learned, judged = parts(data, args.validate)
    rows = training.fit(
        model,
        learned,
        recipe,
        folder,
        seed=seed,
        validation=judged if args.validate else None,
        device=args.device,
        resume=args.resume,
        progress=sys.stderr.isatty(),
    )
    figures = {
        "seed": seed,
        "accuracy": training.accuracy(model.eval(), judged),
        "parameters": sum(parameter.numel() for parameter in model.parameters()),
        "synapses": synapses(network, channels),
        "seconds": rows[-1]["seconds"],
        "seconds_per_epoch": rows[-1]["seconds"] / len(rows),
    }
    experiments.finish(folder, model, figures)
    return figures


def recipe_of(network: str, args: argparse.Namespace) -> training.Recipe:
    """Return the recipe of a network."""
    given = {"epochs": args.epochs, "batch_size": args.batch_size}
    rate = RATES[network] if args.learning_rate is None else args.learning_rate
    return dataclasses.replace(RECIPE, learning_rate=rate, **given)


def synapses(network: str, channels: Sequence[int]) -> int | None:
    """Return the number of pairs of channels over all edges of an image.

    None for the GravNet-like network, whose edges are between all nodes of an image, as many as it has.
    """
    if network == "gravnet":
        return None
    pairs = [inputs * outputs for inputs, outputs in zip([1, *channels], channels, strict=False)]
    edges = [side**2 * k for side, k in zip(GRIDS, NEIGHBORS, strict=True)]
    return sum(edge * pair for edge, pair in zip(edges, pairs, strict=True)) + channels[-1] * CLASSES


def parts(data: training.Mnist, validate: bool) -> tuple[training.Images, training.Images]:
    """Return graphs for training and evaluation; the latter are test images only if no images are held out."""
    if not validate:
        return (data.train_images, data.train_labels), (data.test_images, data.test_labels)
    size = min(5000, len(data.train_labels) // 5)
    graphs, labels, held_out, their_labels = training.validation_split(data, size)
    return (graphs, labels), (held_out, their_labels)


# Report ----


def draw(results: Sequence[training.Result], graph: Tensor, path: Path) -> None:
    """Draw a graph with its edges to the finest grid, and accuracy against parameters."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11, 4.4), layout="constrained")
    left, right = figure.subplots(1, 2)
    draw_graph(graph[graph[:, 1] < FAR].float(), left)
    for result in results:
        error = 100 * (result.deviation or 0.0)
        right.errorbar(result.parameters, 100 * result.mean, error, marker="o", capsize=3, label=result.model)
    right.set(xlabel="parameters", ylabel="accuracy (%)")
    right.grid(alpha=0.3)
    right.legend()
    experiments.save_figure(figure, path)


def draw_graph(nodes: Tensor, ax: Any) -> None:  # noqa: ANN401 - matplotlib is imported where it is needed
    """Draw nodes ``(nodes, 3)``, the points of the finest grid, and the edges between them."""
    pos, points = nodes[:, 1:], grid(GRIDS[0]) * PITCH
    for point, near in zip(points, nearest(points[None], pos[None], NEIGHBORS[0])[0], strict=True):
        for place in pos[near]:
            ax.plot(*zip(place.tolist(), point.tolist(), strict=True), color="0.8", linewidth=0.5, zorder=1)
    ax.scatter(*points.T, marker="s", s=14, color="tab:orange", zorder=2, label="points of the finest grid")
    shown = ax.scatter(*pos.T, c=nodes[:, 0], cmap="Greys", edgecolors="0.4", s=40, zorder=3, label="nodes")
    ax.figure.colorbar(shown, ax=ax, label="intensity", shrink=0.8)
    ax.set(xlabel="x (pixels)", ylabel="y (pixels)", aspect="equal", xlim=(-1, SIDE), ylim=(SIDE, -1))
    ax.legend(loc="upper center", bbox_to_anchor=(0.5, 1.12), ncols=2, frameon=False)


def main(argv: Sequence[str] | None = None) -> list[training.Result]:
    """Train what the command line asks for and report."""
    args = parse(argv)
    if args.data == "superpixels" and not mnist_graphs.has_superpixels():
        args.data = "pixels"
        print('Note: superpixels need scikit-image (pip install "spatialgraph[vision]"); point clouds are used instead')
    data = load(args)
    seeds = list(range(args.seeds)) if args.seeds else [args.seed]
    trained = {network: [train(network, seed, data, args) for seed in seeds] for network in args.networks}
    results = [
        experiments.summary(NETWORKS[network][0], figures, PUBLISHED.get(f"{args.data} {network}", ""))
        for network, figures in trained.items()
    ]
    about = {
        "command": experiments.command_line("point_cloud", argv),
        "data": f"{data.source} as {args.data}",
        "recipes": {network: dataclasses.asdict(recipe_of(network, args)) for network in args.networks},
        "figures": trained,
    }
    rows = [
        [NETWORKS[name][0], f"{statistics.fmean(each['seconds_per_epoch'] for each in figures):.1f}"]
        for name, figures in trained.items()
    ]
    times = training.markdown(["model", "seconds per epoch"], rows)
    experiments.write_report(args.out, results, about, judged_on="validation" if args.validate else "test", more=times)
    draw(results, data.test_images[0], args.out / "point_cloud.png")
    return results


if __name__ == "__main__":
    experiments.as_script(main)
