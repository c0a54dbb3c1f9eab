"""Loops that Numba compiles for sparse projections, on plain arrays; imported on the first call.

Edges are in compressed rows: those of row ``j`` are ``pointer[j]`` to ``pointer[j + 1]``, each with its ``column``.
Activations have the batch as their last axis and are processed in strips of it. A strip that is read often is packed
first: copied to contiguous and aligned memory, and padded to its full width at the end of the batch. ``x`` has shape
``(columns, batch)``; if ``is_transposed``, it has shape ``(batch, columns)`` and is always packed. The weights of edges
are inverse distances, unless the kernel is given another formula of :mod:`spatialgraph.kernels.loops.formulas`.
"""

import functools

import numpy as np
from numba import njit, prange

from spatialgraph.kernels.compilation import kernel, with_globals
from spatialgraph.kernels.loops.checks import lie_inside
from spatialgraph.kernels.loops.formulas import compiled
from spatialgraph.kernels.loops.vectors import combine, compare, strip

# Sums may be reordered for vectorisation; infinities and NaN are preserved.
OPTIONS = {"error_model": "numpy", "fastmath": {"reassoc", "contract", "nsz"}}
_inline = njit(**OPTIONS)
_compile = kernel(**OPTIONS)
weight, weight_gradients, has_parameter = compiled("inverse_distance", **OPTIONS)


@_inline
def share(pointer, part, parts):
    """Return the rows of one thread, such that all threads have about the same number of edges."""
    edges = pointer[-1]
    first = np.searchsorted(pointer, edges * part // parts)
    stop = np.searchsorted(pointer, edges * (part + 1) // parts)
    if part == 0:
        first = 0
    if part == parts - 1:
        stop = pointer.size - 1
    return first, stop


@_inline
def aligned(size, like):
    """Return zeros in memory aligned to 64 bytes."""
    values = np.zeros(size + 64 // like.itemsize, like.dtype)
    skip = (-values.ctypes.data % 64) // like.itemsize
    return values[skip : skip + size]


@_inline
def pack(x, is_transposed, start, size, width, packed):
    """Copy a strip of each column, one after the other."""
    if not is_transposed:
        for i in range(x.shape[0]):
            for b in range(size):
                packed[i * width + b] = x[i, start + b]
        return
    for b in range(0, size - 7, 8):  # eight rows at a time: nearly four times as fast as one by one
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
def product(pointer, column, weight, x, is_transposed, is_packed, bias, floor, y, parts):
    """Write ``max(floor, matrix @ x + bias)`` to ``y`` of shape ``(rows, batch)``."""
    width, batch, invalid = strip(x.itemsize), y.shape[1], 0
    plain, flat, columns = x.reshape(-1), y.reshape(-1), x.size // batch
    for part in prange(parts):
        first, stop = share(pointer, part, parts)
        if not lie_inside(column, pointer[first], pointer[stop], columns):
            first, invalid = stop, invalid + 1
        packed, row = aligned(columns * width if is_packed else 0, x), aligned(width, x)
        for begin in range(0, batch, width):
            # Unless packed, the last strip overlaps the one before, so that it does not extend past the batch.
            start = begin if is_packed else min(begin, batch - width)
            size = min(width, batch - start)
            if is_packed:
                pack(x, is_transposed, start, size, width, packed)
            for j in range(first, stop):
                e, end, at = pointer[j], pointer[j + 1], j * batch + start
                if not is_packed:
                    combine(plain, batch, start, column, weight, e, end, bias[j], floor, flat, at)
                elif size == width:
                    combine(packed, width, 0, column, weight, e, end, bias[j], floor, flat, at)
                else:
                    combine(packed, width, 0, column, weight, e, end, bias[j], floor, row, 0)
                    flat[at : at + size] = row[:size]
    return invalid == 0


@_compile
def sampled(pointer, column, rows, active, is_masked, x, is_transposed, is_packed, out, sums, parts):
    """Add, for each edge, the dot product of its row of ``rows`` and its column of ``x`` to ``out``.

    The sums of the rows are added to ``sums``. If ``is_masked``, entries of ``rows`` count as 0 where ``active`` is not
    positive.
    """
    width, batch, invalid = strip(x.itemsize), rows.shape[1], 0
    plain, flat, flat_active, columns = x.reshape(-1), rows.reshape(-1), active.reshape(-1), x.size // batch
    for part in prange(parts):
        first, stop = share(pointer, part, parts)
        if not lie_inside(column, pointer[first], pointer[stop], columns):
            first, invalid = stop, invalid + 1
        packed = aligned(columns * width if is_packed else 0, x)
        row, row_active = aligned(width, x), aligned(width, x)
        for begin in range(0, batch, width):
            start = begin if is_packed else min(begin, batch - width)
            size = min(width, batch - start)
            seen = begin - start  # entries already counted in the strip before; 0 here
            source, stride, offset = plain, batch, start
            if is_packed:
                pack(x, is_transposed, start, size, width, packed)
                source, stride, offset = packed, width, 0
            for j in range(first, stop):
                e, end, at = pointer[j], pointer[j + 1], j * batch + start
                if seen == 0 and size == width:
                    sums[j] += compare(source, stride, offset, column, flat, at, flat_active, is_masked, e, end, out)
                else:
                    row[seen:size] = flat[at + seen : at + size]
                    row_active[seen:size] = flat_active[at + seen : at + size]
                    sums[j] += compare(source, stride, offset, column, row, 0, row_active, is_masked, e, end, out)
    return invalid == 0


def weights_of_rows(pointer, column, sources, targets, scale, constants, out, first, stop):
    """Compute the rows of one thread, see :func:`weigh`."""
    zero, largest = sources.dtype.type(0), sources.dtype.type(np.finfo(sources.dtype).max)
    for j in range(first, stop):
        columns, row = column[pointer[j] : pointer[j + 1]], out[pointer[j] : pointer[j + 1]]
        for k in range(row.size):
            row[k] = constants[0]
        for axis in range(sources.shape[0]):
            source, here = sources[axis], targets[axis, j]
            for k in range(row.size):
                difference = here - source[columns[k]]
                row[k] += difference * difference
        for k in range(row.size):
            row[k] = weight(scale[columns[k]], row[k], constants, zero, largest)


@_compile
def weigh(pointer, column, sources, targets, scale, constants, out, parts):
    """Write the scaled weight of each edge; positions have shape ``(d, neurons)``."""
    invalid = 0
    for part in prange(parts):
        first, stop = share(pointer, part, parts)
        if lie_inside(column, pointer[first], pointer[stop], scale.size):
            weights_of_rows(pointer, column, sources, targets, scale, constants, out, first, stop)
        else:
            invalid += 1
    return invalid == 0


def gradients_of_rows(
    pointer,
    column,
    sources,
    targets,
    scale,
    constants,
    grad,
    grad_sources,
    grad_targets,
    grad_scale,
    first,
    stop,
):
    """Compute the rows of one thread, see :func:`gradients`, and return the gradient of the parameter."""
    zero, largest = sources.dtype.type(0), sources.dtype.type(np.finfo(sources.dtype).max)
    axes, longest, of_all = sources.shape[0], 0, 0.0
    for j in range(first, stop):
        longest = max(longest, pointer[j + 1] - pointer[j])
    differences = np.empty((axes, longest), sources.dtype)
    factor, product = np.empty(longest, sources.dtype), np.empty(longest, sources.dtype)
    columns = np.empty(longest, np.uint32)  # 32 bits, so that a vector holds twice as many
    for j in range(first, stop):
        start, count, of_row = pointer[j], pointer[j + 1] - pointer[j], zero
        for k in range(count):
            columns[k] = column[start + k]
            factor[k] = constants[0]
        for axis in range(axes):
            source, here, difference = sources[axis], targets[axis, j], differences[axis]
            for k in range(count):
                difference[k] = here - source[columns[k]]
                factor[k] += difference[k] * difference[k]
        for k in range(count):
            product[k], pull, by_parameter = weight_gradients(grad[start + k], factor[k], constants, zero, largest)
            factor[k] = pull * scale[columns[k]]
            if has_parameter:
                of_row += by_parameter * scale[columns[k]]
        of_all += of_row
        for k in range(count):
            grad_scale[columns[k]] += product[k]
        for axis in range(axes):
            difference, sums, total = differences[axis], grad_sources[axis], zero
            for k in range(count):
                difference[k] *= factor[k]
                total += difference[k]
            grad_targets[axis, j] = -total
            for k in range(count):
                sums[columns[k]] += difference[k]
    return of_all


@_compile
def gradients(
    pointer,
    column,
    sources,
    targets,
    scale,
    constants,
    grad,
    grad_sources,
    grad_targets,
    grad_scale,
    grad_parameter,
    parts,
):
    """Sum the gradients of positions, scales and the formula's parameter; in parts for each thread."""
    invalid = 0
    for part in prange(parts):
        first, stop = share(pointer, part, parts)
        if lie_inside(column, pointer[first], pointer[stop], scale.size):
            own = grad_sources[part], grad_targets, grad_scale[part]
            grad_parameter[part] = gradients_of_rows(
                pointer, column, sources, targets, scale, constants, grad, *own, first, stop
            )
        else:
            invalid += 1
    return invalid == 0


@functools.cache
def by_formula(name):
    """Return ``weigh`` and ``gradients`` for a formula."""
    formula = compiled(name, **OPTIONS)._asdict()
    rows = {rows.__name__: _inline(with_globals(rows, name, formula)) for rows in (weights_of_rows, gradients_of_rows)}
    return weigh.using(name, rows), gradients.using(name, rows)
