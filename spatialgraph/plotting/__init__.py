"""Figures; every function takes ``ax=None`` and returns the axes."""

from spatialgraph.plotting.layers import layer
from spatialgraph.plotting.spikes import potentials, raster
from spatialgraph.plotting.training import history

__all__ = ["history", "layer", "potentials", "raster"]
