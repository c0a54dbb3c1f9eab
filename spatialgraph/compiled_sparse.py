"""The loops that Numba compiles for sparse projections, on plain arrays; imported where they are first called.

Edges are in compressed rows: those of row ``j`` are ``pointer[j]`` to ``pointer[j + 1]``, each with its ``column``.
Activations have the batch as their last axis. The batch is worked on in pieces, so that a piece of all columns stays in
the cache, and edges four at a time, so that sums are loaded and stored once for four.
"""

import numpy as np
from numba import njit, prange

# Sums may be reordered, so that they are vectorised; infinities and NaN stay.
_options = {"nogil": True, "cache": True, "error_model": "numpy", "fastmath": {"reassoc", "contract", "nsz"}}
_compile = njit(**_options)
_compile_parallel = njit(parallel=True, **_options)


@_compile
def share(pointer, part, parts):
    """Return the rows of one thread, such that all threads have about as many edges."""
    edges = pointer[-1]
    first = np.searchsorted(pointer, edges * part // parts)
    behind = np.searchsorted(pointer, edges * (part + 1) // parts)
    if part == 0:
        first = 0
    if part == parts - 1:
        behind = pointer.size - 1
    return first, behind


@_compile_parallel
def product(pointer, column, weight, x, y, piece, parts):
    """Write the product of the matrix in compressed rows with ``x`` of shape ``(columns, batch)``."""
    batch = x.shape[1]
    for part in prange(parts):
        first, behind = share(pointer, part, parts)
        for start in range(0, batch, piece):
            stop = min(start + piece, batch)
            for j in range(first, behind):
                total = y[j, start:stop]
                for b in range(total.size):
                    total[b] = 0
                e, end = pointer[j], pointer[j + 1]
                while e + 3 < end:
                    w0, w1, w2, w3 = weight[e], weight[e + 1], weight[e + 2], weight[e + 3]
                    x0, x1 = x[column[e], start:stop], x[column[e + 1], start:stop]
                    x2, x3 = x[column[e + 2], start:stop], x[column[e + 3], start:stop]
                    for b in range(total.size):
                        total[b] += w0 * x0[b] + w1 * x1[b] + w2 * x2[b] + w3 * x3[b]
                    e += 4
                while e < end:
                    w0, x0 = weight[e], x[column[e], start:stop]
                    for b in range(total.size):
                        total[b] += w0 * x0[b]
                    e += 1


@_compile_parallel
def sampled(pointer, column, rows, x, out, piece, parts):
    """Add, for each edge, the scalar product of its row of ``rows`` and its column's row of ``x`` to ``out``."""
    batch = x.shape[1]
    for part in prange(parts):
        first, behind = share(pointer, part, parts)
        for start in range(0, batch, piece):
            stop = min(start + piece, batch)
            for j in range(first, behind):
                row = rows[j, start:stop]
                e, end = pointer[j], pointer[j + 1]
                while e + 3 < end:
                    x0, x1 = x[column[e], start:stop], x[column[e + 1], start:stop]
                    x2, x3 = x[column[e + 2], start:stop], x[column[e + 3], start:stop]
                    t0 = t1 = t2 = t3 = x.dtype.type(0)
                    for b in range(row.size):
                        t0 += row[b] * x0[b]
                        t1 += row[b] * x1[b]
                        t2 += row[b] * x2[b]
                        t3 += row[b] * x3[b]
                    out[e] += t0
                    out[e + 1] += t1
                    out[e + 2] += t2
                    out[e + 3] += t3
                    e += 4
                while e < end:
                    x0, t0 = x[column[e], start:stop], x.dtype.type(0)
                    for b in range(row.size):
                        t0 += row[b] * x0[b]
                    out[e] += t0
                    e += 1


@_compile_parallel
def weigh(pointer, column, sources, targets, scale, constant, out, parts):
    """Write the scaled inverse distance of each edge; positions have shape ``(neurons, d)``."""
    for part in prange(parts):
        first, behind = share(pointer, part, parts)
        for j in range(first, behind):
            for e in range(pointer[j], pointer[j + 1]):
                i = column[e]
                square = constant
                for axis in range(sources.shape[1]):
                    difference = targets[j, axis] - sources[i, axis]
                    square += difference * difference
                out[e] = scale[i] / np.sqrt(square)


@_compile_parallel
def pull(pointer, column, sources, targets, scale, constant, grad, grad_sources, grad_targets, grad_scale):
    """Add up the gradients by positions and scales; those of sources in a row for each thread."""
    one = sources.dtype.type(1)
    parts = grad_scale.shape[0]
    for part in prange(parts):
        first, behind = share(pointer, part, parts)
        for j in range(first, behind):
            for e in range(pointer[j], pointer[j + 1]):
                i = column[e]
                square = constant
                for axis in range(sources.shape[1]):
                    difference = targets[j, axis] - sources[i, axis]
                    square += difference * difference
                w = one / np.sqrt(square)
                product = grad[e] * w
                grad_scale[part, i] += product
                force = product * w * w * scale[i]  # d w / d q_j = -w^3 (q_j - p_i)
                for axis in range(sources.shape[1]):
                    component = force * (targets[j, axis] - sources[i, axis])
                    grad_targets[j, axis] -= component
                    grad_sources[part, i, axis] += component
