"""The engines agree where numbers end: NaN, infinity, neurons that meet or stand far apart, steep laws."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from references import engines_of, with_masked_from

import spatialgraph as sg
from spatialgraph.functional import all_to_all, edge_weight, pairwise_weight, sparse
from spatialgraph.functional.composed import all_to_all as composed_all_to_all
from spatialgraph.functional.compressed_edges import CompressedEdges
from spatialgraph.functional.compressed_engine import CompressedEngine
from spatialgraph.functional.dense_engine import MaskedEngine
from spatialgraph.laws import (
    Compact,
    CosineWave,
    Gaussian,
    InverseDistance,
    InversePower,
    MexicanHat,
    SineWave,
    Yukawa,
)

LAWS = [
    InverseDistance(),
    InverseDistance(1e-12),
    InversePower(2.5),
    InversePower(14.0),
    Gaussian(),
    Yukawa(),
    Yukawa(softening=1e-12),
    SineWave(learnable=True, softening=0.3),
    CosineWave(learnable=True),
    CosineWave(softening=1e-12),
    MexicanHat(sigma=0.5, learnable=True),
    Compact(),
]
BAD = [float("nan"), float("inf"), -float("inf")]


def by_hand(x, weight, mask):
    """Sums over existing edges only, number by number."""
    rows = []
    for sample in x.tolist():
        rows.append(
            [
                sum((sample[i] * weight[j, i].item() for i in range(len(sample)) if mask[j, i]), 0.0)
                for j in range(len(mask))
            ]
        )
    return torch.tensor(rows, dtype=x.dtype)


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 10**6), bad=st.sampled_from(BAD), share=st.floats(0.1, 0.9), n_masked=st.sampled_from([0, 2])
)
def test_a_bad_number_reaches_only_what_a_synapse_connects_it_to(seed, bad, share, n_masked):
    torch.manual_seed(seed)
    source_pos, target_pos, scale, law = torch.rand(5, 2), torch.rand(4, 2), torch.randn(5), InverseDistance()
    mask = torch.rand(4, 5) < share
    mask[0, 0] = True
    x = torch.rand(3, 5)
    x[1, 2] = bad
    n_masked = min(n_masked, int(mask.sum()))
    weight = pairwise_weight(source_pos, target_pos, scale, law)
    border = weight.abs()[mask].sort().values[n_masked] if n_masked < int(mask.sum()) else torch.inf
    kept = mask & (weight.abs() >= border)
    expected = by_hand(x.double(), weight.double(), kept)
    found = all_to_all(x, source_pos, target_pos, scale, law, mask=mask, n_masked=n_masked)
    torch.testing.assert_close(found.double(), expected, equal_nan=True, rtol=1e-4, atol=1e-5)
    edges = CompressedEdges.from_mask(kept)
    found = sparse(x, edge_weight(source_pos, target_pos, scale, law, edges), edges)
    torch.testing.assert_close(found.double(), expected, equal_nan=True, rtol=1e-4, atol=1e-5)


def test_masking_gives_no_gradient_to_absent_pairs_where_weights_are_zero():
    torch.manual_seed(0)
    source_pos, target_pos = torch.randn(6, 3, dtype=torch.float64), torch.randn(5, 3, dtype=torch.float64)
    x, pull, mask = torch.randn(4, 6).double(), torch.randn(4, 5).double(), torch.rand(5, 6) < 0.6
    law, scale = InverseDistance(), torch.tensor([0.0, 0.0, 0.0, 1.0, 1.0, -1.0], dtype=torch.float64)
    lengths = torch.cdist(target_pos, source_pos)
    right = ((pull.t() @ x) * mask / (lengths.square() + law.softening**2).sqrt()).sum(0)  # the ties at 0 all remain
    scale.requires_grad_()
    y = all_to_all(x, source_pos, target_pos, scale, law, mask=mask, n_masked=2)
    torch.testing.assert_close(torch.autograd.grad((y * pull).sum(), scale)[0], right)


@pytest.mark.parametrize("bad", BAD)
def test_a_bad_gradient_reaches_only_what_a_synapse_connects_it_to(bad):
    torch.manual_seed(0)
    source_pos, target_pos, scale, law = torch.rand(5, 2), torch.rand(4, 2), torch.randn(5), InverseDistance()
    mask = torch.eye(4, 5, dtype=torch.bool)
    grad = torch.ones(3, 4)
    grad[1, 2] = bad
    found = []
    for is_listed in (False, True):
        x = torch.rand(3, 5, requires_grad=True)
        pos = source_pos.clone().requires_grad_()
        if is_listed:
            edges = CompressedEdges.from_mask(mask)
            y = sparse(x, edge_weight(pos, target_pos, scale, law, edges), edges)
        else:
            y = all_to_all(x, pos, target_pos, scale, law, mask=mask)
        y.backward(grad)
        found.append((torch.isfinite(x.grad), torch.isfinite(pos.grad)))
    for finite_x, finite_pos in found:
        assert torch.nonzero(~finite_x).tolist() == [[1, 2]]
        assert torch.nonzero(~finite_pos.all(1)).tolist() == [[2]]


@pytest.mark.parametrize("bad", BAD)
def test_models_with_many_and_few_synapses_agree_on_a_bad_input(bad):
    torch.manual_seed(0)
    edges = torch.tensor([[0, 1, 2, 0, 3, 4], [3, 3, 4, 4, 5, 6]])
    models = []
    for share in (0.0, 2.0):
        torch.manual_seed(1)
        graph = with_masked_from(sg.SpatialGraph(torch.rand(7, 2), edges), share)
        models.append(sg.SpatialMLP(graph, normalize=False))
    assert engines_of(models[0].graph) == [MaskedEngine, MaskedEngine]
    assert engines_of(models[1].graph) == [CompressedEngine, CompressedEngine]
    x = torch.tensor([[1.0, bad, 2.0]])
    first, second = (model(x) for model in models)
    torch.testing.assert_close(first, second, equal_nan=True)
    assert torch.isfinite(first[0, 1])  # nothing leads there from the second input
    for model in models:
        torch.testing.assert_close(model.eval()(x), first, equal_nan=True)


def gradients_of(weight_of, source_pos, target_pos, scale):
    own = [values.clone().requires_grad_() for values in (source_pos, target_pos, scale)]
    weight = weight_of(*own)
    return weight.detach(), *torch.autograd.grad(weight.sum(), own)


@pytest.mark.parametrize("law", LAWS, ids=str)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("distance", [0.0, 1e-30, 1e-3, 1e18, 3e19, 1e38])
def test_engines_agree_at_any_distance(law, dtype, distance):
    """Finite everywhere, with finite gradients; weights that are smaller than the smallest number are 0."""
    torch.manual_seed(0)
    law = law.to(dtype)
    source_pos, target_pos, scale = (
        torch.rand(20, 2, dtype=dtype),
        torch.rand(3, 2, dtype=dtype),
        torch.randn(20).to(dtype),
    )
    target_pos[0] = source_pos[0]
    target_pos[0, 0] += distance
    edges = CompressedEdges.from_mask(torch.ones(3, 20, dtype=torch.bool))
    x = torch.eye(20, dtype=dtype)
    ways = {
        "pairs": lambda *own: pairwise_weight(*own, law).flatten(),
        "edges": lambda *own: edge_weight(*own, law, edges),
        "product": lambda *own: all_to_all(x, *own, law).t().flatten(),
        "composition": lambda *own: composed_all_to_all(x, *own, law, None, None, 0, False).t().flatten(),
    }
    steepness = max(1.0, float(getattr(law, "exponent", 1.0)))  # by so much rounding errors of the square grow
    tolerance = steepness * (1e-5 if dtype == torch.float32 else 1e-11)
    found = {name: gradients_of(way, source_pos, target_pos, scale) for name, way in ways.items()}
    for values in found.values():
        for mine, right in zip(values, found["composition"], strict=True):
            assert torch.isfinite(mine).all()
            torch.testing.assert_close(mine, right, rtol=tolerance, atol=1e-6)


@pytest.mark.parametrize("exponent", [1.0, 9.0, 11.0, 20.0, 60.0])
def test_a_steep_law_is_finite_where_neurons_meet(exponent):
    for law in (InversePower(exponent), InversePower(exponent, learnable=True)):
        pos = torch.zeros(2, 3, requires_grad=True)
        weight = pairwise_weight(pos, pos, torch.ones(2), law)
        grads = torch.autograd.grad(weight.sum(), [pos, *law.parameters()])
        assert torch.isfinite(weight).all()
        assert all(torch.isfinite(grad).all() for grad in grads)
        apart = torch.tensor([[0.0], [2.0]], dtype=torch.float64)
        assert law(apart[1]).item() == pytest.approx(2.0**-exponent, rel=1e-5)
