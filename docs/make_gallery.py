"""Draw the gallery from the trained network docs/networks/mnist.safetensors; needs the extras plot, train, connectome.

    python docs/make_gallery.py                     # all of it
    python docs/make_gallery.py network movie       # some of it

Each function draws one picture, ``docs/images/gallery/<its name>.png``, and the last one a movie.
"""

import io
import sys
import tempfile
import warnings
from pathlib import Path

import torch
from matplotlib import rc_context
from matplotlib.figure import Figure
from PIL import Image

import spatialgraph as sg
from spatialgraph import datasets, plotting, training

DOCS = Path(__file__).resolve().parent
FOLDER = DOCS / "images" / "gallery"
STYLE = {"font.size": 9, "axes.titlesize": 10, "legend.fontsize": 8}


def trained():
    """Return the trained network 784-2048-10."""
    return sg.load(DOCS / "networks" / "mnist.safetensors").eval()


def digits():
    """Return the bundled sample of MNIST."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="load_mnist returns the bundled sample")
        with tempfile.TemporaryDirectory() as folder:
            return datasets.load_mnist(folder, download=False)


def fitted(model, epochs, callbacks=()):
    """Train a model on the sample."""
    data = digits()
    recipe = training.Recipe(epochs=epochs, learning_rate=0.03, batch_size=100)
    with tempfile.TemporaryDirectory() as folder:
        images = data.train_images, data.train_labels
        training.fit(model, images, recipe, Path(folder) / "run", callbacks=callbacks, progress=False)
    return model.eval()


def panels(columns=1, width=5.2, height=3.4, **options):
    """Return a figure with panels side by side, and the panels."""
    figure = Figure(figsize=(width, height), layout="constrained")
    return figure, figure.subplots(1, columns, **options)


def network():
    """The neurons and the strongest synapses."""
    figure, ax = panels(width=5.6, height=5.0, subplot_kw={"projection": "3d"})
    plotting.network(trained(), ax)
    return figure


def layers():
    """The three layers by polarity."""
    model = trained()
    figure, axes = panels(3, width=10.0, height=3.1)
    for number, ax in enumerate(axes):
        plotting.layer(model, number, ax)
    return figure


def activations():
    """The mean activations for the sevens."""
    data, model = digits(), trained()
    with torch.no_grad():
        mean = model.activations(data.test_images[data.test_labels == 7]).mean(0)
    figure, axes = panels(3, width=10.0, height=3.1)
    for number, ax in enumerate(axes):
        plotting.layer(model, number, ax, activations=mean)
    return figure


def depths():
    """The layers along the last axis, where every coordinate is learnt."""
    model = fitted(sg.SpatialMLP([784, 512, 256, 10], spacing="free"), epochs=5)
    figure, ax = panels()
    plotting.depths(model, ax)
    return figure


def receptive_fields():
    """The strongest hidden neurons."""
    figure, ax = panels(width=6.4, height=4.4)
    plotting.receptive_fields(trained(), (28, 28), ax)
    return figure


def output_fields():
    """The outputs, through all hidden neurons."""
    model = trained()
    figure, ax = panels(width=6.4, height=2.6)
    plotting.receptive_fields(model, (28, 28), ax, neurons=model.graph.outputs)
    return figure


def lengths():
    """The lengths of 1.6 million synapses."""
    figure, ax = panels()
    plotting.lengths(trained(), ax)
    return figure


def weights():
    """Their weights."""
    figure, ax = panels()
    plotting.weights(trained(), ax)
    return figure


def degrees():
    """Numbers of synapses, after pruning."""
    figure, ax = panels()
    plotting.degrees(sg.prune(trained(), 0.9, by="weight"), ax)
    return figure


def adjacency():
    """The adjacency matrix, by layer and by module."""
    model = trained()
    figure, axes = panels(2, width=9.0, height=4.0)
    for order, ax in zip(("layer", "module"), axes, strict=True):
        plotting.adjacency(model, ax, order=order, pixels=300)
    return figure


def spikes():
    """The hidden neurons and the outputs of a spiking network, for an image of a three."""
    model, data = fitted(sg.SpatialSNN([784, 100, 10]), epochs=2), digits()
    with torch.no_grad():
        run = model.simulate(data.test_images[data.test_labels == 3][:1])
    figure, axes = panels(2, width=9.0, height=3.4)
    plotting.raster(run.spikes[0][:, 0], axes[0], by_first_spike=True)
    plotting.potentials(run.potentials[-1][:, 0], axes[1])
    return figure


def history():
    """Accuracies over a training."""
    data = digits()
    (x, y), held_out = ((data.train_images[part], data.train_labels[part]) for part in (slice(8000), slice(8000, None)))
    recipe = training.Recipe(epochs=8, learning_rate=0.03, batch_size=100)
    with tempfile.TemporaryDirectory() as folder:
        model = sg.SpatialMLP([784, 256, 10])
        rows = training.fit(model, (x, y), recipe, Path(folder) / "run", validation=held_out, progress=False)
    figure, ax = panels()
    plotting.history(rows, ax)
    return figure


def movie():
    """A training of a smaller network."""
    model, record = sg.SpatialMLP([784, 256, 10]), training.RecordPositions()
    fitted(model, epochs=20, callbacks=[record])
    figure, ax = panels(width=5.0, height=4.0)
    plotting.movie(record.recording, FOLDER / "movie.gif", model, ax, fps=4)


DRAWINGS = (
    network,
    layers,
    activations,
    depths,
    receptive_fields,
    output_fields,
    lengths,
    weights,
    degrees,
    adjacency,
    spikes,
    history,
    movie,
)
PICTURES = {drawing.__name__: drawing for drawing in DRAWINGS}


def save(figure, path):
    """Write a figure with a palette of 256 colours."""
    drawn = io.BytesIO()
    figure.savefig(drawn, dpi=110, bbox_inches="tight", pad_inches=0.05)
    Image.open(drawn).convert("RGB").quantize(256, method=Image.Quantize.MAXCOVERAGE).save(path, optimize=True)


def main(names):
    """Draw the named pictures, or all."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    for name in names or PICTURES:
        torch.manual_seed(0)
        with rc_context(STYLE):
            figure = PICTURES[name]()
            if figure is not None:
                save(figure, FOLDER / f"{name}.png")


if __name__ == "__main__":
    main(sys.argv[1:])
