"""What the paper states, each checked against what was measured by one protocol.

A check returns whether the statement held and the numbers that say so, or None where a run is missing. Means over the
seeds are compared; a difference below both standard deviations is called one within the scatter of the seeds.
"""

import dataclasses
import statistics
from collections.abc import Callable

from reproduction_data import mean_and_deviation

NEARLY = 1.0  # points
LEVEL = 0.5
OVERLAP = 0.01

FLATTER = "accuracy still rises, by less for each further dimension"


@dataclasses.dataclass(frozen=True)
class Statement:
    """A statement, its check, and why it did not hold where it did not."""

    text: str
    check: Callable
    reason: str = ""


def against(one, other):
    """Two lists of accuracies as text, and whether their means differ by no more than they scatter."""
    words = f"{mean_and_deviation(one)} against {mean_and_deviation(other)}"
    if len(one) > 1 and len(other) > 1:
        scatter = min(statistics.stdev(one), statistics.stdev(other))
        if abs(statistics.fmean(one) - statistics.fmean(other)) < scatter:
            words += ", within the scatter of the seeds"
    return words


def above(better, worse, text, reason=""):
    """The first network is better than the second."""

    def check(measured):
        one, other = measured.accuracies(better), measured.accuracies(worse)
        return (statistics.fmean(one) > statistics.fmean(other), against(one, other)) if one and other else None

    return Statement(text, check, reason)


def above_pruned(other, amounts, text, after, reason=""):
    """The pruned spatial network is better than another one at each amount."""

    def check(measured):
        pairs = []
        for amount in amounts:
            names = ("learned", other) if after else (f"{each}, {amount} % in training" for each in ("learned", other))
            one, two = (measured.accuracies(name, amount if after else None) for name in names)
            if not one or not two:
                return None
            pairs.append((amount, one, two))
        words = "; ".join(f"{amount} %: {against(one, two)}" for amount, one, two in pairs)
        return all(statistics.fmean(one) > statistics.fmean(two) for _, one, two in pairs), words

    return Statement(text, check, reason)


def nearly_unpruned(measured):
    """At 80 % in training nearly as accurate as without pruning."""
    whole, pruned = measured.mean("learned"), measured.mean("learned, 80 % in training")
    if whole is None or pruned is None:
        return None
    return abs(whole - pruned) < NEARLY, f"{pruned:.2f} against {whole:.2f}"


def maintained(measured):
    """At 90 % in training less than 3 points are lost."""
    whole, pruned = measured.mean("learned"), measured.mean("learned, 90 % in training")
    if whole is None or pruned is None:
        return None
    return whole - pruned < 3.0, f"{pruned:.2f} against {whole:.2f}"


def reaches(network, what, paper):
    """At least the paper's accuracy, or within a point of it."""

    def check(measured):
        values = measured.accuracies(network)
        return (statistics.fmean(values) >= paper - NEARLY, mean_and_deviation(values)) if values else None

    return Statement(f"{what} reaches {paper} % (here: no more than a point below).", check)


def overlaps(measured):
    """More than one in a hundred pairs of neurons of adjacent layers is in reverse order, for both pairs of layers."""
    runs = measured["free"]
    if not runs:
        return None
    shares = [statistics.fmean(run["examined"]["overlap"][gap] for run in runs) for gap in range(2)]
    return min(shares) > OVERLAP, " and ".join(
        f"{100 * share:.1f} %" for share in shares
    ) + " of the pairs in reverse order"


DIMENSIONS = {3: "fixed", 5: "d=5", 8: "d=8", 16: "d=16", 32: "d=32"}
MATCHED = {3: 14, 5: 20, 8: 32, 16: 60, 32: 117}


def _by_dimension(measured):
    found = {dim: measured.mean(name) for dim, name in DIMENSIONS.items()}
    return None if None in found.values() else found


def rises(measured):
    """Accuracy rises with each step from 3 to 16 dimensions."""
    found = _by_dimension(measured)
    if found is None:
        return None
    values = [found[dim] for dim in (3, 5, 8, 16)]
    return values == sorted(values), ", ".join(f"d = {dim}: {found[dim]:.2f}" for dim in (3, 5, 8, 16))


def levels_off(measured):
    """From 16 to 32 dimensions accuracy changes by less than half a point."""
    found = _by_dimension(measured)
    if found is None:
        return None
    return abs(found[32] - found[16]) < LEVEL, f"d = 16: {found[16]:.2f}, d = 32: {found[32]:.2f}"


def dense_ahead(measured):
    """At each number of dimensions the dense network with as many parameters is better."""
    found, dense = _by_dimension(measured), {dim: measured.mean(f"dense {MATCHED[dim]}") for dim in DIMENSIONS}
    if found is None or None in dense.values():
        return None
    words = "; ".join(f"d = {dim}: {found[dim]:.2f} against {dense[dim]:.2f}" for dim in DIMENSIONS)
    return all(dense[dim] > found[dim] for dim in DIMENSIONS), words


def as_the_perceptron(measured):
    """The spiking network is within a point of the perceptron, or better."""
    one, other = measured.mean("spiking learned"), measured.mean("learned")
    return None if one is None or other is None else (one > other - NEARLY, f"{one:.2f} against {other:.2f}")


STATEMENTS = [
    reaches("fixed", "The fixed spacing", 90.18),
    reaches("learned", "The learned spacing", 92.17),
    reaches("free", "The free spacing", 93.37),
    reaches("spiking fixed", "The spiking network with fixed spacing", 91.87),
    reaches("spiking learned", "The spiking network with learned spacing", 92.16),
    above("learned", "fixed", "Learned spacing beats fixed spacing."),
    above("free", "learned", "Free spacing beats learned spacing."),
    Statement("With free spacing the layers overlap along z.", overlaps),
    above("dense 14", "learned", "The dense perceptron with as many parameters beats the one with learned spacing."),
    above(
        "dense 17",
        "free",
        "The dense perceptron with as many parameters beats the one with free spacing.",
        "the spatial network is better here than in the paper; the difference is less than seeds scatter by",
    ),
    above(
        "spiking learned",
        "spiking dense 14",
        "The spatial spiking network beats the dense one with as many parameters.",
        "the dense spiking network is better here than in the paper, and normalised currents help it most",
    ),
    above(
        "spiking dense 2048",
        "spiking learned",
        "The dense spiking network with as many synapses beats the spatial one.",
    ),
    above("spiking learned", "spiking fixed", "In spiking networks too, learned spacing beats fixed spacing."),
    Statement(
        "The spiking network is about as accurate as the perceptron (here: no more than a point below).",
        as_the_perceptron,
    ),
    Statement("Accuracy rises with the number of dimensions.", rises),
    Statement("Beyond 16 dimensions it levels off (here: less than half a point from 16 to 32).", levels_off, FLATTER),
    Statement("In all dimensions the dense perceptron with as many parameters is better.", dense_ahead),
    above_pruned("dense 14", (80, 90, 95, 98), "Pruned by 80 % and more after training, it beats dense 14.", True),
    above_pruned(
        "dense 2048",
        (95,),
        "Pruned by 95 % after training, it beats dense 2,048.",
        True,
        "300 epochs gather the weight of dense 2,048 in few synapses, so that it loses less than after 20 epochs",
    ),
    above_pruned("dense 14", (80, 90, 95, 98), "Pruned by more than 60 % in training, it beats dense 14.", False),
    Statement(
        "Pruned by 80 % in training, it is nearly as accurate as without (here: within a point).",
        nearly_unpruned,
        "with fewer synapses the training images are fitted less well, too",
    ),
    Statement(
        "It keeps its accuracy beyond 80 % of pruning in training (here: 3 points lost at most, at 90 %).", maintained
    ),
]
