"""Files: a network as a safetensors file, which is written atomically and read without running code."""

import os
from typing import Any

import safetensors
import torch
from torch import Tensor, nn

from spatialgraph import atomic, checks
from spatialgraph.connectome.formats.file_format import build, pack, settings_of
from spatialgraph.devices import default_device, on_cpu
from spatialgraph.graph.network import graph_of
from spatialgraph.graph.saved_models import describe_model, restore_model
from spatialgraph.graph.sealed import seal, unseal
from spatialgraph.graph.used import check_own
from spatialgraph.laws import LAWS

__all__ = ["load", "save"]

FORMAT = "spatialgraph"
VERSION = 2

# Begins the names of a model's own tensors.
_OWN = "model."

# Exceptions for invalid values in a file.
_FAULTS = (
    safetensors.SafetensorError,
    ArithmeticError,
    LookupError,
    RuntimeError,
    TypeError,
    ValueError,
)


@on_cpu
def save(network: nn.Module, path: str | os.PathLike[str]) -> None:
    """Write a graph or a model to a file, from which :func:`load` restores it to the bit.

    The file is of the format `safetensors <https://huggingface.co/docs/safetensors>`_ and holds the tensors of the
    graph's ``state_dict`` under their names, and the layers, roles and anchors of its neurons. Integers have the
    smallest dtype that can hold them. The listed edges are compressed rows: ``connectivity.in_degree``, the number of
    listed edges into each neuron, and ``connectivity.sources``, their sources, in the order of their targets.
    All-to-all projections list no edges. The metadata's entry ``spatialgraph`` is a JSON object: the ``version`` of the
    format, the ``settings`` of the network, and a checksum of all of it, ``sha256``.

    The wiring that selected the edges is not saved, and ``init`` only if it is a name. An existing file is replaced
    once the new one is complete, and keeps its permissions; if ``path`` is a symbolic link, the file that it points to
    is replaced.

    Args:
        network: a :class:`~spatialgraph.SpatialGraph`, or a model of it: a :class:`~spatialgraph.SpatialMLP` or
            :class:`~spatialgraph.SpatialSNN`, which is saved with its activation, normalisation, coding, time steps and
            neurons, or of a class given to :func:`~spatialgraph.graph.saved_models.register_model`.
        path: the file.

    Raises:
        TypeError: if ``network`` is neither a graph nor a model of one, or if the law is a custom class, because a file
            contains no code.
        ValueError: if the model has an activation, a surrogate gradient or neurons without a name; if a setting or
            tensor is one that :class:`~spatialgraph.SpatialGraph` does not accept; or if a parameter is infinite or
            NaN, in which case the message names the neuron.
        RuntimeError: if a parameter is parametrised, as by :class:`~spatialgraph.QuantizeWhileTraining`.
        OSError: if the file cannot be written; an existing file is then unchanged.

    Example:
        >>> import tempfile
        >>> from pathlib import Path
        >>> path = Path(tempfile.mkdtemp()) / "network.safetensors"
        >>> from spatialgraph import SpatialGraph
        >>> save(SpatialGraph.layered([3, 2]), path)
        >>> load(path)
        SpatialGraph(neurons=5, synapses=6, dim=3, spacing='learned')
    """
    graph = graph_of(network)
    if type(graph.law) not in LAWS.values():
        raise TypeError(
            f"law must be one of {', '.join(map(repr, LAWS))} to be saved, got {type(graph.law).__name__}: a file "
            "holds no code; save the state_dict instead"
        )
    graph.connectivity.verify()
    check_own(graph.positions, "coords", "grid_coords", "anchor_pos", "gaps")
    check_own(graph, "raw_polarity", "raw_grid_polarity", "raw_bias")
    whole = settings_of(graph) | {"model": describe_model(network)}
    data = seal(FORMAT, VERSION, whole, pack(graph) | _own_tensors(network, graph))
    _build(data)  # raises before writing if the file could not be read
    atomic.write_bytes(checks.path("path", path), data)


def load(path: str | os.PathLike[str], device: torch.device | str | None = None) -> Any:  # noqa: ANN401 - a graph or a model
    """Load a graph or model that :func:`save` wrote to a file; no code in the file is run.

    Its outputs are identical to the bit. The wiring is not saved, so :meth:`rewire_
    <spatialgraph.SpatialGraph.rewire_>` needs a wiring unless all projections are all-to-all. If ``init`` was not a
    name, ``reset_parameters`` restores the saved positions; it restores the saved values of a learnable law.

    Args:
        path: the file.
        device: where the network goes; None for PyTorch's default device.

    Returns:
        The graph or model; a model is in training mode.

    Raises:
        TypeError: if ``path`` is neither a string nor a path.
        FileNotFoundError: if there is no such file.
        ValueError: if the file is damaged, was written by another program or a newer version, or contains no network.

    Example:
        >>> import tempfile
        >>> from pathlib import Path
        >>> path = Path(tempfile.mkdtemp()) / "network.safetensors"
        >>> from spatialgraph import SpatialGraph
        >>> save(SpatialGraph.layered([3, 2], gain=0.1), path)
        >>> load(path).gain
        0.1
    """
    data = checks.path("path", path).read_bytes()
    try:
        network = _build(data)
    except _FAULTS as error:
        raise ValueError(f"{os.fspath(path)} must be a network that spatialgraph.save wrote: {error}") from error
    return network.to(default_device(device))


@on_cpu
def _build(data: bytes) -> nn.Module:
    settings, tensors = unseal(FORMAT, VERSION, data)
    if "model" not in settings:
        raise ValueError("settings must have an entry 'model', got none")
    described = settings.pop("model")
    own = {name.removeprefix(_OWN): tensors.pop(name) for name in list(tensors) if name.startswith(_OWN)}
    graph = build(settings, tensors)
    network = restore_model(graph, described)
    expected = {name.removeprefix(_OWN) for name in _own_tensors(network, graph)}
    if own.keys() != expected:
        raise ValueError(f"the tensors of the model must be {sorted(expected)}, got {sorted(own)}")
    if own:
        network.load_state_dict(own, strict=False)
    return network


def _own_tensors(network: nn.Module, graph: nn.Module) -> dict[str, Tensor]:
    """Return the tensors of a model's state that are not those of its graph, under names of their own."""
    graphs = [f"{name}." if name else "" for name, module in network.named_modules() if module is graph]
    state = network.state_dict()
    return {_OWN + name: values for name, values in state.items() if not any(map(name.startswith, graphs))}
