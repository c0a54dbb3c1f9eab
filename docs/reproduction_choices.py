"""What the paper does not give, what was chosen here, and why."""

import json
import sys
from pathlib import Path

sys.path.append(str(Path(__file__).resolve().parent.parent / "examples"))

import paper  # noqa: E402 - found by the line above

RESULTS = Path(__file__).resolve().parent / "results"
SETTINGS = RESULTS / "paper_settings.json"


def _tried(prefix):
    """The held-out accuracies of all trainings whose names begin alike, by what follows in the name."""
    if not SETTINGS.exists():
        return "not measured"
    rows = json.loads(SETTINGS.read_text())["runs"]
    found = [(row["network"][len(prefix) :], row) for row in rows if row["network"].startswith(prefix)]
    if not found:
        return "not measured"
    epochs = found[0][1]["recipe"]["epochs"]
    words = ", ".join(
        f"{name.replace('None', 'default')}: {100 * row['validation_accuracy']:.1f}" for name, row in found
    )
    return f"held-out images, {epochs} epochs, seed 0: {words}"


def _tried_free():
    """The held-out accuracies of batches and rates of the free spacing."""
    rows = json.loads((RESULTS / "recipe_free_spacing.json").read_text())["rows"]
    found = [f"{row['settings']}: {row['validation_accuracy_percent']:.1f}" for row in rows if row["epochs"] == 20]
    return f"held-out images, 20 epochs, seed 0, graded polarity: {'; '.join(found)}"


def _gain(gain):
    return "the library's default" if gain is None else f"{gain:g}"


def _gains():
    """The gain of each spacing, by both protocols."""
    rows = []
    for kind, gains in (("", paper.GAINS), ("spiking ", paper.SPIKING_GAINS)):
        for protocol, chosen in gains.items():
            for spacing, gain in chosen.items():
                name = f"gain, {kind}{spacing} spacing, {protocol} protocol"
                rows.append([name, "not given", _gain(gain), _tried(f"{protocol} {kind}{spacing}, gain ")])
    return rows


def _recipes():
    """Batches and peak rates by the fast protocol, where they are not those of all networks."""
    rows = []
    for name, recipe in paper.FAST_RECIPES.items():
        what = f"batch and peak rate, fast protocol, {name}"
        evidence = _tried_free() if name == "free" else _tried(f"{name}, ")
        rows.append([what, "-", f"{recipe.batch_size}, {recipe.learning_rate:g}", evidence])
    return rows


def choices(gap):
    """The table; ``gap`` is the smallest learned distance of two layers in all runs."""
    spiking = "[Spiking networks](results.md#spiking-networks-on-mnist)"
    polarity = "with v drawn from N(0, 1), three neurons in four start within 10 % of -1 or 1"
    normalisation = "none by the paper's protocol, layer normalisation by the fast one"
    collapse = (
        f"[The collapse of the gaps](theory.md#the-collapse-of-the-gaps); the smallest gap in all runs is {gap:.2g}"
    )
    return [
        ["choice", "in the paper", "here", "evidence"],
        [
            ["initial positions", "not given", "normal, standard deviation 1", "the library's default"],
            [
                "initial z of the free spacing",
                "not given",
                "uniform between a layer and the next",
                "the library's default",
            ],
            *_gains(),
            ["steepness of the sigmoid of polarities", "steep, no number", "10: tanh(5 v)", polarity],
            ["activation", "not given", "ReLU", "the usual choice"],
            ["normalisation", "not mentioned", normalisation, "tables 1 to 3 compare both"],
            ["scaling of the pixels", "not given", "from 0 to 1", "the usual choice"],
            ["spike coding", "not given", "pixels as constant currents", spiking],
            ["time steps, read-out, leak", "not given", "25, mean potential of the outputs, 0.95", spiking],
            ["term against the collapse of layers", "mentioned by an author elsewhere", "none", collapse],
            ["figure 5: spacing", "parameters are those of the fixed spacing", "fixed", "numbers of parameters agree"],
            *_recipes(),
        ],
    ]
