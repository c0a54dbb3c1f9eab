"""Plain computations of what the operators and kernels in `fuzz_operations.py` compute."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from spatialgraph.functional.compressed_edges import CompressedEdges
from spatialgraph.functional.splines import Grid
from spatialgraph.laws import Cosine, Gaussian, InversePower

SOFTENING = 0.1


def pairwise(source_pos: Tensor, target_pos: Tensor, scale: Tensor, law: Any = None, **_: Any) -> Tensor:  # noqa: ANN401
    """Compute all signed weights."""
    rho = ((target_pos[:, None] - source_pos).square().sum(-1) + (law.softening if law else SOFTENING) ** 2).sqrt()
    match law:
        case Gaussian():
            return scale * torch.exp(-rho.square() / 2)
        case Cosine():
            return scale * torch.cos(2 * rho)
        case InversePower():
            return scale / rho.square()
    return scale / rho


def dense(x: Tensor, bias: Tensor | None = None, mask: Tensor | None = None, **geometry: Any) -> Tensor:  # noqa: ANN401
    """Compute the outputs of an all-to-all projection."""
    weight = pairwise(**geometry)
    y = x @ (weight if mask is None else weight * mask).t()
    return y if bias is None else y + bias


def listed(edges: CompressedEdges, **geometry: Any) -> Tensor:  # noqa: ANN401
    """Compute the weights of edges."""
    return pairwise(**geometry)[edges.targets, edges.sources]


def matrix(pointer: Tensor, column: Tensor, weight: Tensor, columns: int) -> Tensor:
    """Expand compressed rows to a dense matrix."""
    row = torch.repeat_interleave(pointer.diff())
    return weight.new_zeros(pointer.shape[0] - 1, columns).index_put((row, column), weight, accumulate=True)


def product(
    pointer: Tensor, column: Tensor, weight: Tensor, x: Tensor, bias: Tensor | None = None, rectify: bool = False
) -> Tensor:
    """Compute a product of compressed rows."""
    y = matrix(pointer, column, weight, x.shape[0]) @ x
    y = y if bias is None else y + bias[:, None]
    return y.relu() if rectify else y


def along_edges(
    x: Tensor, weight: Tensor, edges: CompressedEdges, bias: Tensor | None = None, rectify: bool = False
) -> Tensor:
    """Compute the outputs of a projection with listed edges."""
    return product(edges.target_pointer, edges.sources, weight, x.t(), bias, rectify).t()


def spline_matrix(pos: Tensor, shape: list[int], order: int) -> Tensor:
    """Expand the splines around positions to a dense matrix of positions and grid points."""
    grid = Grid((0.0,) * len(shape), 1.0, tuple(shape), order)
    numbers, weights = grid.stencils(pos)
    return weights.new_zeros(len(pos), math.prod(shape)).scatter_add(1, numbers, weights)


def spread(pos: Tensor, shape: list[int], order: int, charge: Tensor) -> Tensor:
    """Compute what charges add to the grid points."""
    return spline_matrix(pos, shape, order).t() @ charge


def gathered(pos: Tensor, shape: list[int], order: int, field: Tensor) -> Tensor:
    """Compute a field at positions."""
    return spline_matrix(pos, shape, order) @ field


def scalar_products(pointer: Tensor, column: Tensor, rows: Tensor, x: Tensor, active: Tensor | None = None) -> Tensor:
    """Compute sampled scalar products."""
    rows = rows if active is None else torch.where(active > 0, rows, 0.0)
    return (rows @ x.t())[torch.repeat_interleave(pointer.diff()), column]


def delayed(
    x: Tensor,
    weight: Tensor,
    delay: Tensor,
    edges: CompressedEdges | None = None,
    line: Tensor | None = None,
) -> Tensor:
    """Compute delays synapse by synapse."""
    if edges is not None:
        at = edges.target_pointer, edges.sources
        weights, steps = (matrix(*at, values, edges.shape[1]) for values in (weight, delay))
        return delayed(x, weights, steps, None, line)
    before = 0 if line is None else line.shape[0]
    whole = x if line is None else torch.cat([line, x])
    rows = []
    for t in range(before, whole.shape[0]):
        y = x.new_zeros(x.shape[1], weight.shape[0])
        for past in range(t + 1):
            y = y + whole[past] @ (weight * (1 - (delay - (t - past)).abs()).clamp(min=0)).t()
        rows.append(y)
    return torch.stack(rows) if rows else x.new_zeros(0, x.shape[1], weight.shape[0])


def sent(
    runs: Tensor,
    pointer: Tensor,
    target: Tensor,
    whole: Tensor,
    fraction: Tensor,
    weight: Tensor,
    targets: int,
    before: int,
) -> Tensor:
    """Compute the outputs of the kernel of delays."""
    weights, steps = (matrix(pointer, target, values, targets).t() for values in (weight, whole + fraction))
    x = runs.permute(2, 0, 1)
    return delayed(x[before:], weights, steps, None, x[:before]).permute(1, 2, 0)


def potentials(
    current: Tensor,
    num_steps: int,
    potential: Tensor,
    beta: float,
    threshold: float,
    reset: Any = None,  # noqa: ANN401
    reset_mechanism: str = "",
    **_: Any,  # noqa: ANN401
) -> Tensor:
    """Compute membrane potentials step by step."""
    rows = []
    for t in range(num_steps):
        fired = (potential > threshold).to(current.dtype)
        remaining = potential * (1 - fired) if (reset_mechanism or reset) in ("zero", 1) else potential
        potential = beta * remaining + current[min(t, len(current) - 1)]
        potential = potential - fired * threshold if (reset_mechanism or reset) in ("subtract", 0) else potential
        rows.append(potential)
    return torch.stack(rows) if rows else current.new_zeros(0, *potential.shape)


def normalised(total: Tensor, bias: Tensor, rectify: bool = False) -> Tensor:
    """Compute normalised inputs."""
    mean = total.mean(-1, keepdim=True)
    y = (total - mean) / ((total - mean).square().mean(-1, keepdim=True) + 1e-5).sqrt() + bias
    return y.relu() if rectify else y


def convolved(x: Tensor, pos: Any, edges: Tensor, law: Any) -> Tensor:  # noqa: ANN401
    """Compute a convolution with the dense matrix of weights."""
    index = torch.nonzero(edges.to_dense()).t() if edges.layout == torch.sparse_csr else edges.flip(0)
    exists = torch.zeros(pos[1].shape[0], pos[0].shape[0], dtype=x.dtype).index_put(tuple(index), x.new_ones(()))
    return (pairwise(pos[0], pos[1], x.new_ones(pos[0].shape[0]), law) * exists) @ x
