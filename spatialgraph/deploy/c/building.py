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
from spatialgraph.deploy.c.law_table import LawTable, fitted_table
from spatialgraph.deploy.c.layers import integer_layers
from spatialgraph.deploy.c.network import IntegerNetwork, IntegerStage, Synapses
from spatialgraph.deploy.c.responses import (
    BIAS_BITS,
    BYTE,
    CLIP_BITS,
    LEAK_BITS,
    POINT,
    SCALE_BITS,
    Leaking,
    Rectified,
    Response,
)
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
# Fewest steps of what a source sends, and of a threshold, that rounding may leave.
_FEWEST_STEPS = 32
# Bits of what neurons receive at the upper end of their range, where it is not normalised.
_WIDTH = 15
# Largest shift of whole numbers of 64 bits.
_LARGEST_SHIFT = 62
# Added to variances by layer normalisation in PyTorch.
_EPSILON = 1e-5


def integer_network(
    model: SpatialMLP | SpatialSNN,
    input_unit: float = 1 / BYTE,
    samples: Tensor | None = None,
    is_coarse: bool = False,
) -> IntegerNetwork:
    """Return a quantised model as a network of whole numbers.

    Args:
        model: a perceptron or spiking network that :func:`spatialgraph.quantize` returned.
        input_unit: what one step of an input byte stands for.
        samples: inputs, shape ``(batch, inputs)``, by which the range of activations is chosen; None for 8 standard
            deviations. A perceptron without normalisation needs them.
        is_coarse: whether whole numbers may be too coarse, for code of floats that is made of the same layers.

    Raises:
        TypeError: if ``model`` is neither.
        ValueError: if it is not quantised, has what whole numbers do not support, or they are too coarse for it; the
            message says what.

    Example:
        >>> import spatialgraph as sg
        >>> network = integer_network(sg.quantize(sg.SpatialMLP([4, 8, 3])))
        >>> network(np.zeros((5, 4), dtype=np.uint8)).shape
        (5, 3)
    """
    _check_supported(model, samples)
    graph, quantization = model.graph, quantization_of(model.graph)
    layers, topology = integer_layers(graph, quantization), graph.connectivity.topology
    wirings = _seeded(graph, len(layers) - 1)
    synapses = [
        Synapses(source, target, wirings[number], None if wirings[number] is not None else _edges(topology, number))
        for number, (source, target) in enumerate(zip(layers, layers[1:], strict=False))
    ]
    table, reaches = _table(graph, quantization, synapses), _reaches(model, samples)
    stages, unit = [], input_unit
    for number, own in enumerate(synapses):
        bare = IntegerStage(own, table, 0, None)
        stage = dataclasses.replace(bare, shift=_shift(bare, is_coarse))
        unit *= quantization.polarity_scales[number] * 2**stage.shift * table.unit
        bias_unit = quantization.bias_scales[number + 1]
        if number == len(synapses) - 1:
            stages.append(_with_output(model, stage, unit, bias_unit))
        else:
            response = _response(model, unit, bias_unit, reaches[number], is_coarse)
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
    if graph.dim == 1 and graph.spacing != "free":
        raise ValueError("model must have positions within its layers, got layers of one point each (dim=1)")
    if model.normalize == "live" and any(stage.live is not None for stage in graph.projections):
        raise ValueError(
            "model must have no dead ends where normalize is 'live', got some; drop_dead_ends(model) first"
        )
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


def _table(graph: SpatialGraph, quantization: Quantization, synapses: Sequence[Synapses]) -> LawTable:
    """Return the law over all squared distances of the network, one table for all stages."""
    squares = [np.ma.array(each.squares(), mask=~each.exists()) for each in synapses]
    exact = [each.exact_squares() for each in synapses]
    if not any(each.count() for each in squares):
        raise ValueError("model must have synapses, got none")
    high = max(int(each.max()) for each in squares if each.count())
    if high >= 2**31:
        raise ValueError(f"gaps between layers must leave squared distances in 31 bits, got {high} units")
    return fitted_table(graph.law, graph.gain, quantization.unit, squares, exact)


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
    if samples is None:
        return [_REACH] * hidden
    _check_samples(samples, int(model.graph.is_input.sum()))
    if isinstance(model, SpatialSNN):
        return [_REACH] * hidden
    with torch.no_grad():
        activations = model.activations(samples.to(model.graph.raw_bias))
    layer = model.graph.layer
    return [float(activations[:, layer == number].max()) or 1.0 for number in range(1, hidden + 1)]


def _check_samples(samples: Tensor, inputs: int) -> None:
    checks.finite("samples", checks.tensor("samples", samples))
    if samples.dim() != 2 or samples.shape[1] != inputs or not len(samples):
        raise ValueError(f"samples must have shape (batch, {inputs}) and at least one row, got {tuple(samples.shape)}")


def _shift(stage: IntegerStage, is_coarse: bool) -> int:
    """Return how many bits products of activations and polarities must lose for sums to fit.

    Raises:
        ValueError: if too few bits would be left.
    """
    weights, sent = np.abs(stage.weights()), BYTE * np.abs(stage.source.polarities.summed()).reshape(-1)
    shift = 0
    while int((weights @ ((sent >> shift) + 1)).max()) >= 2**SUM_BITS:
        shift += 1
    if shift and int(sent.max()) >> shift < _FEWEST_STEPS and not is_coarse:
        raise ValueError(
            f"layers must be so narrow that sums of 32 bits leave {_FEWEST_STEPS} steps to what a source sends, got "
            f"{stage.source.count} sources and {int(sent.max()) >> shift} steps; arithmetic='float' has no such limit"
        )
    return shift


def _response(model: SpatialMLP | SpatialSNN, unit: float, bias_unit: float, reach: float, is_coarse: bool) -> Response:
    """Return what hidden neurons do with sums of a unit."""
    if unit == 0:
        raise ValueError("polarities must not be 0 in all neurons of a layer, got a layer that sends nothing")
    neurons = None if isinstance(model, SpatialMLP) else cast(Leaky, model.hidden_of(0))
    largest = reach if neurons is None else neurons.threshold
    # Without normalisation, steps follow from the range of what neurons receive.
    point = POINT if model.normalize else _WIDTH - math.ceil(math.log2(largest))
    bias = round(bias_unit * 2.0 ** (point + BIAS_BITS))
    _check_biases(bias, most=2.0**23)
    epsilon = min(round(_EPSILON / unit**2), 2**60) if model.normalize else 0
    if isinstance(model, SpatialMLP):
        if reach * 2.0**point < _FEWEST_STEPS and not is_coarse:
            low = _FEWEST_STEPS / 2.0**point
            raise ValueError(f"samples must cause activations of at least {low:g} in each layer, got {reach:.2g}")
        multiplier, shift = (1, 0) if model.normalize else _fraction(unit * 2.0**point, bits=15)
        scale = round(2.0 ** (SCALE_BITS - point) * BYTE / reach)
        return Rectified(bool(model.normalize), multiplier, shift, bias, reach / BYTE, epsilon, scale)
    neurons = cast(Leaky, model.hidden_of(0))
    threshold = round(neurons.threshold * 2.0**point)
    if not (_FEWEST_STEPS <= threshold < 2**CLIP_BITS or is_coarse):
        low, high = (2.0**-point * steps for steps in (_FEWEST_STEPS, 2**CLIP_BITS))
        raise ValueError(f"threshold must be between {low:g} and {high:g} here, got {neurons.threshold}")
    multiplier, shift = _fraction(model.drive if model.normalize else unit * 2.0**point, bits=POINT)
    exact = model.integrator.shares(model.num_steps).numpy()
    shares = np.floor(exact / exact.sum() * (2**SCALE_BITS - 1)).astype(np.int64)
    return Leaking(
        model.normalize,
        multiplier,
        shift,
        bias,
        float(exact.sum()) * 2**8 / (2**SCALE_BITS - 1),
        epsilon,
        leak=round(neurons.beta * 2**LEAK_BITS),
        threshold=threshold,
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
    """Return a whole number of so many bits and a shift that stand for a factor; 0 for one that is too small."""
    shift = max(0, bits - 1 - math.floor(math.log2(value))) if value > 0 else 0
    if value == 0 or shift > _LARGEST_SHIFT:
        return 0, 0
    return round(value * 2.0**shift), shift
