r"""Neuromorphic exchange: spiking networks in the Neuromorphic Intermediate Representation (NIR) and back.

NIR describes neurons by differential equations, this library by steps. The time step is that of snnTorch,
:math:`\Delta t = 10^{-4}` s, and so are the time constants, :math:`\tau = \Delta t / (1 - \beta)`. Resistances are 1,
and weights and biases :math:`\tau / \Delta t` times those of the network: with these, the Euler step of
:math:`\tau \dot v = -v + R I` is the step of the neurons, :math:`v_t = \beta v_{t-1} + I_t`.

See `Pedersen et al. (2024) <https://doi.org/10.1038/s41467-024-52259-9>`_.
"""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from spatialgraph import checks
from spatialgraph.deploy.nir_neurons import array, describe, import_nir, make_neurons, neuron_node, warn_of_losses
from spatialgraph.graph.columns import Labels, check_complete
from spatialgraph.graph.fields import axis_names, make_fields
from spatialgraph.graph.spatial_graph import SpatialGraph
from spatialgraph.graph.tables import node_columns, settings
from spatialgraph.models.snn import SpatialSNN

if TYPE_CHECKING:
    import nir

__all__ = ["from_nir", "to_nir"]

# What SpatialSNN is told besides its graph and its neurons, and keeps under the same name.
_OPTIONS = ("steps", "coding", "read_out", "drive", "max_delay")

_Part = tuple[Tensor, dict[str, Any]]
"""The numbers of some neurons, and their kind as numbers and names."""


def to_nir(model: SpatialSNN) -> "nir.NIRGraph":
    r"""Export a spiking network, its weights as matrices and its positions as metadata.

    The graph has a node ``input``, the neurons of each stage in ``hidden1``, ``hidden2``, ..., those that are read in
    ``outputs``, and ``output``. A ``nir.Affine`` stands between each two groups of neurons that synapses join, and
    currents that meet in a group add up; the bias is in the first of them.

    Neurons are ``nir.LIF`` with :math:`\tau = \Delta t / (1 - \beta)` and :math:`R = 1`. Weights and biases are
    :math:`\tau / \Delta t` times those of the network, so that potentials stay what they are. Where the neurons of a
    group differ in :math:`\beta`, weights stay what they are and :math:`R = \tau / \Delta t`. Neurons of
    ``snntorch.Synaptic`` are ``nir.CubaLIF`` with :math:`\tau_{syn} = \Delta t / (1 - \alpha)`,
    :math:`w_{in} = \tau_{syn} / \Delta t`, :math:`R = \tau_{mem} / \Delta t` and the weights of the network.

    Importers differ. That of norse wants the time step, ``norse.torch.from_nir(graph, dt=1e-4)``, and takes
    :math:`R = 1` of ``nir.LIF`` whatever the graph says; where a group hears several others, it hands over the currents
    of all but one of them a step late. That of snnTorch makes the thresholds of ``nir.LIF`` as much larger as the
    weights, and so the potentials. Neither knows ``nir.LI``, the outputs of ``read_out="potential"``; they read
    networks with ``read_out="count"``.

    Each group's metadata has the columns of :func:`~spatialgraph.to_networkx`, positions and polarities among them, and
    the neurons' numbers; that of the graph has the settings and the edges. NIR has no word for the coding of the inputs
    and the number of steps: feed the group ``input`` what ``model.simulate(x).inputs`` shows.

    A neuron of NIR that fires is set to ``v_reset``, here 0. Spikes are the same with ``reset="zero"`` only, and of
    ``Synaptic`` with ``reset_delay=False`` as well. The potential is set at once, not one step later.

    Args:
        model: the network; ``normalize`` must be off, and its graph must have no velocity.

    Returns:
        The graph, which ``nir.write`` takes. Its arrays are copies of the network's dtype.

    Warns:
        UserWarning: if neurons reset otherwise, so that other programs will run another network; or if a surrogate
            gradient has no name, so that :func:`from_nir` will use the default.

    Raises:
        TypeError: if ``model`` is not a :class:`SpatialSNN <spatialgraph.SpatialSNN>`, or has neurons unknown to NIR.
        ValueError: if the network normalises or delays, or if a potential does not leak.
        ImportError: if the package ``nir`` is missing.

    Example:
        >>> model = SpatialSNN([3, 4, 2], normalize=False, reset="zero", read_out="count")
        >>> to_nir(model).edges[:3]
        [('input', 'input_to_hidden1'), ('input_to_hidden1', 'hidden1'), ('hidden1', 'hidden1_to_outputs')]
    """
    if not isinstance(model, SpatialSNN):
        raise TypeError(f"model must be a SpatialSNN, got {type(model).__name__}")
    if model.normalize:
        raise ValueError(
            "normalize must be False for NIR, which cannot normalise currents, got True; train with normalize=False"
        )
    if model.has_delays:
        raise ValueError(
            "velocity must be None for NIR, whose delays belong to neurons and not to synapses, "
            f"got {model.graph.velocity}"
        )
    result = _write(model)
    warn_of_losses(list(result.metadata["spatialgraph"]["neurons"].values()), stacklevel=2)
    return result


def from_nir(graph: "nir.NIRGraph") -> SpatialSNN:
    """Build a spiking network again that :func:`to_nir` exported, also from a file that ``nir.read`` read.

    All is read from the metadata, without loss. The matrices and time constants of the nodes must still be those that
    follow. Not kept are the wiring that selected the edges, and the surrogate gradients of snnTorch's neurons.

    Args:
        graph: the graph.

    Raises:
        TypeError: if ``graph`` is not a ``nir.NIRGraph``.
        ValueError: if positions are missing, as in graphs of other programs, or if nodes were changed since.
        ImportError: if the package ``nir`` is missing.

    Example:
        >>> model = SpatialSNN([3, 4, 2], normalize=False, reset="zero")
        >>> bool((from_nir(to_nir(model))(torch.ones(3)) == model(torch.ones(3))).all())
        True
    """
    if not isinstance(graph, import_nir().NIRGraph):
        raise TypeError(f"graph must be a nir.NIRGraph, got {type(graph).__name__}")
    groups = [node.metadata for node in graph.nodes.values() if "neuron" in node.metadata]
    if "spatialgraph" not in graph.metadata or not groups:
        raise ValueError("graph must have been written by to_nir, got one without positions in its metadata")
    try:
        model = _read(graph.metadata["spatialgraph"], _columns(groups))
    except KeyError as error:
        raise ValueError(f"graph must have all metadata that to_nir gave it, got none named {error}") from error
    _compare(graph, _write(model))
    return model


# Writing ----


def _write(model: SpatialSNN) -> "nir.NIRGraph":
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
    """Return the numbers of the neurons of each group, in the order of computation; outputs send nothing."""
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
            parts[f"hidden{number}"] = (
                projection.targets[:hidden],
                describe(model.hidden_neurons.of(number - 1, hidden)),
            )
        if hidden < len(projection.targets):
            parts[f"outputs{number}"] = (projection.targets[hidden:], describe(model.output_neurons[number - 1]))
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
    # A group that no synapse leads to, or from, takes part with weights of 0.
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
    options = {name: getattr(model, name) for name in _OPTIONS}
    return {
        "network": settings(model.graph),
        "edges": edges,
        "model": {"beta": model.integrator.beta} | {name: v for name, v in options.items() if v is not None},
        "neurons": {key: described for key, (_, described) in parts.items()},
    }


# Reading ----


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


def _read(data: Mapping[str, Any], columns: Mapping[str, np.ndarray]) -> SpatialSNN:
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
        **{"coding": None} | {name: options[name] for name in _OPTIONS if name in options},
    )
    for key, described in data["neurons"].items():
        if described["kind"] != "LeakyIntegrator":  # the network has its own
            stage = int(key.removeprefix("hidden").removeprefix("outputs")) - 1
            group = model.hidden_neurons if key.startswith("hidden") else model.output_neurons
            group[stage] = make_neurons(_plain(described), fields.pos.dtype)
    return model


def _compare(graph: "nir.NIRGraph", expected: "nir.NIRGraph") -> None:
    """Refuse a graph whose nodes are not those that follow from its metadata."""
    if graph.nodes.keys() != expected.nodes.keys() or set(graph.edges) != set(expected.edges):
        raise ValueError("graph must have the nodes and edges that to_nir gave it, got others")
    found = _with_unit_resistance(graph)
    for name, fields in _with_unit_resistance(expected).items():
        for field, values in fields.items():
            own = np.asarray(found[name].get(field, ()))
            if own.shape != values.shape or not np.allclose(own, values, rtol=1e-3):
                raise ValueError(f"graph must hold what follows from its positions, got another {field} in {name!r}")


def _with_unit_resistance(graph: "nir.NIRGraph") -> dict[str, dict[str, np.ndarray]]:
    """Return the arrays of all nodes, resistances of LIF and LI neurons moved into their weights and biases.

    Earlier versions wrote other resistances, for the same neurons.
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
    """Return Python's numbers for those that a file holds."""
    return {name: value.item() if isinstance(value, np.generic) else value for name, value in values.items()}
