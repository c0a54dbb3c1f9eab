"""A network as two pandas tables, one of its neurons and one of its synapses."""

from typing import TYPE_CHECKING

from torch import nn

from spatialgraph.connectome.formats.tables import Tables
from spatialgraph.connectome.optional import imported
from spatialgraph.graph.spatial_graph import SpatialGraph

if TYPE_CHECKING:
    import pandas

__all__ = ["from_frames", "to_frames"]


def to_frames(
    network: nn.Module, *, min_weight: float | None = None, top: int | None = None, fraction: float | None = None
) -> "tuple[pandas.DataFrame, pandas.DataFrame]":
    """Return a table of the neurons and one of the synapses, which :func:`from_frames` reads.

    Args:
        network: a graph, or a model that has one.
        min_weight: keep only synapses of at least this absolute weight.
        top: keep only so many synapses, those of the largest absolute weights.
        fraction: keep only this share of the synapses, those of the largest absolute weights.

    Returns:
        The columns of :class:`~spatialgraph.connectome.formats.tables.Tables`. The attribute ``attrs`` of the first
        table holds the settings of the network.

    Raises:
        ImportError: if pandas is not installed.
        TypeError: if ``network`` is neither a graph nor a model that has one.
        ValueError: if a parameter is infinite or NaN; the message names the neuron or synapse.

    Example:
        >>> neurons, synapses = to_frames(SpatialGraph.layered([2, 1]))
        >>> list(synapses.columns)
        ['source', 'target', 'weight', 'length']
    """
    pandas = imported("pandas")
    tables = Tables.of(network, min_weight=min_weight, top=top, fraction=fraction)
    neurons, synapses = pandas.DataFrame(tables.neurons), pandas.DataFrame(tables.synapses)
    neurons.index.name = "neuron"
    neurons.attrs.update(tables.settings)
    return neurons, synapses


def from_frames(neurons: "pandas.DataFrame", synapses: "pandas.DataFrame") -> SpatialGraph:
    """Build a network from a table of neurons and one of synapses.

    Args:
        neurons: coordinates ``x, y, z, p3, ...`` in length units, and what else :func:`to_frames` writes, as far as
            known. Neurons are numbered in the order of the rows.
        synapses: ``source`` and ``target``, numbers of neurons; ``free_weight`` and ``free_delay`` where the settings
            call for them.

    Raises:
        TypeError: if a setting is of the wrong type.
        ValueError: if a column is missing, or a value out of range; the message names it.

    Example:
        >>> from_frames(*to_frames(SpatialGraph.layered([2, 1])))
        SpatialGraph(neurons=3, synapses=2, dim=3, spacing='learned')
    """
    columns = [{str(name): frame[name].to_numpy() for name in frame} for frame in (neurons, synapses)]
    return Tables(dict(neurons.attrs), *columns).network()
