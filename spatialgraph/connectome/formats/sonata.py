"""SONATA: node and edge tables of network simulators, in one HDF5 file that libsonata reads.

The format: Dai et al., "The SONATA data format for efficient description of large-scale network models", 2020,
https://doi.org/10.1371/journal.pcbi.1007696.
"""

import io
import json
from typing import Any

import numpy as np

from spatialgraph.connectome.formats.tables import Tables
from spatialgraph.connectome.optional import imported

__all__ = ["read_sonata", "write_sonata"]

POPULATION = "neurons"
CONNECTIONS = "neurons__neurons__chemical"
_MAGIC, _VERSION = 0x0A7A, (0, 1)
_NAMES = {"weight": "syn_weight"}


def write_sonata(tables: Tables) -> bytes:
    """Return the content of a SONATA file with one population of neurons and one of synapses.

    Coordinates are in length units and delays in time steps, where SONATA has micrometres and milliseconds. The
    attribute ``spatialgraph`` of the file holds the settings as JSON.

    Raises:
        ImportError: if h5py is not installed.
    """
    buffer = io.BytesIO()
    with imported("h5py").File(buffer, "w") as file:
        file.attrs["magic"] = np.uint32(_MAGIC)
        file.attrs["version"] = np.array(_VERSION, np.uint32)
        file.attrs["spatialgraph"] = json.dumps(tables.settings)
        count = len(tables.neurons["x"])
        _write_group(file.create_group(f"nodes/{POPULATION}"), "node", count, tables.neurons)
        edges = file.create_group(f"edges/{CONNECTIONS}")
        columns = dict(tables.synapses)
        ends = {f"{end}_node_id": columns.pop(end).astype(np.uint64) for end in ("source", "target")}
        for name, numbers in ends.items():
            edges[name] = numbers
            edges[name].attrs["node_population"] = POPULATION
        _write_group(edges, "edge", len(numbers), columns)
        for name, numbers in zip(("source_to_target", "target_to_source"), ends.values(), strict=True):
            _write_index(edges.create_group(f"indices/{name}"), numbers.astype(np.int64), count)
    return buffer.getvalue()


def _write_group(population: Any, kind: str, count: int, columns: dict[str, np.ndarray]) -> None:  # noqa: ANN401
    """Write the columns of a population of one type and one group."""
    population[f"{kind}_type_id"] = np.full(count, 0, np.int64)
    population[f"{kind}_group_id"] = np.zeros(count, np.uint64)
    population[f"{kind}_group_index"] = np.arange(count, dtype=np.uint64)
    group = population.create_group("0")
    for name, values in columns.items():
        group[_NAMES.get(name, name)] = values.astype(np.uint8) if values.dtype == bool else values


def _write_index(group: Any, numbers: np.ndarray, count: int) -> None:  # noqa: ANN401
    """Write at which ranges of the synapses each neuron occurs; libsonata needs it to find a neuron's synapses."""
    starts = np.flatnonzero(np.diff(numbers, prepend=-1))
    ranges = np.stack([starts, np.append(starts[1:], len(numbers))], axis=1) if len(numbers) else np.empty((0, 2))
    order = np.argsort(numbers[starts], kind="stable")
    last = np.cumsum(np.bincount(numbers[starts], minlength=count))
    group["node_id_to_ranges"] = np.stack([np.concatenate([[0], last[:-1]]), last], axis=1).astype(np.uint64)
    group["range_to_edge_id"] = ranges[order].astype(np.uint64)


def read_sonata(data: bytes) -> Tables:
    """Read what :func:`write_sonata` wrote, or another file with one population of nodes and at most one of edges.

    Node identifiers must be ``0 .. N-1``. Columns of other names than those of
    :class:`~spatialgraph.connectome.formats.tables.Tables` are not read into a network.

    Raises:
        ImportError: if h5py is not installed.
        ValueError: if the file has several populations or groups, or none.
    """
    with imported("h5py").File(io.BytesIO(data), "r") as file:
        settings = json.loads(file.attrs.get("spatialgraph", "{}"))
        neurons = _read_group(_only(file, "nodes"))
        edges = _only(file, "edges")
        ends = {end: edges[f"{end}_node_id"][:].astype(np.int64) for end in ("source", "target")}
        return Tables(settings, neurons, ends | _read_group(edges))


def _only(file: Any, kind: str) -> Any:  # noqa: ANN401
    populations = list(file.get(kind, ()))
    if len(populations) != 1:
        raise ValueError(f"the file must have one population of {kind}, got {populations}")
    return file[kind][populations[0]]


def _read_group(population: Any) -> dict[str, np.ndarray]:  # noqa: ANN401
    groups = [name for name in population if name.isdigit()]
    if groups != ["0"]:
        raise ValueError(f"{population.name} must have one group, 0, got {groups}")
    names = {name: own for own, name in _NAMES.items()}
    columns = population["0"]
    return {names.get(name, name): columns[name][:] for name in columns if columns[name].dtype.kind in "fiub"}
