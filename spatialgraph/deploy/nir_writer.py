"""Conversion of spiking networks to the Neuromorphic Intermediate Representation."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from spatialgraph.deploy.nir_neurons import array, describe, import_nir, neuron_node
from spatialgraph.graph.spatial_graph import SpatialGraph
from spatialgraph.graph.tables import node_columns, row_settings, settings
from spatialgraph.models.snn import SpatialSNN

if TYPE_CHECKING:
    import nir

__all__ = ["OPTIONS", "write"]

# Arguments of SpatialSNN besides graph and neurons, which it stores under the same names.
OPTIONS = ("num_steps", "coding", "read_out", "drive", "max_delay")

_Part = tuple[Tensor, dict[str, Any]]
"""The indices of some neurons, and their description."""


def write(model: SpatialSNN) -> "nir.NIRGraph":
    """Convert a network to a NIR graph."""
    nir = import_nir()
    groups, parts = _groups(model.graph), _parts(model)
    nodes: dict[str, Any] = {"input": nir.Input({"input": np.array([len(groups["input"])])})}
    edges, factors = [], {}
    for (source, target), matrix in _matrices(model.graph, groups).items():
        weight, bias, between = array(matrix), array(model.graph.bias[groups[target]]), f"{source}_to_{target}"
        is_first = target not in factors
        if is_first:
            of_target = [part for key, part in parts.items() if target in (key, key.rstrip("0123456789"))]
            neurons, factors[target] = neuron_node(of_target, bias.dtype)
        weight = (factors[target][:, None] * weight).astype(bias.dtype)
        bias = (factors[target] * bias).astype(bias.dtype) if is_first else np.zeros_like(bias)
        nodes[between] = nir.Affine(weight, bias)
        if is_first:
            nodes[target] = neurons
        edges += [(source, between), (between, target)]
    nodes["output"] = nir.Output({"output": np.array([len(groups["outputs"])])})
    columns = node_columns(model.graph)
    for name, members in groups.items():
        nodes[name].metadata = {key: array(column[members]) for key, column in columns.items()}
        nodes[name].metadata["neuron"] = array(members)
    metadata = {"spatialgraph": _metadata(model, parts)}
    return nir.NIRGraph(nodes, [*edges, ("outputs", "output")], metadata=metadata)


def _groups(graph: SpatialGraph) -> dict[str, Tensor]:
    """Return the indices of the neurons of each group, in the order of computation; outputs are not sources."""
    groups = {"input": graph.inputs}
    for number, projection in enumerate(graph.projections, start=1):
        if projection.hidden:
            groups[f"hidden{number}"] = projection.targets[: projection.hidden]
    return groups | {"outputs": graph.outputs}


def _parts(model: SpatialSNN) -> dict[str, _Part]:
    """Return the neurons of each stage, ``hidden1``, ...; outputs may belong to several, ``outputs1``, ...."""
    parts: dict[str, _Part] = {}
    for number, projection in enumerate(model.graph.projections, start=1):
        hidden = projection.hidden
        if hidden:
            parts[f"hidden{number}"] = projection.targets[:hidden], describe(model.hidden_of(number - 1))
        if hidden < len(projection.targets):
            parts[f"outputs{number}"] = projection.targets[hidden:], describe(model.outputs_of(number - 1))
    return parts


@torch.no_grad()
def _matrices(graph: SpatialGraph, groups: Mapping[str, Tensor]) -> dict[tuple[str, str], Tensor]:
    """Return the weights from group to group, in the order of computation."""
    weight = graph.weights()
    group, place = torch.empty_like(graph.layer), torch.empty_like(graph.layer)
    for number, members in enumerate(groups.values()):
        group[members], place[members] = number, torch.arange(len(members), device=place.device)
    ends = graph.edge_index
    sources, targets = group[ends]
    names, last = list(groups), len(groups) - 1
    pairs = {divmod(pair, last + 1) for pair in (sources * (last + 1) + targets).unique().tolist()}
    # A group without incoming or outgoing synapses is connected with weights of 0.
    pairs |= {(0, target) for target in range(1, last + 1) if target not in {pair[1] for pair in pairs}}
    pairs |= {(source, last) for source in range(last) if source not in {pair[0] for pair in pairs}}
    matrices = {}
    for source, target in sorted(pairs, key=lambda pair: pair[::-1]):
        matrix = weight.new_zeros(len(groups[names[target]]), len(groups[names[source]]))
        chosen = (sources == source) & (targets == target)
        matrix[place[ends[1, chosen]], place[ends[0, chosen]]] = weight[chosen]
        matrices[names[source], names[target]] = matrix
    return matrices


def _metadata(model: SpatialSNN, parts: Mapping[str, _Part]) -> dict[str, Any]:
    source, target = model.graph.edge_index.to(torch.int32)
    edges = {"source": array(source), "target": array(target)}
    if model.graph.free_synapses is not None:
        edges |= {f"free_{name}": array(values) for name, values in model.graph.free_synapses.named_parameters()}
    options = {name: getattr(model, name) for name in OPTIONS}
    return {
        "network": settings(model.graph) | row_settings(model.graph),
        "edges": edges,
        "model": {"beta": model.integrator.beta} | {name: v for name, v in options.items() if v is not None},
        "neurons": {key: described for key, (_, described) in parts.items()},
    }
