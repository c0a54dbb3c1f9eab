"""Kernels for points on a grid, against sums over all grid points in double precision."""

import math
import re

import numpy as np
import pytest
import torch
from scipy.interpolate import BSpline

from spatialgraph.functional import stencils as operations
from spatialgraph.functional.splines import Grid
from spatialgraph.functional.stencils import Stencils

pytest.importorskip("numba")
from spatialgraph.kernels import stencils  # noqa: E402

SHAPES = {1: (17,), 2: (15, 13), 3: (12, 13, 11)}


def spline(order, distance):
    """The cardinal B-spline around 0, by SciPy."""
    element = BSpline.basis_element(np.arange(order + 1) - order / 2, extrapolate=False)
    return np.nan_to_num(element(distance)), np.nan_to_num(element.derivative()(distance))


def matrices(pos, shape, order):
    """Weights of all positions and grid points, and their derivatives by each axis."""
    along = []
    for axis, size in enumerate(shape):
        distance = pos[:, axis, None].double().numpy() - np.arange(size)
        along.append([torch.from_numpy(values) for values in spline(order, distance)])

    def joined(derived):
        found = torch.ones(len(pos), 1, dtype=torch.float64)
        for axis, (value, slope) in enumerate(along):
            found = (found[:, :, None] * (slope if axis == derived else value)[:, None, :]).flatten(1)
        return found

    return joined(None), [joined(axis) for axis in range(len(shape))]


@pytest.mark.parametrize("threads", [1, 2, 3])
@pytest.mark.parametrize("batch", [1, 5, 47, 100])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize(("axes", "order"), [(1, 4), (2, 4), (2, 8), (3, 2), (3, 6)])
def test_all_operations(monkeypatch, axes, order, dtype, batch, threads):
    torch.manual_seed(0)
    monkeypatch.setattr(stencils, "part_count", lambda work, worth: threads)
    shape = SHAPES[axes]
    pos = (3.0 + torch.rand(70, axes) * (torch.tensor(shape) - 8.0)).to(dtype)
    charge, field = torch.randn(batch, 70, dtype=dtype).t(), torch.randn(math.prod(shape), batch, dtype=dtype)
    weights, slopes = matrices(pos, shape, order)
    close = {"rtol": 0, "atol": 2e-5 if dtype == torch.float32 else 1e-12}
    density = stencils.spread(pos, shape, order, charge)
    torch.testing.assert_close(density.double(), weights.t() @ charge.double(), **close)
    found = stencils.gather(pos, shape, order, field)
    torch.testing.assert_close(found.double(), weights @ field.double(), **close)
    sums, gradient = stencils.pull(pos, shape, order, field, charge)
    close["atol"] *= math.sqrt(batch)
    torch.testing.assert_close(sums.double(), (charge * (weights @ field.double())).sum(1), **close)
    expected = torch.stack([(charge * (slope @ field.double())).sum(1) for slope in slopes], 1)
    torch.testing.assert_close(gradient.double(), expected, **close)
    assert torch.equal(density, stencils.spread(pos, shape, order, charge))


def test_tensor_operations_compute_the_same(monkeypatch):
    torch.manual_seed(0)
    grid = Grid((-1.0, 2.0), 0.5, (15, 13), 6)
    pos = torch.tensor([-1.0, 2.0]) + 0.5 * (3.0 + torch.rand(70, 2) * torch.tensor([8.0, 6.0]))
    charge, field = torch.randn(5, 70), torch.randn(5, 15, 13)
    found = []
    for _ in range(2):
        own = Stencils(grid, pos)
        found.append([own.spread(charge), own.gather(field), *own.pull(field, charge)])
        monkeypatch.setattr(operations, "find", lambda *_: None)
    for left, right in zip(*found, strict=True):
        torch.testing.assert_close(left, right, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("place", [0.5, 9.0, -1e9, 1e30, math.nan, math.inf])
@pytest.mark.parametrize("axis", [0, 1])
def test_no_spline_reaches_past_the_grid(axis, place):
    pos = torch.full((3, 2), 5.0)
    pos[1, axis] = place
    field, charge = torch.zeros(100, 2), torch.zeros(3, 2)
    calls = [
        lambda: stencils.spread(pos, (10, 10), 4, charge),
        lambda: stencils.gather(pos, (10, 10), 4, field),
        lambda: stencils.pull(pos, (10, 10), 4, field, charge),
    ]
    for call in calls:
        with pytest.raises(ValueError, match="pos must be so far inside a grid of"):
            call()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"pos": torch.zeros(3, 4), "shape": (9,) * 4}, "pos must have 1 to 3 axes, as many as the grid has, got 4"),
        ({"shape": (10,)}, "as many as the grid has, got 2 and 1"),
        ({"order": 5}, "order must be even and from 2 to 8, got 5"),
        ({"order": 10}, "order must be even and from 2 to 8, got 10"),
        ({"charge": torch.zeros(2, 2)}, "charge must have shape (3, 2), got (2, 2)"),
    ],
)
def test_bad_arguments(change, message):
    given = {"pos": torch.full((3, 2), 5.0), "shape": (10, 10), "order": 4, "charge": torch.zeros(3, 2)} | change
    with pytest.raises(ValueError, match=re.escape(message)):
        stencils.spread(**given)
