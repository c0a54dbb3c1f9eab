"""Restoring: a network adopts the parameters that a reader of graphs or files found."""

import torch
from torch import Tensor

from spatialgraph.graph.fields import NetworkFields
from spatialgraph.graph.grid_fields import GridFields
from spatialgraph.graph.weighted import Weighted, learnt_settings

__all__ = ["restore"]


@torch.no_grad()
def restore(graph: Weighted, fields: NetworkFields) -> None:
    """Adopt parameters that a reader found; what it left open stays as it was drawn.

    Args:
        graph: a network built of the same fields.
        fields: what the reader found.
    """
    if fields.bias is not None and graph.raw_bias.numel():
        values = fields.bias[graph.connectivity.located.receivers]
        graph.raw_bias.copy_(torch.where(values.isnan(), graph.raw_bias, values))
    if fields.raw_polarity is not None and graph.weight_mode != "free":
        _restore_polarity(graph, fields.raw_polarity)
    if fields.grids is not None:
        _restore_rows(graph, fields.grids)
    if fields.gaps is not None:
        graph.positions.gaps.copy_(fields.gaps)
    graph.law.restore(fields.law_settings)
    graph.law_at_first = learnt_settings(graph.law)
    graph.masked_share = fields.masked_share
    _restore_free_synapses(graph, fields)


def _restore_polarity(graph: Weighted, found: Tensor) -> None:
    sending = graph.polarised
    present = sending.values(graph.raw_polarity, graph.raw_grid_polarity)
    values = torch.where(found[sending.members].isnan(), present, found[sending.members])[:, None]
    own, rows = sending.fit(values)
    sending.check_fit("raw_polarity", values, own, rows)
    graph.raw_polarity.copy_(own[:, 0])
    graph.raw_grid_polarity.copy_(rows[:, 0])


def _restore_rows(graph: Weighted, grids: GridFields) -> None:
    """Adopt what rows and columns had where it still gives the cells' values, which other numbers give as well."""
    positions, polarity = graph.positions, graph.raw_grid_polarity
    for sums, own, rows, found in (
        (graph.connectivity.located.movable, positions.coords, positions.grid_coords, grids.coords),
        (graph.polarised, graph.raw_polarity, polarity, grids.raw_polarity),
    ):
        if found is not None and found.shape == rows.shape and sums.agree(sums.values(own, rows), own, found):
            rows.copy_(found)


def _restore_free_synapses(graph: Weighted, fields: NetworkFields) -> None:
    free = graph.free_synapses
    for name, values in fields.free_synapses.items():
        if free is not None and getattr(free, name) is not None:  # else the file has lost the settings, as GEXF does
            known = ~values.isnan()
            free.restore(name, values[known], fields.edge_index[:, known], graph.edge_index)
