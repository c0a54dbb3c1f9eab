"""Report on a network as a connectome: analysis, pictures, files for other programs, and a page to explore.

    python examples/connectome.py                            # trains 784-300-10 on MNIST for 5 epochs
    python examples/connectome.py --load network.safetensors # a network that spatialgraph.save wrote
    python examples/connectome.py --hidden 2048 --epochs 20 --keep 0.05 --nulls 20
    python examples/connectome.py --hidden 30 --epochs 1 --nulls 2                   # a quick look

Trains a network, prunes it and trains on, or loads one. Then names its outliers and measures the accuracy without them,
compares the network with null models, and writes to ``runs/connectome``: ``report.html``, one file with tables, figures
and the explorer; the network for other programs, of more than 100,000 synapses the strongest; and ``metrics.json``.
"""

import argparse
import base64
import copy
import dataclasses
import html
import io
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, cast

import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import nn

import spatialgraph as sg
from spatialgraph import atomic, experiments, plotting, training
from spatialgraph.connectome.analysis.analysis import Analysis
from spatialgraph.graph.network import graph_of

CLASSES = 10
# A GEXF file of more synapses has more than 20 MB.
MOST = 100_000
FILES = ("network.graphml", "network.gexf", "network.h5", "network.npz")


def trained(args: argparse.Namespace, data: training.Mnist) -> nn.Module:
    """Return a trained network, pruned to the share of the synapses that is to be kept, and trained on."""
    torch.manual_seed(args.seed)
    model = sg.SpatialMLP([data.train_images.shape[1], *args.hidden, CLASSES], dim=args.dim)
    recipe = dataclasses.replace(training.RECIPES["fast"], epochs=args.epochs)
    training.fit(model, (data.train_images, data.train_labels), recipe, args.out / "training", seed=args.seed)
    if args.keep < 1.0:
        sg.prune_(model.graph, 1.0 - args.keep)
        again = dataclasses.replace(recipe, epochs=-(-args.epochs // 2), learning_rate=0.2 * recipe.learning_rate)
        training.fit(model, (data.train_images, data.train_labels), again, args.out / "pruned", seed=args.seed)
    return model


@torch.no_grad()
def accuracy(model: nn.Module, data: training.Mnist) -> float:
    """Return the accuracy on the test images in percent."""
    return 100.0 * float((model.eval()(data.test_images).argmax(1) == data.test_labels).float().mean())


def without(model: nn.Module, neurons: Sequence[int]) -> nn.Module:
    """Return a copy without the synapses of some neurons."""
    result = copy.deepcopy(model)
    graph = graph_of(result)
    removed = torch.zeros(graph.neurons, dtype=torch.bool)
    removed[list(neurons)] = True
    graph.keep_(~removed[graph.edge_index].any(0))
    return result


def figures(model: nn.Module, activity: torch.Tensor | None) -> dict[str, Callable[[], Axes]]:
    """Return what draws each figure of the report, by its title."""
    graph = graph_of(model)
    drawn: dict[str, Callable[[], Axes]] = {
        "The network in space": lambda: plotting.network(model),
        "Depth of the neurons by layer": lambda: plotting.depths(model),
        "Lengths of the synapses": lambda: plotting.lengths(model),
        "Weights over lengths": lambda: plotting.weights(model),
        "Synapses of the neurons": lambda: plotting.degrees(model),
        "Adjacency matrix by module": lambda: plotting.adjacency(model, order="module"),
    }
    if graph.inputs.numel() == 784:
        drawn["Receptive fields of the strongest neurons"] = lambda: plotting.receptive_fields(model)
    if activity is not None and graph.is_layered:
        last = int(graph.layer.max())
        drawn["Outputs for the mean image of digit 0"] = lambda: plotting.layer(model, last, activations=activity)
    return drawn


def png(ax: Axes) -> str:
    """Return a figure as an address that holds the whole image."""
    buffer = io.BytesIO()
    cast(Figure, ax.figure).savefig(buffer, format="png", dpi=110)
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode()


def table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a table in HTML."""
    head = "".join(f"<th>{html.escape(each)}</th>" for each in heads)
    body = "".join("<tr>" + "".join(f"<td>{html.escape(each)}</td>" for each in row) + "</tr>" for row in rows)
    return f"<table><tr>{head}</tr>{body}</table>"


def measures(found: Analysis) -> str:
    """Return the measures of a network beside chance as a table in HTML."""
    rows = [
        [name.replace("_", " "), f"{value:.4g}", "; ".join(map(str, found.chance.get(name, ())))]
        for name, value in found.values.items()
    ]
    return table(["measure", "value", "against null models"], rows)


STYLE = """
body { font: 16px/1.5 sans-serif; max-width: 70rem; margin: 2rem auto; padding: 0 1rem; color: #222; }
table { border-collapse: collapse; } th, td { text-align: left; padding: 0.2rem 1rem 0.2rem 0; }
th { border-bottom: 1px solid #999; } figure { display: inline-block; margin: 0 1rem 1rem 0; }
figure img { max-width: 33rem; width: 100%; } iframe { width: 100%; height: 48rem; border: 1px solid #ccc; }
"""


def report(model: nn.Module, found: Analysis, facts: dict[str, str], activity: torch.Tensor | None, page: str) -> str:
    """Return the report in HTML."""
    images = "".join(
        f'<figure><img alt="{html.escape(title)}" src="{png(draw())}"><figcaption>{html.escape(title)}</figcaption>'
        "</figure>"
        for title, draw in figures(model, activity).items()
    )
    outliers = table(["neuron", "reason"], [[str(each.neuron), each.reason] for each in found.outliers[:20]])
    return f"""<!doctype html>
<html lang="en"><meta charset="utf-8"><title>A network as a connectome</title><style>{STYLE}</style>
<h1>A network as a connectome</h1>
{table(["", ""], [[name, value] for name, value in facts.items()])}
<h2>Explorer</h2><iframe title="The network in space" srcdoc="{html.escape(page)}"></iframe>
<h2>Measures</h2>{measures(found)}
<h2>Figures</h2>{images}
<h2>Outliers</h2><p>{len(found.outliers)} neurons stand out; the first of them:</p>{outliers}
</html>
"""


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--load", type=Path, metavar="FILE", help="a network that spatialgraph.save wrote")
    parser.add_argument("--hidden", type=int, nargs="+", default=[300], metavar="N", help="neurons in hidden layers")
    parser.add_argument("--dim", type=int, default=3, help="dimensions of space")
    parser.add_argument("--epochs", type=int, default=5, help="epochs of training")
    parser.add_argument("--keep", type=float, default=0.2, metavar="SHARE", help="share of the synapses that stay")
    parser.add_argument("--nulls", type=int, default=10, help="null models of each kind")
    parser.add_argument("--seed", type=int, default=0, help="of the training")
    parser.add_argument("--data-dir", help="MNIST folder; download target")
    parser.add_argument("--out", type=Path, default=Path("runs/connectome"), help="folder for the results")
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> dict[str, Any]:
    """Train or load a network, analyse it, write the report and return what was measured."""
    args = parse(argv)
    args.out.mkdir(parents=True, exist_ok=True)
    data = experiments.load_mnist(args.data_dir)
    model = trained(args, data) if args.load is None else sg.load(args.load)
    found = sg.analyse(model, nulls=args.nulls)
    print(found)
    named = [outlier.neuron for outlier in found.outliers]
    facts = {"neurons": f"{found.neurons:,}", "synapses": f"{found.synapses:,}"}
    activity, accuracies = None, {}
    if isinstance(model, sg.SpatialMLP) and model.graph.inputs.numel() == data.test_images.shape[1]:
        accuracies = {"accuracy": accuracy(model, data), "without_outliers": accuracy(without(model, named), data)}
        facts["accuracy"] = f"{accuracies['accuracy']:.2f} % ({data.source})"
        facts["accuracy without the outliers"] = f"{accuracies['without_outliers']:.2f} %"
        activity = sg.activations(model, data.test_images[data.test_labels == 0].mean(0)).detach()

    for name in FILES:
        sg.export(model, args.out / name, top=MOST if found.synapses > MOST else None)
    sg.save(model, args.out / "network.safetensors")
    page = sg.explore(model, args.out / "explorer.html", activations=activity)
    text = report(model, found, facts, activity, page.read_text(encoding="utf-8"))
    atomic.write_text(args.out / "report.html", text)
    result = {
        "command": experiments.command_line("connectome", argv),
        "environment": training.environment(),
        "data": data.source,
        "accuracies": accuracies,
        "analysis": {name: found.to_dict()[name] for name in ("neurons", "synapses", "values", "chance", "outliers")},
    }
    atomic.write_text(args.out / "metrics.json", json.dumps(result, indent=1) + "\n")
    for name, value in facts.items():
        print(f"{name}: {value}")
    print(f"Written to {args.out}")
    return result


if __name__ == "__main__":
    experiments.as_script(main)
