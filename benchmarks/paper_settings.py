"""Choose what the paper does not give, for both protocols of ``examples/paper.py``, on held-out training images.

    python benchmarks/paper_settings.py --jobs 2 --json docs/results/paper_settings.json
    python benchmarks/paper_settings.py --only dense --epochs 1        # a quick look

Tries a factor on the weights, the gain, for each spacing; and a peak rate for each network that the one-cycle schedule
trains. Test images are not read. The same command continues an interrupted run.
"""

import dataclasses
import functools
from collections.abc import Sequence
from typing import Any

from settings_study import study

import spatialgraph as sg
from spatialgraph import experiments, training
from spatialgraph.experiments import Candidate, Run

SIZES = [784, 2048, 10]
GAINS = (None, 0.02, 0.05, 0.2, 0.5, 1.0)
FAST, SPIKING = training.RECIPES["fast"], training.RECIPES["fast_spiking"]


def spatial(spacing: str, gain: float | None, normalize: bool, dim: int = 3) -> sg.SpatialMLP:
    """Return a spatial perceptron."""
    return sg.SpatialMLP(SIZES, dim, spacing=spacing, polarity_mode="binary", gain=gain, normalize=normalize)


def spiking(spacing: str, gain: float | None, normalize: bool) -> sg.SpatialSNN:
    """Return a spatial spiking network."""
    return sg.SpatialSNN(SIZES, spacing=spacing, polarity_mode="binary", gain=gain, normalize=normalize, drive=0.8)


def paper_gains() -> list[Run]:
    """Try gains without normalisation, with the constant rate of the paper."""
    recipe = dataclasses.replace(training.RECIPES["paper"], epochs=25)
    return [
        _run(f"paper {spacing}, gain {gain}", functools.partial(spatial, spacing, gain, False), recipe)
        for spacing in ("fixed", "learned", "free")
        for gain in GAINS
    ]


def paper_spiking_gains() -> list[Run]:
    """Try gains of spiking networks without normalisation, with the constant rate of the paper."""
    recipe = dataclasses.replace(training.RECIPES["paper_spiking"], epochs=15)
    return [
        _run(f"paper spiking {spacing}, gain {gain}", functools.partial(spiking, spacing, gain, False), recipe)
        for spacing in ("fixed", "learned")
        for gain in (*GAINS, 3.0)
    ]


def fast_gains() -> list[Run]:
    """Try gains with normalisation, where they matter for the outputs alone."""
    recipes = {"fixed": FAST, "learned": FAST, "free": dataclasses.replace(FAST, batch_size=100, learning_rate=0.03)}
    return [
        _run(f"fast {spacing}, gain {gain}", functools.partial(spatial, spacing, gain, True), recipe)
        for spacing, recipe in recipes.items()
        for gain in (None, 0.05, 1.0)
    ]


def fast_spiking_gains() -> list[Run]:
    """Try gains of spiking networks with normalisation."""
    return [
        _run(f"fast spiking {spacing}, gain {gain}", functools.partial(spiking, spacing, gain, True), SPIKING)
        for spacing in ("fixed", "learned")
        for gain in (None, 0.05, 1.0)
    ]


def free_rates() -> list[Run]:
    """Try gains, batches and peak rates of the free spacing."""
    return [
        _run(f"free, gain {gain}, batch {batch}, rate {rate}", functools.partial(spatial, "free", gain, True), recipe)
        for gain, batch, rate in ((3.0, 100, 0.03), (1.0, 100, 0.015), (1.0, 100, 0.06), (1.0, 600, 0.05))
        for recipe in [dataclasses.replace(FAST, batch_size=batch, learning_rate=rate)]
    ]


def dense_rates() -> list[Run]:
    """Try peak rates of dense networks."""
    return [
        _run(f"dense {hidden}, rate {rate}", functools.partial(sg.DenseMLP, [784, hidden, 10]), recipe)
        for hidden in (14, 17, 20, 32, 60, 117, 2048)
        for rate in (0.05, 0.02, 0.01, 0.005)
        for recipe in [dataclasses.replace(FAST, learning_rate=rate)]
    ]


def spiking_rates() -> list[Run]:
    """Try peak rates of dense spiking networks."""
    tried = {14: ((100, 0.03), (600, 0.02), (600, 0.05)), 2048: ((100, 0.003), (600, 0.005), (600, 0.02))}
    return [
        _run(
            f"spiking dense {hidden}, batch {batch}, rate {rate}",
            functools.partial(sg.DenseSNN, [784, hidden, 10]),
            recipe,
        )
        for hidden, pairs in tried.items()
        for batch, rate in pairs
        for recipe in [dataclasses.replace(SPIKING, batch_size=batch, learning_rate=rate)]
    ]


def dimensions() -> list[Run]:
    """Try peak rates of networks with more dimensions."""
    return [
        _run(f"d={dim}, rate {rate}", functools.partial(spatial, "fixed", None, True, dim), recipe)
        for dim in (5, 32)
        for rate in (0.05, 0.02)
        for recipe in [dataclasses.replace(FAST, learning_rate=rate)]
    ]


STUDIES = {
    "dense": dense_rates,
    "paper": paper_gains,
    "paper_spiking": paper_spiking_gains,
    "fast": fast_gains,
    "fast_spiking": fast_spiking_gains,
    "free": free_rates,
    "spiking": spiking_rates,
    "dimensions": dimensions,
}


def _run(name: str, build: Any, recipe: training.Recipe) -> Run:  # noqa: ANN401
    return Run(Candidate(name, build), recipe, validate=True)


def main(argv: Sequence[str] | None = None) -> None:
    """Train all, print the accuracies on held-out images, and write JSON if requested."""
    study("paper_settings", __doc__, STUDIES, argv)


if __name__ == "__main__":
    experiments.as_script(main, option="")
