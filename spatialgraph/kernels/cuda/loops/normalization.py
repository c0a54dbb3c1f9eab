"""Layer normalisation with a bias after it in Triton, which :mod:`spatialgraph.kernels.cuda.normalization` launches.

Inputs have any strides, so that the batch may be the last axis in memory or the first. A program takes some samples and
passes over their neurons, or some neurons and passes over the samples, in a fixed order.
"""

import triton
import triton.language as tl

__all__ = ["backward", "bias_gradient", "forward"]


@triton.jit
def forward(
    total, bias, y, mean, scale, batch, neurons, sample_stride, neuron_stride, epsilon,
    RECTIFY: tl.constexpr, BB: tl.constexpr, BN: tl.constexpr,
):  # fmt: skip
    """Write normalised inputs with the bias, and the mean and reciprocal standard deviation of each sample."""
    b = tl.program_id(0) * BB + tl.arange(0, BB)
    sums = tl.zeros((BB, BN), tl.float32)
    for begin in range(0, neurons, BN):
        t, _ = _tile(total, b, begin, batch, neurons, sample_stride, neuron_stride, BN)
        sums += t
    center = tl.sum(sums, 1) / neurons
    squares = tl.zeros((BB, BN), tl.float32)
    for begin in range(0, neurons, BN):
        t, inside = _tile(total, b, begin, batch, neurons, sample_stride, neuron_stride, BN)
        difference = tl.where(inside, t - center[:, None], 0.0)
        squares += difference * difference
    factor = 1.0 / tl.sqrt_rn(tl.sum(squares, 1) / neurons + epsilon)
    tl.store(mean + b, center, mask=b < batch)
    tl.store(scale + b, factor, mask=b < batch)
    for begin in range(0, neurons, BN):
        t, inside = _tile(total, b, begin, batch, neurons, sample_stride, neuron_stride, BN)
        values = (t - center[:, None]) * factor[:, None] + _bias(bias, begin, neurons, BN)[None, :]
        values = _rectified(values, values, RECTIFY)
        tl.store(y + _place(b, begin, sample_stride, neuron_stride, BN), values, mask=inside)


@triton.jit
def backward(
    total, bias, mean, scale, grad, grad_total, batch, neurons,
    sample_stride, neuron_stride, grad_sample_stride, grad_neuron_stride,
    RECTIFY: tl.constexpr, BB: tl.constexpr, BN: tl.constexpr,
):  # fmt: skip
    """Write the gradient of the inputs."""
    b = tl.program_id(0) * BB + tl.arange(0, BB)
    center, factor = tl.load(mean + b, mask=b < batch, other=0.0), tl.load(scale + b, mask=b < batch, other=0.0)
    sums, products = tl.zeros((BB, BN), tl.float32), tl.zeros((BB, BN), tl.float32)
    for begin in range(0, neurons, BN):
        g, normal, _ = _gradient(
            total, bias, grad, center, factor, b, begin, batch, neurons,
            sample_stride, neuron_stride, grad_sample_stride, grad_neuron_stride, RECTIFY, BN,
        )  # fmt: skip
        sums += g
        products += g * normal
    mean_gradient, mean_product = tl.sum(sums, 1) / neurons, tl.sum(products, 1) / neurons
    for begin in range(0, neurons, BN):
        g, normal, inside = _gradient(
            total, bias, grad, center, factor, b, begin, batch, neurons,
            sample_stride, neuron_stride, grad_sample_stride, grad_neuron_stride, RECTIFY, BN,
        )  # fmt: skip
        values = (g - mean_gradient[:, None] - normal * mean_product[:, None]) * factor[:, None]
        tl.store(grad_total + _place(b, begin, sample_stride, neuron_stride, BN), values, mask=inside)


@triton.jit
def bias_gradient(
    total, bias, mean, scale, grad, grad_bias, batch, neurons,
    sample_stride, neuron_stride, grad_sample_stride, grad_neuron_stride,
    RECTIFY: tl.constexpr, BB: tl.constexpr, BN: tl.constexpr,
):  # fmt: skip
    """Write the gradient of the biases."""
    begin = tl.program_id(0) * BN
    n = begin + tl.arange(0, BN)
    sums = tl.zeros((BB, BN), tl.float32)
    for first in range(0, batch, BB):
        b = first + tl.arange(0, BB)
        center, factor = tl.load(mean + b, mask=b < batch, other=0.0), tl.load(scale + b, mask=b < batch, other=0.0)
        g, _, _ = _gradient(
            total, bias, grad, center, factor, b, begin, batch, neurons,
            sample_stride, neuron_stride, grad_sample_stride, grad_neuron_stride, RECTIFY, BN,
        )  # fmt: skip
        sums += g
    tl.store(grad_bias + n, tl.sum(sums, 0), mask=n < neurons)


@triton.jit
def _place(b, begin, sample_stride, neuron_stride, BN: tl.constexpr):
    n = begin + tl.arange(0, BN)
    return b.to(tl.int64)[:, None] * sample_stride + n.to(tl.int64)[None, :] * neuron_stride


@triton.jit
def _tile(values, b, begin, batch, neurons, sample_stride, neuron_stride, BN: tl.constexpr):
    """Load the values of some samples and neurons, 0 past the last, and return which are there."""
    inside = (b < batch)[:, None] & (begin + tl.arange(0, BN) < neurons)[None, :]
    place = _place(b, begin, sample_stride, neuron_stride, BN)
    return tl.load(values + place, mask=inside, other=0.0), inside


@triton.jit
def _bias(bias, begin, neurons, BN: tl.constexpr):
    n = begin + tl.arange(0, BN)
    return tl.load(bias + n, mask=n < neurons, other=0.0)


@triton.jit
def _rectified(values, by, RECTIFY: tl.constexpr):
    """Return the values, in a rectified network 0 where ``by`` is not positive; NaN stays."""
    if RECTIFY:
        return tl.where(by <= 0.0, 0.0, values)
    else:
        return values


@triton.jit
def _gradient(
    total, bias, grad, center, factor, b, begin, batch, neurons,
    sample_stride, neuron_stride, grad_sample_stride, grad_neuron_stride, RECTIFY: tl.constexpr, BN: tl.constexpr,
):  # fmt: skip
    """Return the gradient before the rectification, the normalised inputs, and which there are, for a tile."""
    t, inside = _tile(total, b, begin, batch, neurons, sample_stride, neuron_stride, BN)
    g, _ = _tile(grad, b, begin, batch, neurons, grad_sample_stride, grad_neuron_stride, BN)
    normal = (t - center[:, None]) * factor[:, None]
    result = normal + _bias(bias, begin, neurons, BN)[None, :]
    return tl.where(inside, _rectified(g, result, RECTIFY), 0.0), tl.where(inside, normal, 0.0), inside
