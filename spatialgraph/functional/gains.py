"""The default gain: a constant factor on the weights that keeps the scale of activations from layer to layer."""

import math

import torch
from torch import Tensor

from spatialgraph.functional.pairs import pairwise_length
from spatialgraph.laws import Law

__all__ = ["MOST_LENGTHS", "default_gain", "sample_lengths"]

# Maximum number of lengths from which the mean weight is estimated.
MOST_LENGTHS = 64 * 64


@torch.no_grad()
def default_gain(fan_in: float, lengths: Tensor, law: Law) -> float:
    r"""Return the gain :math:`1 / (\sqrt{n}\, \overline{|w|})` for a projection.

    It keeps the scale of activations from sources to targets, as do the initialisations of `Glorot and Bengio (2010)
    <https://proceedings.mlr.press/v9/glorot10a.html>`_ and `He et al. (2015) <https://arxiv.org/abs/1502.01852>`_.
    The mean absolute weight is used instead of the root mean square, which a single pair of close neighbours may
    dominate.

    Args:
        fan_in: mean number of sources of a target, n.
        lengths: lengths of some of the synapses, in length units, any shape.
        law: from length to weight.

    Returns:
        The gain; 1 if there is no synapse or all weigh 0.

    Example:
        >>> from spatialgraph.laws import InverseDistance
        >>> round(default_gain(100, torch.tensor([2.0, 2.0]), InverseDistance()), 4)
        0.2
    """
    if not lengths.numel():
        return 1.0
    mean = float(law(lengths.float()).abs().mean())
    gain = 1.0 / (math.sqrt(fan_in) * mean) if mean > 0 and fan_in > 0 else 1.0
    return gain if math.isfinite(gain) else 1.0


@torch.no_grad()
def sample_lengths(source_pos: Tensor, target_pos: Tensor) -> Tensor:
    """Return the lengths between some of the sources and some of the targets, at most :data:`MOST_LENGTHS`.

    Neurons are taken at regular intervals; no random numbers are drawn.

    Example:
        >>> sample_lengths(torch.zeros(1000, 2), torch.ones(3, 2)).shape
        torch.Size([3, 63])
    """
    most = math.isqrt(MOST_LENGTHS)
    sources, targets = (pos[:: math.ceil(len(pos) / most)] for pos in (source_pos, target_pos))
    return pairwise_length(sources, targets)
