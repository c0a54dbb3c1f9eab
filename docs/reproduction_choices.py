"""What the paper does not give, what was chosen here, and why."""

import json
from pathlib import Path

SETTINGS = Path(__file__).resolve().parent / "results" / "paper_settings.json"
HEADER = ["choice", "in the paper", "here", "evidence"]


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


CHOICES = [
    HEADER,
    [
        [
            "initial positions",
            "not given",
            "normal, standard deviation 1; z of the free spacing uniform in [l, l + 1)",
            "the library's default",
        ],
        ["gain on the weights, fixed spacing", "not given", "0.2 (paper's protocol)", _tried("paper fixed, gain ")],
        ["gain, learned spacing", "not given", "0.05 (paper's protocol)", _tried("paper learned, gain ")],
        ["gain, free spacing", "not given", "0.2 (paper's protocol)", _tried("paper free, gain ")],
        ["gain, spiking, fixed spacing", "not given", "1 (paper's protocol)", _tried("paper spiking fixed, gain ")],
        ["gain, spiking, learned spacing", "not given", "1 (paper's protocol)", _tried("paper spiking learned, gain ")],
        ["gain, fast protocol, fixed spacing", "-", "default", _tried("fast fixed, gain ")],
        ["gain, fast protocol, learned spacing", "-", "default", _tried("fast learned, gain ")],
        ["gain, fast protocol, free spacing", "-", "default", _tried("fast free, gain ")],
        [
            "steepness of the sigmoid of polarities",
            "steep, no number",
            "10: tanh(5 v)",
            "with v drawn from N(0, 1), three neurons in four start within 10 % of -1 or 1",
        ],
        ["activation", "not given", "ReLU", "the usual choice"],
        [
            "normalisation",
            "not mentioned",
            "none by the paper's protocol, layer normalisation by the fast one",
            "tables 1 to 3 compare both",
        ],
        ["scaling of the pixels", "not given", "from 0 to 1", "the usual choice"],
        [
            "spike coding",
            "not given",
            "pixels as constant currents",
            "[Spiking networks](results.md#spiking-networks-on-mnist)",
        ],
        [
            "time steps, read-out, leak",
            "not given",
            "25, mean potential of the outputs, 0.95",
            "[Spiking networks](results.md#spiking-networks-on-mnist)",
        ],
        [
            "term against the collapse of layers",
            "mentioned by an author elsewhere, not in the paper",
            "none",
            "[The collapse of the gaps](theory.md#the-collapse-of-the-gaps); gaps stay above 0 in all runs",
        ],
        ["figure 5: spacing", "parameters are those of the fixed spacing", "fixed", "numbers of parameters agree"],
        [
            "peak rate of dense networks, fast protocol",
            "-",
            "0.05; 0.005 for dense 2048",
            "; ".join(f"dense {hidden}: {_tried(f'dense {hidden}, rate ')}" for hidden in (14, 117, 2048)),
        ],
    ],
]
