r"""The product with inverse distances of all pairs by the fast multipole method, for neurons anywhere in space."""

import dataclasses
import functools
import importlib.util
import math
import types
from typing import Any

import numpy as np
import torch
from scipy.spatial import KDTree
from torch import Tensor
from torch.autograd.function import once_differentiable

from spatialgraph import checks
from spatialgraph.functional.compressed import sparse
from spatialgraph.functional.compressed_edges import CompressedEdges
from spatialgraph.functional.streaming import streamed
from spatialgraph.laws import InverseDistance, Law

__all__ = ["Near", "is_worthwhile", "multipole", "near_pairs", "serves"]

# Seconds that the method takes for each neuron of a sample, and sums over all pairs for each pair and in addition for
# each of its samples, forwards and backwards, on two cores; their ratios matter.
_NEURON, _PAIR, _PAIR_SAMPLE = 1.5e-5, 2.5e-9, 2e-11
# Pairs within the reach of the softening for each neuron, above which they take more time than all others.
_NEAR = 50
# Share of all pairs that may be summed one by one.
_CLOSE = 0.1


def serves(source_pos: Tensor, target_pos: Tensor, law: Law) -> bool:
    """Tell whether fmm3dpy is installed and computes such sums: inverse distances in two or three dimensions.

    Example:
        >>> serves(torch.zeros(2, 4), torch.zeros(2, 4), InverseDistance())
        False
    """
    fits = source_pos.shape[1] in (2, 3) and type(law) is InverseDistance and source_pos.device.type == "cpu"
    return fits and _is_installed()


def is_worthwhile(n_sources: int, n_targets: int, batch: int) -> bool:
    """Tell whether the method takes less time than sums over all pairs.

    Example:
        >>> is_worthwhile(10**5, 10**5, batch=1), is_worthwhile(10**4, 10**4, batch=1)
        (True, False)
    """
    return (n_sources + n_targets) * batch * _NEURON < n_sources * n_targets * (_PAIR + batch * _PAIR_SAMPLE)


@dataclasses.dataclass(frozen=True)
class Near:
    """Which neurons are so near each other that softening matters.

    Args:
        sources: numbers of the sources that are at least the softening away from all targets, shape ``(n',)``.
        targets: numbers of the targets that are as far from all sources, shape ``(m',)``.
        close_sources: numbers of the other sources.
        close_targets: numbers of the other targets.
        edges: pairs of ``sources`` and ``targets`` that are corrected.
    """

    sources: Tensor
    targets: Tensor
    close_sources: Tensor
    close_targets: Tensor
    edges: CompressedEdges


def near_pairs(source_pos: Tensor, target_pos: Tensor, law: Law, tolerance: float) -> Near | None:
    """Return which neurons are near each other; None where they are too many.

    Args:
        source_pos: positions of the sources, shape ``(n, d)``.
        target_pos: positions of the targets, shape ``(m, d)``.
        law: the inverse distance.
        tolerance: the relative precision.

    Raises:
        ValueError: if positions are not finite.
    """
    for name, pos in (("source_pos", source_pos), ("target_pos", target_pos)):
        checks.finite(name, pos)
    n, m = len(source_pos), len(target_pos)
    source, target = (KDTree(pos.detach().double().numpy()) for pos in (source_pos, target_pos))
    reach = law.softening * math.sqrt(2.0 / tolerance)
    if target.count_neighbors(source, reach) > _NEAR * (n + m):
        return None
    pairs = target.sparse_distance_matrix(source, reach, output_type="ndarray")
    ends = torch.from_numpy(np.stack([pairs["j"], pairs["i"]]).astype(np.int64))
    is_close = torch.from_numpy(pairs["v"] < law.softening)
    far = [torch.ones(count, dtype=torch.bool, device="cpu") for count in (n, m)]
    for marks, numbers in zip(far, ends, strict=True):
        marks[numbers[is_close]] = False
    close = torch.nonzero(~far[0])[:, 0], torch.nonzero(~far[1])[:, 0]
    if len(close[0]) * m + n * len(close[1]) > _CLOSE * n * m:
        return None
    ends = ends[:, far[0][ends[0]] & far[1][ends[1]]]
    ends = torch.stack([marks.cumsum(0)[numbers] - 1 for marks, numbers in zip(far, ends, strict=True)])
    counts = [int(marks.sum()) for marks in far]
    ends = ends[:, torch.argsort(ends[1] * counts[0] + ends[0])]
    sources, targets = (torch.nonzero(marks)[:, 0] for marks in far)
    return Near(sources, targets, *close, edges=CompressedEdges.from_edges(ends, *counts))


def multipole(charge: Tensor, source_pos: Tensor, target_pos: Tensor, law: Law, tolerance: float, near: Near) -> Tensor:
    r"""Return the sums of charges over distances, :math:`y_{bj} = \sum_i c_{bi} / \sqrt{r_{ij}^2 + \varepsilon^2}`.

    The fast multipole method of `Greengard and Rokhlin (1987) <https://doi.org/10.1016/0021-9991(87)90140-9>`_ computes
    them without :math:`\varepsilon`, by `fmm3dpy <https://fmm3d.readthedocs.io>`_. Pairs that are so near that this
    matters are corrected one by one; neurons that are nearer than :math:`\varepsilon` to another one, where the
    correction would cancel nearly everything, are summed over all pairs. There are no second derivatives.

    Args:
        charge: shape ``(batch, n)``.
        source_pos: positions of the sources, shape ``(n, d)``, d = 2 or 3.
        target_pos: positions of the targets, shape ``(m, d)``.
        law: the inverse distance.
        tolerance: the relative precision.
        near: what :func:`near_pairs` returned.

    Returns:
        Tensor of shape ``(batch, m)``, differentiable.
    """
    if not len(near.close_sources):
        return _corrected(charge, source_pos, target_pos, law, tolerance, near.edges)
    sent, source, target = charge[:, near.sources], source_pos[near.sources], target_pos[near.targets]
    close = charge[:, near.close_sources], source_pos[near.close_sources]
    far = _corrected(sent, source, target, law, tolerance, near.edges) + _exact(*close, target, law)
    of_close = _exact(charge, source_pos, target_pos[near.close_targets], law)
    order = torch.argsort(torch.cat([near.targets, near.close_targets]))
    return torch.cat([far, of_close], 1)[:, order]


def _exact(charge: Tensor, source_pos: Tensor, target_pos: Tensor, law: Law) -> Tensor:
    return streamed(charge, source_pos, target_pos, torch.ones_like(source_pos[:, 0]), law)


def _corrected(
    charge: Tensor, source_pos: Tensor, target_pos: Tensor, law: Law, tolerance: float, edges: CompressedEdges
) -> Tensor:
    far: Tensor = _Multipole.apply(charge, source_pos, target_pos, tolerance)
    return far + sparse(charge, _softened(source_pos, target_pos, law, edges), edges) if edges.count else far


@functools.cache
def _is_installed() -> bool:
    return importlib.util.find_spec("fmm3dpy") is not None


def _softened(source_pos: Tensor, target_pos: Tensor, law: Law, edges: CompressedEdges) -> Tensor:
    """Return what the softening changes in the weights of near pairs."""
    square = (target_pos[edges.targets] - source_pos[edges.sources.long()]).square().sum(1)
    return law.from_square(square + law.softening**2) - square.rsqrt()


class _Multipole(torch.autograd.Function):
    """Sums of charges over distances without softening."""

    @staticmethod
    def forward(
        ctx: Any,  # noqa: ANN401 - the context has no public type
        charge: Tensor,
        source_pos: Tensor,
        target_pos: Tensor,
        tolerance: float,
    ) -> Tensor:
        ctx.tolerance = tolerance
        potential, gradient = _potential(charge, source_pos, target_pos, tolerance, ctx.needs_input_grad[2])
        ctx.save_for_backward(charge, source_pos, target_pos, gradient)
        return potential

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:  # noqa: ANN401
        charge, source_pos, target_pos, at_targets = ctx.saved_tensors
        of_charge, at_sources = _potential(grad, target_pos, source_pos, ctx.tolerance, ctx.needs_input_grad[1])
        of_source = None if at_sources is None else (charge[:, :, None] * at_sources).sum(0)
        of_target = None if at_targets is None else (grad[:, :, None] * at_targets).sum(0)
        return of_charge, of_source, of_target, None


def _potential(
    charge: Tensor, source_pos: Tensor, target_pos: Tensor, tolerance: float, with_gradient: bool
) -> tuple[Tensor, Tensor | None]:
    """Return the potential of charges ``(batch, n)`` at the targets ``(batch, m)``, and its gradient."""
    library: types.ModuleType = importlib.import_module("fmm3dpy")
    axes, batch = source_pos.shape[1], len(charge)
    source, target = (
        np.asfortranarray(torch.nn.functional.pad(pos.detach(), (0, 3 - axes)).double().numpy().T)
        for pos in (source_pos, target_pos)
    )
    charges = np.asfortranarray((charge if batch > 1 else charge[0]).detach().double().numpy())
    given = {"charges": charges, "nd": batch, "eps": tolerance / 2.0}
    found = library.lfmm3d(sources=source, targets=target, pgt=1 + with_gradient, **given)
    unit = 4.0 * math.pi  # the library divides by it
    potential = torch.from_numpy(unit * np.reshape(found.pottarg, (batch, -1))).to(charge)
    if not with_gradient:
        return potential, None
    gradient = torch.from_numpy(unit * np.reshape(found.gradtarg, (batch, 3, -1))).to(charge)
    return potential, gradient.transpose(1, 2)[:, :, :axes]
