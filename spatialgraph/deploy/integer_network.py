"""A quantised perceptron in whole numbers of 32 bits, defined to the bit: the exported C code computes the same."""

import dataclasses
import math
from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from spatialgraph import checks
from spatialgraph.deploy.integer_layers import IntegerLayer, integer_layers
from spatialgraph.deploy.law_table import WEIGHT_BITS, LawTable, law_table
from spatialgraph.graph.quantization import Quantization, is_quantised
from spatialgraph.graph.selection import check_wirings, is_seeded
from spatialgraph.graph.spatial_graph import SpatialGraph
from spatialgraph.graph.topology import Topology
from spatialgraph.models.mlp import SpatialMLP
from spatialgraph.wiring.edges import random
from spatialgraph.wiring.wirings import Random

__all__ = ["IntegerNetwork", "IntegerStage", "Response", "integer_network"]

BYTE = 255
# Bits after the point of normalised inputs.
POINT = 10
# Sums of products stay below 2**SUM_BITS, so that biases can be added to them in 32 bits.
SUM_BITS = 29
# Deviations from the mean have at most so many bits when they are squared and divided.
DEVIATION_BITS = 20
# Largest normalised activation that a byte stands for, in standard deviations, where no samples tell.
_REACH = 8.0
_BIAS_BITS = 8
_SCALE_BITS = 16


@dataclasses.dataclass(frozen=True)
class Response:
    r"""From the sums :math:`z` that hidden neurons receive to bytes that they send.

    With normalisation, :math:`y = c\, 2^{10} / \sqrt{\overline{c^2}}` of the deviations :math:`c` from the mean, first
    shifted to 20 bits; without, :math:`y = z\, m / 2^s`. Then :math:`a = \min(255, \max(0, y + b)\, n / 2^{16})`.

    Args:
        normalize: whether inputs are normalised.
        multiplier: :math:`m`, and
        shift: :math:`s`; 0 with normalisation.
        bias: factor on the codes of biases, for :math:`b` with 8 further bits.
        scale: :math:`n`.
        unit: activation for one step of a byte.
    """

    normalize: bool
    multiplier: int
    shift: int
    bias: int
    scale: int
    unit: float


@dataclasses.dataclass(frozen=True)
class IntegerStage:
    """The synapses from one layer to the next, and what the targets make of what they receive.

    Args:
        source: the layer of the sources.
        target: that of the targets.
        square: square of how far the layers stand apart, in units.
        table: the law, the same for all stages.
        shift: bits that products of activations and polarities lose.
        wiring: the seeded wiring; None for others.
        edges: the edges by source, then target, shape ``(2, E)``; None where they follow from a seed or are all.
        response: of hidden neurons; None for outputs, to whose sums
        bias: times the codes of biases is added, with
        bias_shift: so many further bits.
    """

    source: IntegerLayer
    target: IntegerLayer
    square: int
    table: LawTable
    shift: int
    wiring: Random | None
    edges: np.ndarray | None
    response: Response | None
    bias: int = 0
    bias_shift: int = 0

    def weights(self) -> np.ndarray:
        """Return the weights without polarities, int64, shape ``(targets, sources)``; 0 without a synapse."""
        square = squared_distances(self.source, self.target) + self.square
        return np.where(self.exists(), self.table(square), 0)

    def exists(self) -> np.ndarray:
        """Mark the pairs with a synapse, shape ``(targets, sources)``."""
        shape = (self.target.count, self.source.count)
        if self.edges is None and self.wiring is None:
            return np.ones(shape, dtype=bool)
        marked = np.zeros(shape, dtype=bool)
        sources, targets = self.listed()
        marked[targets, sources] = True
        return marked

    def listed(self) -> np.ndarray:
        """Return the edges by source, then target, those of a seed too, shape ``(2, E)``; none where all exist."""
        if self.wiring is None:
            return np.empty((2, 0), dtype=np.int64) if self.edges is None else self.edges
        counts = self.source.count, self.target.count
        return random(*counts, self.wiring.density, seed=self.wiring.seed).numpy()

    def sends(self, activations: np.ndarray) -> np.ndarray:
        """Return what sources send, activations times the codes of polarities with fewer bits, int64."""
        products = activations.astype(np.int64) * self.source.polarities.summed().reshape(-1)
        return (products + ((1 << self.shift) >> 1)) >> self.shift


def squared_distances(source: IntegerLayer, target: IntegerLayer) -> np.ndarray:
    """Return the squared distances of all pairs without the height, in units, int64, shape ``(targets, sources)``."""
    square = np.zeros((target.count, source.count), dtype=np.int64)
    for one, other in zip(source.positions().T, target.positions().T, strict=True):
        square += (one[None, :] - other[:, None]) ** 2
    return square


@dataclasses.dataclass(frozen=True)
class IntegerNetwork:
    """A perceptron of whole numbers.

    Args:
        stages: from layer to layer.
        output_unit: what one step of an output stands for.
        bits: number of bits of a code.

    Example:
        >>> import spatialgraph as sg
        >>> network = integer_network(sg.quantize(sg.SpatialMLP([4, 8, 3])))
        >>> network(np.zeros((5, 4), dtype=np.uint8)).shape
        (5, 3)
    """

    stages: tuple[IntegerStage, ...]
    output_unit: float
    bits: int

    def __call__(self, inputs: np.ndarray | Tensor) -> np.ndarray:
        """Return the outputs, int64 that fit 32 bits, shape ``(batch, outputs)``.

        Args:
            inputs: bytes, uint8, shape ``(batch, inputs)``.
        """
        values = np.asarray(inputs)
        if values.dtype != np.uint8 or values.ndim != 2 or values.shape[1] != self.stages[0].source.count:
            raise ValueError(
                f"inputs must be uint8 of shape (batch, {self.stages[0].source.count}), got {values.dtype} of shape "
                f"{values.shape}"
            )
        for stage in self.stages:
            # Double precision holds all whole numbers of 32 bits, and BLAS multiplies it fast.
            sums = (stage.sends(values).astype(np.float64) @ stage.weights().T.astype(np.float64)).astype(np.int64)
            values = _outputs(stage, sums) if stage.response is None else _respond(stage, stage.response, sums)
        return values


def _outputs(stage: IntegerStage, sums: np.ndarray) -> np.ndarray:
    return sums + _shifted(stage.target.biases.astype(np.int64) * stage.bias, stage.bias_shift)


def _respond(stage: IntegerStage, response: Response, sums: np.ndarray) -> np.ndarray:
    if response.normalize:
        deviations = sums - np.floor_divide(sums.sum(1, keepdims=True), sums.shape[1])
        largest = np.abs(deviations).max(1, keepdims=True)
        lost = np.maximum(0, np.array([[int(size[0]).bit_length()] for size in largest]) - DEVIATION_BITS)
        deviations = deviations >> lost
        spread = np.array([[max(1, math.isqrt(int(square)))] for square in (deviations**2).sum(1) // sums.shape[1]])
        inner = np.sign(deviations) * ((np.abs(deviations) << POINT) // spread)  # rounded towards 0, as in C
    else:
        inner = _shifted(sums * response.multiplier, response.shift)
    bias = _shifted(stage.target.biases.astype(np.int64) * response.bias, _BIAS_BITS)
    activations = (np.maximum(inner + bias, 0) * response.scale) >> _SCALE_BITS
    return np.minimum(activations, BYTE)


def _shifted(values: np.ndarray, shift: int) -> np.ndarray:
    """Return values without so many of their last bits, rounded."""
    return (values + ((1 << shift) >> 1)) >> shift


def integer_network(model: SpatialMLP, input_unit: float = 1 / BYTE, samples: Tensor | None = None) -> IntegerNetwork:
    """Return a quantised perceptron as whole numbers.

    Args:
        model: a perceptron that :func:`spatialgraph.quantize` returned.
        input_unit: what one step of an input byte stands for.
        samples: inputs, shape ``(batch, inputs)``, by which the range of activations is chosen; None for 8 standard
            deviations, which needs a network with normalisation.

    Raises:
        TypeError: if ``model`` is no perceptron.
        ValueError: if it is not quantised, or has what whole numbers do not support; the message says what.

    Example:
        >>> import spatialgraph as sg
        >>> len(integer_network(sg.quantize(sg.SpatialMLP([4, 8, 3]))).stages)
        2
    """
    check_supported(model, samples)
    graph, quantization = model.graph, quantization_of(model.graph)
    layers, topology = integer_layers(graph, quantization), graph.connectivity.topology
    wirings = _seeded(graph, len(layers) - 1)
    reaches = _reaches(model, samples)
    stages, unit = [], input_unit
    table = _table(graph, quantization, layers)
    for number, (source, target) in enumerate(zip(layers, layers[1:], strict=False)):
        edges = None if wirings[number] is not None else _edges(topology, number)
        square = (target.height - source.height) ** 2
        bare = IntegerStage(source, target, square, table, 0, wirings[number], edges, None)
        shift = _shift(bare)
        unit *= quantization.polarity_scales[number] * 2**shift * table.unit
        bias_unit = quantization.bias_scales[number + 1]
        stage = dataclasses.replace(bare, shift=shift)
        if number == len(layers) - 2:
            stages.append(_with_output(stage, unit, bias_unit))
        else:
            response = _response(model.normalize, unit, bias_unit, reaches[number])
            stages.append(dataclasses.replace(stage, response=response))
            unit = response.unit
    return IntegerNetwork(tuple(stages), unit, quantization.bits)


def check_supported(model: object, samples: Tensor | None) -> None:
    """Raise where a network has what whole numbers do not support."""
    if not isinstance(model, SpatialMLP):
        raise TypeError(f"model must be a SpatialMLP, got {type(model).__name__}")
    graph = model.graph
    if graph.weight_mode != "law" or graph.masked_share:
        raise ValueError("model must have weights that follow from the law alone, got free weights or masked synapses")
    if not graph.is_layered or any(stage.blocks != (number,) for number, stage in enumerate(graph.projections)):
        raise ValueError("model must have layers that receive from the one before alone, got others")
    if model.activation is not F.relu:
        raise ValueError(f"activation must be 'relu', got {model.activation}")
    if samples is None and not model.normalize and len(graph.projections) > 1:
        raise ValueError("samples must be given for a network without normalisation, got None")


def quantization_of(graph: SpatialGraph) -> Quantization:
    """Return the scales of a network's codes.

    Raises:
        ValueError: if its parameters are no codes.
    """
    if graph.quantization is None or not is_quantised(graph, graph.quantization):
        raise ValueError("model must be quantised and unchanged since, see spatialgraph.quantize, got other parameters")
    return graph.quantization


def _table(graph: SpatialGraph, quantization: Quantization, layers: Sequence[IntegerLayer]) -> LawTable:
    """Return the law over all squared distances of the network, one table for all stages."""
    ends = []
    for source, target in zip(layers, layers[1:], strict=False):
        square = squared_distances(source, target) + (target.height - source.height) ** 2
        ends += [int(square.min()), int(square.max())]
    if max(ends) >= 2**31:
        raise ValueError(f"gaps between layers must leave squared distances in 31 bits, got {max(ends)} units")
    return law_table(graph.law, graph.gain, quantization.unit, min(ends), max(ends))


def _seeded(graph: SpatialGraph, stages: int) -> list[Random | None]:
    """Return the seeded wiring into each layer after the first; None for others."""
    topology, wiring = graph.connectivity.topology, graph.wiring
    if wiring is None:
        return [None] * stages
    found = check_wirings(wiring, topology.layer)
    return [each if is_seeded(topology, number, each) else None for number, each in enumerate(found, start=1)]


def _edges(topology: Topology, number: int) -> np.ndarray | None:
    """Return the edges of a stage by source, then target, numbered within the layers; None for all."""
    if topology.all_to_all[number]:
        return None
    listed, _ = topology.split_edges()
    sources, targets = listed[:, topology.layer[listed[1]] == number + 1].numpy()
    layer = topology.layer.numpy()
    within = np.empty(len(layer), dtype=np.int64)
    for each in (number, number + 1):
        within[layer == each] = np.arange((layer == each).sum())
    order = np.lexsort((targets, sources))
    return np.stack([within[sources], within[targets]])[:, order]


def _reaches(model: SpatialMLP, samples: Tensor | None) -> list[float]:
    """Return the largest activation of each hidden layer that a byte stands for."""
    hidden = len(model.graph.projections) - 1
    if samples is None:
        return [_REACH] * hidden
    with torch.no_grad():
        activations = model.activations(checks.tensor("samples", samples).to(model.graph.raw_bias))
    layer = model.graph.layer
    return [float(activations[:, layer == number].max()) or 1.0 for number in range(1, hidden + 1)]


def _shift(stage: IntegerStage) -> int:
    """Return how many bits products of activations and polarities must lose for sums to fit."""
    degree = max(1, int(stage.exists().sum(1).max()))
    largest = max(1, int(np.abs(stage.source.polarities.summed()).max()) * BYTE)
    room = SUM_BITS - WEIGHT_BITS - math.ceil(math.log2(degree))
    return max(0, largest.bit_length() - room)


def _response(normalize: bool, unit: float, bias_unit: float, reach: float) -> Response:
    scale = round(2.0**_SCALE_BITS * BYTE / (reach * 2**POINT))
    bias = round(bias_unit * 2.0 ** (POINT + _BIAS_BITS))
    multiplier, shift = (1, 0) if normalize else _fraction(unit * 2**POINT, bits=15)
    return Response(normalize, multiplier, shift, bias, scale, reach / BYTE)


def _with_output(stage: IntegerStage, unit: float, bias_unit: float) -> IntegerStage:
    bias, bias_shift = _fraction(bias_unit / unit, bits=20)
    return dataclasses.replace(stage, bias=bias, bias_shift=bias_shift)


def _fraction(value: float, bits: int) -> tuple[int, int]:
    """Return a whole number and a shift that stand for a factor, with so many bits."""
    if value == 0:
        return 0, 0
    shift = max(0, bits - 1 - math.floor(math.log2(value)))
    return round(value * 2.0**shift), shift
