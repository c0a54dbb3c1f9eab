"""The connectome of the worm C. elegans: positions for its neurons, analysis against chance, and a network that reads.

    pip install cect                                # the data, 13.6 MB
    python examples/celegans.py                     # some minutes
    python examples/celegans.py --dim 5 --law cosine --nulls 100
    python examples/celegans.py --epochs 1 --steps 50 --nulls 2 --shuffles 1 --images 1000   # a quick look

1. Reads the chemical synapses between the 280 neurons of the somatic nervous system of the hermaphrodite: `Cook et al.
   (2019) <https://doi.org/10.1038/s41586-019-1352-7>`_, through the package `cect
   <https://openworm.org/ConnectomeToolbox/>`_. The weight of a synapse is its number of electron micrographs; those of
   GABA neurons are negative (`McIntire et al., 1993 <https://doi.org/10.1038/364337a0>`_).
2. Finds positions whose law reproduces these weights, and compares the share that they explain with that of networks
   with the same edges and shuffled weights.
3. Compares measures of network neuroscience with null models.
4. Trains positions and polarities as a recurrent network that reads digits row by row, beside a network with shuffled
   edges: linear layers lead from the rows to the sensory neurons, and from the motor neurons to the digits.

Prints tables and writes ``celegans.json``, the network, and its graph for other programs to ``runs/celegans``.
"""

import argparse
import copy
import dataclasses
import importlib.util
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import networkx as nx
import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import spatialgraph as sg
from spatialgraph import atomic, datasets, experiments, training

SIDE, CLASSES, BATCH = 28, 10, 100
GABA = {f"DD{n}" for n in range(1, 7)} | {f"VD{n}" for n in range(1, 14)}
GABA |= {"RMED", "RMEV", "RMEL", "RMER", "RIS", "AVL", "DVB"}


@dataclasses.dataclass(frozen=True)
class Worm:
    """A connectome.

    Args:
        graph: neurons by name and synapses with a ``weight``.
        sensory: names of the sensory neurons.
        motor: names of the motor neurons.
    """

    graph: nx.DiGraph
    sensory: list[str]
    motor: list[str]


def read_worm() -> Worm:
    """Read the connectome from the package cect.

    Raises:
        ImportError: if cect is not installed.
    """
    package = importlib.util.find_spec("cect")
    if package is None or not package.submodule_search_locations:
        raise ImportError("the connectome is part of the package cect; install it with: pip install cect")
    from cect import Cells

    [folder, *_] = package.submodule_search_locations
    data = json.loads((Path(folder) / "cache" / "Cook2019HermReader.json").read_text())
    sensory, motor = Cells.SENSORY_NEURONS_NONPHARYNGEAL_COOK, Cells.MOTORNEURONS_NONPHARYNGEAL_COOK
    neurons = [*sensory, *Cells.INTERNEURONS_NONPHARYNGEAL_COOK, *motor]
    place = {name: number for number, name in enumerate(data["nodes"])}
    weights = np.asarray(data["connections"]["Generic_CS"])
    graph = nx.DiGraph()
    graph.add_nodes_from(neurons)
    for source in neurons:
        sign = -1.0 if source in GABA else 1.0
        found = {target: sign * float(weights[place[source], place[target]]) for target in neurons if target != source}
        graph.add_weighted_edges_from((source, target, weight) for target, weight in found.items() if weight)
    return Worm(graph, list(sensory), list(motor))


def embedded(worm: Worm, graph: nx.DiGraph, args: argparse.Namespace, seed: int = 0) -> sg.Embedding:
    """Find positions for a graph with the worm's neurons, whose sensory neurons receive and motor neurons are read."""
    return sg.embed(
        graph,
        args.dim,
        inputs=worm.sensory,
        outputs=worm.motor,
        law=args.law,
        steps=args.steps,
        generator=torch.Generator().manual_seed(seed),
    )


def shuffled_weights(graph: nx.DiGraph, rng: np.random.Generator) -> nx.DiGraph:
    """Return the same edges with the weights of each source shuffled."""
    result = nx.DiGraph(graph)
    for source in result:
        edges = list(result.out_edges(source))
        weights = rng.permutation([result.edges[edge]["weight"] for edge in edges])
        nx.set_edge_attributes(result, dict(zip(edges, weights.tolist(), strict=True)), "weight")
    return result


def shuffled_edges(graph: nx.DiGraph, rng: np.random.Generator) -> nx.DiGraph:
    """Return a graph with the same in- and out-degrees; edges keep their sources and weights."""
    from spatialgraph.connectome.analysis.nulls import degree_null
    from spatialgraph.connectome.analysis.weighted_edges import WeightedEdges

    names = list(graph)
    place = {name: number for number, name in enumerate(names)}
    triples = [(place[source], place[target], weight) for source, target, weight in graph.edges(data="weight")]
    source, target, weight = (np.asarray(column) for column in zip(*triples, strict=True))
    null = degree_null(WeightedEdges(len(names), source, target, weight, np.ones(len(weight))), rng)
    result = nx.DiGraph()
    result.add_nodes_from(names)
    pairs = zip(null.source.tolist(), null.target.tolist(), null.weight.tolist(), strict=True)
    result.add_weighted_edges_from((names[one], names[other], size) for one, other, size in pairs)
    return result


class Reader(nn.Module):
    """A recurrent network that reads images row by row, between a linear layer into it and one out of it."""

    def __init__(self, graph: sg.SpatialGraph) -> None:
        super().__init__()
        self.network = sg.SpatialRNN(copy.deepcopy(graph), cell="leaky", read_out="mean")
        with torch.no_grad():  # weights of the size of those of a new network
            polarity = self.network.graph.raw_polarity
            polarity /= polarity.abs().mean()
        self.senses = nn.Linear(SIDE, graph.inputs.numel())
        self.answers = nn.Linear(graph.outputs.numel(), CLASSES)

    def forward(self, images: Tensor) -> Tensor:
        """Return the logits of images ``(batch, 784)``."""
        rows = images.view(-1, SIDE, SIDE).transpose(0, 1)
        logits: Tensor = self.answers(self.network(self.senses(rows))[0])
        return logits


def train_reader(graph: sg.SpatialGraph, args: argparse.Namespace, data: datasets.Mnist) -> float:
    """Train a network to read digits row by row; return its accuracy on the test images in percent."""
    torch.manual_seed(0)
    model = Reader(graph)
    images, labels = data.train_images[: args.images], data.train_labels[: args.images]
    optimizer = torch.optim.Adam(sg.parameter_groups(model, args.learning_rate))
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, args.epochs * -(-len(labels) // BATCH))
    for _ in range(args.epochs):
        for batch in torch.randperm(len(labels)).split(BATCH):
            optimizer.zero_grad()
            F.cross_entropy(model(images[batch]), labels[batch]).backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            schedule.step()
    with torch.no_grad():
        parts = zip(data.test_images.split(1000), data.test_labels.split(1000), strict=True)
        right = sum(int((model(x).argmax(1) == y).sum()) for x, y in parts)
    return 100.0 * right / len(data.test_labels)


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dim", type=int, default=3, help="dimensions of space")
    parser.add_argument("--law", default="inverse_distance", help="from length to weight")
    parser.add_argument("--steps", type=int, default=500, help="steps of the search for positions")
    parser.add_argument("--nulls", type=int, default=20, help="null models of each kind")
    parser.add_argument("--shuffles", type=int, default=5, help="graphs with shuffled weights to compare with")
    parser.add_argument("--epochs", type=int, default=5, help="epochs of training as a reader of digits")
    parser.add_argument("--images", type=int, default=10_000, metavar="N", help="training images")
    parser.add_argument(
        "--learning-rate", type=float, default=0.003, metavar="X", help="of weights; see parameter_groups"
    )
    parser.add_argument("--data-dir", help="MNIST folder; download target")
    parser.add_argument("--out", type=Path, default=Path("runs/celegans"), help="folder for the results")
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None, worm: Worm | None = None) -> dict[str, Any]:
    """Embed, analyse and train; print tables, write files and return what was measured."""
    args = parse(argv)
    worm = read_worm() if worm is None else worm
    rng = np.random.default_rng(0)
    args.out.mkdir(parents=True, exist_ok=True)
    print(f"{len(worm.graph)} neurons, {worm.graph.number_of_edges():,} synapses")

    graph, explained = embedded(worm, worm.graph, args)
    chance = [embedded(worm, shuffled_weights(worm.graph, rng), args).explained for _ in range(args.shuffles)]
    print(f"positions in {args.dim}-D explain {100 * explained:.1f} % of the squared weights, ", end="")
    print(f"of shuffled weights {100 * float(np.mean(chance)):.1f} %")

    found = sg.analyse(graph, nulls=args.nulls)
    print(found)
    sg.save(graph, args.out / "worm.safetensors")
    sg.export(graph, args.out / "worm.gexf")

    data = experiments.load_mnist(args.data_dir)
    other = embedded(worm, shuffled_edges(worm.graph, rng), args).graph
    accuracy = {name: train_reader(each, args, data) for name, each in (("connectome", graph), ("shuffled", other))}
    print(f"reads digits row by row ({data.source}): {accuracy['connectome']:.2f} %, ", end="")
    print(f"with shuffled edges {accuracy['shuffled']:.2f} %")
    result = {
        "command": experiments.command_line("celegans", argv),
        "environment": training.environment(),
        "data": data.source,
        "explained": explained,
        "explained_of_shuffled_weights": chance,
        "accuracy": accuracy,
        "analysis": {name: found.to_dict()[name] for name in ("values", "chance", "outliers")},
    }
    atomic.write_text(args.out / "celegans.json", json.dumps(result, indent=1) + "\n")
    print(f"Written to {args.out}")
    return result


if __name__ == "__main__":
    experiments.as_script(main)
