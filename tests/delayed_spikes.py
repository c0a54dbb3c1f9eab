"""Delayed spikes, by four nested loops and by each way of computing them."""

import math

import numpy as np
import pytest

from spatialgraph.kernels import handover

# By the fused kernel, or tap by tap.
WAYS = ("fused", "taps")
every_way = pytest.mark.parametrize("way", WAYS, indirect=True)


def choose(patch, way):
    if way == "taps":
        patch.setattr(handover, "available", lambda *values: False)


def loops(x, weight, delay, before=0):
    """Inputs of the targets by the equation, one term after the other; ``x`` begins ``before`` steps early."""
    x, weight, delay = (np.asarray(a.detach(), dtype=np.float64) for a in (x, weight, delay))
    steps, batch, sources = x.shape
    y = np.zeros((steps - before, batch, len(weight)))
    for t in range(steps - before):
        for b in range(batch):
            for j in range(len(weight)):
                for i in range(sources):
                    whole = math.floor(delay[j, i])
                    fraction = delay[j, i] - whole
                    for lag, share in ((whole, 1.0 - fraction), (whole + 1, fraction)):
                        if t + before - lag >= 0:
                            y[t, b, j] += weight[j, i] * share * x[t + before - lag, b, i]
    return y
