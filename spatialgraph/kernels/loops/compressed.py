"""The loops that Numba compiles for sparse projections, on plain arrays; imported where they are first called.

Edges are in compressed rows: those of row ``j`` are ``pointer[j]`` to ``pointer[j + 1]``, each with its ``column``.
Activations have the batch as their last axis and are worked on in strips of it. Where a strip is read often, it is
packed first: copied to where it is dense and aligned, and has its full width also at the end of the batch. ``x`` has
shape ``(columns, batch)``, or where ``is_turned`` ``(batch, columns)``, and is then always packed.
"""

import numpy as np
from numba import njit, prange

from spatialgraph.kernels.compilation import kernel
from spatialgraph.kernels.loops.checks import lie_inside
from spatialgraph.kernels.loops.vectors import combine, compare, strip

# Sums may be reordered, so that they are vectorised; infinities and NaN stay.
_options = {"error_model": "numpy", "fastmath": {"reassoc", "contract", "nsz"}}
_inline = njit(**_options)
_compile = kernel(**_options)


@_inline
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


@_inline
def aligned(size, like):
    """Return zeros that begin at a multiple of 64 bytes."""
    values = np.zeros(size + 64 // like.itemsize, like.dtype)
    skip = (-values.ctypes.data % 64) // like.itemsize
    return values[skip : skip + size]


@_inline
def pack(x, is_turned, start, size, width, packed):
    """Copy a strip of each column, one after the other."""
    if not is_turned:
        for i in range(x.shape[0]):
            for b in range(size):
                packed[i * width + b] = x[i, start + b]
        return
    for b in range(0, size - 7, 8):  # eight lines side by side: nearly four times as fast as one by one
        x0, x1, x2, x3 = x[start + b], x[start + b + 1], x[start + b + 2], x[start + b + 3]
        x4, x5, x6, x7 = x[start + b + 4], x[start + b + 5], x[start + b + 6], x[start + b + 7]
        for i in range(x.shape[1]):
            to = packed[i * width + b : i * width + b + 8]
            to[0], to[1], to[2], to[3] = x0[i], x1[i], x2[i], x3[i]
            to[4], to[5], to[6], to[7] = x4[i], x5[i], x6[i], x7[i]
    for b in range(size // 8 * 8, size):
        for i in range(x.shape[1]):
            packed[i * width + b] = x[start + b, i]


@_compile
def product(pointer, column, weight, x, is_turned, is_packed, bias, floor, y, parts):
    """Write ``max(floor, matrix @ x + bias)`` to ``y`` of shape ``(rows, batch)``."""
    width, batch, strays = strip(x.itemsize), y.shape[1], 0
    plain, flat, columns = x.reshape(-1), y.reshape(-1), x.size // batch
    for part in prange(parts):
        first, behind = share(pointer, part, parts)
        if not lie_inside(column, pointer[first], pointer[behind], columns):
            first, strays = behind, strays + 1
        packed, row = aligned(columns * width if is_packed else 0, x), aligned(width, x)
        for begin in range(0, batch, width):
            # Unless packed, the last strip reaches back over the one before: it must not leave its columns.
            start = begin if is_packed else min(begin, batch - width)
            size = min(width, batch - start)
            if is_packed:
                pack(x, is_turned, start, size, width, packed)
            for j in range(first, behind):
                e, end, at = pointer[j], pointer[j + 1], j * batch + start
                if not is_packed:
                    combine(plain, batch, start, column, weight, e, end, bias[j], floor, flat, at)
                elif size == width:
                    combine(packed, width, 0, column, weight, e, end, bias[j], floor, flat, at)
                else:
                    combine(packed, width, 0, column, weight, e, end, bias[j], floor, row, 0)
                    flat[at : at + size] = row[:size]
    return strays == 0


@_compile
def sampled(pointer, column, rows, active, is_masked, x, is_turned, is_packed, out, sums, parts):
    """Add, for each edge, the scalar product of its row of ``rows`` and its column of ``x`` to ``out``.

    The sums of the rows are added to ``sums``. Where ``is_masked``, numbers of ``rows`` whose counterpart in ``active``
    is not positive count as 0.
    """
    width, batch, strays = strip(x.itemsize), rows.shape[1], 0
    plain, flat, flat_active, columns = x.reshape(-1), rows.reshape(-1), active.reshape(-1), x.size // batch
    for part in prange(parts):
        first, behind = share(pointer, part, parts)
        if not lie_inside(column, pointer[first], pointer[behind], columns):
            first, strays = behind, strays + 1
        packed = aligned(columns * width if is_packed else 0, x)
        row, row_active = aligned(width, x), aligned(width, x)
        for begin in range(0, batch, width):
            start = begin if is_packed else min(begin, batch - width)
            size = min(width, batch - start)
            seen = begin - start  # numbers that the strip before has counted; here they stay 0
            source, stride, offset = plain, batch, start
            if is_packed:
                pack(x, is_turned, start, size, width, packed)
                source, stride, offset = packed, width, 0
            for j in range(first, behind):
                e, end, at = pointer[j], pointer[j + 1], j * batch + start
                if seen == 0 and size == width:
                    sums[j] += compare(source, stride, offset, column, flat, at, flat_active, is_masked, e, end, out)
                else:
                    row[seen:size] = flat[at + seen : at + size]
                    row_active[seen:size] = flat_active[at + seen : at + size]
                    sums[j] += compare(source, stride, offset, column, row, 0, row_active, is_masked, e, end, out)
    return strays == 0


@_inline
def weights_of_rows(pointer, column, sources, targets, scale, constant, out, first, behind):
    """Compute the rows of one thread, see :func:`weigh`."""
    for j in range(first, behind):
        columns, row = column[pointer[j] : pointer[j + 1]], out[pointer[j] : pointer[j + 1]]
        for k in range(row.size):
            row[k] = constant
        for axis in range(sources.shape[0]):
            source, here = sources[axis], targets[axis, j]
            for k in range(row.size):
                difference = here - source[columns[k]]
                row[k] += difference * difference
        for k in range(row.size):
            row[k] = scale[columns[k]] / np.sqrt(row[k])


@_compile
def weigh(pointer, column, sources, targets, scale, constant, out, parts):
    """Write the scaled inverse distance of each edge; positions have shape ``(d, neurons)``."""
    strays = 0
    for part in prange(parts):
        first, behind = share(pointer, part, parts)
        if lie_inside(column, pointer[first], pointer[behind], scale.size):
            weights_of_rows(pointer, column, sources, targets, scale, constant, out, first, behind)
        else:
            strays += 1
    return strays == 0


@_inline
def gradients_of_rows(
    pointer, column, sources, targets, scale, constant, grad, grad_sources, grad_targets, grad_scale, first, behind
):
    """Compute the rows of one thread, see :func:`pull`."""
    one, zero = sources.dtype.type(1), sources.dtype.type(0)
    axes, longest = sources.shape[0], 0
    for j in range(first, behind):
        longest = max(longest, pointer[j + 1] - pointer[j])
    differences = np.empty((axes, longest), sources.dtype)
    force, product = np.empty(longest, sources.dtype), np.empty(longest, sources.dtype)
    columns = np.empty(longest, np.uint32)  # half as wide as the list's: twice as many in a vector
    for j in range(first, behind):
        start, count = pointer[j], pointer[j + 1] - pointer[j]
        for k in range(count):
            columns[k] = column[start + k]
            force[k] = constant
        for axis in range(axes):
            source, here, difference = sources[axis], targets[axis, j], differences[axis]
            for k in range(count):
                difference[k] = here - source[columns[k]]
                force[k] += difference[k] * difference[k]
        for k in range(count):
            w = one / np.sqrt(force[k])
            product[k] = grad[start + k] * w
            force[k] = product[k] * w * w * scale[columns[k]]  # d w / d q_j = -w^3 (q_j - p_i)
        for k in range(count):
            grad_scale[columns[k]] += product[k]
        for axis in range(axes):
            difference, sums, total = differences[axis], grad_sources[axis], zero
            for k in range(count):
                difference[k] *= force[k]
                total += difference[k]
            grad_targets[axis, j] = -total
            for k in range(count):
                sums[columns[k]] += difference[k]


@_compile
def pull(pointer, column, sources, targets, scale, constant, grad, grad_sources, grad_targets, grad_scale, parts):
    """Add up the gradients by positions and scales; those of sources once for each thread."""
    strays = 0
    for part in prange(parts):
        first, behind = share(pointer, part, parts)
        if lie_inside(column, pointer[first], pointer[behind], scale.size):
            own = grad_sources[part], grad_targets, grad_scale[part]
            gradients_of_rows(pointer, column, sources, targets, scale, constant, grad, *own, first, behind)
        else:
            strays += 1
    return strays == 0
