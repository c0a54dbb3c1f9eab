"""Choose settings of ``examples/race.py`` on held-out training images.

    python benchmarks/race_settings.py --jobs 2 --json docs/results/race_settings.json
    python benchmarks/race_settings.py --only rates --epochs 1        # a quick look

Tries peak rates and shapes of each kind of network in short trainings, other spatial networks for pixels in any order,
and how strongly images are distorted. Test images are not read. The same command continues an interrupted run.
"""

import functools
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from settings_study import study
from torch import nn

import spatialgraph as sg
from spatialgraph import experiments, training
from spatialgraph.experiments import CLASSES, Candidate, Run
from spatialgraph.laws import Cosine
from spatialgraph.wiring import Random

sys.path.append(str(Path(__file__).resolve().parent.parent / "examples"))  # the race and its networks

import race
from compressed_layers import hashed, tensor_train

Build = Callable[[], nn.Module]

LARGE = functools.partial(race.spatial, (320, 205), 16)
DENSE = functools.partial(sg.DenseMLP, [race.PIXELS, 13, CLASSES])
HASHED = {
    hidden: functools.partial(hashed, [race.PIXELS, *map(int, hidden.split("-")), CLASSES], 10_572)
    for hidden in ("100", "200", "500", "200-100")
}
TRAINS = {
    name: functools.partial(tensor_train, factors, rank)
    for name, factors, rank in (
        ("256-256, rank 8", [(4, 7, 7, 4), (4, 4, 4, 4), (4, 4, 4, 4)], 8),
        ("256, rank 11", [(4, 7, 7, 4), (4, 4, 4, 4)], 11),
        ("400, rank 9", *race.TRAIN),
        ("256 of two factors, rank 8", [(28, 28), (16, 16)], 8),
    )
}


BASELINES: dict[str, Build] = {"dense": DENSE, "hashed": HASHED["200"], "tensor train": TRAINS["256-256, rank 8"]}
RATES = (0.01, 0.02, 0.05, 0.1)
WEAK = training.RandomAffine(race.GRID, degrees=6.0, translate=0.05, scale=(0.95, 1.05), shear=3.0)
DISTORTIONS = {"weak": WEAK, "medium": race.DISTORTED, "strong": training.RandomAffine(race.GRID)}


def rates() -> list[Run]:
    """Try peak rates on distorted images."""
    return _rates({"spatial": LARGE} | BASELINES, augment=WEAK)


def any_order() -> list[Run]:
    """Try peak rates of networks that do not know where pixels are, without distortion."""
    networks: dict[str, Build] = {"spatial": race.spatial_any_order, "dense": DENSE, "hashed": HASHED["200-100"]}
    networks["tensor train"] = race.train_any_order
    return _rates({f"{name}, any order": build for name, build in networks.items()})


def any_order_variants() -> list[Run]:
    """Try other spatial networks that do not know where pixels are, and other trainings of the one in the race."""
    hidden, shapes = [200, 143], {"one hidden layer": [340], "six dimensions": [480, 340], "free spacing": [140, 97]}
    options: dict[str, dict[str, Any]] = {
        "one hidden layer": {},
        "six dimensions": {"dim": 6},
        "free spacing": {"spacing": "free"},
        "slower cosine": {"law": Cosine(1.0)},
        "GELU": {"activation": "gelu"},
        "not normalised": {"normalize": False},
        "half of the synapses": {"wiring": Random(0.5, seed=0)},
    }
    runs = []
    for name, chosen in options.items():
        sizes = [race.PIXELS, *shapes.get(name, hidden), CLASSES]
        given: dict[str, Any] = {"dim": 9, "law": Cosine(3.0)} | chosen
        build = functools.partial(sg.SpatialMLP, sizes, **given)
        runs.append(_run(f"spatial, any order, {name}", build, 20, 0.05))
    longer = _run("spatial, any order", race.spatial_any_order, 60, 0.05)
    return [*runs, longer]


def spiking() -> list[Run]:
    """Try peak rates of spiking networks."""
    networks: dict[str, Build] = {
        "spatial, spiking": functools.partial(race.spatial, (525,), 16, sg.SpatialSNN),
        "dense, spiking": functools.partial(sg.DenseSNN, [race.PIXELS, 13, CLASSES]),
    }
    return _rates(networks, (0.01, 0.03, 0.06), augment=WEAK)


def shapes() -> list[Run]:
    """Try shapes of hashed networks and tensor trains."""
    networks = {f"hashed, {hidden}": build for hidden, build in HASHED.items()}
    networks |= {f"tensor train, {name}": build for name, build in TRAINS.items()}
    return _rates(networks, (0.02,), augment=WEAK)


def distortions() -> list[Run]:
    """Try how strongly images are distorted, and the two best ones in a long training."""
    tried = [(name, 60) for name in DISTORTIONS] + [("weak", 180), ("medium", 180)]
    return [
        _run(f"spatial, {name} distortion", LARGE, epochs, 0.03, augment=DISTORTIONS[name]) for name, epochs in tried
    ]


STUDIES: dict[str, Callable[[], list[Run]]] = {
    "rates": rates,
    "any_order": any_order,
    "any_order_variants": any_order_variants,
    "spiking": spiking,
    "shapes": shapes,
    "distortions": distortions,
}


def _rates(networks: Mapping[str, Build], tried: Sequence[float] = RATES, **options: Any) -> list[Run]:  # noqa: ANN401
    return [_run(name, build, 20, rate, **options) for name, build in networks.items() for rate in tried]


def _run(name: str, build: Build, epochs: int, rate: float, **options: Any) -> Run:  # noqa: ANN401 - those of Run
    recipe = training.Recipe(epochs=epochs, learning_rate=rate, batch_size=300)
    return Run(Candidate(f"{name}, {epochs} epochs, rate {rate}", build), recipe, validate=True, **options)


def main(argv: Sequence[str] | None = None) -> None:
    """Train all, print the accuracies on held-out images, and write JSON if requested."""
    study("race_settings", __doc__, STUDIES, argv)


if __name__ == "__main__":
    experiments.as_script(main, option="")
