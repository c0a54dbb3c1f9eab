"""The format of network files: conversion between a network and its settings and tensors."""

import dataclasses
from typing import Any

import torch
from torch import Tensor

from spatialgraph import checks
from spatialgraph.graph.fields import make_fields
from spatialgraph.graph.positions import INITS
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
_STRUCTURE = (*_NEURONS, *(f"connectivity.{name}" for name in _COMPLETE))

# Writing ----


def settings_of(graph: SpatialGraph) -> dict[str, Any]:
    """Return the settings of a network, as numbers and names."""
    in_tensors = {f"law_{name}" for name in graph.law.state_dict()}
    own = {
        name: value for name, value in settings(graph).items() if name not in in_tensors and not name.startswith("gap")
    }
    init = graph.init if isinstance(graph.init, str) else None
    return {"velocity": None, "masked_share": 0.0} | own | {"init": init}


def pack(graph: SpatialGraph) -> dict[str, Tensor]:
    """Return the tensors of a network, integers in the smallest dtype that can hold them."""
    tensors = {name: values.cpu() for name, values in graph.state_dict().items()}
    del tensors[_STATE], tensors[_NUMBERS]
    topology = graph.connectivity.topology
    sources, targets = topology.listed_edges
    return tensors | {
        **{name: getattr(topology, field) for name, field in _NEURONS.items()},
        **{f"connectivity.{name}": getattr(topology, name) for name in _COMPLETE},
        "connectivity.in_degree": torch.bincount(targets, minlength=graph.neurons),
        "connectivity.sources": sources[torch.argsort(targets.long() * graph.neurons + sources)],
    }


# Reading ----


def build(found: dict[str, Any], tensors: dict[str, Tensor]) -> SpatialGraph:
    """Build a network from the results of :func:`settings_of` and :func:`pack`.

    Raises:
        TypeError, ValueError, LookupError, RuntimeError: if a setting or tensor is missing, invalid or inconsistent.
    """
    state = {name: values.long() if values.dtype in WHOLE else values for name, values in tensors.items()}
    topology = _topology(state)
    graph = _with_first_values(found, state, topology)
    state = {name: values for name, values in state.items() if name not in _STRUCTURE}
    for name, values in graph.state_dict().items():
        if name in state and state[name].dtype != values.dtype:
            raise ValueError(f"{name} must be {values.dtype}, got {state[name].dtype}")
    graph.load_state_dict(state | {_NUMBERS: graph.get_extra_state(), _STATE: topology.encode()})
    _check_values(graph)
    graph.connectivity.wiring, graph.connectivity.recurrence = _wiring_of(graph), _recurrence_of(graph)
    init = found.get("init")
    graph.init = init if init in INITS and graph.is_layered else graph.pos.detach().clone()
    graph.law_at_first = learnt_settings(graph.law)
    if settings_of(graph) != found:
        raise ValueError(f"settings must be like {settings_of(graph)}, got {found}")
    return graph


def _topology(state: dict[str, Tensor]) -> Topology:
    """Remove the structure from a state and return it."""
    edges = _list_edges(state)
    neurons = {field: _take(state, name, axes=1) for name, field in _NEURONS.items()}
    complete = {name: _take(state, f"connectivity.{name}", axes=1) for name in _COMPLETE}
    topology = Topology(**neurons, **complete, listed_edges=edges)
    topology.check()
    return topology


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
    coords, anchor_pos = (_take(state, name, axes=2) for name in ("positions.coords", "positions.anchor_pos"))
    neurons, dim = topology.layer.numel(), anchor_pos.shape[1]
    if len(coords) + len(anchor_pos) != neurons or coords.shape[1] not in (dim - 1, dim):
        raise ValueError(f"positions must be those of {neurons} neurons in {dim} dimensions, got {len(coords)} others")
    pos = torch.zeros(neurons, dim, dtype=torch.float64)
    columns = {"anchored": topology.anchored.numpy()}
    if topology.is_layered:
        pos[:, -1] = topology.layer
        columns["layer"] = topology.layer.numpy()
    fields = make_fields(found, pos.numpy(), torch.empty(2, 0, dtype=torch.int64), columns, {})
    with torch.random.fork_rng(devices=[]):  # the initial values are replaced afterwards
        return SpatialGraph.from_fields(dataclasses.replace(fields, topology=topology))


@torch.no_grad()
def _check_values(graph: SpatialGraph) -> None:
    """Raise ``ValueError`` if a parameter is infinite or NaN."""
    anchored = graph.positions.anchored
    of_neurons = {
        "positions.coords": (graph.positions.coords, ~anchored),
        "positions.anchor_pos": (graph.positions.anchor_pos, anchored),
        "raw_polarity": (graph.raw_polarity, ~graph.is_output),
        "raw_bias": (graph.raw_bias, ~graph.is_input),
    }
    for name, (values, members) in of_neurons.items():
        bad = torch.nonzero(~torch.isfinite(values))
        if len(bad):
            neuron = int(torch.nonzero(members)[bad[0, 0]])
            raise ValueError(f"{name} must be finite, got {float(values[tuple(bad[0])]):g} for neuron {neuron}")
    own = {} if graph.free_synapses is None else dict(graph.free_synapses.named_parameters())
    for name, values in own.items():
        bad = torch.nonzero(~torch.isfinite(values))
        if len(bad):
            edge = tuple(graph.edge_index[:, bad[0, 0]].tolist())
            raise ValueError(f"free_synapses.{name} must be finite, got {float(values[bad[0, 0]]):g} for edge {edge}")
    checks.finite("positions.gaps", graph.positions.gaps)
    for name, values in graph.law.state_dict().items():
        checks.finite(f"law.{name}", values)


def _wiring_of(graph: SpatialGraph) -> AllToAll | None:
    """Return the wiring of a network whose projections are all all-to-all, else None."""
    reach = graph.connectivity.topology.all_to_all
    if torch.equal(reach, torch.ones_like(reach)):
        return AllToAll()
    return AllToAll(reach="all") if torch.equal(reach, torch.arange(1, len(reach) + 1)) else None


def _recurrence_of(graph: SpatialGraph) -> tuple[AllToAll, ...]:
    """Return the wirings within layers of a network whose hidden layers are all all-to-all, else none."""
    topology = graph.connectivity.topology
    is_single = torch.bincount(topology.layer)[1:-1] == 1 if topology.is_recurrent else topology.all_recurrent
    is_complete = bool((topology.all_recurrent[1:-1] | is_single).all())  # a single neuron has no others
    return (AllToAll(),) * len(is_single) if is_complete else ()
