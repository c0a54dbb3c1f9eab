r"""Differentiable functions that compute one projection on plain tensors.

All compute :math:`y_{bj} = \sum_i x_{bi}\, s_i\, w(|p_i - q_j|)`, where :math:`s_i` is the scale (polarity times gain)
of source :math:`i`. :func:`all_to_all` builds the weight matrix and multiplies, :func:`streamed` does so for one block
of targets after another, :func:`meshed` multiplies on a grid between two planes, and :func:`sparse` multiplies by a
matrix in compressed rows that holds existing edges only.
"""

from spatialgraph.functional.compressed import edge_weight, sparse
from spatialgraph.functional.dense import all_to_all
from spatialgraph.functional.mesh import meshed
from spatialgraph.functional.pairs import pairwise_length, pairwise_weight
from spatialgraph.functional.streaming import streamed

__all__ = [
    "all_to_all",
    "edge_weight",
    "meshed",
    "pairwise_length",
    "pairwise_weight",
    "sparse",
    "streamed",
]
