"""From a quantised model to a network of whole numbers."""

import dataclasses
import math
from collections.abc import Sequence
from typing import cast

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from spatialgraph import checks
from spatialgraph.deploy.c.law_table import WEIGHT_BITS, LawTable, fitted_table
from spatialgraph.deploy.c.layers import IntegerLayer, integer_layers
from spatialgraph.deploy.c.network import IntegerNetwork, IntegerStage, squared_distances
from spatialgraph.deploy.c.responses import BIAS_BITS, BYTE, LEAK_BITS, POINT, SCALE_BITS, Leaking, Rectified, Response
from spatialgraph.graph.quantization import is_quantised
from spatialgraph.graph.scales import Quantization
from spatialgraph.graph.selection import check_wirings, seeded_into
from spatialgraph.graph.spatial_graph import SpatialGraph
from spatialgraph.graph.topology import Topology
from spatialgraph.models.mlp import SpatialMLP
from spatialgraph.models.snn import SpatialSNN
from spatialgraph.neurons.leaky import Leaky
from spatialgraph.wiring.wirings import Random

__all__ = ["integer_network", "quantization_of"]

# Sums of products stay below 2**SUM_BITS, so that biases can be added to them in 32 bits.
SUM_BITS = 29
# Largest normalised activation that a byte stands for, in standard deviations, where no samples tell.
_REACH = 8.0


def integer_network(
    model: SpatialMLP | SpatialSNN, input_unit: float = 1 / BYTE, samples: Tensor | None = None
) -> IntegerNetwork:
    """Return a quantised model as a network of whole numbers.

    Args:
        model: a perceptron or spiking network that :func:`spatialgraph.quantize` returned.
        input_unit: what one step of an input byte stands for.
        samples: inputs, shape ``(batch, inputs)``, by which the range of activations is chosen; None for 8 standard
            deviations. A perceptron without normalisation needs them.

    Raises:
        TypeError: if ``model`` is neither.
        ValueError: if it is not quantised, or has what whole numbers do not support; the message says what.

    Example:
        >>> import spatialgraph as sg
        >>> network = integer_network(sg.quantize(sg.SpatialMLP([4, 8, 3])))
        >>> network(np.zeros((5, 4), dtype=np.uint8)).shape
        (5, 3)
    """
    _check_supported(model, samples)
    graph, quantization = model.graph, quantization_of(model.graph)
    layers, topology = integer_layers(graph, quantization), graph.connectivity.topology
    wirings, table = _seeded(graph, len(layers) - 1), _table(graph, quantization, layers)
    reaches = _reaches(model, samples)
    stages, unit = [], input_unit
    for number, (source, target) in enumerate(zip(layers, layers[1:], strict=False)):
        edges = None if wirings[number] is not None else _edges(topology, number)
        square = (target.height - source.height) ** 2
        bare = IntegerStage(source, target, square, table, 0, wirings[number], edges, None)
        stage = dataclasses.replace(bare, shift=_shift(bare))
        unit *= quantization.polarity_scales[number] * 2**stage.shift * table.unit
        bias_unit = quantization.bias_scales[number + 1]
        if number == len(layers) - 2:
            stages.append(_with_output(model, stage, unit, bias_unit))
        else:
            response = _response(model, unit, bias_unit, reaches[number])
            stages.append(dataclasses.replace(stage, response=response))
            unit = response.unit
    if isinstance(model, SpatialSNN) and len(stages) == 1:  # inputs that are constant count in each step
        unit *= _steps(model)
    return IntegerNetwork(tuple(stages), unit, quantization.bits)


def _check_supported(model: object, samples: Tensor | None) -> None:
    """Raise where a network has what whole numbers do not support."""
    if not isinstance(model, SpatialMLP | SpatialSNN):
        raise TypeError(f"model must be a SpatialMLP or a SpatialSNN, got {type(model).__name__}")
    graph = model.graph
    if graph.velocity is not None:
        raise ValueError(f"model must have no delays, got a velocity of {graph.velocity}")
    if graph.is_recurrent:
        raise ValueError("model must not be recurrent, got recurrent synapses")
    if graph.weight_mode != "law" or graph.masked_share:
        raise ValueError("model must have weights that follow from the law alone, got free weights or masked synapses")
    if not graph.is_layered or any(stage.blocks != (number,) for number, stage in enumerate(graph.projections)):
        raise ValueError("model must have layers that receive from the one before alone, got others")
    if isinstance(model, SpatialSNN):
        _check_spiking(model)
    elif model.activation is not F.relu:
        raise ValueError(f"activation must be 'relu', got {model.activation}")
    elif samples is None and not model.normalize and len(graph.projections) > 1:
        raise ValueError("samples must be given for a network without normalisation, got None")


def _check_spiking(model: SpatialSNN) -> None:
    if model.coding != "current":
        raise ValueError(f"coding must be 'current', got {model.coding!r}")
    if model.read_out != "potential":
        raise ValueError(f"read_out must be 'potential', got {model.read_out!r}")
    hidden = len(model.stages) - 1
    if hidden > 1:
        raise ValueError(f"model must have one hidden layer at most where it spikes, got {hidden}")
    if hidden and type(model.hidden_of(0)) is not Leaky:
        raise ValueError(f"neuron must be that of this library, got {type(model.hidden_of(0)).__name__}")


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
    squares = [
        squared_distances(source, target) + (target.height - source.height) ** 2
        for source, target in zip(layers, layers[1:], strict=False)
    ]
    high = max(int(each.max()) for each in squares)
    if high >= 2**31:
        raise ValueError(f"gaps between layers must leave squared distances in 31 bits, got {high} units")
    return fitted_table(graph.law, graph.gain, quantization.unit, squares)


def _seeded(graph: SpatialGraph, stages: int) -> list[Random | None]:
    """Return the seeded wiring into each layer after the first; None for others."""
    topology, wiring = graph.connectivity.topology, graph.wiring
    if wiring is None:
        return [None] * stages
    found = check_wirings(wiring, topology.layer)
    return [seeded_into(topology, number, each) for number, each in enumerate(found, start=1)]


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


def _reaches(model: SpatialMLP | SpatialSNN, samples: Tensor | None) -> list[float]:
    """Return the largest activation of each hidden layer that a byte stands for."""
    hidden = len(model.graph.projections) - 1
    if samples is None or isinstance(model, SpatialSNN):
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


def _response(model: SpatialMLP | SpatialSNN, unit: float, bias_unit: float, reach: float) -> Response:
    """Return what hidden neurons do with sums of a unit."""
    bias = round(bias_unit * 2.0 ** (POINT + BIAS_BITS))
    _check_biases(bias, most=2.0**23)
    if isinstance(model, SpatialMLP):
        multiplier, shift = (1, 0) if model.normalize else _fraction(unit * 2**POINT, bits=15)
        scale = round(2.0**SCALE_BITS * BYTE / (reach * 2**POINT))
        return Rectified(model.normalize, multiplier, shift, bias, reach / BYTE, scale)
    neurons = cast(Leaky, model.hidden_of(0))
    multiplier, shift = _fraction(model.drive if model.normalize else unit * 2**POINT, bits=POINT)
    exact = model.integrator.shares(model.num_steps).numpy()
    shares = np.floor(exact / exact.sum() * (2**SCALE_BITS - 1)).astype(np.int64)
    return Leaking(
        model.normalize,
        multiplier,
        shift,
        bias,
        float(exact.sum()) * 2**8 / (2**SCALE_BITS - 1),
        leak=round(neurons.beta * 2**LEAK_BITS),
        threshold=round(neurons.threshold * 2**POINT),
        reset=neurons.reset_mechanism,
        shares=tuple(shares.tolist()),
    )


def _with_output(model: SpatialMLP | SpatialSNN, stage: IntegerStage, unit: float, bias_unit: float) -> IntegerStage:
    """Return the last stage, with the factor on the codes of biases; outputs that integrate add theirs in each step."""
    steps = _steps(model) if isinstance(model, SpatialSNN) and len(model.stages) > 1 else 1.0
    bias, bias_shift = _fraction(bias_unit * steps / unit, bits=20)
    _check_biases(bias_unit * steps / unit, most=2.0 ** (30 - 7))
    return dataclasses.replace(stage, bias=bias, bias_shift=bias_shift)


def _steps(model: SpatialSNN) -> float:
    """Return how much a constant current of 1 adds to the mean potential."""
    return float(model.integrator.shares(model.num_steps).sum())


def _check_biases(factor: float, most: float) -> None:
    """Raise where the products of a factor and the codes of biases do not fit 32 bits."""
    if factor >= most:
        raise ValueError(
            f"biases must fit 32 bits, got a scale {factor / most:g} times too large for what neurons receive"
        )


def _fraction(value: float, bits: int) -> tuple[int, int]:
    """Return a whole number and a shift that stand for a factor, with so many bits."""
    if value == 0:
        return 0, 0
    shift = max(0, bits - 1 - math.floor(math.log2(value)))
    return round(value * 2.0**shift), shift
