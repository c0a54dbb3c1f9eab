"""The format of network files: conversion between a network and its settings and tensors."""

import dataclasses
from typing import Any

import torch
from torch import Tensor

from spatialgraph import checks
from spatialgraph.connectome.formats.codes import HEIGHTS, current_quantization, packed_codes, unpacked_codes
from spatialgraph.connectome.formats.seeds import Seeds, known_wirings, seeded_edges, seeds_of
from spatialgraph.graph.fields import make_fields
from spatialgraph.graph.positions import INITS
from spatialgraph.graph.scales import Quantization
from spatialgraph.graph.sealed import WHOLE
from spatialgraph.graph.spatial_graph import SpatialGraph
from spatialgraph.graph.tables import settings
from spatialgraph.graph.topology import Topology
from spatialgraph.graph.weighted import learnt_settings
from spatialgraph.wiring.wirings import AllToAll

__all__ = ["build", "pack", "settings_of"]

_STATE = "connectivity._extra_state"
_NUMBERS = "_extra_state"  # the gain and the masked share, which are settings in a file

_NEURONS = {
    "connectivity.layer": "layer",
    "connectivity.is_input": "is_input",
    "connectivity.is_output": "is_output",
    "positions.anchored": "anchored",
}
_COMPLETE = ("all_to_all", "all_recurrent")
_GRIDS = {"connectivity.grid_shapes": "grid_shapes", "connectivity.cells": "cells"}
_STRUCTURE = (*_NEURONS, *_GRIDS, *(f"connectivity.{name}" for name in _COMPLETE))

# Writing ----


def settings_of(graph: SpatialGraph) -> dict[str, Any]:
    """Return the settings of a network, as numbers and names."""
    in_tensors = {f"law_{name}" for name in graph.law.state_dict()} | {"grids"}
    own = {
        name: value for name, value in settings(graph).items() if name not in in_tensors and not name.startswith("gap")
    }
    init = graph.init if isinstance(graph.init, str) else None
    seeds, quantization = seeds_of(graph.connectivity), current_quantization(graph)
    own |= {"seeds": seeds} if seeds else {}
    own |= {} if quantization is None else {"quantization": quantization.to_settings()}
    return {"velocity": None, "masked_share": 0.0} | own | {"init": init}


def pack(graph: SpatialGraph) -> dict[str, Tensor]:
    """Return the tensors of a network, integers in the smallest dtype that can hold them."""
    tensors = {name: values.cpu() for name, values in graph.state_dict().items()}
    del tensors[_STATE], tensors[_NUMBERS]
    topology, quantization = graph.connectivity.topology, current_quantization(graph)
    if quantization is not None:
        tensors |= packed_codes(graph, quantization)
    sources, targets = _unseeded(graph)
    return tensors | {
        **{name: getattr(topology, field) for name, field in _NEURONS.items()},
        **{f"connectivity.{name}": getattr(topology, name) for name in _COMPLETE},
        **{name: getattr(topology, field) for name, field in _GRIDS.items() if graph.grids},
        "connectivity.in_degree": torch.bincount(targets, minlength=graph.neurons),
        "connectivity.sources": sources[torch.argsort(targets.long() * graph.neurons + sources)],
    }


def _unseeded(graph: SpatialGraph) -> Tensor:
    """Return the listed edges without those that follow from seeds."""
    topology = graph.connectivity.topology
    return topology.split_edges()[1] if seeds_of(graph.connectivity) else topology.listed_edges


# Reading ----


def build(found: dict[str, Any], tensors: dict[str, Tensor]) -> SpatialGraph:
    """Build a network from the results of :func:`settings_of` and :func:`pack`.

    Raises:
        TypeError, ValueError, LookupError, RuntimeError: if a setting or tensor is missing, invalid or inconsistent.
    """
    state = {name: values.long() if values.dtype in WHOLE else values for name, values in tensors.items()}
    topology = _topology(state, found.get("seeds", {}))
    graph = _with_first_values(found, state, topology)
    state = {name: values for name, values in state.items() if name not in (*_STRUCTURE, HEIGHTS)}
    if "quantization" in found:
        graph.quantization = Quantization.from_settings(found["quantization"])
        state |= unpacked_codes(graph, graph.quantization, tensors)
    for name, values in graph.state_dict().items():
        if name in state and state[name].dtype != values.dtype:
            raise ValueError(f"{name} must be {values.dtype}, got {state[name].dtype}")
    graph.load_state_dict(state | {_NUMBERS: graph.get_extra_state(), _STATE: topology.encode()})
    _check_values(graph)
    wiring = known_wirings(topology, found.get("seeds", {}))
    graph.connectivity.wiring, graph.connectivity.recurrence = wiring, _recurrence_of(graph)
    init = found.get("init")
    graph.init = init if init in INITS and graph.is_layered else graph.pos.detach().clone()
    graph.law_at_first = learnt_settings(graph.law)
    if settings_of(graph) != found:
        raise ValueError(f"settings must be like {settings_of(graph)}, got {found}")
    return graph


def _topology(state: dict[str, Tensor], seeds: Seeds) -> Topology:
    """Remove the structure from a state and return it, with the edges that follow from seeds."""
    edges = _list_edges(state)
    neurons = {field: _take(state, name, axes=1) for name, field in _NEURONS.items()}
    complete = {name: _take(state, f"connectivity.{name}", axes=1) for name in _COMPLETE}
    grids = {
        field: _take(state, name, axes)
        for axes, (name, field) in zip((2, 1), _GRIDS.items(), strict=True)
        if name in state
    }
    topology = Topology.of(edges, **neurons, **complete, **grids)
    topology.check()
    return topology.listing(seeded_edges(seeds, topology.layer)) if seeds else topology


def _list_edges(state: dict[str, Tensor]) -> Tensor:
    """Remove the compressed rows from a state and return their edges, shape ``(2, E)``."""
    neurons = _take(state, "positions.anchored", axes=1).numel()
    sources, in_degree = _take(state, "connectivity.sources", axes=1), _take(state, "connectivity.in_degree", axes=1)
    if checks.shape("connectivity.in_degree", in_degree, (neurons,)).dtype != torch.int64:
        raise TypeError(f"connectivity.in_degree must be integers, got {in_degree.dtype}")
    if not neurons or int(in_degree.min()) < 0 or int(in_degree.max()) > len(sources):
        raise ValueError(f"connectivity.in_degree must lie between 0 and the number of edges ({len(sources)})")
    if int(in_degree.sum()) != len(sources):
        raise ValueError(f"connectivity.in_degree must add up to {len(sources)}, got {int(in_degree.sum())}")
    del state["connectivity.sources"], state["connectivity.in_degree"]
    return torch.stack([sources, torch.arange(neurons).repeat_interleave(in_degree)])


def _take(state: dict[str, Tensor], name: str, axes: int) -> Tensor:
    if name not in state:
        raise ValueError(f"{name} must be among the tensors, got {sorted(state)}")
    if state[name].dim() != axes:
        raise ValueError(f"{name} must have {axes} axes, got shape {tuple(state[name].shape)}")
    return state[name]


def _with_first_values(found: dict[str, Any], state: dict[str, Tensor], topology: Topology) -> SpatialGraph:
    """Build a network from a structure, before its parameters are loaded."""
    neurons, dim = topology.layer.numel(), _dim(found, state, topology)
    pos = torch.zeros(neurons, dim, dtype=torch.float64)
    columns = {"anchored": topology.anchored.numpy()}
    if topology.is_layered:
        pos[:, -1] = topology.layer
        columns["layer"] = topology.layer.numpy()
    fields = make_fields(found, pos.numpy(), torch.empty(2, 0, dtype=torch.int64), columns, {})
    with torch.random.fork_rng(devices=[]):  # the initial values are replaced afterwards
        return SpatialGraph.from_fields(dataclasses.replace(fields, topology=topology))


def _dim(found: dict[str, Any], state: dict[str, Tensor], topology: Topology) -> int:
    """Return the number of axes; the shapes of codes are checked where they are read."""
    if "quantization" in found:
        return len(Quantization.from_settings(found["quantization"]).multipliers) + int(found.get("spacing") != "free")
    coords, anchor_pos = (_take(state, name, axes=2) for name in ("positions.coords", "positions.anchor_pos"))
    dim, single = anchor_pos.shape[1], len(topology.sums(~topology.anchored).single)
    if (
        len(coords) != single
        or len(anchor_pos) != int(topology.anchored.sum())
        or coords.shape[1] not in (dim - 1, dim)
    ):
        neurons = topology.layer.numel()
        raise ValueError(f"positions must be those of {neurons} neurons in {dim} dimensions, got {len(coords)} others")
    return dim


@torch.no_grad()
def _check_values(graph: SpatialGraph) -> None:
    """Raise ``ValueError`` if a parameter is infinite or NaN."""
    located = graph.connectivity.located
    of_neurons = {
        "positions.coords": (graph.positions.coords, located.movable.single),
        "positions.anchor_pos": (graph.positions.anchor_pos, located.anchors),
        "raw_polarity": (graph.raw_polarity, graph.polarised.single),
        "raw_bias": (graph.raw_bias, located.receivers),
    }
    for name, (values, members) in of_neurons.items():
        bad = torch.nonzero(~torch.isfinite(values))
        if len(bad):
            neuron = int(members[bad[0, 0]])
            raise ValueError(f"{name} must be finite, got {float(values[tuple(bad[0])]):g} for neuron {neuron}")
    own = {} if graph.free_synapses is None else dict(graph.free_synapses.named_parameters())
    for name, values in own.items():
        bad = torch.nonzero(~torch.isfinite(values))
        if len(bad):
            edge = tuple(graph.edge_index[:, bad[0, 0]].tolist())
            raise ValueError(f"free_synapses.{name} must be finite, got {float(values[bad[0, 0]]):g} for edge {edge}")
    checks.finite("positions.gaps", graph.positions.gaps)
    checks.finite("positions.grid_coords", graph.positions.grid_coords)
    checks.finite("raw_grid_polarity", graph.raw_grid_polarity)
    for name, values in graph.law.state_dict().items():
        checks.finite(f"law.{name}", values)


def _recurrence_of(graph: SpatialGraph) -> tuple[AllToAll, ...]:
    """Return the wirings within layers of a network whose hidden layers are all all-to-all, else none."""
    topology = graph.connectivity.topology
    is_single = torch.bincount(topology.layer)[1:-1] == 1 if topology.is_recurrent else topology.all_recurrent
    is_complete = bool((topology.all_recurrent[1:-1] | is_single).all())  # a single neuron has no others
    return (AllToAll(),) * len(is_single) if is_complete else ()
