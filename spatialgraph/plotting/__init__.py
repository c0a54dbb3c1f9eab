"""Figures, which take ``ax=None`` and return the axes, and the explorer."""

from spatialgraph.plotting.distributions import degrees, depths
from spatialgraph.plotting.fields import receptive_fields
from spatialgraph.plotting.layers import layer
from spatialgraph.plotting.matrices import adjacency
from spatialgraph.plotting.movies import movie
from spatialgraph.plotting.networks import network
from spatialgraph.plotting.spikes import potentials, raster
from spatialgraph.plotting.synapses import lengths, weights
from spatialgraph.plotting.training import history

__all__ = [
    "adjacency",
    "degrees",
    "depths",
    "history",
    "layer",
    "lengths",
    "movie",
    "network",
    "potentials",
    "raster",
    "receptive_fields",
    "weights",
]
