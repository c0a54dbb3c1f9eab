"""A network as tables for files and other libraries: its settings, and what every neuron and synapse has."""

import json
from typing import Any

import numpy as np
import torch

from spatialgraph.functional.precision import dtype_name
from spatialgraph.graph.fields import axis_names
from spatialgraph.graph.weighted import Weighted

__all__ = ["edge_columns", "node_columns", "row_settings", "settings"]


def settings(graph: Weighted) -> dict[str, Any]:
    """Return what holds for a network as a whole, as numbers and names.

    Example:
        >>> from spatialgraph import SpatialGraph
        >>> settings(SpatialGraph.layered([2, 1]))["law"]
        'inverse_distance'
    """
    result = {
        "spacing": graph.spacing,
        "polarity_mode": graph.polarity_mode,
        "gain": graph.gain,
        "dtype": dtype_name(graph.raw_bias.dtype),
        "law": graph.law.name,
        "weight_mode": graph.weight_mode,
        "delay_mode": graph.delay_mode,
    }
    if graph.velocity is not None:
        result["velocity"] = graph.velocity
    if graph.tolerance is not None:
        result["tolerance"] = graph.tolerance
    if graph.masked_share:
        result["masked_share"] = graph.masked_share
    if graph.is_recurrent:
        result["recurrent"] = True
    if graph.grids:
        result["grids"] = json.dumps({str(number): list(shape) for number, shape in graph.grids.items()})
        result["grid_polarity"] = graph.grid_polarity
    result |= {f"law_{name}": value for name, value in graph.law.settings().items()}
    result |= {f"gap{number}": gap for number, gap in enumerate(graph.positions.gaps.tolist())}
    # Attributes may have been set to numbers of NumPy, which files do not take.
    return {name: value.item() if isinstance(value, np.generic) else value for name, value in result.items()}


def row_settings(graph: Weighted) -> dict[str, str]:
    """Return what the rows and columns of grids have, as JSON: other numbers may give their neurons the same.

    Example:
        >>> from spatialgraph import SpatialGraph
        >>> row_settings(SpatialGraph.layered([2, 1])), *row_settings(SpatialGraph.layered([(2, 2), 1]))
        ({}, 'grid_coords')
    """
    rows = {"grid_coords": graph.positions.grid_coords, "raw_grid_polarity": graph.raw_grid_polarity}
    return {name: json.dumps(values.tolist()) for name, values in rows.items() if values.numel()}


def node_columns(graph: Weighted) -> dict[str, torch.Tensor]:
    """Return what every neuron has, one tensor of shape ``(N,)`` for each name.

    Example:
        >>> from spatialgraph import SpatialGraph
        >>> node_columns(SpatialGraph.layered([2, 1], dim=2)).keys()
        dict_keys(['x', 'y', 'layer', 'polarity', 'bias', 'raw_polarity', 'anchored'])
    """
    raw = graph.polarity if graph.weight_mode == "free" else graph.behind_polarity()
    columns = dict(zip(axis_names(graph.dim), graph.positions().unbind(1), strict=True))
    columns |= {
        "layer": graph.layer,
        "polarity": graph.polarity,
        "bias": graph.bias,
        "raw_polarity": raw,
        "anchored": graph.positions.anchored,
    }
    if graph.grids:
        columns["cell"] = graph.connectivity.located.topology.cells
    # Layers say which neurons are inputs and outputs; edges do not where some were removed.
    return columns if graph.is_layered else columns | {"is_input": graph.is_input, "is_output": graph.is_output}


def edge_columns(graph: Weighted) -> dict[str, torch.Tensor]:
    """Return what every synapse has, one tensor of shape ``(E,)`` for each name, in the order of ``edge_index``.

    Example:
        >>> from spatialgraph import SpatialGraph
        >>> edge_columns(SpatialGraph.layered([2, 1])).keys()
        dict_keys(['weight', 'length'])
    """
    columns = {"weight": graph.weights(), "length": graph.lengths()}
    if graph.velocity is not None:
        columns["delay"] = graph.delays()
    own = {} if graph.free_synapses is None else dict(graph.free_synapses.named_parameters())
    return columns | {f"free_{name}": values for name, values in own.items()}
