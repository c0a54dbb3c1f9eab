"""The product between planes on a grid, against sums over all pairs in double precision."""

import functools

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from references import LAWS
from torch.autograd import gradcheck

from spatialgraph.functional import all_to_all, mesh, meshed, pairwise_weight, streamed
from spatialgraph.functional.mesh import Planner
from spatialgraph.functional.mesh_plan import candidates, smoothness
from spatialgraph.functional.planar_product import PlanarProduct
from spatialgraph.functional.splines import spline_filter, spline_weights
from spatialgraph.laws import Cosine, InverseDistance, InversePower, Law

SMOOTH = {name: make for name, make in LAWS.items() if name not in ("exponential", "rational")}


def planes(gap=1.0, n=300, m=250, axes=2, dtype=torch.float64, spread=1.0):
    """Positions in two planes."""
    ends = [spread * torch.randn(count, axes + 1, dtype=torch.float64) for count in (n, m)]
    for pos, depth in zip(ends, (0.5, 0.5 + gap), strict=True):
        pos[:, -1] = depth
    return [pos.to(dtype) for pos in ends]


def signs(*shape, dtype=torch.float64):
    return (torch.randint(2, shape) * 2 - 1).to(dtype)


def error(own, exact):
    return float((own.detach().double() - exact.detach()).norm() / exact.detach().norm())


def compared(law, ends, tolerance, batch=2):
    """Errors of the value and of all gradients."""
    x, grad = signs(batch, len(ends[0])), signs(batch, len(ends[1]))
    scale = torch.rand(len(ends[0]), dtype=torch.float64) + 0.5
    found = []
    for product, dtype in ((meshed, ends[0].dtype), (all_to_all, torch.float64)):
        given_law = law.to(dtype)
        inputs = [values.to(dtype).clone().requires_grad_() for values in (x, *ends, scale)]
        options = {"tolerance": tolerance} if product is meshed else {}
        y = product(*inputs, given_law, **options)
        found.append([y, *torch.autograd.grad(y, [*inputs, *given_law.parameters()], grad.to(dtype))])
    return [error(own, exact) for own, exact in zip(*found, strict=True)]


@pytest.mark.parametrize("gap", [1.0, -0.3])
@pytest.mark.parametrize("law", SMOOTH)
def test_values_and_gradients(law, gap):
    value, *gradients = compared(SMOOTH[law]().double(), planes(gap), 1e-3)
    assert value <= 1e-3
    assert max(gradients[:4]) <= 1e-2
    assert all(each <= 5e-2 for each in gradients[4:])  # sums over all pairs with signs: nearly nothing may be left


@pytest.mark.parametrize("tolerance", [1e-2, 1e-3, 1e-4, 1e-5])
@pytest.mark.parametrize("axes", [1, 2])
def test_tolerances(axes, tolerance):
    value, *gradients = compared(InverseDistance(), planes(0.6, axes=axes), tolerance)
    assert value <= 1.5 * tolerance and max(gradients) <= 15 * tolerance  # other signs, and all targets


def test_single_precision():
    value, *gradients = compared(InverseDistance(), planes(0.6, dtype=torch.float32), 1e-4)
    assert value <= 1.5e-4 and max(gradients) <= 1.5e-3


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10**6), st.floats(0.1, 3.0), st.floats(0.2, 4.0), st.booleans())
def test_any_planes(seed, gap, spread, far):
    torch.manual_seed(seed)
    ends = planes(gap, n=60, m=40, spread=spread)
    if far:
        ends[1][:, 0] += 5.0
        ends[0][0, 1] += 9.0
    x = signs(1, 60)
    scale = torch.ones(60, dtype=torch.float64)
    expected = pairwise_weight(*ends, scale, InverseDistance()).square().sum(1).sqrt().square().mean().sqrt()
    own, exact = meshed(x, *ends, scale, InverseDistance()), all_to_all(x, *ends, scale, InverseDistance())
    assert (own - exact).square().mean().sqrt() <= 3e-3 * expected


def test_derivatives_are_those_of_the_product():
    torch.manual_seed(0)
    law = InversePower(1.5, learnable=True).double()
    source, target = planes(0.8, n=6, m=5)
    plan = next(candidates(source, target, law, most=10**6))
    ends = [pos[:, :-1].clone().requires_grad_() for pos in (source, target)]
    charge = torch.randn(2, 6, dtype=torch.float64, requires_grad=True)

    def compute(charge, source_in_plane, target_in_plane, *parameters):
        whole = [
            torch.cat([own, pos[:, -1:]], 1) for own, pos in ((source_in_plane, source), (target_in_plane, target))
        ]
        return PlanarProduct.apply(charge, *whole, law, plan, *parameters)

    assert gradcheck(compute, (charge, *ends, *law.parameters()), atol=1e-6)


def test_second_derivatives_are_those_of_all_pairs():
    law, found = InversePower(1.5, learnable=True).double(), []
    for product in (functools.partial(meshed, tolerance=1e-5), all_to_all):
        torch.manual_seed(0)
        inputs = [torch.randn(2, 9).double(), *planes(n=9, m=8), torch.randn(9).double()]
        inputs = [values.requires_grad_() for values in inputs]
        grads = torch.autograd.grad(product(*inputs, law).square().sum(), inputs, create_graph=True)
        total = sum(grad.square().sum() for grad in grads)
        found.append(torch.autograd.grad(total, [*inputs, *law.parameters()]))
    for own, exact in zip(*found, strict=True):
        assert error(own, exact) < 1e-3


def test_transforms():
    source, target = planes(n=9, m=8)
    x, scale = torch.rand(9).double(), torch.ones(9).double()
    slope = torch.func.grad(lambda pos: meshed(x, pos, target, scale, InverseDistance()).sum())(source)
    exact = torch.func.grad(lambda pos: all_to_all(x, pos, target, scale, InverseDistance()).sum())(source)
    torch.testing.assert_close(slope, exact)


def test_leading_axes_and_bias():
    source, target = planes(n=9, m=8)
    x, bias = torch.rand(2, 3, 9).double(), torch.rand(8).double()
    operands = source, target, torch.ones(9).double(), InverseDistance(), bias
    assert error(meshed(x, *operands), all_to_all(x, *operands)) < 1e-3
    assert meshed(x, *operands).shape == (2, 3, 8)


@pytest.mark.parametrize("product", [meshed, streamed, all_to_all])
def test_a_bias_of_another_size_is_refused(product):
    source, target = planes(n=9, m=8)
    operands = torch.ones(1, 9).double(), source, target, torch.ones(9).double(), InverseDistance()
    with pytest.raises(ValueError, match=r"bias must have shape \(8,\), got \(1,\)"):
        product(*operands, torch.ones(1).double())


@pytest.mark.parametrize("order", [2, 4, 6, 8])
def test_splines(order):
    offset = 9 * torch.rand(50, dtype=torch.float64)
    first, weights = spline_weights(offset, order)
    points = first[:, None] + torch.arange(order)
    assert (weights >= 0).all()
    torch.testing.assert_close(weights.sum(1), torch.ones(50).double())
    torch.testing.assert_close((weights * points).sum(1), offset)  # splines reproduce straight lines
    assert ((points - offset[:, None]).abs() <= order / 2).all()


def test_the_filter_undoes_smoothing_of_slow_waves():
    """Spread from points between the grid's, and filtered, a slow wave is itself at the grid points."""
    count, order = 64, 4
    points = torch.arange(count, dtype=torch.float64)
    wave = torch.cos(2 * torch.pi * 3 * points / count)
    first, weights = spline_weights(points, order)
    smooth = sum(weights[:, j] * wave[(first + j) % count] for j in range(order))
    filtered = torch.fft.ifft(torch.fft.fft(smooth) * spline_filter(count, order)).real
    torch.testing.assert_close(filtered, wave, atol=1e-4, rtol=0)


@pytest.mark.parametrize(("law", "gap", "expected"), [(InverseDistance(), 0.5, 0.5), (Cosine(3.0), 1.0, 1 / 3)])
def test_smoothness(law, gap, expected):
    assert smoothness(law, gap, 5.0) == pytest.approx(expected, rel=0.05)


def test_a_planner_keeps_its_choice_and_follows_the_points(monkeypatch):
    planner, (source, target) = Planner(), planes()
    law, calls = InverseDistance(), []
    choose = mesh._choose
    monkeypatch.setattr(mesh, "_choose", lambda *given: calls.append(1) or choose(*given))
    first = planner.plan(source, target, law, 1e-3)
    source[0, 0] += 0.3
    second = planner.plan(source, target, law, 1e-3)
    assert len(calls) == 1 and first.grid.order == second.grid.order
    target[:, -1] += 1.0
    planner.plan(source, target, law, 1e-3)
    planner.plan(source, target, law, 1e-5)
    assert len(calls) == 3


class Step(Law):
    """A law with a jump."""

    def from_square(self, square):
        return (square < 1.5).to(square.dtype)

    def slope(self, square, weight):
        return torch.zeros_like(square)


def changed(which, row, axis, value):
    ends = planes(n=9, m=8)
    ends[which][row, axis] = value
    return ends


@pytest.mark.parametrize(
    ("ends", "options", "message"),
    [
        (planes(), {"tolerance": 0.0}, "tolerance must be between 1e-06 and 0.1, got 0"),
        (planes(), {"tolerance": 0.5}, "tolerance must be between 1e-06 and 0.1, got 0.5"),
        (planes(), {"tolerance": float("nan")}, "tolerance must be"),
        (changed(0, 2, 0, torch.nan), {}, "source_pos must be finite"),
        (changed(1, 2, 1, torch.inf), {}, "target_pos must be finite"),
        (changed(1, 2, 2, 7.0), {}, "target_pos must be in a plane across the last axis"),
        (planes(axes=3), {}, "source_pos must have 2 or 3 axes for a grid, got 4"),
        (planes(), {"law": Step()}, "tolerance must be within reach of a grid, got 0.001 for Step at a gap of 1"),
        (planes(1e-5), {}, "tolerance must be within reach of a grid, .*: grids would be too large"),
    ],
)
def test_bad_input(ends, options, message):
    law = options.pop("law", InverseDistance())
    scale = torch.ones(len(ends[0]), dtype=ends[0].dtype)
    with pytest.raises(ValueError, match=message):
        meshed(torch.ones(1, len(ends[0]), dtype=ends[0].dtype), *ends, scale, law, **options)
