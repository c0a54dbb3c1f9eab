"""Formats: one function that writes a network to a file by its suffix, and one that reads it."""

import dataclasses
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from torch import nn

from spatialgraph import atomic
from spatialgraph.connectome.formats.adjacency import read_npz, write_npz
from spatialgraph.connectome.formats.graphml import read_gexf, read_graphml, write_gexf, write_graphml
from spatialgraph.connectome.formats.networkx import from_networkx
from spatialgraph.connectome.formats.sonata import read_sonata, write_sonata
from spatialgraph.connectome.formats.tables import Tables
from spatialgraph.graph.spatial_graph import SpatialGraph

__all__ = ["FORMATS", "Format", "export", "read"]


@dataclasses.dataclass(frozen=True)
class Format:
    """How to write and read files of a suffix.

    Args:
        write: from the tables of a network to the content of a file.
        read: from the content of a file to a network.
    """

    write: Callable[[Tables], bytes]
    read: Callable[[bytes], SpatialGraph]


FORMATS = {
    ".graphml": Format(write_graphml, lambda data: from_networkx(read_graphml(data))),
    ".gexf": Format(write_gexf, lambda data: from_networkx(read_gexf(data))),
    ".h5": Format(write_sonata, lambda data: read_sonata(data).network()),
    ".npz": Format(write_npz, lambda data: read_npz(data).network()),
}
"""The formats by suffix."""


def export(
    network: nn.Module,
    path: str | os.PathLike[str],
    *,
    min_weight: float | None = None,
    top: int | None = None,
    fraction: float | None = None,
) -> None:
    """Write a network to a file for other programs, in the format of its suffix.

    ============  ==================================================================================================
    ``.graphml``  GraphML, for networkx, igraph, Cytoscape and yEd
    ``.gexf``     GEXF, for Gephi: opens with the positions of the neurons, colours by polarity and sizes by strength
    ``.h5``       SONATA, for libsonata and network simulators; needs h5py
    ``.npz``      adjacency matrix for ``scipy.sparse.load_npz``, with the positions as ``pos``
    ============  ==================================================================================================

    All hold the whole graph, and :func:`read` restores it to the bit. They drop the wiring, ``init``, and what a model
    has beside its graph, such as its activation; :func:`~spatialgraph.save` writes models. Files are written whole or
    not at all.

    Args:
        network: a graph, or a model that has one.
        path: the file; an existing one is replaced.
        min_weight: keep only synapses of at least this absolute weight.
        top: keep only so many synapses, those of the largest absolute weights.
        fraction: keep only this share of the synapses, those of the largest absolute weights.

    Raises:
        ImportError: if the format needs a package that is not installed.
        TypeError: if ``network`` is neither a graph nor a model that has one.
        ValueError: if the suffix is unknown, or a parameter is infinite or NaN; the message names the neuron or the
            synapse.
        OSError: if the file cannot be written; an existing file is then unchanged.

    Example:
        >>> import tempfile
        >>> path = Path(tempfile.mkdtemp()) / "network.graphml"
        >>> export(SpatialGraph.layered([3, 2]), path, top=4)
        >>> read(path)
        SpatialGraph(neurons=5, synapses=4, dim=3, spacing='learned')
    """
    chosen = _format(path)
    atomic.write_bytes(path, chosen.write(Tables.of(network, min_weight=min_weight, top=top, fraction=fraction)))


def read(path: str | os.PathLike[str]) -> SpatialGraph:
    """Read a network from a file in the format of its suffix; no code in the file is run.

    Args:
        path: a file that :func:`export` wrote, or one of another program that gives every neuron its coordinates.

    Raises:
        ImportError: if the format needs a package that is not installed.
        FileNotFoundError: if there is no such file.
        ValueError: if the suffix is unknown, or the file is damaged or holds no network.

    Example:
        >>> read("network.txt")
        Traceback (most recent call last):
        ValueError: the suffix of path must be one of .graphml, .gexf, .h5, .npz, got '.txt'
    """
    chosen = _format(path)
    data = Path(path).read_bytes()
    try:
        return chosen.read(data)
    except ImportError:
        raise
    except Exception as error:  # parsers raise many kinds
        raise ValueError(f"{os.fspath(path)} must hold a network: {error}") from error


def _format(path: Any) -> Format:  # noqa: ANN401 - any value is checked
    if not isinstance(path, str | os.PathLike):
        raise TypeError(f"path must be a string or a path, got {type(path).__name__}")
    suffix = Path(path).suffix.lower()
    if suffix not in FORMATS:
        raise ValueError(f"the suffix of path must be one of {', '.join(FORMATS)}, got {suffix!r}")
    return FORMATS[suffix]
