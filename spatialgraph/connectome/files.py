"""Files: one network as one safetensors file, which is written whole or not at all and read without running code."""

import os
from pathlib import Path
from typing import Any

import safetensors
from torch import nn

from spatialgraph import atomic
from spatialgraph.connectome.file_format import build, pack, settings_of
from spatialgraph.graph.network import graph_of
from spatialgraph.graph.saved_models import describe_model, restore_model
from spatialgraph.graph.sealed import seal, unseal
from spatialgraph.laws import LAWS

__all__ = ["load", "save"]

FORMAT = "spatialgraph"
VERSION = 2

# What the parts of a network raise on values that they cannot hold.
_FAULTS = (
    safetensors.SafetensorError,
    ArithmeticError,
    LookupError,
    RuntimeError,
    TypeError,
    ValueError,
)


def save(network: nn.Module, path: str | os.PathLike[str]) -> None:
    """Write a network, a graph or a whole model, to a file, from which :func:`load` builds it again to the bit.

    The file is of the format `safetensors <https://huggingface.co/docs/safetensors>`_ and holds the tensors of the
    graph's ``state_dict`` under their names, and the layers, roles and anchors of its neurons, whole numbers in the
    smallest type that holds them. The listed edges are compressed rows: ``connectivity.in_degree``, the number of
    listed edges into each neuron, and ``connectivity.sources``, where these come from, in the order of their targets.
    All-to-all projections list no edges. The metadata's entry ``spatialgraph`` is a JSON object: the ``version`` of the
    format, the ``settings`` of the network, and a checksum of all of it, ``sha256``.

    The wiring that selected the edges is not kept, and of ``init`` only a name. A file that exists is replaced once the
    new one is complete, and keeps its permissions; where ``path`` is a symbolic link, the file that it names is.

    Args:
        network: a :class:`~spatialgraph.SpatialGraph`, or a model of it: a :class:`~spatialgraph.SpatialMLP` or
            :class:`~spatialgraph.SpatialSNN`, which is saved with its activation, normalisation, coding, time steps and
            neurons, or of a class given to :func:`~spatialgraph.graph.saved_models.register_model`.
        path: the file.

    Raises:
        TypeError: if an argument is of the wrong type, or the law is a class of your own: a file holds no code.
        ValueError: if the model has an activation, a surrogate gradient or neurons that have no name here; if the
            network has a setting or tensor that breaks a rule of :class:`~spatialgraph.SpatialGraph`, or a parameter
            that is infinite or NaN; the message names the neuron.
        OSError: if the file cannot be written; one that existed is then as it was.

    Example:
        >>> import tempfile
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
    whole = settings_of(graph) | {"model": describe_model(network)}
    data = seal(FORMAT, VERSION, whole, pack(graph))
    _build(data)  # what could not be read again is not written
    atomic.write_bytes(_as_path(path), data)


def load(path: str | os.PathLike[str]) -> Any:  # noqa: ANN401 - a graph or a model
    """Build the network that :func:`save` wrote to a file, a graph or a model; nothing in the file is run.

    It computes the same to the bit. The edges of a graph are listed, so that :meth:`rewire
    <spatialgraph.SpatialGraph.rewire_>` needs a wiring, unless all of it is all-to-all. Where ``init`` was no name,
    ``reset_parameters`` puts the neurons back to where they were saved.

    Args:
        path: the file.

    Returns:
        The graph or model, on the CPU; a model in training mode.

    Raises:
        TypeError: if ``path`` is neither a string nor a path.
        FileNotFoundError: if there is no such file.
        ValueError: if the file is damaged, of another program or of a newer version, or holds no network.

    Example:
        >>> import tempfile
        >>> path = Path(tempfile.mkdtemp()) / "network.safetensors"
        >>> from spatialgraph import SpatialGraph
        >>> save(SpatialGraph.layered([3, 2], gain=0.1), path)
        >>> load(path).gain
        0.1
    """
    data = _as_path(path).read_bytes()
    try:
        return _build(data)
    except _FAULTS as error:
        raise ValueError(f"{os.fspath(path)} must be a network that spatialgraph.save wrote: {error}") from error


def _as_path(path: Any) -> Path:  # noqa: ANN401 - any value is checked
    if not isinstance(path, str | os.PathLike):
        raise TypeError(f"path must be a string or a path, got {type(path).__name__}")
    return Path(path)


def _build(data: bytes) -> nn.Module:
    settings, tensors = unseal(FORMAT, VERSION, data)
    if "model" not in settings:
        raise ValueError("settings must have an entry 'model', got none")
    described = settings.pop("model")
    return restore_model(build(settings, tensors), described)
