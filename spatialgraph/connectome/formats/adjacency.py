"""A network as an adjacency matrix with the positions of its neurons, as bctpy and nilearn take it."""

import io
import json
from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
from torch import nn

from spatialgraph.connectome.formats.tables import Tables
from spatialgraph.graph.fields import axis_names

if TYPE_CHECKING:
    import scipy.sparse

__all__ = ["read_npz", "to_adjacency", "write_npz"]


def to_adjacency(
    network: nn.Module,
    *,
    dense: bool = False,
    min_weight: float | None = None,
    top: int | None = None,
    fraction: float | None = None,
) -> "tuple[scipy.sparse.csr_array | np.ndarray, np.ndarray]":
    """Return the weights between all neurons as a matrix, and the positions.

    Args:
        network: a graph, or a model that has one.
        dense: whether to return a NumPy array of shape ``(N, N)`` in place of a sparse one.
        min_weight: keep only synapses of at least this absolute weight.
        top: keep only so many synapses, those of the largest absolute weights.
        fraction: keep only this share of the synapses, those of the largest absolute weights.

    Returns:
        The matrix, ``scipy.sparse.csr_array`` of shape ``(N, N)``, whose entry ``i, j`` is the signed weight of the
        synapse from neuron ``i`` to neuron ``j``; and the positions, shape ``(N, d)``, in length units.

    Raises:
        TypeError: if ``network`` is neither a graph nor a model that has one.
        ValueError: if a parameter is infinite or NaN; the message names the neuron or synapse.

    Example:
        >>> from spatialgraph import SpatialGraph
        >>> matrix, pos = to_adjacency(SpatialGraph.layered([2, 1]))
        >>> matrix.shape, matrix.nnz, pos.shape
        ((3, 3), 2, (3, 3))
    """
    tables = Tables.of(network, min_weight=min_weight, top=top, fraction=fraction)
    matrix = _matrix(tables)
    names = [name for name in axis_names(len(tables.neurons) + 3) if name in tables.neurons]
    pos = np.stack([tables.neurons[name] for name in names], axis=1)
    return (matrix.toarray() if dense else matrix), pos


def write_npz(tables: Tables) -> bytes:
    """Return the content of a file of NumPy arrays that ``scipy.sparse.load_npz`` reads as the adjacency matrix.

    Beside the matrix it holds ``pos``, all columns of the tables, and the settings as JSON, which :func:`read_npz`
    needs. Synapses have the order of the matrix: by source, then by target.
    """
    order = _order(tables)
    matrix = _matrix(tables)
    arrays = {"format": b"csr", "shape": matrix.shape, "data": matrix.data, "indices": matrix.indices}
    arrays |= {"indptr": matrix.indptr, "settings": json.dumps(tables.settings)}
    arrays |= {f"neuron_{name}": values for name, values in tables.neurons.items()}
    arrays |= {f"synapse_{name}": values[order] for name, values in tables.synapses.items()}
    buffer = io.BytesIO()
    np.savez_compressed(buffer, allow_pickle=False, **arrays)
    return buffer.getvalue()


def read_npz(data: bytes) -> Tables:
    """Read what :func:`write_npz` wrote; no code in the data is run.

    Raises:
        ValueError: if the data are no such file.
    """
    with np.load(io.BytesIO(data), allow_pickle=False) as file:
        if "settings" not in file:
            raise ValueError(f"the file must hold the settings and neurons of a network, got {sorted(file)[:10]}")
        settings = json.loads(str(file["settings"]))
        columns = {kind: _columns(file, f"{kind}_") for kind in ("neuron", "synapse")}
    return Tables(settings, columns["neuron"], columns["synapse"])


def _columns(file: Mapping[str, np.ndarray], prefix: str) -> dict[str, np.ndarray]:
    return {name.removeprefix(prefix): file[name] for name in file if name.startswith(prefix)}


def _order(tables: Tables) -> np.ndarray:
    """Return the order of synapses in compressed rows: by source, then by target."""
    return np.lexsort((tables.synapses["target"], tables.synapses["source"]))


def _matrix(tables: Tables) -> "scipy.sparse.csr_array":
    from scipy.sparse import csr_array

    count, order = len(tables.neurons["x"]), _order(tables)
    source, target, weight = (tables.synapses[name][order] for name in ("source", "target", "weight"))
    pointer = np.concatenate([[0], np.cumsum(np.bincount(source, minlength=count))])
    return csr_array((weight, target, pointer), shape=(count, count))
