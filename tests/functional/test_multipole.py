"""The product by the fast multipole method, against sums over all pairs in double precision."""

import warnings

import pytest
import torch

import spatialgraph as sg
from spatialgraph.functional import fast_sums, multipole, streamed
from spatialgraph.laws import Gaussian, InverseDistance

pytest.importorskip("fmm3dpy")


def product(charge, source, target, law, tolerance):
    near = multipole.near_pairs(source, target, law, tolerance)
    return multipole.multipole(charge, source, target, law, tolerance, near)


def clouds(dim, dtype, n=900, m=700):
    torch.manual_seed(0)
    source, target = torch.randn(n, dim, dtype=dtype), torch.randn(m, dim, dtype=dtype)
    target[0] = source[0]  # sums with softening have a weight here
    target[1] = source[1] + 1e-3
    return source, target


@pytest.mark.parametrize("softening", [1e-3, 0.02])
@pytest.mark.parametrize("tolerance", [1e-2, 1e-3, 1e-5])
@pytest.mark.parametrize(("dim", "batch"), [(2, 1), (2, 3), (3, 1), (3, 4)])
def test_values_and_gradients(monkeypatch, dim, batch, tolerance, softening):
    monkeypatch.setattr(multipole, "_NEAR", 10**6)
    monkeypatch.setattr(multipole, "_CLOSE", 2.0)
    source, target = clouds(dim, torch.float64)
    x, grad = ((torch.randint(2, (batch, len(pos))) * 2.0 - 1.0).double() for pos in (source, target))
    law = InverseDistance(softening)
    found = []
    for compute in (
        lambda *given: product(*given, law, tolerance),
        lambda *given: streamed(*given, torch.ones(len(source)).double(), law),
    ):
        given = [values.clone().requires_grad_() for values in (x, source, target)]
        y = compute(*given)
        found.append([y, *torch.autograd.grad(y, given, grad)])
    errors = [float((own - exact).detach().norm() / exact.detach().norm()) for own, exact in zip(*found, strict=True)]
    assert errors[0] <= tolerance and errors[1] <= tolerance and max(errors) <= 10 * tolerance


def test_too_many_near_pairs_are_not_listed(monkeypatch):
    source, target = clouds(3, torch.float64)
    assert multipole.near_pairs(source, target, InverseDistance(0.2), 1e-3) is None  # to be corrected
    assert multipole.near_pairs(source, target, InverseDistance(0.2), 0.1) is None  # to be summed one by one


@pytest.mark.parametrize("end", [0, 1])
def test_positions_must_be_finite(end):
    ends = clouds(3, torch.float64)
    ends[end][3, 1] = torch.nan
    with pytest.raises(ValueError, match=f"{('source', 'target')[end]}_pos must .* finite"):
        multipole.near_pairs(*ends, InverseDistance(), 1e-3)


def test_what_it_serves():
    flat = torch.zeros(5, 4)
    assert multipole.serves(flat[:, :3], flat[:, :3], InverseDistance())
    assert not multipole.serves(flat, flat, InverseDistance())
    assert not multipole.serves(flat[:, :3], flat[:, :3], Gaussian())


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_networks_of_free_spacing(monkeypatch, dtype):
    torch.manual_seed(0)
    model = sg.SpatialMLP([150, 120, 7], spacing="free", tolerance=1e-3, normalize=False).to(dtype)
    x = torch.rand(3, 150, dtype=dtype)
    exact = model(x)
    monkeypatch.setattr(multipole, "is_worthwhile", lambda *_: True)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        y = model(x)
    assert y.dtype == dtype and 0 < (y - exact).norm() <= 2e-3 * exact.norm()
    y.sum().backward()
    model.eval()
    with torch.no_grad():
        assert torch.equal(model(x), y)


def test_many_samples_are_summed_over_all_pairs(monkeypatch):
    monkeypatch.setattr(fast_sums, "_SLOW", 1)
    model = sg.SpatialMLP([150, 120, 7], spacing="free", tolerance=1e-3)
    with pytest.warns(UserWarning, match="sums over all pairs are computed"):
        model(torch.rand(2, 150))
