"""A network as tables of neurons and synapses, from which every format is written and to which it is read."""

import copy
import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from spatialgraph.connectome.strongest import strongest, strongest_synapses
from spatialgraph.graph.columns import Labels, check_complete
from spatialgraph.graph.fields import axis_names, make_fields
from spatialgraph.graph.network import graph_of
from spatialgraph.graph.spatial_graph import SpatialGraph
from spatialgraph.graph.tables import edge_columns, node_columns, row_settings, settings

__all__ = ["Tables"]

_NEURONS = ("layer", "polarity", "raw_polarity", "bias", "anchored", "is_input", "is_output", "cell")
_FREE = {"weight": "free_weight", "delay": "free_delay"}


@dataclasses.dataclass(frozen=True)
class Tables:
    """A network as tables.

    Args:
        settings: what holds for the network as a whole, numbers and names.
        neurons: arrays of shape ``(N,)``: ``x, y, z, p3, ...`` in length units, ``layer``, ``polarity``, ``bias``,
            ``raw_polarity``, ``anchored``; without layers also ``is_input`` and ``is_output``.
        synapses: arrays of shape ``(E,)``: ``source`` and ``target``, ``weight``, ``length`` in length units; ``delay``
            in time steps where there is a velocity; ``free_weight`` and ``free_delay`` where these are learned.
    """

    settings: dict[str, Any]
    neurons: dict[str, np.ndarray]
    synapses: dict[str, np.ndarray]

    @classmethod
    @torch.no_grad()
    def of(
        cls,
        network: nn.Module,
        *,
        min_weight: float | None = None,
        top: int | None = None,
        fraction: float | None = None,
    ) -> "Tables":
        """Return the tables of a graph, or of the one of a model.

        Args:
            network: the graph or the model.
            min_weight: keep only synapses of at least this absolute weight.
            top: keep only so many synapses, those of the largest absolute weights.
            fraction: keep only this share of the synapses, those of the largest absolute weights.

        Raises:
            TypeError: if ``network`` is neither a graph nor a model that has one.
            ValueError: if a parameter is infinite or NaN; the message names the neuron or synapse.

        Example:
            >>> tables = Tables.of(SpatialGraph.layered([2, 1]), top=1)
            >>> len(tables.neurons["x"]), len(tables.synapses["weight"])
            (3, 1)
        """
        graph = graph_of(network)
        neurons = {name: _array(values) for name, values in node_columns(graph).items()}
        listed = graph
        is_selected = not (min_weight is None and top is None and fraction is None)
        if is_selected and any(projection.is_large for projection in graph.projections):
            edges, _ = strongest_synapses(graph, min_weight=min_weight, top=top, fraction=fraction)
            listed, min_weight, top, fraction = copy.deepcopy(graph).connect_(edges), None, None, None
        source, target = listed.edge_index
        columns = {"source": source, "target": target, **edge_columns(listed)}
        kept = strongest(columns["weight"], min_weight=min_weight, top=top, fraction=fraction)
        if len(kept) < len(source):
            columns = {name: values[kept] for name, values in columns.items()}
        synapses = {name: _array(values) for name, values in columns.items()}
        check_complete(neurons, Labels())
        check_complete(synapses, Labels(), torch.stack([columns["source"], columns["target"]]).cpu())
        return cls(settings(graph) | row_settings(graph), neurons, synapses)

    def network(self) -> SpatialGraph:
        """Return the network; what follows from the rest, such as weights and lengths, is not read.

        Raises:
            TypeError: if a setting is of the wrong type.
            ValueError: if a column is missing, or a value out of range.

        Example:
            >>> Tables.of(SpatialGraph.layered([2, 1])).network()
            SpatialGraph(neurons=3, synapses=2, dim=3, spacing='learned')
        """
        pos = np.stack([_numbers(self.neurons, name) for name in self._axes()], axis=1)
        ends = np.stack([_ends(self.synapses, name) for name in ("source", "target")])
        columns = {name: _numbers(self.neurons, name) for name in _NEURONS if name in self.neurons}
        free = {name: _numbers(self.synapses, key) for name, key in _FREE.items() if key in self.synapses}
        return SpatialGraph.from_fields(make_fields(self.settings, pos, torch.from_numpy(ends), columns, free))

    def _axes(self) -> list[str]:
        names = [name for name in axis_names(len(self.neurons) + 3) if name in self.neurons]
        if not names or names != axis_names(len(names)):
            raise ValueError(f"the neurons must have coordinates x, y, z, p3, ... without a gap, got {names}")
        return names


def _array(values: Tensor) -> np.ndarray:
    values = values.detach().cpu()
    if values.dtype in (torch.float16, torch.bfloat16):  # not every format has them
        values = values.float()
    array: np.ndarray = values.numpy()
    return array


def _ends(columns: Mapping[str, np.ndarray], name: str) -> np.ndarray:
    numbers = np.asarray(columns[name])
    if numbers.dtype.kind not in "iu":
        raise ValueError(f"{name} must hold numbers of neurons, got {numbers.dtype}")
    return numbers.astype(np.int64)


def _numbers(columns: Mapping[str, np.ndarray], name: str) -> np.ndarray:
    return np.array(columns[name], dtype=np.float64)  # a copy: columns of others may be read-only
