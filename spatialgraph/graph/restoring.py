"""Restoring: a network adopts the parameters that a reader of graphs or files found."""

import torch

from spatialgraph.graph.fields import NetworkFields
from spatialgraph.graph.weighted import Weighted, learnt_settings

__all__ = ["restore"]


@torch.no_grad()
def restore(graph: Weighted, fields: NetworkFields) -> None:
    """Adopt parameters that a reader found; what it left open stays as it was drawn.

    Args:
        graph: a network built of the same fields.
        fields: what the reader found.
    """
    located = graph.connectivity.located
    for parameter, values, members in (
        (graph.raw_polarity, fields.raw_polarity, located.senders),
        (graph.raw_bias, fields.bias, located.receivers),
    ):
        if values is not None and parameter.numel():
            parameter.copy_(torch.where(values[members].isnan(), parameter, values[members]))
    if fields.gaps is not None:
        graph.positions.gaps.copy_(fields.gaps)
    graph.law.restore(fields.law_settings)
    graph.law_at_first = learnt_settings(graph.law)
    graph.masked_share = fields.masked_share
    _restore_free_synapses(graph, fields)


def _restore_free_synapses(graph: Weighted, fields: NetworkFields) -> None:
    free = graph.free_synapses
    for name, values in fields.free_synapses.items():
        if free is not None and getattr(free, name) is not None:  # else the file has lost the settings, as GEXF does
            known = ~values.isnan()
            free.restore(name, values[known], fields.edge_index[:, known], graph.edge_index)
