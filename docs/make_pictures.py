"""Train a network and draw it in space, as docs/images/network.png; needs the extra plot and half a minute.

python docs/make_pictures.py
"""

import warnings
from pathlib import Path

import torch
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from PIL import Image

import spatialgraph as sg
from spatialgraph import datasets

POSITIVE, NEGATIVE = "#0072B2", "#D55E00"  # told apart by colour-blind readers
IMAGE = Path(__file__).parent / "images" / "network.png"


def build():
    """Return a network whose inputs stay where the pixels of an image are."""
    torch.manual_seed(0)
    rows, columns = torch.meshgrid(torch.linspace(2.2, -2.2, 28), torch.linspace(-2.2, 2.2, 28), indexing="ij")
    graph = sg.SpatialGraph.layered([784, 80, 10], wiring=sg.wiring.Random(0.1), spacing="fixed", anchored=[0])
    graph.place_(torch.stack([columns.flatten(), rows.flatten()], dim=1), 0)
    return sg.SpatialMLP(graph)


def train(model, images, labels, epochs=10):
    """Train with Adam at its default rate."""
    optimizer = torch.optim.Adam(sg.parameter_groups(model))
    for _ in range(epochs):
        for batch in torch.randperm(len(labels)).split(100):
            optimizer.zero_grad()
            torch.nn.functional.cross_entropy(model(images[batch]), labels[batch]).backward()
            optimizer.step()


def draw(graph, ink):
    """Draw neurons and synapses from the side; inputs are darker where digits have more ink."""
    figure = Figure(figsize=(8, 3.4))
    ax = figure.add_axes((0, 0, 1, 1))
    x, y, z = graph.pos.detach().T
    seen = torch.stack([5.5 * z + 0.6 * x, y - 0.3 * x], dim=1).numpy()  # layers from left to right, turned a little
    draw_synapses(ax, graph, seen)
    inputs, hidden = seen[graph.layer == 0], seen[graph.layer == 1]
    ax.scatter(*inputs.T, s=6, c=-ink, cmap="gray", vmin=-0.6, vmax=0.2, linewidths=0, zorder=2)
    ax.scatter(*hidden.T, s=24, c="0.15", edgecolors="white", linewidths=0.6, zorder=3)
    box = {"boxstyle": "circle,pad=0.1", "facecolor": "white", "edgecolor": "0.15", "linewidth": 0.8}
    for digit, place in enumerate(seen[graph.is_output]):
        ax.text(*place, str(digit), fontsize=7, family="DejaVu Sans", ha="center", va="center", bbox=box, zorder=4)
    ax.set_axis_off()
    ax.set_aspect("equal")
    ax.autoscale_view()
    return figure


def draw_synapses(ax, graph, seen, strongest=(0, 320, 120)):
    """Draw the largest weights into each layer as lines, wider for larger ones."""
    sources, targets = graph.edge_index.numpy()
    weights = graph.weights().detach().numpy()
    for layer in (1, 2):
        into = abs(weights) * (graph.layer[targets] == layer).numpy()
        chosen = into.argsort()[::-1][: strongest[layer]]
        ends = seen[[sources[chosen], targets[chosen]]].swapaxes(0, 1)
        colors = [POSITIVE if weights[synapse] > 0 else NEGATIVE for synapse in chosen]
        widths = 0.3 + 1.2 * into[chosen] / into[chosen][0]
        ax.add_collection(LineCollection(ends, colors=colors, linewidths=widths, alpha=0.5, zorder=1))


def write(figure):
    """Write the picture with 64 colours: a third of the bytes."""
    IMAGE.parent.mkdir(exist_ok=True)
    figure.savefig(IMAGE, dpi=120, bbox_inches="tight", pad_inches=0.05)
    Image.open(IMAGE).convert("RGB").quantize(64).save(IMAGE, optimize=True)


def main():
    """Train on the MNIST sample that is part of the package, print the accuracy and write the picture."""
    warnings.filterwarnings("ignore", message="load_mnist returns the bundled sample")
    digits = datasets.load_mnist(download=False)
    model = build()
    train(model, digits.train_images, digits.train_labels)
    with torch.no_grad():
        right = model.eval()(digits.test_images).argmax(1) == digits.test_labels
    print(f"{100 * right.float().mean():.1f} % of the sample's test images")
    write(draw(model.graph, digits.train_images.mean(0)))


if __name__ == "__main__":
    main()
