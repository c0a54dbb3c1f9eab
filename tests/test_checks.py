"""Numbers of NumPy, and of Python's tower of numbers, count as numbers; truth values do not."""

from fractions import Fraction

import numpy as np
import pytest
import torch
from torch import nn

import spatialgraph as sg
from spatialgraph import checks, laws, wiring
from spatialgraph.neurons import Leaky, LeakyIntegrator

INTEGERS = {
    "sizes": lambda n: sg.SpatialMLP([n(4), n(3), n(2)]),
    "dense sizes": lambda n: sg.DenseMLP([n(4), n(3)]),
    "dim": lambda n: sg.SpatialGraph.layered([4, 3], dim=n(2)),
    "features": lambda n: sg.SpatialLinear(n(4), n(3), dim=n(2)),
    "k": lambda n: wiring.KNN(k=n(2)),
    "small world": lambda n: wiring.SmallWorld(k=n(2), long_range=n(1)),
    "max_sources": lambda n: wiring.Radius(r=1.0, max_sources=n(3)),
    "num_steps": lambda n: sg.SpatialSNN([4, 3], num_steps=n(5)),
    "max_delay": lambda n: sg.SpatialSNN([4, 3], velocity=1.0, max_delay=n(5)),
    "anchored": lambda n: sg.SpatialGraph.layered([4, 3], anchored=[n(1)]),
}
REALS = {
    "gain": lambda x: sg.SpatialGraph.layered([4, 3], gain=x(0.5)),
    "velocity": lambda x: sg.SpatialGraph.layered([4, 3], velocity=x(0.5)),
    "beta": lambda x: Leaky(beta=x(0.5), threshold=x(0.25)),
    "beta of outputs": lambda x: LeakyIntegrator(x(0.5)),
    "drive": lambda x: sg.SpatialSNN([4, 3], drive=x(0.5), beta=x(0.75)),
    "density": lambda x: wiring.Random(x(0.5)),
    "r": lambda x: wiring.Radius(x(0.5)),
    "exponent of a wiring": lambda x: wiring.SmallWorld(1, 1, x(0.5)),
    "sigma": lambda x: laws.Gaussian(x(0.5)),
    "exponent": lambda x: laws.InversePower(x(0.5), softening=x(0.25)),
    "screening": lambda x: laws.Yukawa(x(0.5)),
    "amount": lambda x: torch.nn.Dropout(sg.PruneWhileTraining(x(0.5)).amount),  # what shows its number
    "amount of a layer": lambda x: sg.prune_linear_(nn.Linear(2, 2), x(0.5)),
    "share": lambda x: sg.prune(sg.SpatialGraph.layered([4, 3]), x(0.5)),
}


def described(thing):
    options = {name: value for name, value in vars(thing).items() if not name.startswith("_")}
    return repr(thing), {name: (type(v), v) for name, v in options.items() if isinstance(v, int | float | str)}


@pytest.mark.parametrize("kind", [np.int64, np.uint8, np.int32])
@pytest.mark.parametrize("make", INTEGERS.values(), ids=INTEGERS)
def test_integers(make, kind):
    assert described(make(kind)) == described(make(int))


@pytest.mark.parametrize("kind", [np.float32, np.float64, np.float16])
@pytest.mark.parametrize("make", REALS.values(), ids=REALS)
def test_reals(make, kind):
    assert described(make(kind)) == described(make(float))


@pytest.mark.parametrize("kind", [bool, np.bool_, lambda _: torch.tensor(1), lambda _: np.array(1), str, complex])
@pytest.mark.parametrize("make", [*INTEGERS.values(), *REALS.values()], ids=[*INTEGERS, *REALS])
def test_what_is_no_number(make, kind):
    with pytest.raises(TypeError, match=r"must be (an int|a number|a layer's number or a tensor), got"):
        make(kind)


@pytest.mark.parametrize("value", [10**400, -(10**400), Fraction(10**400)])
def test_numbers_beyond_all_floats(value):
    with pytest.raises(ValueError, match="gain must be finite, got"):
        checks.number("gain", value)


def test_fractions():
    assert described(sg.SpatialGraph.layered([4, 3], gain=Fraction(1, 2))) == described(REALS["gain"](float))
    assert Leaky(beta=Fraction(3, 4)).beta == 0.75


def test_shares_of_numpy_give_the_same_edges():
    pos = torch.rand(9, 2, generator=torch.Generator().manual_seed(0))
    for own, other in ((np.float32(0.5), 0.5), (np.float64(0.5), 0.5)):
        first, second = (
            wiring.random(9, np.int64(4), share, torch.Generator().manual_seed(1)) for share in (own, other)
        )
        assert torch.equal(first, second)
    assert torch.equal(wiring.knn(pos, None, np.int32(2)), wiring.knn(pos, None, 2))


@pytest.mark.parametrize("value", ["yes", 1, None, 0.0])
def test_truth_values(value):
    with pytest.raises(TypeError, match="learnable must be True or False, got"):
        laws.InversePower(learnable=value)
    assert isinstance(laws.InversePower(learnable=np.True_).exponent, nn.Parameter)
