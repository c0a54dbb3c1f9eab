"""Fused CPU kernels for sparse projections, compiled by Numba where it is installed.

They compute what :mod:`spatialgraph.functional` computes by tensor operations. Threads share the rows, each with about
as many edges, so that the bits depend on the number of threads alone.
"""

from typing import Any

import torch
from torch import Tensor

from spatialgraph import kernels

__all__ = ["gradients", "product", "sampled", "weights"]

# Below this number of multiply-adds a hand-over to another thread costs more than it saves.
_WORTH_A_THREAD = 2**17

# Numbers of a piece of the activations, which shall stay in a core's cache.
_CACHED = 2**19


def product(pointer: Tensor, column: Tensor, weight: Tensor, x: Tensor) -> Tensor:
    """Return the product of a matrix in compressed rows with ``x`` of shape ``(columns, batch)``.

    Example:
        >>> product(torch.tensor([0, 2]), torch.tensor([0, 1]), torch.tensor([2.0, 3.0]), torch.ones(2, 1)).tolist()
        [[5.0]]
    """
    from spatialgraph import compiled_sparse

    y = x.new_empty(len(pointer) - 1, x.shape[1])
    arrays = [_array(values) for values in (pointer, column, weight, x)]
    with kernels.lock:
        compiled_sparse.product(*arrays, y.numpy(), _piece(x), _parts(len(column) * x.shape[1]))
    return y


def sampled(pointer: Tensor, column: Tensor, rows: Tensor, x: Tensor) -> Tensor:
    """Return, for each edge, the scalar product of its row of ``rows`` ``(rows, batch)`` with its column's of ``x``.

    Example:
        >>> rows, x = torch.tensor([[1.0, 2.0]]), torch.tensor([[3.0, 4.0], [5.0, 6.0]])
        >>> sampled(torch.tensor([0, 2]), torch.tensor([0, 1]), rows, x).tolist()
        [11.0, 17.0]
    """
    from spatialgraph import compiled_sparse

    out = x.new_zeros(len(column))
    arrays = [_array(values) for values in (pointer, column, rows, x)]
    with kernels.lock:
        compiled_sparse.sampled(*arrays, out.numpy(), _piece(x), _parts(len(column) * x.shape[1]))
    return out


def weights(
    pointer: Tensor, column: Tensor, source_pos: Tensor, target_pos: Tensor, scale: Tensor, softening: float
) -> Tensor:
    """Return the scaled inverse distance of each edge; rows are targets, columns sources."""
    from spatialgraph import compiled_sparse

    out = source_pos.new_empty(len(column))
    arrays = [_array(values) for values in (pointer, column, source_pos, target_pos, scale)]
    constant = arrays[2].dtype.type(softening**2)
    with kernels.lock:
        compiled_sparse.weigh(*arrays, constant, out.numpy(), _parts(16 * len(column)))
    return out


def gradients(
    pointer: Tensor,
    column: Tensor,
    source_pos: Tensor,
    target_pos: Tensor,
    scale: Tensor,
    softening: float,
    grad: Tensor,
) -> tuple[Tensor, Tensor, Tensor]:
    """Carry the gradient of the edges' weights on to source positions, target positions and scales."""
    from spatialgraph import compiled_sparse

    parts = _parts(16 * len(column))
    grad_sources = source_pos.new_zeros(parts, *source_pos.shape)
    grad_targets = target_pos.new_zeros(target_pos.shape)
    grad_scale = scale.new_zeros(parts, len(scale))
    arrays = [_array(values) for values in (pointer, column, source_pos, target_pos, scale)]
    constant = arrays[2].dtype.type(softening**2)
    sums = [values.numpy() for values in (grad_sources, grad_targets, grad_scale)]
    with kernels.lock:
        compiled_sparse.pull(*arrays, constant, _array(grad), *sums)
    return grad_sources.sum(0), grad_targets, grad_scale.sum(0)


def _array(values: Tensor) -> Any:  # noqa: ANN401 - numpy arrays of several kinds
    return values.detach().contiguous().numpy()


def _piece(x: Tensor) -> int:
    return max(64, _CACHED // max(1, x.shape[0]))


def _parts(work: int) -> int:
    return 1 if work < _WORTH_A_THREAD else torch.get_num_threads()
