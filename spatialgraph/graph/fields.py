"""What a reader of graphs or files finds of a network, as plain tensors, and the rules that hold for every reader.

A reader hands over columns of numbers in which NaN stands for a value that is left open; values that are NaN themselves
it has refused before.
"""

import dataclasses
import inspect
import json
import math
import re
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from spatialgraph import checks
from spatialgraph.functional.polarity import POLARITIES, polarity_of, raw_of
from spatialgraph.functional.precision import dtype_name
from spatialgraph.graph.columns import Labels, fitting, flags, refuse
from spatialgraph.graph.grid_fields import GridFields, read_grids
from spatialgraph.graph.grids import LEVEL
from spatialgraph.graph.topology import Topology
from spatialgraph.laws import LAWS, Law, make_law

__all__ = ["NetworkFields", "axis_names", "make_fields", "read_settings"]

DTYPES = ("float16", "bfloat16", "float32", "float64")
OPTIONS = ("polarity_mode", "gain", "spacing", "weight_mode", "velocity", "delay_mode", "grid_polarity", "tolerance")
# Which setting a free value of an edge belongs to, and what that setting says where there are none.
FREE = {"weight": ("weight_mode", "law"), "delay": ("delay_mode", "length")}


@dataclasses.dataclass(frozen=True)
class NetworkFields:
    """What a networkx graph or a file says of a spatial network; None, or NaN for one neuron, for what it leaves open.

    ``is_input`` and ``is_output`` are None where they follow from layers or edges.
    """

    pos: Tensor
    edge_index: Tensor
    layer: Tensor | None
    anchored: Tensor | None
    raw_polarity: Tensor | None
    bias: Tensor | None
    gaps: Tensor | None
    law: Law
    law_settings: dict[str, Any]
    free_synapses: dict[str, Tensor]
    options: dict[str, Any]
    masked_share: float = 0.0
    is_input: Tensor | None = None
    is_output: Tensor | None = None
    topology: Topology | None = None
    is_recurrent: bool = False
    grids: GridFields | None = None

    def edges(self) -> Tensor | Topology:
        """Return the edges, or the whole topology where these do not say which neurons are inputs and outputs."""
        if self.topology is not None:
            return self.topology
        if self.layer is not None and (self.is_recurrent or self.grids is not None):
            roles = self.layer == 0, self.layer == self.layer.max()
            anchored = torch.zeros_like(roles[0]) if self.anchored is None else self.anchored
            neurons = Topology.without_edges(self.layer, *roles, anchored, self.is_recurrent)
            if self.grids is not None:
                neurons = neurons.with_grids(self.grids.shapes, self.grids.cells)
                neurons.check_grids()
            return neurons.connected(self.edge_index)
        if self.is_input is None or self.is_output is None:
            return self.edge_index
        outside = torch.full_like(self.is_input, -1, dtype=torch.int64)
        anchored = torch.zeros_like(self.is_input) if self.anchored is None else self.anchored
        return Topology.without_edges(outside, self.is_input, self.is_output, anchored).connected(self.edge_index)


def axis_names(dim: int) -> list[str]:
    """Return the names of coordinates: ``x, y, z, p3, p4, ...``.

    Example:
        >>> axis_names(4)
        ['x', 'y', 'z', 'p3']
    """
    return ["x", "y", "z", *(f"p{axis}" for axis in range(3, dim))][:dim]


def read_settings(text: Any) -> dict[str, Any]:  # noqa: ANN401 - any value is checked
    """Read settings, a JSON object as a string; None for none.

    Example:
        >>> read_settings('{"gain": 0.5}')
        {'gain': 0.5}
    """
    if text is None:
        return {}
    if not isinstance(text, str):
        raise TypeError(f"settings must be a JSON object as a string, got {type(text).__name__}")
    try:
        found = json.loads(text)
    except ValueError as error:
        raise ValueError(f"settings must be a JSON object: {error}") from None
    if not isinstance(found, dict):
        raise ValueError(f"settings must be a JSON object, got {text}")
    return found


def make_fields(
    settings: Mapping[Any, Any],
    pos: np.ndarray,
    edge_index: Tensor,
    columns: Mapping[str, np.ndarray],
    free: Mapping[str, np.ndarray],
    labels: Labels | None = None,
) -> NetworkFields:
    """Read settings and columns of numbers, named as ``to_networkx`` names them.

    Args:
        settings: what holds for the network as a whole; others than those that ``to_networkx`` writes are not read.
        pos: positions of all neurons, shape ``(N, d)``, in length units.
        edge_index: the edges, shape ``(2, E)``.
        columns: ``layer``, ``anchored``, ``polarity``, ``raw_polarity``, ``bias``, ``cell``, ``is_input``,
            ``is_output``, as far as known, shape ``(N,)``; NaN where a neuron has no value.
        free: learnable ``weight`` and ``delay`` of the edges, where they have them, shape ``(E,)``; NaN likewise.
        labels: what messages call the neurons; None for their numbers.

    Raises:
        TypeError: if a setting is of the wrong type.
        ValueError: if a value is out of range; the message names the neuron or edge, its attribute, the rule and the
            value.

    Example:
        >>> make_fields({}, np.zeros((2, 3)), torch.tensor([[0], [1]]), {}, {}).law
        InverseDistance(softening=0.001)
    """
    labels = Labels() if labels is None else labels
    if "gain" in settings:
        checks.number("gain", settings["gain"])
    columns = {name: np.asarray(values, dtype=np.float64) for name, values in columns.items()}
    dtype = getattr(torch, checks.choice("dtype", settings.get("dtype", "float32"), DTYPES))
    places = [fitting(name, pos[:, axis], dtype, labels) for axis, name in enumerate(axis_names(pos.shape[1]))]
    layer = _layers(columns.get("layer"), labels)
    anchored = flags("anchored", columns.get("anchored"), labels)
    gaps = _gaps(settings, layer, dtype, labels)
    is_input, is_output = _roles(columns, edge_index, layer, labels)
    _check_loops(edge_index, labels)
    is_recurrent = layer is not None and _is_recurrent(settings, edge_index, layer)
    if layer is not None:
        _check_layer_order(edge_index, layer, is_recurrent, labels)
        last = axis_names(len(places))[-1]
        _check_heights(settings.get("spacing"), last, places[-1], layer, anchored, gaps, labels)
    law, law_settings = _law(settings)
    raw_polarity = _raw_polarity(settings, columns, dtype, labels)
    bias = columns.get("bias")
    return NetworkFields(
        pos=torch.stack(places, dim=1),
        edge_index=edge_index,
        layer=layer,
        anchored=anchored,
        raw_polarity=raw_polarity,
        bias=None if bias is None else fitting("bias", np.where(np.isnan(bias), 0.0, bias), dtype, labels),
        gaps=gaps,
        law=law,
        law_settings=law_settings,
        free_synapses=_free_synapses(settings, free, edge_index, dtype, labels),
        options={name: settings[name] for name in OPTIONS if name in settings},
        masked_share=checks.between("masked_share", settings.get("masked_share", 0.0), 0.0, 1.0),
        is_input=is_input,
        is_output=is_output,
        is_recurrent=is_recurrent,
        grids=read_grids(settings, columns.get("cell"), layer, dtype, labels),
    )


# Layers and roles ----


def _layers(values: np.ndarray | None, labels: Labels) -> Tensor | None:
    """Return layer numbers; None where no neuron has one, or all that have one have -1."""
    if values is None or (np.isnan(values) | (values == -1)).all():
        return None
    missing = np.flatnonzero(np.isnan(values))
    if missing.size:
        raise ValueError(f"graph must give every node a layer, or none, got none for {labels.neuron(int(missing[0]))}")
    refuse("layer", "whole numbers", values, values != np.floor(values), labels)
    refuse("layer", "numbers of at least -1", values, values < -1, labels)
    outside = values == -1
    if outside.any():  # whichever are fewer are probably wrong
        wrong = outside if outside.sum() * 2 <= len(outside) else ~outside
        refuse("layer", "-1 for every node or for none", values, wrong, labels)
    numbers, first = np.unique(values, return_index=True)
    jump = np.flatnonzero(numbers != np.arange(len(numbers)))
    if jump.size:
        at = int(jump[0])
        raise ValueError(
            f"layer must leave no layer empty, got {numbers[at]:g} for {labels.neuron(int(first[at]))} "
            f"and no neuron in layer {at}"
        )
    return torch.from_numpy(values.astype(np.int64))


def _check_loops(edge_index: Tensor, labels: Labels) -> None:
    loops = torch.nonzero(edge_index[0] == edge_index[1])
    if len(loops):
        raise ValueError(
            f"graph must lead no edge from a node to itself, got {labels.entry(int(loops[0]), edge_index)}; "
            "graph.remove_edges_from(list(networkx.selfloop_edges(graph))) removes them"
        )


def _is_recurrent(settings: Mapping[Any, Any], edge_index: Tensor, layer: Tensor) -> bool:
    source, target = layer[edge_index]
    return _flag("recurrent", settings.get("recurrent", False)) or bool((source == target).any())


def _flag(name: str, value: Any) -> bool:  # noqa: ANN401 - any value is checked
    """Return a truth value; some formats have none and hold 0 or 1."""
    return bool(value) if checks.is_integer(value) and value in (0, 1) else checks.flag(name, value)


def _check_layer_order(edge_index: Tensor, layer: Tensor, is_recurrent: bool, labels: Labels) -> None:
    source, target = layer[edge_index]
    is_hidden = (target > 0) & (target < layer.max())
    bad = torch.nonzero((source > target) | ((source == target) & ~is_hidden))
    if len(bad):
        at = int(bad[0])
        rule = "to a later layer or within a hidden layer" if is_recurrent else "to a later layer"
        raise ValueError(
            f"graph must lead every edge {rule}, got {labels.entry(at, edge_index)} "
            f"from layer {int(source[at])} to layer {int(target[at])}"
        )


def _roles(
    columns: Mapping[str, np.ndarray], edge_index: Tensor, layer: Tensor | None, labels: Labels
) -> tuple[Tensor | None, Tensor | None]:
    """Return which neurons are inputs and outputs where edges do not say so: pruning may have removed these."""
    count = max(map(len, columns.values()), default=0)
    if layer is not None or not {"is_input", "is_output"} & columns.keys():
        return None, None
    has_incoming, has_outgoing = (torch.bincount(ends, minlength=count) > 0 for ends in edge_index.flip(0))
    by_edges = {"is_input": ~has_incoming, "is_output": has_incoming & ~has_outgoing}
    roles = []
    for name, default in by_edges.items():
        values = columns.get(name, np.full(count, np.nan))
        marked = flags(name, values, labels)
        roles.append(torch.where(torch.from_numpy(np.isnan(values)), default, marked))  # type: ignore[arg-type]
    is_input, is_output = roles
    for (name, default), marked in zip(by_edges.items(), roles, strict=True):
        if default.any() and not marked.any():
            first = labels.neuron(int(default.nonzero()[0]))
            raise ValueError(
                f"graph must hold True in {name!r} for a neuron at least, got False for {first} and others"
            )
    for name, wrong, rule in (
        ("is_input", is_input & has_incoming, "lead no edge into an input"),
        ("is_output", is_output & has_outgoing, "lead no edge out of an output"),
        ("is_input' and 'is_output", is_output & is_input, "have no input that is an output as well"),
    ):
        if wrong.any():
            raise ValueError(f"graph must {rule}, got True in '{name}' for {labels.neuron(int(wrong.nonzero()[0]))}")
    same = torch.equal(is_input, by_edges["is_input"]) and torch.equal(is_output, by_edges["is_output"])
    return (None, None) if same else (is_input, is_output)


# Heights ----


def _gaps(settings: Mapping[Any, Any], layer: Tensor | None, dtype: torch.dtype, labels: Labels) -> Tensor | None:
    """Return the gaps between layers; None where the settings have none, or the spacing is free."""
    spacing = settings.get("spacing", "free")
    found = {name for name in settings if isinstance(name, str) and re.fullmatch(r"gap\d+", name)}
    if layer is None or spacing == "free" or not found:
        return None
    layers = int(layer.max()) + 1
    names = [f"gap{number}" for number in range(layers - 1)]
    for name in sorted(found.symmetric_difference(names)):
        raise ValueError(
            f"graph must have a gap between each two of its {layers} layers (the last is that of "
            f"{labels.neuron(int(layer.argmax()))}), or none, got {name!r} {'besides' if name in found else 'missing'}"
        )
    values = [checks.number(name, settings[name]) for name in names]
    for name, value in zip(names, values, strict=True):
        if spacing == "fixed" and value != 1:
            raise ValueError(f"{name} must be 1 for spacing='fixed', got {value}")
    gaps = torch.tensor(values, dtype=torch.float64).to(dtype)
    beyond = torch.nonzero(~torch.isfinite(gaps.cumsum(0)))
    if len(beyond):
        at = int(beyond[0])
        raise ValueError(f"gap{at} must leave the layers where {dtype_name(dtype)} numbers reach, got {values[at]:g}")
    return gaps


def _check_heights(
    spacing: object,
    axis: str,
    last: Tensor,
    layer: Tensor,
    anchored: Tensor | None,
    gaps: Tensor | None,
    labels: Labels,
) -> None:
    """Check that the neurons of a layer stand where the spacing puts the layer."""
    if spacing not in ("fixed", "learned"):
        return
    if gaps is not None:
        heights = torch.cat([gaps.new_zeros(1), gaps.cumsum(0)])
    else:
        heights = torch.arange(int(layer.max()) + 1).to(last)
    free = torch.ones_like(layer, dtype=torch.bool) if anchored is None else ~anchored
    if gaps is None and spacing == "learned":  # the first neuron of each later layer says how far the layer stands
        backwards = torch.nonzero(free & (layer > 0))[:, 0].flip(0)
        heights[layer[backwards]] = last[backwards]
    bad = torch.nonzero(free & ~torch.isclose(last, heights[layer], rtol=0.0, atol=LEVEL))
    if len(bad):
        at = int(bad[0])
        number = int(layer[at])
        names = [f"gap{gap}" for gap in range(number)] if gaps is not None else []
        source = f" (by {' + '.join(names if number < 4 else [names[0], '...', names[-1]])})" if names else ""
        raise ValueError(
            f"graph must hold {float(heights[number]):g} in {axis!r} for all neurons of layer {number}{source}, for "
            f"spacing={spacing!r}, got {float(last[at]):g} for {labels.neuron(at)}; with spacing='free' they may stand "
            "anywhere"
        )


# Polarities, laws, free values ----


def _raw_polarity(
    settings: Mapping[Any, Any], columns: Mapping[str, np.ndarray], dtype: torch.dtype, labels: Labels
) -> Tensor | None:
    """Return the learnable numbers behind the polarities; NaN where a neuron has neither."""
    own, raw = columns.get("polarity"), columns.get("raw_polarity")
    kind = settings.get("polarity_mode")
    if own is None or settings.get("weight_mode") == "free" or (kind is not None and kind not in POLARITIES):
        return None if raw is None else fitting("raw_polarity", raw, dtype, labels)
    seen = fitting("polarity", own, dtype, labels)
    behind = torch.full_like(seen, math.nan) if raw is None else fitting("raw_polarity", raw, dtype, labels)
    if kind is None:  # nothing says what is behind: the polarity itself counts
        return torch.where(seen.isnan(), behind, seen)
    if kind == "binary":
        refuse("polarity", "numbers between -1 and 1, for polarity_mode='binary',", own, np.abs(own) > 1, labels)
    near = 16 * torch.finfo(dtype).eps
    bad = torch.nonzero(~torch.isclose(polarity_of(behind, kind), seen, near, near) & ~behind.isnan() & ~seen.isnan())
    if len(bad):
        at = int(bad[0])
        raise ValueError(
            "graph must hold a 'polarity' and a 'raw_polarity' that agree, or one of them, got "
            f"{float(seen[at]):g} and {float(behind[at]):g} (polarity {float(polarity_of(behind[at], kind)):g}) "
            f"for {labels.neuron(at)}"
        )
    return torch.where(behind.isnan(), raw_of(seen, kind), behind)


def _law(settings: Mapping[Any, Any]) -> tuple[Law, dict[str, Any]]:
    """Return a law, and its settings."""
    name = checks.choice("law", settings.get("law", "inverse_distance"), list(LAWS))
    known = inspect.signature(LAWS[name]).parameters
    arguments: dict[str, Any] = {}
    for key in settings:
        if not isinstance(key, str) or not key.startswith("law_"):
            continue
        value = settings[key]
        if key.removeprefix("law_") not in known:
            own = ", ".join(f"law_{argument}" for argument in known)
            raise ValueError(f"{key} must not be given for the law {name!r}, which has {own}, got {value!r}")
        is_flag = isinstance(known[key.removeprefix("law_")].default, bool)
        arguments[key.removeprefix("law_")] = _flag(key, value) if is_flag else checks.number(key, value)
    flags = {argument: value for argument, value in arguments.items() if isinstance(value, bool)}
    learnt = dict(make_law(name, **flags).named_parameters())  # these may have left the range where they may start
    try:
        law = make_law(name, **{argument: value for argument, value in arguments.items() if argument not in learnt})
    except ValueError as error:  # which begins with the argument's name
        raise ValueError(f"law_{error}") from error
    return law, arguments


def _free_synapses(
    settings: Mapping[Any, Any], free: Mapping[str, np.ndarray], edge_index: Tensor, dtype: torch.dtype, labels: Labels
) -> dict[str, Tensor]:
    result = {}
    for name, values in free.items():
        setting, none = FREE[name]
        known = np.flatnonzero(~np.isnan(values))
        if settings.get(setting) == none and known.size:
            at = int(known[0])
            raise ValueError(
                f"graph must hold no 'free_{name}' for {setting}={none!r}, "
                f"got {values[at]:g} for {labels.entry(at, edge_index)}"
            )
        result[name] = fitting(f"free_{name}", values, dtype, labels, edge_index)
    return result
