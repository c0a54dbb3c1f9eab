"""Loops that Numba compiles for :mod:`spatialgraph.functional.normalization`, on plain arrays.

Inputs have shape ``(neurons, batch)``. Each thread processes pieces of the batch that stay in the cache from pass to
pass.
"""

import numpy as np
from numba import prange

from spatialgraph.kernels.compilation import kernel

# Sums may be reordered for vectorisation; infinities and NaN are preserved.
_compile = kernel(error_model="numpy", fastmath={"reassoc", "contract", "nsz"})

PIECE = 128


@_compile
def forward(total, bias, floor, out, mean, scale, parts):
    """Write ``max(floor, (total - mean) * scale + bias)``, and each sample's mean and reciprocal standard deviation."""
    count, batch = total.shape
    for part in prange(parts):
        for start in range(PIECE * part, batch, PIECE * parts):
            stop = min(start + PIECE, batch)
            means, scales = mean[start:stop], scale[start:stop]
            means[:] = 0
            scales[:] = 0
            for j in range(count):
                row = total[j, start:stop]
                for b in range(row.size):
                    means[b] += row[b]
            for b in range(means.size):
                means[b] /= count
            for j in range(count):
                row = total[j, start:stop]
                for b in range(row.size):
                    difference = row[b] - means[b]
                    scales[b] += difference * difference
            for b in range(scales.size):
                scales[b] = 1 / np.sqrt(scales[b] / count + 1e-5)
            for j in range(count):
                row, result, shift = total[j, start:stop], out[j, start:stop], bias[j]
                for b in range(row.size):
                    value = (row[b] - means[b]) * scales[b] + shift
                    result[b] = floor if value < floor else value


@_compile
def backward(total, bias, floor, mean, scale, grad, grad_total, grad_bias, parts):
    """Write the gradients of the inputs, and sum those of the biases in one row for each thread."""
    count, batch = total.shape
    zero = total.dtype.type(0)
    for part in prange(parts):
        both = np.empty((2, PIECE), total.dtype)
        for start in range(PIECE * part, batch, PIECE * parts):
            stop = min(start + PIECE, batch)
            means, scales = mean[start:stop], scale[start:stop]
            sums, products = both[0, : stop - start], both[1, : stop - start]
            sums[:] = 0
            products[:] = 0
            for j in range(count):
                row, by_output, by_input = total[j, start:stop], grad[j, start:stop], grad_total[j, start:stop]
                shift, sum_of_row = bias[j], zero
                # Three short loops: LLVM does not vectorise one loop that writes to so many arrays.
                for b in range(row.size):
                    by_input[b] = zero if (row[b] - means[b]) * scales[b] + shift <= floor else by_output[b]
                for b in range(row.size):
                    sums[b] += by_input[b]
                    sum_of_row += by_input[b]
                for b in range(row.size):
                    products[b] += by_input[b] * (row[b] - means[b])
                grad_bias[part, j] += sum_of_row
            for b in range(sums.size):
                sums[b] /= count
                products[b] *= scales[b] * scales[b] / count
            for j in range(count):
                row, by_input = total[j, start:stop], grad_total[j, start:stop]
                for b in range(row.size):
                    by_input[b] = scales[b] * (by_input[b] - sums[b] - (row[b] - means[b]) * products[b])
