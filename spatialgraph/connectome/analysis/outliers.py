"""Outliers: neurons far from their sources and targets, or without influence on any output."""

import dataclasses

import numpy as np
from torch import nn

from spatialgraph import checks
from spatialgraph.connectome.analysis.weighted_edges import WeightedEdges
from spatialgraph.graph.network import graph_of
from spatialgraph.graph.spatial_graph import SpatialGraph

__all__ = ["Outlier", "find_outliers", "influence", "median_lengths"]

_STEPS = 1000


@dataclasses.dataclass(frozen=True)
class Outlier:
    """A neuron that stands out, and why.

    Args:
        neuron: its number.
        reason: one line.
    """

    neuron: int
    reason: str


def influence(edges: WeightedEdges, is_output: np.ndarray) -> np.ndarray:
    r"""Return how much of the outputs' input passes through each neuron, shape ``(N,)``.

    .. math:: I_i = \sum_j \frac{|w_{ij}|}{\sum_k |w_{kj}|}\, I_j, \qquad I_j = 1 \text{ for outputs}

    Weights count by their absolute values, and all neurons as equally active. Loops are followed until they add next to
    nothing.

    Args:
        edges: the edges.
        is_output: which neurons are outputs, shape ``(N,)``, bool.

    Example:
        >>> graph = SpatialGraph.layered([3, 2])
        >>> float(influence(WeightedEdges.of(graph), graph.is_output.numpy())[:3].sum().round(6))
        2.0
    """
    weight = np.abs(edges.weight)
    received = edges.sums("target", weight)[edges.target]
    shares = edges.matrix(np.divide(weight, received, out=np.zeros_like(weight), where=received > 0))
    own = is_output.astype(np.float64)
    result = own
    for _ in range(_STEPS):
        before, result = result, own + shares @ result
        if np.abs(result - before).max(initial=0.0) <= 1e-9 * result.max(initial=0.0):
            break
    return result


def find_outliers(network: nn.Module, *, far: float = 3.0, weak: float = 0.01) -> list[Outlier]:
    """Name neurons that look wrong: far from their sources and targets, or without influence on any output.

    Each neuron is compared with the median of its layer, or of the whole network if it has no layers.

    Args:
        network: a graph, or a model that has one.
        far: a neuron is far if the median length of its synapses is more than so many times that of its layer.
        weak: a neuron is weak if its influence (see :func:`influence`) is less than this share of the median.

    Returns:
        The outliers, ordered by number; one for each neuron and reason.

    Raises:
        TypeError: if ``network`` is neither a graph nor a model that has one.
        ValueError: if ``far`` or ``weak`` is not positive, or a parameter of the network is infinite or NaN.

    Example:
        >>> import torch
        >>> torch.manual_seed(0)
        <...>
        >>> graph = SpatialGraph.layered([9, 8, 7], spacing="free")
        >>> pos = graph.pos.detach().clone()
        >>> pos[12] += 100.0
        >>> [outlier.neuron for outlier in find_outliers(graph.place_(pos)) if "far" in outlier.reason]
        [12]
    """
    checks.positive("far", far)
    checks.positive("weak", weak)
    graph = graph_of(network)
    edges = WeightedEdges.of(graph)
    found = [*_far(edges, _groups(graph), far), *_weak(edges, graph, weak)]
    return sorted(found, key=lambda outlier: outlier.neuron)


def _far(edges: WeightedEdges, groups: dict[str, np.ndarray], far: float) -> list[Outlier]:
    length = median_lengths(edges)
    times, names = np.full(edges.count, np.nan), np.empty(edges.count, object)
    for name, members in groups.items():
        if not np.isnan(length[members]).all():
            times[members] = length[members] / np.nanmedian(length[members])
            names[members] = name
    is_far = times > far
    words = "far: median length {:.3g}, {:.1f} times that of {}"
    return [
        Outlier(int(neuron), words.format(length[neuron], times[neuron], names[neuron]))
        for neuron in np.flatnonzero(is_far & ~_far_by_others(edges, is_far))
    ]


def _far_by_others(edges: WeightedEdges, is_far: np.ndarray) -> np.ndarray:
    """Tell which neurons have synapses only with far ones that have more synapses: these moved, not they."""
    ends = np.stack([edges.source, edges.target])
    degree = np.bincount(ends.ravel(), minlength=edges.count)
    is_other = is_far[ends[::-1]] & (degree[ends[::-1]] > degree[ends])
    result: np.ndarray = np.bincount(ends[is_other], minlength=edges.count) == degree
    return result


def median_lengths(edges: WeightedEdges) -> np.ndarray:
    """Return the lower median of the lengths of each neuron's synapses, in and out; NaN without synapses.

    A mean would be long for the partners of a neuron that is far away, too.

    Example:
        >>> graph = SpatialGraph.layered([3, 2])
        >>> median_lengths(WeightedEdges.of(graph)).shape
        (5,)
    """
    ends, length = np.concatenate([edges.source, edges.target]), np.concatenate([edges.length, edges.length])
    degree = np.bincount(ends, minlength=edges.count)
    has_synapses = degree > 0
    first, order = np.cumsum(degree) - degree, np.lexsort((length, ends))
    result = np.full(edges.count, np.nan)
    result[has_synapses] = length[order[(first + (degree - 1) // 2)[has_synapses]]]
    return result


def _weak(edges: WeightedEdges, graph: SpatialGraph, weak: float) -> list[Outlier]:
    share, is_output = influence(edges, graph.is_output.cpu().numpy()), graph.is_output.cpu().numpy()
    result = []
    for name, members in _groups(graph).items():
        senders = members[~is_output[members]]
        usual = float(np.median(share[senders])) if len(senders) else 0.0
        for neuron in senders[(share[senders] < weak * usual) | (share[senders] == 0)]:
            reason = (
                "weak: no path of weights other than 0 leads to an output"
                if share[neuron] == 0
                else f"weak: influence on the outputs {100 * share[neuron] / usual:.2g} % of that of {name}"
            )
            result.append(Outlier(int(neuron), reason))
    return result


def _groups(graph: SpatialGraph) -> dict[str, np.ndarray]:
    """Return the neurons of each layer, by what messages call it."""
    layer = graph.layer.cpu().numpy()
    if not graph.is_layered:
        return {"all neurons": np.arange(len(layer))}
    return {f"layer {number}": np.flatnonzero(layer == number) for number in np.unique(layer).tolist()}
