import math

import numpy as np
import pytest
import torch
from references import (
    LAWS,
    Exponential,
    assert_close,
    dense_engine,
    law_parameter_slope,
    law_slope,
    law_weight,
    sparse_engine,
)
from torch import nn

from spatialgraph.laws import LAWS as REGISTERED
from spatialgraph.laws import (
    Compact,
    Cosine,
    CosineWave,
    Gaussian,
    InverseDistance,
    InversePower,
    Law,
    MexicanHat,
    SineWave,
    Yukawa,
    make_law,
    softened_square,
)

every_law = pytest.mark.parametrize("make", LAWS.values(), ids=LAWS.keys())

LENGTHS = torch.tensor([1e-4, 1e-2, 0.3, 1.0, 2.5, 7.0], dtype=torch.float64)


@pytest.mark.parametrize(
    ("law", "length", "weight"),
    [
        (InverseDistance(softening=3.0), 4.0, 1 / 5),
        (InverseDistance(), 0.0, 1000.0),
        (InversePower(exponent=3.0, softening=3.0), 4.0, 1 / 125),
        (Gaussian(sigma=2.0), 4.0, math.exp(-2.0)),
        (Gaussian(), 0.0, 1.0),
        (Yukawa(screening=2.5, softening=3.0), 4.0, math.exp(-2.0) / 5),
        (Cosine(wavenumber=0.25, softening=3.0), 4.0, math.cos(1.25)),
        (Cosine(softening=1e-12), 0.0, 1.0),
        (SineWave(wavenumber=0.25, softening=3.0), 4.0, math.sin(1.25) / 5),
        (CosineWave(wavenumber=0.25, softening=3.0), 4.0, math.cos(1.25) / 5),
        (MexicanHat(sigma=2.0, surround=1.5, strength=0.5), 6.0, math.exp(-4.5) - 0.5 * math.exp(-2.0)),
        (MexicanHat(), 0.0, 0.5),
        (Compact(radius=10.0, softening=3.0), 4.0, 3 / 16),
        (Compact(radius=5.0, softening=3.0), 4.0, 0.0),
    ],
    ids=str,
)
def test_weight_by_hand(law, length, weight):
    assert law.double()(torch.tensor(length, dtype=torch.float64)).item() == pytest.approx(weight, rel=1e-14)


@every_law
def test_weight_and_gradient_follow_the_formula(make):
    law = make().double()
    length = LENGTHS.clone().requires_grad_()
    weight = law(length)
    weight.sum().backward()
    square = LENGTHS.numpy() ** 2 + law.softening**2
    np.testing.assert_allclose(weight.detach().numpy(), law_weight(law, square), rtol=1e-12)
    np.testing.assert_allclose(
        length.grad.numpy(), law_slope(law, square) * 2 * LENGTHS.numpy(), rtol=1e-12, atol=1e-13
    )


@every_law
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_finite_where_two_neurons_meet(make, dtype):
    law = make().to(dtype)
    length = torch.zeros(3, dtype=dtype, requires_grad=True)
    weight = law(length)
    weight.sum().backward()
    assert torch.isfinite(weight).all() and torch.isfinite(length.grad).all()
    assert all(torch.isfinite(p.grad).all() for p in law.parameters())
    for engine in (dense_engine, sparse_engine):
        pos = torch.ones(2, 3, dtype=dtype, requires_grad=True)
        y = engine(torch.ones(1, 2, dtype=dtype), pos, pos, torch.ones(2, dtype=dtype), law)
        (gradient,) = torch.autograd.grad(y.sum(), pos)
        assert torch.isfinite(y).all()
        assert torch.equal(gradient, torch.zeros_like(gradient))


@every_law
def test_slopes_are_those_of_automatic_differentiation(make):
    law = make().double()
    square = (LENGTHS.square() + law.softening**2).requires_grad_()
    weight = law.from_square(square)
    (expected,) = torch.autograd.grad(weight.sum(), square, retain_graph=True)
    w, s = weight.detach(), square.detach()
    np.testing.assert_allclose(law.slope(s, w).detach().numpy(), law_slope(law, s.numpy()), rtol=1e-12)
    # Automatic differentiation of sin(x) / x subtracts nearly equal numbers where x is small.
    np.testing.assert_allclose(expected.numpy(), law_slope(law, s.numpy()), rtol=1e-12, atol=1e-9)
    with torch.no_grad():
        parameter_slopes = law.parameter_slopes(s, w)
    parameters = list(law.parameters())
    assert len(parameter_slopes) == len(parameters)
    for parameter, slope in zip(parameters, parameter_slopes, strict=True):
        each = [torch.autograd.grad(entry, parameter, retain_graph=True)[0] for entry in weight]
        np.testing.assert_allclose(slope.detach().numpy(), torch.stack(each).numpy(), rtol=1e-12)
        np.testing.assert_allclose(slope.detach().numpy(), law_parameter_slope(law, s.numpy()), rtol=1e-12)


@every_law
def test_slopes_leave_their_arguments_alone(make):
    law = make().double()
    with torch.no_grad():
        square = LENGTHS.square() + law.softening**2
        weight = law.from_square(square)
        before = square.clone(), weight.clone()
        law.slope(square, weight)
        law.parameter_slopes(square, weight)
    assert torch.equal(square, before[0])
    assert torch.equal(weight, before[1])


@every_law
def test_settings_make_the_law_again(make):
    law = make()
    again = type(law)(**law.settings())
    assert again.settings() == law.settings()
    assert repr(again) == repr(law)
    assert [p.shape for p in again.parameters()] == [p.shape for p in law.parameters()]
    lengths = LENGTHS.float()
    assert torch.equal(again(lengths), law(lengths))
    again.load_state_dict(law.state_dict())


@pytest.mark.parametrize("name", list(REGISTERED))
def test_laws_by_name(name):
    law = make_law(name)
    assert law.name == name
    again = make_law(name, **law.settings())
    assert type(again) is type(law) and again.settings() == law.settings()
    assert make_law(law) is law


def test_name_of_a_law_of_ones_own():
    assert Exponential().name == "Exponential"


@pytest.mark.parametrize("name", ["all_to_all", "sparse"])
def test_law_of_ones_own_in_both_engines(name):
    engine = {"all_to_all": dense_engine, "sparse": sparse_engine}[name]
    law = Exponential(softening=0.1)
    x, p, q, s = (torch.randn(*shape, dtype=torch.float64) for shape in ((2, 3), (3, 2), (4, 2), (3,)))
    arguments = [t.clone().requires_grad_() for t in (x, p, q, s)]
    weights = torch.exp(-((q[:, None] - p).square().sum(-1) + 0.01).sqrt())
    y = engine(*arguments, law)
    assert_close(y, (x * s) @ weights.t(), 1e-12)
    grads = torch.autograd.grad(y.square().sum(), arguments)
    naive = [t.clone().requires_grad_() for t in (x, p, q, s)]
    distance = ((naive[2][:, None] - naive[1]).square().sum(-1) + 0.01).sqrt()
    expected = torch.autograd.grad(((naive[0] * naive[3]) @ torch.exp(-distance).t()).square().sum(), naive)
    for gradient, right in zip(grads, expected, strict=True):
        assert_close(gradient, right, 1e-12)


def test_law_with_parameters_must_say_how_they_are_learnt():
    class Forgetful(Law):
        def __init__(self):
            super().__init__()
            self.factor = nn.Parameter(torch.tensor(2.0))

        def from_square(self, square):
            return self.factor * square.rsqrt()

    pos = torch.randn(2, 3, requires_grad=True)
    with pytest.raises(NotImplementedError, match="Forgetful has parameters and must implement parameter_slopes"):
        dense_engine(torch.ones(1, 2), pos, pos + 1.0, torch.ones(2), Forgetful()).sum().backward()


@pytest.mark.parametrize("engine", [dense_engine, sparse_engine])
def test_gradient_of_the_exponent_by_hand(engine):
    law = InversePower(exponent=3.0, learnable=True, softening=1e-9).double()
    source, target = torch.tensor([[0.0, 0.0]]).double(), torch.tensor([[3.0, 4.0]]).double()
    y = engine(torch.tensor([[2.0]]).double(), source, target, torch.tensor([-7.0]).double(), law)
    y.sum().backward()
    assert y.item() == pytest.approx(-14.0 / 125, rel=1e-12)
    assert law.exponent.grad.item() == pytest.approx(14.0 * math.log(5.0) / 125, rel=1e-12)


def test_exponent_is_a_parameter_only_where_learnable():
    assert [name for name, _ in InversePower(learnable=True).named_parameters()] == ["exponent"]
    assert not list(InversePower().parameters())
    assert "exponent" in InversePower().state_dict()


def test_softened_square_by_hand():
    square = softened_square(torch.tensor([[1.0, 2.0, 3.0]]), torch.tensor([[2.0, 4.0, 5.0]]), 4.0)
    assert square.tolist() == [25.0]


@pytest.mark.parametrize("value", [0.0, -1.0, math.nan, math.inf])
@pytest.mark.parametrize(
    ("kind", "name"),
    [
        (InverseDistance, "softening"),
        (InversePower, "exponent"),
        (InversePower, "softening"),
        (Gaussian, "sigma"),
        (Compact, "softening"),
        (Yukawa, "screening"),
        (Yukawa, "softening"),
        (Cosine, "wavenumber"),
        (SineWave, "wavenumber"),
        (SineWave, "softening"),
        (CosineWave, "wavenumber"),
        (MexicanHat, "sigma"),
        (MexicanHat, "surround"),
        (MexicanHat, "strength"),
        (Compact, "radius"),
    ],
)
def test_settings_out_of_range(kind, name, value):
    rule = "at least 1e-12" if name in ("softening", "sigma") else "above 0"
    with pytest.raises(ValueError, match=f"{name} must be finite and {rule}, got {value}"):
        kind(**{name: value})


def test_wrong_arguments():
    with pytest.raises(ValueError, match="softening must be finite and at least 0, got -0.1"):
        Exponential(softening=-0.1)
    with pytest.raises(TypeError, match=r"sigma must be a number, got '1' \(str\)"):
        Gaussian(sigma="1")
    with pytest.raises(TypeError, match=r"sigma must be a number, got True \(bool\)"):
        Gaussian(sigma=True)
    with pytest.raises(ValueError, match="law must be one of 'inverse_distance', .* got 'newton'"):
        make_law("newton")
    with pytest.raises(TypeError, match="law must be a name or a Law, got int"):
        make_law(3)


@pytest.mark.parametrize(
    "law", [Compact(softening=1e-12), Gaussian(sigma=1e-12), MexicanHat(sigma=1e-12)], ids=lambda law: law.name
)
def test_the_least_lengths_are_finite_where_neurons_meet(law):
    length = torch.zeros(3, requires_grad=True)
    weight = law(length)
    (slope,) = torch.autograd.grad(weight.sum(), length, create_graph=True)
    (curvature,) = torch.autograd.grad(slope.sum(), length)
    assert all([values.isfinite().all() for values in (weight, slope, curvature)])
