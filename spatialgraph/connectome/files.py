"""Files: one network as one safetensors file, which is written whole or not at all and read without running code."""

import os
from pathlib import Path
from typing import Any

import safetensors
import torch
from torch import Tensor

from spatialgraph import atomic, checks
from spatialgraph.graph.fields import make_fields
from spatialgraph.graph.positions import INITS
from spatialgraph.graph.sealed import WHOLE, seal, unseal
from spatialgraph.graph.spatial_graph import SpatialGraph
from spatialgraph.graph.tables import settings as settings_of
from spatialgraph.graph.topology import Topology
from spatialgraph.laws import LAWS
from spatialgraph.wiring.wirings import AllToAll

__all__ = ["load", "save"]

FORMAT = "spatialgraph"
VERSION = 1

_STATE = "connectivity._extra_state"

_NEURONS = {
    "connectivity.layer": "layer",
    "connectivity.is_input": "is_input",
    "connectivity.is_output": "is_output",
    "positions.anchored": "anchored",
}
_STRUCTURE = (*_NEURONS, "connectivity.all_to_all")

# What the parts of a network raise on values that they cannot hold.
_FAULTS = (
    safetensors.SafetensorError,
    ArithmeticError,
    AttributeError,
    LookupError,
    RuntimeError,
    TypeError,
    ValueError,
)


def save(graph: SpatialGraph, path: str | os.PathLike[str]) -> None:
    """Write a network to a file, from which :func:`load` builds it again to the bit.

    The file is of the format `safetensors <https://huggingface.co/docs/safetensors>`_ and holds the tensors of the
    graph's ``state_dict`` under their names, and the layers, roles and anchors of its neurons, whole numbers in the
    smallest type that holds them. The listed edges are compressed rows: ``connectivity.in_degree``, the number of
    listed edges into each neuron, and ``connectivity.sources``, where these come from, in the order of their targets.
    All-to-all projections list no edges. The metadata's entry ``spatialgraph`` is a JSON object: the ``version`` of the
    format, the ``settings`` of the network, and a checksum of all of it, ``sha256``.

    The wiring that selected the edges is not kept, and of ``init`` only a name. A file that exists is replaced once the
    new one is complete, and keeps its permissions; where ``path`` is a symbolic link, the file that it names is.

    Args:
        graph: the network; of a model, ``model.graph``.
        path: the file.

    Raises:
        TypeError: if an argument is of the wrong type, or the law is a class of your own: a file holds no code.
        ValueError: if the network has a setting or tensor that breaks a rule of :class:`~spatialgraph.SpatialGraph`, or
            a parameter that is infinite or NaN; the message names the neuron.
        OSError: if the file cannot be written; one that existed is then as it was.

    Example:
        >>> import tempfile
        >>> path = Path(tempfile.mkdtemp()) / "network.safetensors"
        >>> save(SpatialGraph.layered([3, 2]), path)
        >>> load(path)
        SpatialGraph(neurons=5, synapses=6, dim=3, spacing='learned')
    """
    if not isinstance(graph, SpatialGraph):
        raise TypeError(f"graph must be a SpatialGraph (of a model: model.graph), got {type(graph).__name__}")
    if type(graph.law) not in LAWS.values():
        raise TypeError(
            f"law must be one of {', '.join(map(repr, LAWS))} to be saved, got {type(graph.law).__name__}: a file "
            "holds no code; save the state_dict instead"
        )
    graph.connectivity.verify()
    data = seal(FORMAT, VERSION, _settings(graph), _pack(graph))
    _build(*unseal(FORMAT, VERSION, data))  # what could not be read again is not written
    atomic.write_bytes(_as_path(path), data)


def load(path: str | os.PathLike[str]) -> SpatialGraph:
    """Build the network that :func:`save` wrote to a file; nothing in the file is run.

    Models of the network compute the same to the bit. Its edges are listed, so that :meth:`rewire
    <spatialgraph.SpatialGraph.rewire>` needs a wiring, unless all of it is all-to-all. Where ``init`` was no name,
    ``reset_parameters`` puts the neurons back to where they were saved.

    Args:
        path: the file.

    Returns:
        The network, on the CPU.

    Raises:
        TypeError: if ``path`` is neither a string nor a path.
        FileNotFoundError: if there is no such file.
        ValueError: if the file is damaged, of another program or of a newer version, or holds no network.

    Example:
        >>> import tempfile
        >>> path = Path(tempfile.mkdtemp()) / "network.safetensors"
        >>> save(SpatialGraph.layered([3, 2], gain=0.1), path)
        >>> load(path).gain
        0.1
    """
    data = _as_path(path).read_bytes()
    try:
        return _build(*unseal(FORMAT, VERSION, data))
    except _FAULTS as error:
        raise ValueError(f"{os.fspath(path)} must be a network that spatialgraph.save wrote: {error}") from error


def _as_path(path: Any) -> Path:  # noqa: ANN401 - any value is checked
    if not isinstance(path, str | os.PathLike):
        raise TypeError(f"path must be a string or a path, got {type(path).__name__}")
    return Path(path)


# Writing ----


def _settings(graph: SpatialGraph) -> dict[str, Any]:
    """Return what the tensors do not say, as numbers and names."""
    in_tensors = {f"law_{name}" for name in graph.law.state_dict()}
    own = {
        name: value
        for name, value in settings_of(graph).items()
        if name not in in_tensors and not name.startswith("gap")
    }
    init = graph.init if isinstance(graph.init, str) else None
    return {"velocity": None} | own | {"init": init}


def _pack(graph: SpatialGraph) -> dict[str, Tensor]:
    tensors = {name: values.cpu() for name, values in graph.state_dict().items()}
    del tensors[_STATE]
    topology = graph.connectivity.topology
    sources, targets = topology.listed_edges
    return tensors | {
        **{name: getattr(topology, field) for name, field in _NEURONS.items()},
        "connectivity.all_to_all": topology.all_to_all,
        "connectivity.in_degree": torch.bincount(targets, minlength=graph.neurons),
        "connectivity.sources": sources[torch.argsort(targets.long() * graph.neurons + sources)],
    }


# Reading ----


def _build(settings: dict[str, Any], tensors: dict[str, Tensor]) -> SpatialGraph:
    state = {name: values.long() if values.dtype in WHOLE else values for name, values in tensors.items()}
    edges = _list_edges(state)
    graph = _without_edges(settings, state)
    neurons = {field: _take(state, name, axes=1) for name, field in _NEURONS.items()}
    topology = Topology(**neurons, all_to_all=_take(state, "connectivity.all_to_all", axes=1), listed_edges=edges)
    topology.check()
    state = {name: values for name, values in state.items() if name not in _STRUCTURE}
    for name, values in graph.state_dict().items():
        if name in state and state[name].dtype != values.dtype:
            raise ValueError(f"{name} must be {values.dtype}, got {state[name].dtype}")
    graph.load_state_dict(state | {_STATE: topology.encode()})
    _check_values(graph)
    graph.connectivity.wiring = _wiring_of(graph)
    init = settings.get("init")
    graph.init = init if init in INITS and graph.is_layered else graph.pos.detach().clone()
    if _settings(graph) != settings:
        raise ValueError(f"settings must be like {_settings(graph)}, got {settings}")
    return graph


def _list_edges(state: dict[str, Tensor]) -> Tensor:
    """Take the compressed rows out of a state and return their edges, shape ``(2, E)``."""
    neurons = _take(state, "positions.anchored", axes=1).numel()
    sources, in_degree = _take(state, "connectivity.sources", axes=1), _take(state, "connectivity.in_degree", axes=1)
    if checks.shape("connectivity.in_degree", in_degree, (neurons,)).dtype != torch.int64:
        raise TypeError(f"connectivity.in_degree must hold whole numbers, got {in_degree.dtype}")
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


def _without_edges(settings: dict[str, Any], state: dict[str, Tensor]) -> SpatialGraph:
    """Build a network of the same neurons, whose edges and parameters are still to come."""
    layer, anchored = (_take(state, name, axes=1) for name in ("connectivity.layer", "positions.anchored"))
    coords, anchor_pos = (_take(state, name, axes=2) for name in ("positions.coords", "positions.anchor_pos"))
    neurons, dim = anchored.numel(), anchor_pos.shape[1]
    checks.shape("connectivity.layer", layer, (neurons,))
    if int(layer.max()) >= neurons:
        raise ValueError(f"connectivity.layer must be below the number of neurons ({neurons}), got {int(layer.max())}")
    if len(coords) + len(anchor_pos) != neurons or coords.shape[1] not in (dim - 1, dim):
        raise ValueError(f"positions must be those of {neurons} neurons in {dim} dimensions, got {len(coords)} others")
    is_layered = bool((layer >= 0).all())
    pos = torch.zeros(neurons, dim, dtype=torch.float64)
    if is_layered:
        pos[:, -1] = layer
    edges = torch.empty(2, 0, dtype=torch.int64)
    columns = {"layer": layer.numpy(), "anchored": anchored.numpy()}
    if not is_layered:
        columns |= {field: _take(state, f"connectivity.{field}", axes=1).numpy() for field in ("is_input", "is_output")}
    with torch.random.fork_rng(devices=[]):  # first values are drawn, only to be replaced
        return SpatialGraph.from_fields(make_fields(settings, pos.numpy(), edges, columns, {}))


@torch.no_grad()
def _check_values(graph: SpatialGraph) -> None:
    """Refuse parameters that are infinite or NaN."""
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
    """Return the wiring of a network that is all-to-all throughout, None for another."""
    reach = graph.connectivity.topology.all_to_all
    if torch.equal(reach, torch.ones_like(reach)):
        return AllToAll()
    return AllToAll(reach="all") if torch.equal(reach, torch.arange(1, len(reach) + 1)) else None
