"""Quantisation: the parameters of a network as whole numbers of few bits times a scale."""

import copy
import dataclasses
import functools
import math
from collections.abc import Mapping, Sequence
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from spatialgraph import checks
from spatialgraph.functional.polarity import polarity_of, raw_of
from spatialgraph.graph.spatial_graph import SpatialGraph

__all__ = ["BITS", "Quantization", "check_bits", "coded", "codes_of", "fit_quantization", "is_quantised", "set_codes_"]

BITS = (2, 8)
# The squared distance of two positions in whole units must fit 31 bits.
_LARGEST_SQUARE = 2**31 - 1
_LARGEST_MULTIPLIER = 255
# Scales that are tried, as shares of the one at which the largest number is the largest code.
_SHARES = torch.linspace(1.0, 0.3, 71, dtype=torch.float64)


@dataclasses.dataclass(frozen=True)
class Quantization:
    r"""Scales of a network whose parameters are codes of few bits.

    A coordinate along axis :math:`a` is :math:`c\, k_a\, u` with a code :math:`c` between :math:`-(2^{b-1} - 1)` and
    :math:`2^{b-1} - 1`, a multiplier :math:`k_a` and a unit :math:`u`, so that positions are whole numbers of units.
    The codes of polarities and biases have a scale for each layer. The gaps between layers are no codes.

    Args:
        bits: number of bits :math:`b` of a code.
        unit: length unit :math:`u` of whole positions.
        multipliers: :math:`k_a` of each learnable axis.
        polarity_scales: scale of the polarities of each layer; 0 where there are none.
        bias_scales: scale of the biases of each layer; 0 where there are none.

    Example:
        >>> Quantization(8, 0.5, (1, 3), (0.0,), (0.0,)).axis_scales()
        tensor([0.5000, 1.5000], dtype=torch.float64)
    """

    bits: int
    unit: float
    multipliers: tuple[int, ...]
    polarity_scales: tuple[float, ...]
    bias_scales: tuple[float, ...]

    def __post_init__(self) -> None:
        """Check the fields."""
        check_bits(self.bits)
        checks.positive("unit", self.unit)
        for multiplier in self.multipliers:
            checks.integer("multipliers", multiplier, minimum=1)
        for name in ("polarity_scales", "bias_scales"):
            for scale in getattr(self, name):
                if checks.number(name, scale) < 0:
                    raise ValueError(f"{name} must not be negative, got {scale}")

    @property
    def largest(self) -> int:
        """Largest code."""
        return largest_code(self.bits)

    def axis_scales(self) -> Tensor:
        """Return the scale of the codes of each axis, in length units."""
        return torch.tensor(self.multipliers, dtype=torch.float64) * self.unit

    def scales(self, graph: SpatialGraph) -> dict[str, Tensor]:
        """Return the scale of each number of each parameter that has codes, by its name, in double precision."""
        axes, layers = self.axis_scales(), _layers(graph)
        of_layers = {
            "raw_bias": self.bias_scales,
            "raw_polarity": self.polarity_scales,
            "raw_grid_polarity": self.polarity_scales,
        }
        found = {"positions.coords": axes, "positions.grid_coords": axes, "positions.anchor_pos": axes}
        return found | {
            name: torch.tensor(scales, dtype=torch.float64)[layers[name]] for name, scales in of_layers.items()
        }

    def to_settings(self) -> dict[str, Any]:
        """Return it as JSON holds it."""
        return {name: list(value) if isinstance(value, tuple) else value for name, value in vars(self).items()}

    @classmethod
    def from_settings(cls, found: Any) -> "Quantization":  # noqa: ANN401 - any value is checked
        """Return what :meth:`to_settings` described."""
        names = {field.name for field in dataclasses.fields(cls)}
        if not isinstance(found, dict) or found.keys() != names:
            raise ValueError(f"quantization must have {', '.join(sorted(names))}, got {found!r}")
        values: dict[str, Any] = {name: tuple(each) if isinstance(each, list) else each for name, each in found.items()}
        return cls(**values)


def check_bits(bits: object) -> int:
    """Return a number of bits that codes may have."""
    low, high = BITS
    number = checks.integer("bits", bits, minimum=low)
    if number > high:
        raise ValueError(f"bits must be at most {high}, got {number}")
    return number


def largest_code(bits: int) -> int:
    """Return the largest code of so many bits; the smallest is its negative.

    Example:
        >>> largest_code(8), largest_code(4)
        (127, 7)
    """
    return (1 << (bits - 1)) - 1


@torch.no_grad()
def fit_quantization(graph: SpatialGraph, bits: int, by_largest: bool = False) -> Quantization:
    """Choose scales for a network's present parameters.

    Args:
        graph: the network; of parameters that are parametrised, the numbers behind them count.
        bits: number of bits of a code.
        by_largest: whether the largest number is the largest code; else scales are those of the least squared error.

    Raises:
        TypeError: if ``bits`` is not an int.
        ValueError: if it is out of range, or polarities are binary and sums of those of rows and columns.
    """
    check_bits(bits)
    if graph.polarity_mode == "binary" and graph.grid_polarity == "axes" and graph.weight_mode != "free":
        raise ValueError("grid_polarity must be 'cell' where binary polarities are quantised, got 'axes'")
    values = {name: each.double().cpu() for name, each in coded(graph).items()}
    choose = functools.partial(largest_scale if by_largest else best_scale, bits=bits)
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


def largest_scale(values: Tensor, bits: int) -> float:
    """Return the scale at which the largest number has the largest code; 0 for none or zeros.

    Example:
        >>> largest_scale(torch.tensor([-14.0, 3.0]), 4)
        2.0
    """
    return float(values.abs().max()) / largest_code(bits) if values.numel() else 0.0


def best_scale(values: Tensor, bits: int) -> float:
    """Return the scale at which the codes of so many bits are nearest to some values; 0 for none or zeros.

    Example:
        >>> best_scale(torch.tensor([-7.0, 2.0, 7.0]), 4)
        1.0
    """
    largest = largest_code(bits)
    scales = (_SHARES * largest_scale(values, bits))[:, None]
    if not scales.any():
        return 0.0
    errors = (round_to(values[None], scales, largest) - values).square().sum(1)
    return float(scales[int(errors.argmin())])


def round_to(values: Tensor, scale: Tensor, largest: int) -> Tensor:
    """Return the nearest codes times their scale; 0 where the scale is 0."""
    divisor = torch.where(scale > 0, scale, 1.0)
    return (values / divisor).round().clamp(-largest, largest) * scale


@torch.no_grad()
def codes_of(graph: SpatialGraph, quantization: Quantization) -> dict[str, Tensor]:
    """Return the codes of a network's parameters by their names, int8."""
    found = {}
    for name, values in coded(graph).items():
        scale = quantization.scales(graph)[name]
        ratio = (values.double().cpu() / torch.where(scale > 0, scale, 1.0)).round()
        found[name] = ratio.clamp(-quantization.largest, quantization.largest).to(torch.int8)
    return found


@torch.no_grad()
def set_codes_(graph: SpatialGraph, quantization: Quantization, codes: Mapping[str, Tensor]) -> None:
    """Give a network the parameters that codes stand for."""
    scales, own = quantization.scales(graph), _parameters(graph)
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
