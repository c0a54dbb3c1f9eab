"""Analysis of a trained network by the measures of network neuroscience, compared with chance."""

import dataclasses
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
from torch import nn

from spatialgraph import checks
from spatialgraph.connectome.analysis import measures
from spatialgraph.connectome.analysis.modules import find_modules
from spatialgraph.connectome.analysis.nulls import degree_null, length_null, strength_null
from spatialgraph.connectome.analysis.outliers import Outlier, find_outliers
from spatialgraph.connectome.analysis.small_world import small_world_propensity
from spatialgraph.connectome.analysis.weighted_edges import WeightedEdges
from spatialgraph.connectome.optional import imported
from spatialgraph.graph.network import graph_of
from spatialgraph.graph.spatial_graph import SpatialGraph

if TYPE_CHECKING:
    import pandas

__all__ = ["Analysis", "Chance", "analyse"]

# Paths are measured from as many neurons, drawn at random, as follow so many synapses; from some in any case.
_FOLLOWED = 100_000_000
_SOURCES = 50

NULLS = {"degree": degree_null, "strength": strength_null, "length": length_null}
_BY_LENGTH = ("wiring",)


@dataclasses.dataclass(frozen=True)
class Chance:
    """A measure in null models.

    Args:
        null: ``"degree"``, ``"strength"`` or ``"length"``; see :func:`~spatialgraph.analyse`.
        mean: mean over the null models.
        deviation: standard deviation over the null models.
        z: the network's measure minus the mean, in standard deviations; NaN if these are 0.
        count: number of null models.
    """

    null: str
    mean: float
    deviation: float
    z: float
    count: int

    def __str__(self) -> str:
        """Return the score, or the mean where there is none, and what the null models were."""
        score = f"z = {self.z:+.1f}" if self.z == self.z else f"mean {self.mean:.4g}"
        return f"{score} ({self.null}, {self.count} nulls)"


@dataclasses.dataclass(frozen=True)
class Analysis:
    """What :func:`~spatialgraph.analyse` found.

    Args:
        neurons: number of neurons.
        synapses: number of synapses.
        values: measures of the whole network by name.
        by_neuron: measures of each neuron by name, shape ``(N,)``.
        chance: for some of the measures what they are in null models.
        outliers: neurons that stand out.
    """

    neurons: int
    synapses: int
    values: dict[str, float]
    by_neuron: dict[str, np.ndarray]
    chance: dict[str, list[Chance]]
    outliers: list[Outlier]

    def __repr__(self) -> str:
        """Return a table of the measures and a list of the outliers."""
        lines = [f"Analysis of {self.neurons:,} neurons and {self.synapses:,} synapses"]
        for name, value in self.values.items():
            nulls = [str(each) for each in self.chance.get(name, ())]
            lines.append(f"  {name.replace('_', ' '):<26}{value:>12.4g}  {', '.join(nulls)}".rstrip())
        lines.append(f"  outliers: {len(self.outliers) or 'none'}")
        lines += [f"    neuron {each.neuron}: {each.reason}" for each in self.outliers[:10]]
        if len(self.outliers) > 10:
            lines.append(f"    and {len(self.outliers) - 10} more")
        return "\n".join(lines)

    def to_dict(self) -> dict[str, Any]:
        """Return all of it as numbers, names and lists, which JSON takes; None for NaN, which JSON does not know."""
        result = dataclasses.asdict(self)
        result["by_neuron"] = {name: values.tolist() for name, values in self.by_neuron.items()}
        result["values"] = _without_nan(self.values)
        result["chance"] = {
            name: [_without_nan(dataclasses.asdict(each)) for each in chance] for name, chance in self.chance.items()
        }
        return result

    def to_frame(self) -> "pandas.DataFrame":
        """Return the measures of the neurons as a pandas table.

        Raises:
            ImportError: if pandas is not installed.
        """
        frame: pandas.DataFrame = imported("pandas").DataFrame(self.by_neuron)
        frame.index.name = "neuron"
        return frame


def analyse(network: nn.Module, *, nulls: int = 20, seed: int = 0, progress: bool | None = None) -> Analysis:
    """Analyse the graph of a network by the measures of network neuroscience, and compare with chance.

    Weights count by their absolute values, but for the balance of excitation and inhibition.

    =====================  =========================================================================================
    measure                null models
    =====================  =========================================================================================
    clustering             ``degree`` and ``strength``
    path length            ``degree`` and ``strength``
    modularity             ``degree`` and ``strength``
    reciprocity            ``degree`` and ``strength``
    rich club              ``degree`` and ``strength``
    wiring                 ``length``
    =====================  =========================================================================================

    ``degree`` keeps the in- and out-degree of every neuron and the weights of its outgoing synapses; ``strength`` keeps
    its numbers of excitatory and inhibitory synapses, in and out, and nearly its strengths; ``length`` shuffles the
    lengths of the synapses. See :mod:`spatialgraph.connectome.analysis.nulls`. The rich-club coefficient is that of the
    neurons of the tenth with the most synapses. Of large networks, paths from some neurons are measured: as many as
    follow 100 million synapses, and at least 50.

    Args:
        network: a graph, or a model that has one.
        nulls: number of null models of each kind.
        seed: seed of the null models, of the modules and of the small-world propensity.
        progress: whether to show a progress bar; None shows it on a terminal.

    Raises:
        ImportError: if igraph is not installed.
        TypeError: if ``network`` is neither a graph nor a model that has one.
        ValueError: if ``nulls`` is negative, or a parameter of the network is infinite or NaN.

    Example:
        >>> found = analyse(SpatialGraph.layered([9, 8, 7]), nulls=2)
        >>> found.neurons, found.synapses, found.values["reciprocity"]
        (24, 128, 0.0)
    """
    graph = graph_of(network)
    checks.integer("nulls", nulls, minimum=0)
    edges, rng = WeightedEdges.of(graph), np.random.default_rng(checks.integer("seed", seed, minimum=0))
    compared = _compared(seed)
    values, by_neuron = _describe(edges, graph, seed, rng)
    values |= {name: measure(edges) for name, measure in compared.items()}
    chance = _chance(edges, values, compared, nulls, rng, progress)
    return Analysis(edges.count, len(edges.weight), values, by_neuron, chance, find_outliers(graph))


def _describe(
    edges: WeightedEdges, graph: SpatialGraph, seed: int, rng: np.random.Generator
) -> tuple[dict[str, float], dict[str, np.ndarray]]:
    """Return what is not compared with chance."""
    ones, size = np.ones_like(edges.weight), np.abs(edges.weight)
    by_neuron = {
        "layer": graph.layer.cpu().numpy(),
        "in_degree": edges.sums("target", ones).astype(np.int64),
        "out_degree": edges.sums("source", ones).astype(np.int64),
        "in_strength": edges.sums("target", size),
        "out_strength": edges.sums("source", size),
        "clustering": measures.clustering(edges),
        "module": find_modules(edges, seed)[0],
    }
    lengths = edges.length if len(edges.length) else np.full(1, np.nan)
    values = {
        "mean_degree": 2.0 * len(edges.weight) / edges.count,
        "mean_strength": 2.0 * float(size.sum()) / edges.count,
        "mean_length": float(lengths.mean()),
        "median_length": float(np.median(lengths)),
        "longest_length": float(lengths.max()),
        "excitatory_share": measures.excitatory_share(edges),
        "wiring_efficiency": measures.wiring_efficiency(edges),
        "reachable_pairs": _paths(edges, seed)[1],
        "modules": float(by_neuron["module"].max(initial=-1) + 1),
        "small_world_propensity": small_world_propensity(edges, rng, _sources(edges)),
    }
    return values, by_neuron


def _compared(seed: int) -> dict[str, Callable[[WeightedEdges], float]]:
    """Return the measures that are compared with chance."""
    return {
        "clustering": lambda edges: float(measures.clustering(edges).mean()),
        "path_length": lambda edges: _paths(edges, seed)[0],
        "modularity": lambda edges: find_modules(edges, seed)[1],
        "reciprocity": measures.reciprocity,
        "rich_club": _rich_club_of_hubs,
        "wiring": measures.total_wiring,
    }


def _rich_club_of_hubs(edges: WeightedEdges) -> float:
    """Return the rich-club coefficient of the tenth of the neurons with the most synapses."""
    ones = np.ones_like(edges.weight)
    degree = edges.sums("source", ones) + edges.sums("target", ones)
    border = int(np.quantile(degree, 0.9))
    coefficients = measures.rich_club(edges)
    return float(coefficients[min(border, len(coefficients) - 1)])


def _paths(edges: WeightedEdges, seed: int) -> tuple[float, float]:
    """Return the path length and the share of pairs with a path, from the same neurons in every null model."""
    return measures.path_length(edges, _sources(edges), np.random.default_rng(seed))


def _sources(edges: WeightedEdges) -> int:
    """Return the number of neurons from which paths are measured."""
    return max(_SOURCES, min(edges.count, _FOLLOWED // max(1, len(edges.weight))))


def _chance(
    edges: WeightedEdges,
    values: dict[str, float],
    compared: dict[str, Callable[[WeightedEdges], float]],
    nulls: int,
    rng: np.random.Generator,
    progress: bool | None,
) -> dict[str, list[Chance]]:
    """Measure null models of each kind."""
    from tqdm.auto import tqdm

    result: dict[str, list[Chance]] = {name: [] for name in compared}
    with tqdm(total=nulls * len(NULLS), desc="null models", disable=None if progress is None else not progress) as bar:
        for kind, make in NULLS.items():
            names = [name for name in compared if (name in _BY_LENGTH) == (kind == "length")]
            found = []
            for _ in range(nulls):
                null = make(edges, rng)
                found.append([compared[name](null) for name in names])
                bar.update()
            for name, column in zip(names, np.reshape(found, (nulls, len(names))).T, strict=True):
                if nulls:
                    result[name].append(_compare(kind, values[name], column))
    return {name: each for name, each in result.items() if each}


def _without_nan(values: dict[str, Any]) -> dict[str, Any]:
    return {name: None if value != value else value for name, value in values.items()}


def _compare(kind: str, value: float, column: np.ndarray) -> Chance:
    mean, deviation = float(column.mean()), float(column.std(ddof=1)) if len(column) > 1 else float("nan")
    z = (value - mean) / deviation if deviation > 0 else float("nan")
    return Chance(kind, mean, deviation, z, len(column))
