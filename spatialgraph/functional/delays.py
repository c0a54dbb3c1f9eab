r"""Projections whose synapses have delays, applied to time series of spikes.

.. math:: y_j[t] = \sum_i w_{ij} \left((1 - f_{ij})\, x_i[t - k_{ij}] + f_{ij}\, x_i[t - k_{ij} - 1]\right)

A delay of :math:`k + f` steps, :math:`k` whole and :math:`0 \le f < 1`, is split between the two neighbouring steps, so
that it has a gradient through :math:`f`: :math:`\partial y_j[t] / \partial d_{ij} =
w_{ij} (x_i[t - k - 1] - x_i[t - k])`. On the CPU, with Numba, a fused kernel adds the shifted spikes of each source to
the inputs of its targets; on a GPU, with Triton, one sums the shifted spikes of all sources of each target. Otherwise
the sum is computed for each :math:`k` in turn: all synapses whose spikes arrive :math:`k` steps later form one product.
"""

import torch
from torch import Tensor

from spatialgraph import checks
from spatialgraph.functional.compressed import check_edges
from spatialgraph.functional.compressed_edges import CompressedEdges
from spatialgraph.functional.delay_kernels import gathered, scattered
from spatialgraph.functional.delay_steps import delayed_all_to_all, delayed_by_operations, delayed_sparse
from spatialgraph.functional.fused import DELAYS, GATHERED_DELAYS
from spatialgraph.functional.precision import in_single
from spatialgraph.kernels.registry import find
from spatialgraph.tracing import is_observed, without_autocast

__all__ = ["delayed"]


def delayed(
    x: Tensor, weight: Tensor, delay: Tensor, edges: CompressedEdges | None = None, line: Tensor | None = None
) -> Tensor:
    """Send a time series through a projection with delays.

    Args:
        x: spikes of the sources, shape ``(T, ..., n)``.
        weight: signed weights, shape ``(m, n)``; with ``edges`` the weight of each edge, shape ``(E,)``.
        delay: delays in time steps, at least 0, in the shape of ``weight``.
        edges: the compressed edges; None for all-to-all.
        line: spikes of the sources in the ``L`` steps before ``x``, oldest first, shape ``(L, ..., n)``; None for no
            spikes.

    Returns:
        Inputs of the targets, shape ``(T, ..., m)``. Spikes that arrive after the last step are not included; pass
        the last steps of ``x`` as ``line`` of the next call to include them there.

    Raises:
        TypeError: if the dtypes differ.
        ValueError: if the shapes do not match, or a delay is negative or not finite. The kernels of a GPU do not wait
            for the values of delays; there, such a delay makes all that its target receives NaN.

    Example:
        >>> x = torch.tensor([[1.0], [0.0], [0.0]])
        >>> delayed(x, torch.tensor([[2.0]]), torch.tensor([[1.25]]))[:, 0].tolist()
        [0.0, 1.5, 0.5]
    """
    _check_shapes(x, weight, delay, edges, line)
    before = 0 if line is None else line.shape[0]
    whole = x if line is None else torch.cat([line, x])
    # No size is inferred by -1, because any size may be 0.
    flat = in_single(whole.flatten(1, -2) if whole.dim() > 2 else whole[:, None])
    weight, delay = in_single(weight), in_single(delay)
    if find(GATHERED_DELAYS, flat, weight, delay) is not None:
        return _as_given(gathered(flat, weight, delay, edges, before), x)
    checks.delays("delay", delay)
    if is_observed(flat, weight, delay):
        with without_autocast(x.device.type):
            y = delayed_by_operations(flat, weight, delay, edges, before)
    elif find(DELAYS, flat) is not None:
        y = scattered(flat, weight, delay, edges, before)
    elif edges is None:
        y = delayed_all_to_all(flat, weight, delay, before)
    else:
        y = delayed_sparse(flat, weight, delay, edges, before)
    return _as_given(y, x)


def _as_given(y: Tensor, x: Tensor) -> Tensor:
    """Return a result with the axes and the precision of the given time series."""
    return y.reshape(*x.shape[:-1], y.shape[-1]).to(x.dtype)


def _check_shapes(x: Tensor, weight: Tensor, delay: Tensor, edges: CompressedEdges | None, line: Tensor | None) -> None:
    if edges is None:
        sources = checks.axes("weight", weight, 2).shape[1]
    else:
        sources = check_edges(edges)[1]
        checks.shape("weight", checks.axes("weight", weight, 1), edges.sources.shape)
    checks.operand("delay", delay, weight.shape, weight)
    checks.operand("x", checks.last_axis("x", x, sources), x.shape, weight)
    if x.dim() < 2:
        raise ValueError(f"x must have shape (T, ..., {sources}), got {tuple(x.shape)}")
    if line is not None:
        checks.operand("line", line, (checks.last_axis("line", line, sources).shape[0], *x.shape[1:]), x)
