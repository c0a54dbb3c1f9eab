"""Quantisation: networks whose positions, polarities and biases are numbers of few bits."""

import copy
from typing import TypeVar

from torch import nn

from spatialgraph.graph.network import graph_of
from spatialgraph.graph.quantization import codes_of, fit_quantization, set_codes_

__all__ = ["quantize"]

Network = TypeVar("Network", bound=nn.Module)


def quantize(network: Network, bits: int = 8) -> Network:
    r"""Return a copy of a network whose positions, polarities and biases have few bits.

    Each is a code :math:`c` times a scale, :math:`|c| \le 2^{b-1} - 1`. Coordinates have a scale for each axis,
    polarities and biases one for each layer, chosen for the least squared error. The copy computes with the rounded
    numbers. :func:`spatialgraph.save` writes the codes in so many bits, as long as no parameter has changed since.
    :class:`~spatialgraph.QuantizeWhileTraining` trains networks that lose less.

    Args:
        network: a graph, or a model that has one; it does not change.
        bits: number of bits :math:`b`, from 2 to 8.

    Returns:
        The copy.

    Raises:
        TypeError: if ``network`` is neither a graph nor a model that has one, or ``bits`` no int.
        ValueError: if ``bits`` is out of range, or the network has binary polarities and ``grid_polarity="axes"``.

    Example:
        >>> import spatialgraph as sg
        >>> graph = quantize(sg.SpatialGraph.layered([784, 300, 10], gain=1.0), bits=4)
        >>> len(graph.pos[:, 0].unique()) <= 15
        True
    """
    copied = copy.deepcopy(network)
    graph = graph_of(copied)
    quantization = fit_quantization(graph, bits)
    set_codes_(graph, quantization, codes_of(graph, quantization))
    graph.quantization = quantization
    return copied
