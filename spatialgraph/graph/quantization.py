"""Quantisation: the parameters of a network as whole numbers of few bits times a scale."""

import copy
import functools
import math
from collections.abc import Mapping, Sequence
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from spatialgraph.devices import on_cpu
from spatialgraph.functional.polarity import polarity_of, raw_of
from spatialgraph.graph.scales import Quantization, best_scale, check_bits, largest_code
from spatialgraph.graph.spatial_graph import SpatialGraph

__all__ = ["coded", "codes_of", "fit_quantization", "is_quantised", "scales_of", "set_codes_"]

# The squared distance of two positions in whole units must fit 31 bits.
_LARGEST_SQUARE = 2**31 - 1
_LARGEST_MULTIPLIER = 255


@on_cpu
def scales_of(graph: SpatialGraph, quantization: Quantization) -> dict[str, Tensor]:
    """Return the scale of each number of each parameter that has codes, by its name, in double precision."""
    axes, layers = quantization.axis_scales(), _layers(graph)
    of_layers = {
        "raw_bias": quantization.bias_scales,
        "raw_polarity": quantization.polarity_scales,
        "raw_grid_polarity": quantization.polarity_scales,
    }
    found = {"positions.coords": axes, "positions.grid_coords": axes, "positions.anchor_pos": axes}
    return found | {name: torch.tensor(scales, dtype=torch.float64)[layers[name]] for name, scales in of_layers.items()}


@torch.no_grad()
@on_cpu
def fit_quantization(graph: SpatialGraph, bits: int) -> Quantization:
    """Choose scales for a network's present parameters, those of the least squared error.

    Args:
        graph: the network; of parameters that are parametrised, the numbers behind them count.
        bits: number of bits of a code.

    Raises:
        TypeError: if ``bits`` is not an int.
        ValueError: if it is out of range, or polarities are binary and sums of those of rows and columns.
    """
    check_bits(bits)
    if graph.polarity_mode == "binary" and graph.grid_polarity == "axes" and graph.weight_mode != "free":
        raise ValueError("grid_polarity must be 'cell' where binary polarities are quantised, got 'axes'")
    values = {name: each.cpu().double() for name, each in coded(graph).items()}
    choose = functools.partial(best_scale, bits=bits)
    wanted = [choose(column) for column in torch.cat(list(_coordinates(values).values())).T]
    unit, multipliers = _whole_multiples(wanted, _finest(graph, bits))
    layers, count = _layers(graph), max(1, int(graph.layer.max()) + 1)
    scales = {
        kind: tuple(
            choose(torch.cat([values[name][layers[name] == number] for name in names])) for number in range(count)
        )
        for kind, names in (("polarity", ("raw_polarity", "raw_grid_polarity")), ("bias", ("raw_bias",)))
    }
    return Quantization(bits, unit, multipliers, scales["polarity"], scales["bias"])


@torch.no_grad()
@on_cpu
def codes_of(graph: SpatialGraph, quantization: Quantization) -> dict[str, Tensor]:
    """Return the codes of a network's parameters by their names, int8."""
    found, scales = {}, scales_of(graph, quantization)
    for name, values in coded(graph).items():
        scale = scales[name]
        ratio = (values.cpu().double() / torch.where(scale > 0, scale, 1.0)).round()
        found[name] = ratio.clamp(-quantization.largest, quantization.largest).to(torch.int8)
    return found


@torch.no_grad()
@on_cpu
def set_codes_(graph: SpatialGraph, quantization: Quantization, codes: Mapping[str, Tensor]) -> None:
    """Give a network the parameters that codes stand for."""
    scales, own = scales_of(graph, quantization), _parameters(graph)
    for name, parameter in own.items():
        values = codes[name].to(torch.float64) * scales[name]
        parameter.copy_(raw_of(values, graph.polarity_mode) if name == "raw_polarity" else values)


def is_quantised(graph: SpatialGraph, quantization: Quantization) -> bool:
    """Tell whether all parameters are what their codes stand for, to the bit."""
    copied = copy.deepcopy(graph)
    set_codes_(copied, quantization, codes_of(graph, quantization))
    return all(torch.equal(values, _parameters(copied)[name]) for name, values in _parameters(graph).items())


def coded(graph: SpatialGraph) -> dict[str, Tensor]:
    """Return what has codes, by the names of parameters, detached: those of polarities are what neurons have."""
    found = {name: values.detach() for name, values in _parameters(graph).items()}
    return found | {"raw_polarity": polarity_of(found["raw_polarity"], graph.polarity_mode)}


def _parameters(graph: SpatialGraph) -> dict[str, Tensor]:
    """Return the parameters that have codes, by their names; coordinates of anchored neurons without their height."""
    own = functools.partial(_behind, graph.positions)
    return {
        "positions.coords": own("coords"),
        "positions.grid_coords": own("grid_coords"),
        "positions.anchor_pos": own("anchor_pos")[:, : own("coords").shape[1]],
        **{name: _behind(graph, name) for name in ("raw_polarity", "raw_grid_polarity", "raw_bias")},
    }


def _behind(module: nn.Module, name: str) -> Tensor:
    """Return a parameter or buffer, of a parametrised one what is behind it."""
    if parametrize.is_parametrized(module, name):
        return cast(Tensor, cast(nn.ModuleDict, module.parametrizations)[name].original)
    return cast(Tensor, getattr(module, name))


def _coordinates(values: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name: each for name, each in values.items() if name.startswith("positions.")}


def _layers(graph: SpatialGraph) -> dict[str, Tensor]:
    """Return the layer of each number of the parameters of neurons, 0 in a network without layers."""
    layer = graph.connectivity.topology.layer.clamp(min=0)
    sums = graph.polarised
    of_rows = [layer[cells[:1].cpu()].expand(grid.rows) for grid, cells in zip(sums.grids, sums.cells, strict=True)]
    return {
        "raw_polarity": layer[sums.single.cpu()] if graph.weight_mode != "free" else layer[:0],
        "raw_grid_polarity": torch.cat(of_rows) if of_rows else layer[:0],
        "raw_bias": layer[graph.connectivity.located.receivers.cpu()],
    }


def _finest(graph: SpatialGraph, bits: int) -> int:
    """Return the largest multiplier at which squared distances fit 31 bits, whatever the codes."""
    terms = max([1, *(len(shape) for shape in graph.grids.values())])
    reach = 2 * terms * largest_code(bits)
    finest = int(math.sqrt(_LARGEST_SQUARE / graph.dim) / reach)
    if finest < 1:
        raise ValueError(f"dim must leave squared distances in 31 bits, got {graph.dim} axes of {bits} bits")
    return min(_LARGEST_MULTIPLIER, finest)


def _whole_multiples(scales: Sequence[float], finest: int) -> tuple[float, tuple[int, ...]]:
    """Return a unit, and multiples of it that are no less than the scales."""
    unit = max(scales, default=0.0) / finest or 1.0
    return unit, tuple(max(1, math.ceil(scale / unit - 1e-9)) for scale in scales)
