"""Loops that Numba compiles for :mod:`spatialgraph.functional.normalization`, on plain arrays.

Inputs have shape ``(neurons, batch)``. Each thread processes a share of the neurons: whole rows, as short loops are
slow. ``partial`` has shape ``(parts, 2, batch)`` and takes the sums of each thread's rows, in double precision.
"""

import numpy as np
from numba import njit, prange

from spatialgraph.kernels.compilation import kernel

# Sums may be reordered for vectorisation; infinities and NaN are preserved.
OPTIONS = {"error_model": "numpy", "fastmath": {"reassoc", "contract", "nsz"}}
_inline = njit(**OPTIONS)
_compile = kernel(**OPTIONS)


@_inline
def share(count, part, parts):
    """Return the rows of one thread."""
    return range(count * part // parts, count * (part + 1) // parts)


@_inline
def add_up(partial, which, sums):
    """Write the sums over all threads."""
    sums[:] = 0
    for part in range(partial.shape[0]):
        for b in range(sums.size):
            sums[b] += partial[part, which, b]


@_compile
def forward(total, bias, floor, out, mean, scale, partial, parts):
    """Write ``max(floor, (total - mean) * scale + bias)``, and each sample's mean and reciprocal standard deviation."""
    count, batch = total.shape
    for part in prange(parts):
        sums = partial[part, 0]
        sums[:] = 0
        for j in share(count, part, parts):
            row = total[j]
            for b in range(batch):
                sums[b] += row[b]
    add_up(partial, 0, mean)
    for b in range(batch):
        mean[b] /= count
    for part in prange(parts):
        squares = partial[part, 1]
        squares[:] = 0
        for j in share(count, part, parts):
            row = total[j]
            for b in range(batch):
                difference = row[b] - mean[b]
                squares[b] += difference * difference
    add_up(partial, 1, scale)
    for b in range(batch):
        scale[b] = 1 / np.sqrt(scale[b] / count + 1e-5)
    for part in prange(parts):
        for j in share(count, part, parts):
            row, result, shift = total[j], out[j], bias[j]
            for b in range(batch):
                value = (row[b] - mean[b]) * scale[b] + shift
                result[b] = floor if value < floor else value


@_compile
def backward(total, bias, floor, mean, scale, grad, grad_total, grad_bias, partial, parts):
    """Write the gradients of the inputs and of the biases."""
    count, batch = total.shape
    zero = total.dtype.type(0)
    for part in prange(parts):
        sums, products = partial[part, 0], partial[part, 1]
        sums[:] = 0
        products[:] = 0
        for j in share(count, part, parts):
            row, by_output, by_input, shift, sum_of_row = total[j], grad[j], grad_total[j], bias[j], zero
            # Three short loops: LLVM does not vectorise one loop that writes to so many arrays.
            for b in range(batch):
                by_input[b] = zero if (row[b] - mean[b]) * scale[b] + shift <= floor else by_output[b]
            for b in range(batch):
                sums[b] += by_input[b]
                sum_of_row += by_input[b]
            for b in range(batch):
                products[b] += by_input[b] * (row[b] - mean[b])
            grad_bias[j] = sum_of_row
    sums, products = np.empty_like(mean), np.empty_like(mean)
    add_up(partial, 0, sums)
    add_up(partial, 1, products)
    for b in range(batch):
        sums[b] /= count
        products[b] *= scale[b] * scale[b] / count
    for part in prange(parts):
        for j in share(count, part, parts):
            row, by_input = total[j], grad_total[j]
            for b in range(batch):
                by_input[b] = scale[b] * (by_input[b] - sums[b] - (row[b] - mean[b]) * products[b])


@_compile
def forward_by_sample(total, bias, floor, out, mean, scale, parts):
    """Do as :func:`forward` on inputs of shape ``(batch, neurons)``, where each thread processes whole samples."""
    batch, count = total.shape
    for part in prange(parts):
        for b in share(batch, part, parts):
            row, result, sums = total[b], out[b], np.float64(0)
            for j in range(count):
                sums += row[j]
            middle = total.dtype.type(sums / count)
            squares = np.float64(0)
            for j in range(count):
                difference = row[j] - middle
                squares += difference * difference
            factor = total.dtype.type(1 / np.sqrt(squares / count + 1e-5))
            mean[b], scale[b] = middle, factor
            for j in range(count):
                value = (row[j] - middle) * factor + bias[j]
                result[j] = floor if value < floor else value


@_compile
def backward_by_sample(total, bias, floor, mean, scale, grad, grad_total, grad_bias, parts):
    """Do as :func:`backward` on inputs of shape ``(batch, neurons)``; ``grad_bias`` has a row for each thread."""
    batch, count = total.shape
    zero = total.dtype.type(0)
    for part in prange(parts):
        sums_of_bias = grad_bias[part]
        for b in share(batch, part, parts):
            row, by_output, by_input, middle, factor = total[b], grad[b], grad_total[b], mean[b], scale[b]
            for j in range(count):
                by_input[j] = zero if (row[j] - middle) * factor + bias[j] <= floor else by_output[j]
            sums, products = np.float64(0), np.float64(0)
            for j in range(count):
                sums += by_input[j]
                products += by_input[j] * (row[j] - middle)
            for j in range(count):
                sums_of_bias[j] += by_input[j]
            shift = total.dtype.type(sums / count)
            slope = total.dtype.type(products * factor * factor / count)
            for j in range(count):
                by_input[j] = factor * (by_input[j] - shift - (row[j] - middle) * slope)
