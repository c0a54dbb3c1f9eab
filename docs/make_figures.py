"""Draw the figures of the tutorials from short trainings on the bundled sample of MNIST.

    python docs/make_figures.py             # all of them
    python docs/make_figures.py laws pyg    # some of them

Each function draws one figure, ``docs/images/<its name>.png``.
"""

import io
import json
import sys
import tempfile
import warnings
from pathlib import Path

import matplotlib.pyplot as plt
import networkx as nx
import torch
import torch.nn.functional as F
from PIL import Image

import spatialgraph as sg
from spatialgraph import datasets, plotting, training

FOLDER = Path(__file__).resolve().parent / "images"
# Okabe and Ito's colours, which people with any colour vision tell apart.
BLUE, ORANGE, GREEN, PURPLE, GREY = "#0072B2", "#E69F00", "#009E73", "#CC79A7", "#999999"
STYLE = {"font.size": 9, "axes.titlesize": 10, "axes.spines.top": False, "axes.spines.right": False, "figure.dpi": 110}


def digits():
    """Return the bundled sample: training images and labels, held-out images and labels."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="load_mnist returns the bundled sample")
        with tempfile.TemporaryDirectory() as folder:
            return training.validation_split(datasets.load_mnist(folder, download=False))


def train(model, epochs):
    """Train a model by a plain loop on the sample."""
    images, labels, *_ = digits()
    optimizer = torch.optim.Adam(sg.parameter_groups(model))
    for _ in range(epochs):
        model.train()
        for batch in torch.randperm(len(images)).split(100):
            optimizer.zero_grad()
            F.cross_entropy(model(images[batch]), labels[batch]).backward()
            optimizer.step()
    return model.eval()


def panels(columns, width=8.0, height=3.0, **options):
    """Return a figure with panels side by side."""
    return plt.subplots(1, columns, figsize=(width, height), layout="constrained", **options)


def mnist():
    """A training, and where it put the hidden neurons."""
    images, labels, *held = digits()
    model = sg.SpatialMLP([784, 256, 10])
    figure, (left, right) = panels(2)
    with tempfile.TemporaryDirectory() as folder:
        recipe = training.Recipe(epochs=8, learning_rate=0.03, batch_size=100)
        rows = training.fit(model, (images, labels), recipe, Path(folder) / "run", validation=held, progress=False)
    plotting.history(rows, left)
    left.set_title("accuracy during training")
    plotting.layer(model.graph, 1, right)
    right.set_title("positions of 256 hidden neurons")
    return figure


def mnist_snn():
    """A digit, the spikes that it causes, and the potentials of the outputs."""
    _, _, held, labels = digits()
    model = train(sg.SpatialSNN([784, 200, 10]), epochs=2)
    image, label = held[:1], int(labels[0])
    with torch.no_grad():
        run = model.simulate(image)
    figure, (left, middle, right) = panels(3, height=2.9, width_ratios=[1, 1.7, 1.7])
    left.imshow(image.view(28, 28), cmap="gray_r")
    left.set(title=f"input: a {label}", xticks=[], yticks=[])
    plotting.raster(run.spikes[0][:, 0], middle, by_first_spike=True)
    middle.set_title("spikes of hidden neurons")
    potentials, steps = run.potentials[-1][:, 0], range(1, model.num_steps + 1)
    for number in range(10):
        options = {"color": BLUE, "linewidth": 2.2} if number == label else {"color": GREY, "linewidth": 0.8}
        right.plot(steps, potentials[:, number], **options)
    right.set(title=f"potentials of the outputs (blue: {label})", xlabel="time step", ylabel="potential (thresholds)")
    return figure


def spiking():
    """A neuron under a constant current, and how a delay splits a spike between two steps."""
    steps = torch.arange(1, 61)
    neuron = sg.neurons.Leaky(beta=0.9)
    figure, (left, right) = panels(2)
    recording = neuron.run(torch.full((1, 1), 0.15), num_steps=60)
    left.plot(steps, recording.potentials[:, 0], color=BLUE, label="potential")
    left.vlines(steps[recording.spikes[:, 0] == 1], 1.25, 1.4, color=ORANGE, label="spikes", linewidth=2)
    left.axhline(1.0, color=GREY, linestyle="--", label="threshold")
    left.set(title="constant current of 0.15", xlabel="time step", ylabel="potential (thresholds)", ylim=(0, 1.9))
    left.legend(ncols=3, loc="upper center", frameon=False, fontsize=8, columnspacing=1, handlelength=1.5)
    for delay, color, shift in ((2.0, BLUE, -0.25), (2.25, ORANGE, 0.0), (2.75, PURPLE, 0.25)):
        share = torch.tensor([0.0, 0.0, 3.0 - delay, delay - 2.0, 0.0])
        right.bar(torch.arange(5) + shift, share, width=0.22, color=color, label=f"delay {delay:g} steps")
    right.set(title="arrival of a spike sent at step 0", xlabel="time step", ylabel="share of charge", ylim=(0, 1.7))
    right.legend(loc="upper left", frameon=False)
    return figure


def graphs():
    """The same neurons under four wirings."""
    wirings = (
        ("AllToAll()", sg.wiring.AllToAll()),
        ("KNN(k=2)", sg.wiring.KNN(k=2)),
        ("Random(density=0.2)", sg.wiring.Random(density=0.2)),
        ("SmallWorld(k=1, long_range=1)", sg.wiring.SmallWorld(k=1, long_range=1)),
    )
    figure, axes = panels(4, height=3.2, sharey=True)
    for ax, (name, wiring) in zip(axes, wirings, strict=True):
        torch.manual_seed(0)
        graph = sg.SpatialGraph.layered([12, 12, 4], dim=2, wiring=wiring)
        pos = graph.pos.detach()
        ax.plot(*pos[graph.edge_index].permute(2, 0, 1).flip(0), color=GREY, linewidth=0.5, zorder=1)
        for layer, color in enumerate((BLUE, ORANGE, PURPLE)):
            members = pos[graph.layer == layer]
            ax.scatter(members[:, 1], members[:, 0], s=18, color=color, label=f"layer {layer}", zorder=2)
        ax.set_title(f"{name}\n{graph.synapses} synapses", fontsize=8)
        ax.set(xlabel="last axis (length units)", xticks=[0, 1, 2])
    axes[0].set_ylabel("first axis (length units)")
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=3, frameon=False)
    return figure


def sparse():
    """How many synapses each selection of a training changes, and the time of a step over the hidden neurons."""
    images, labels, *_ = digits()
    wiring = sg.wiring.KNN(k=32)
    model = sg.SpatialMLP([784, 512, 10], wiring=[wiring, sg.wiring.AllToAll()])
    rewire = training.Rewire(every=5)
    with tempfile.TemporaryDirectory() as folder:
        recipe = training.Recipe(epochs=8, learning_rate=0.03, batch_size=100)
        training.fit(model, (images, labels), recipe, Path(folder) / "run", callbacks=[rewire], progress=False)
    figure, (left, right) = panels(2)
    shares = [100 * change["added"] / model.graph.projections[0].synapses for change in rewire.changes]
    left.plot([change["step"] for change in rewire.changes], shares, color=BLUE)
    left.set(title="784-512-10, k = 32: changed synapses", xlabel="training step", ylabel="changed by a selection (%)")
    left.set_ylim(bottom=0)
    rows = json.loads((FOLDER.parent / "results" / "sparse_scaling.json").read_text())["rows"]
    hidden = [row["hidden"] for row in rows]
    right.loglog(hidden, [row["step_ms"] for row in rows], "o-", color=BLUE, label="measured")
    right.loglog(hidden, [rows[0]["step_ms"] * n / hidden[0] for n in hidden], "--", color=GREY, label="proportional")
    right.set(title="784-n-10, k = 32: training step", xlabel="hidden neurons n", ylabel="time (ms)")
    right.legend(frameon=False)
    return figure


def laws():
    """Weights of the laws over the length."""
    length = torch.linspace(0.02, 5, 400)
    figure, (left, right) = panels(2)
    styles = (("-", BLUE), ("--", ORANGE), ("-.", GREEN), (":", PURPLE), ((0, (5, 1, 1, 1, 1, 1)), GREY))
    for ax, names in (
        (left, ("inverse_distance", "inverse_power", "gaussian", "yukawa")),
        (right, ("cosine", "sine_wave", "cosine_wave", "mexican_hat", "compact")),
    ):
        for name, (line, color) in zip(names, styles, strict=False):
            weight = sg.laws.make_law(name)(length).detach()
            ax.plot(length, weight, linestyle=line, color=color, label=name, linewidth=1.8)
        ax.legend(frameon=False)
    left.set(title="decaying laws", xlabel="length (length units)", ylabel="weight", ylim=(1e-4, 20))
    left.set_yscale("log")
    right.axhline(0.0, color=GREY, linewidth=0.6)
    right.set(title="waves and finite reach", xlabel="length (length units)", ylabel="weight", ylim=(-1.2, 3.4))
    return figure


def conversion():
    """What positions explain of dense weights, and the accuracy of the copies."""
    results = json.loads((FOLDER.parent / "results" / "from_linear.json").read_text())["summary"]
    dims = (3, 9, 16)
    figure, (left, right) = panels(2)
    names = (("cosine", "o", BLUE), ("sine_wave", "s", ORANGE), ("mexican_hat", "^", PURPLE))
    for law, marker, color in (*names, ("inverse_distance", "v", GREY)):
        shares = [results[f"{law}, d = {dim}"]["explained"][0] for dim in dims]
        left.plot(dims, shares, marker=marker, color=color, label=law)
    left.set(title="weights into hidden neurons", xlabel="dimensions", ylabel="explained (%)", xticks=dims)
    rows = [results[f"cosine, d = {dim}"] for dim in dims]
    right.axhline(rows[0]["dense"], color=GREY, linestyle="--", label="dense network")
    for name, label, marker, color in (
        ("distilled", "converted, distilled", "o", BLUE),
        ("random start, distilled", "random start, distilled", "s", ORANGE),
        ("converted", "converted", "^", PURPLE),
    ):
        right.plot(dims, [row[name] for row in rows], marker=marker, color=color, label=label)
    right.set(title="cosine", xlabel="dimensions", ylabel="test accuracy (%)", xticks=dims)
    for ax in (left, right):
        ax.set_ylim(0, 100)
        ax.grid(alpha=0.3)
        ax.legend(frameon=False, fontsize=8)
    return figure


def recurrent():
    """A hidden layer with recurrent synapses, and its activations while a digit enters row by row."""
    images, labels, *_ = digits()
    graph = sg.SpatialGraph.layered([28, 60, 10], recurrent=sg.wiring.KNN(k=3))
    model = sg.SpatialRNN(graph, cell="gated", batch_first=True)
    optimizer = torch.optim.Adam(sg.parameter_groups(model))
    for batch in torch.randperm(len(images))[:5000].split(100):
        optimizer.zero_grad()
        F.cross_entropy(model(images[batch].view(-1, 28, 28))[0], labels[batch]).backward()
        optimizer.step()
    model.eval()
    figure, (left, right) = panels(2, height=3.2, width_ratios=[1, 1.4])
    pos, hidden = graph.pos.detach(), graph.layer == 1
    for source, target in graph.edge_index[:, -180:].T:
        left.plot(*pos[[source, target], :2].T, color=GREY, linewidth=0.7, zorder=1)
    left.scatter(*pos[hidden, :2].T, c=BLUE, s=16, zorder=2)
    left.set(title="hidden neurons and recurrent synapses", xlabel="x (length units)", ylabel="y (length units)")
    with torch.no_grad():
        activations = model.activations(images[:1].view(1, 28, 28))[0][:, hidden]
    order = activations.abs().argmax(0).argsort()
    shown = right.imshow(activations[:, order].T, aspect="auto", cmap="PuOr", vmin=-1, vmax=1, interpolation="nearest")
    right.set(title=f"activations while a {int(labels[0])} enters", xlabel="time step (row)", ylabel="hidden neuron")
    figure.colorbar(shown, label="activation")
    return figure


def networkx():
    """A network drawn by networkx, edges coloured by sign."""
    model = sg.SpatialMLP([8, 12, 3], dim=2, init="grid", wiring=sg.wiring.KNN(k=4))
    exported = sg.to_networkx(model.graph)
    places = {node: (values["y"], values["x"]) for node, values in exported.nodes(data=True)}
    weights = [values["weight"] for _, _, values in exported.edges(data=True)]
    strongest = max(abs(weight) for weight in weights)
    figure, ax = panels(1, width=6.4, height=3.6)
    colors = [BLUE if weight > 0 else ORANGE for weight in weights]
    widths = [0.3 + 2.5 * abs(weight) / strongest for weight in weights]
    nx.draw_networkx_edges(exported, places, ax=ax, edge_color=colors, width=widths, node_size=160, arrowsize=7)
    nx.draw_networkx_nodes(exported, places, ax=ax, node_color="white", edgecolors="black", node_size=160)
    nx.draw_networkx_labels(exported, places, ax=ax, font_size=7)
    ax.tick_params(left=True, bottom=True, labelleft=True, labelbottom=True)
    ax.set(title="blue: positive weights, orange: negative weights; wider: larger")
    ax.set(xlabel="y (length units)", ylabel="x (length units)", xticks=[0, 1, 2])
    return figure


def point_clouds():
    """A digit as a cloud of pixels, and the grids that the layers of a network send to."""
    images, labels, *_ = digits()
    row, column = images[0].view(28, 28).nonzero(as_tuple=True)
    pos, ink = torch.stack([column, row], 1).float(), images[0].view(28, 28)[row, column]
    levels = [pos, *(torch.cartesian_prod(*2 * [(torch.arange(side) + 0.5) * 28 / side - 0.5]) for side in (7, 4, 1))]
    figure, axes = panels(3, height=3.0, sharey=True)
    for ax, sources, targets, k in zip(axes, levels, levels[1:], (8, 9, 16), strict=False):
        for target, source in sg.wiring.knn(sources, targets, k=k).flip(0).T.tolist():
            ax.plot(*zip(sources[source], targets[target], strict=True), color=GREY, linewidth=0.5, zorder=1)
        colors = ink if sources is pos else len(sources) * [0.6]
        ax.scatter(*sources.T, c=colors, cmap="Greys", vmin=0, vmax=1, s=16, edgecolors=GREY, linewidths=0.4, zorder=2)
        ax.scatter(*targets.T, c=ORANGE, s=18, marker="s", zorder=3)
        ax.set(title=f"{len(sources)} nodes to {len(targets)}", xlabel="x (pixels)", aspect="equal")
        ax.set(xlim=(-1, 28), ylim=(28, -1))
    axes[0].set(ylabel="y (pixels)")
    return figure


def pruning():
    """Accuracy over the share of synapses removed after training, by three rules."""
    *_, held, labels = digits()
    model = train(sg.SpatialMLP([784, 100, 10]), epochs=6)
    shares = (0.0, 0.2, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95)
    figure, ax = panels(1, width=5.6)
    for by, marker, color in (("weight", "o", BLUE), ("length", "s", ORANGE), ("random", "^", PURPLE)):
        pruned = [sg.prune(model, share, by=by) for share in shares]
        accuracies = [100 * training.accuracy(one, (held, labels)) for one in pruned]
        ax.plot([100 * share for share in shares], accuracies, marker=marker, color=color, label=f'by="{by}"')
    ax.set(title="784-100-10, pruned after training", xlabel="synapses removed (%)", ylabel="held-out accuracy (%)")
    ax.set_ylim(0, 100)
    ax.grid(alpha=0.3)
    ax.legend()
    return figure


def pyg():
    """Edge weights of a convolution, and parameters of linear layers."""
    pos = torch.rand(80, 2)
    edges = sg.wiring.knn(pos, None, k=5)
    weight = sg.laws.Gaussian(sigma=0.1)((pos[edges[0]] - pos[edges[1]]).norm(dim=1))
    figure, (left, right) = panels(2, height=3.2)
    for ends, w in zip(edges.t(), weight, strict=True):
        left.plot(*pos[ends].t(), color=BLUE, linewidth=2.5 * float(w), zorder=1)
    left.scatter(*pos.t(), s=14, color="black", zorder=2)
    left.set(
        title="SpatialSimpleConv: wider edges have larger weights", xlabel="x (length units)", ylabel="y (length units)"
    )
    left.set_aspect("equal")
    widths = [2**power for power in range(4, 12)]
    for layer, name, marker, color in (
        (torch.nn.Linear, "nn.Linear", "s", ORANGE),
        (sg.SpatialLinear, "sg.SpatialLinear", "o", BLUE),
    ):
        counts = [sum(p.numel() for p in layer(n, n).parameters()) for n in widths]
        right.loglog(widths, counts, marker=marker, color=color, label=name)
    right.set(title="parameters of a layer of n sources and n targets", xlabel="n", ylabel="parameters")
    right.grid(alpha=0.3)
    right.legend()
    return figure


def pytorch():
    """Digits, and the gradients of their logits by the pixels."""
    _, _, held, labels = digits()
    model = train(sg.SpatialMLP([784, 256, 10]), epochs=4)
    numbers = [int((labels == digit).nonzero()[0]) for digit in (0, 3, 4, 7)]
    images = held[numbers].clone().requires_grad_()
    chosen = model(images).gather(1, labels[numbers, None]).sum()
    (slopes,) = torch.autograd.grad(chosen, images)
    figure, axes = plt.subplots(2, 4, figsize=(7.2, 3.6), layout="constrained")
    limit = float(slopes.abs().quantile(0.99))
    for (above, below), image, slope, label in zip(axes.T, images.detach(), slopes, labels[numbers], strict=True):
        above.imshow(image.view(28, 28), cmap="gray_r")
        above.set(title=f"a {int(label)}", xticks=[], yticks=[])
        drawn = below.imshow(slope.view(28, 28), cmap="PuOr", vmin=-limit, vmax=limit)
        below.set(title=f"slope of logit {int(label)}", xticks=[], yticks=[])
    figure.colorbar(drawn, ax=axes[1], label="logit per grey value", shrink=0.9)
    return figure


def scale():
    """Time and memory of projections of many neurons, as measured."""
    rows = json.loads((FOLDER.parent / "results" / "scale.json").read_text())["rows"]
    curves = (
        ("mesh", "forward_and_backward_s", "on a grid", BLUE, "o-"),
        ("mesh", "forward_s", "on a grid, forward", BLUE, "o:"),
        ("fmm3dpy", "forward_s", "fmm3dpy, forward", ORANGE, "s:"),
        ("pykeops", "forward_s", "KeOps, forward", GREEN, "^:"),
        ("streamed", "forward_and_backward_s", "streamed", PURPLE, "v-"),
        ("dense", "forward_and_backward_s", "dense", GREY, "x-"),
    )
    figure, axes = panels(2)
    for kind, name, label, color, style in curves:
        found = {row["neurons"]: row for row in rows if row["kind"] == kind and row["batch"] == 1}
        counts = sorted(found)
        axes[0].loglog(counts, [found[n][name] for n in counts], style, color=color, label=label, markersize=4)
        if not label.endswith("forward") or kind != "mesh":
            memory = [max(found[n]["peak_gb"], 1e-3) for n in counts]
            axes[1].loglog(counts, memory, style, color=color, markersize=4)
    axes[0].set(title="Time of one sample (s)", xlabel="sources, and as many targets")
    axes[1].set(title="Peak memory (GB)", xlabel="sources, and as many targets")
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside right center", frameon=False)
    return figure


def save(figure, path):
    """Write a figure with a palette of 128 colours, which halves the file."""
    drawn = io.BytesIO()
    figure.savefig(drawn, dpi=110)
    plt.close(figure)
    Image.open(drawn).convert("RGB").quantize(128).save(path, optimize=True)


DRAWINGS = (
    conversion,
    graphs,
    laws,
    mnist,
    mnist_snn,
    networkx,
    point_clouds,
    pruning,
    pyg,
    pytorch,
    recurrent,
    scale,
    sparse,
    spiking,
)
FIGURES = {drawing.__name__: drawing for drawing in DRAWINGS}


def main(names):
    """Draw the named figures, or all."""
    FOLDER.mkdir(exist_ok=True)
    plt.rcParams.update(STYLE)
    for name in names or FIGURES:
        torch.manual_seed(0)
        figure = FIGURES[name]()
        save(figure, FOLDER / f"{name}.png")


if __name__ == "__main__":
    main(sys.argv[1:])
