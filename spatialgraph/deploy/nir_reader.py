"""Import of spiking networks from the metadata of a NIR graph."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from spatialgraph import checks
from spatialgraph.deploy.nir_neurons import make_neurons
from spatialgraph.deploy.nir_writer import OPTIONS
from spatialgraph.graph.columns import Labels, check_complete
from spatialgraph.graph.fields import axis_names, make_fields
from spatialgraph.graph.spatial_graph import SpatialGraph
from spatialgraph.models.snn import SpatialSNN

if TYPE_CHECKING:
    import nir

__all__ = ["compare", "read"]


def read(graph: "nir.NIRGraph") -> SpatialSNN:
    """Build the network from the metadata of a graph.

    Raises:
        ValueError: if metadata are missing or inconsistent.
    """
    groups = [node.metadata for node in graph.nodes.values() if "neuron" in node.metadata]
    if "spatialgraph" not in graph.metadata or not groups:
        raise ValueError("graph must have been written by to_nir, got one without positions in its metadata")
    try:
        return _build(graph.metadata["spatialgraph"], _columns(groups))
    except KeyError as error:
        raise ValueError(f"graph must have all metadata written by to_nir, got none named {error}") from error


def _columns(groups: Sequence[Mapping[str, np.ndarray]]) -> dict[str, np.ndarray]:
    """Join the columns of all groups, in the order of the neurons' numbers."""
    for group in groups:
        for name in groups[0]:
            if np.shape(group[name]) != (len(group["neuron"]),):
                raise ValueError(
                    f"graph must hold a number for each of the {len(group['neuron'])} neurons of a group in {name!r}, "
                    f"got shape {np.shape(group[name])}"
                )
    numbers = np.concatenate([group["neuron"] for group in groups])
    order = np.argsort(numbers)
    wrong = np.flatnonzero(numbers[order] != np.arange(len(numbers)))
    if wrong.size:
        raise ValueError(
            f"graph must number its neurons from 0 to {len(numbers) - 1} in 'neuron', each once, "
            f"got {numbers[order][wrong[0]]} in place of {wrong[0]}"
        )
    return {name: np.concatenate([group[name] for group in groups])[order] for name in groups[0]}


def _build(data: Mapping[str, Any], columns: Mapping[str, np.ndarray]) -> SpatialSNN:
    edges, labels = data["edges"], Labels()
    if len({np.shape(values) for values in edges.values()}) > 1:
        shapes = ", ".join(f"{np.shape(values)} in {name!r}" for name, values in edges.items())
        raise ValueError(f"graph must hold a value for each edge, got shapes {shapes}")
    edge_index = torch.from_numpy(np.stack([edges["source"], edges["target"]]).astype(np.int64))
    checks.edge_index(edge_index, len(columns["neuron"]))
    free = {"weight": edges["free_weight"]} if "free_weight" in edges else {}
    check_complete(columns, labels)
    check_complete({f"free_{name}": values for name, values in free.items()}, labels, edge_index)
    fields = make_fields(
        _plain(data["network"]),
        np.stack([columns[name] for name in axis_names(len(columns)) if name in columns], axis=1),
        edge_index,
        columns,
        free,
    )
    options = _plain(data["model"])
    model = SpatialSNN(
        SpatialGraph.from_fields(fields),
        normalize=False,
        beta=options["beta"],
        **{"coding": None} | {name: options[name] for name in OPTIONS if name in options},
    )
    for key, described in data["neurons"].items():
        if described["kind"] != "LeakyIntegrator":  # the network has its own
            stage = int(key.removeprefix("hidden").removeprefix("outputs")) - 1
            group = model.hidden_neurons if key.startswith("hidden") else model.output_neurons
            group[stage] = make_neurons(_plain(described), fields.pos.dtype)
    return model


def compare(graph: "nir.NIRGraph", expected: "nir.NIRGraph") -> None:
    """Raise ``ValueError`` if the nodes of a graph do not agree with its metadata."""
    if graph.nodes.keys() != expected.nodes.keys() or set(graph.edges) != set(expected.edges):
        raise ValueError("graph must have the nodes and edges written by to_nir, got others")
    found = _with_unit_resistance(graph)
    for name, fields in _with_unit_resistance(expected).items():
        for field, values in fields.items():
            own = np.asarray(found[name].get(field, ()))
            if own.shape != values.shape or not np.allclose(own, values, rtol=1e-3):
                raise ValueError(f"graph must agree with its positions, got another {field} in {name!r}")


def _with_unit_resistance(graph: "nir.NIRGraph") -> dict[str, dict[str, np.ndarray]]:
    """Return the arrays of all nodes, with the resistances of LIF and LI neurons multiplied into weights and biases.

    Earlier versions wrote other resistances for the same neurons.
    """
    fields = {
        name: {field: values for field, values in vars(node).items() if isinstance(values, np.ndarray)}
        for name, node in graph.nodes.items()
    }
    for source, target in graph.edges:
        resistance = fields[target].get("r")
        if "tau" in fields[target] and resistance is not None and {"weight", "bias"} <= fields[source].keys():
            own = fields[source]
            if own["weight"].shape[:1] == own["bias"].shape == resistance.shape:
                own |= {"weight": own["weight"] * resistance[:, None], "bias": own["bias"] * resistance}
    for own in fields.values():
        if "tau" in own:
            own.pop("r", None)
    return fields


def _plain(values: Mapping[str, Any]) -> dict[str, Any]:
    """Convert NumPy numbers from a file to Python's."""
    return {name: value.item() if isinstance(value, np.generic) else value for name, value in values.items()}
