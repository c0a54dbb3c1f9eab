"""Derivatives of higher order, forward-mode derivatives and the transforms of ``torch.func``, against differences."""

import functools
import itertools

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.autograd import forward_ad, gradcheck
from torch.autograd import gradgradcheck as gradgradcheck_all

import spatialgraph as sg
from spatialgraph.functional import all_to_all, composed, edge_weight, pairwise_length, pairwise_weight, sparse
from spatialgraph.functional.channels import channel_convolution
from spatialgraph.functional.compressed_edges import CompressedEdges
from spatialgraph.functional.compressed_engine import CompressedEngine
from spatialgraph.functional.delays import delayed
from spatialgraph.functional.leaky import FastSigmoid, leaky_run
from spatialgraph.functional.normalization import normalised
from spatialgraph.kernels import handover
from spatialgraph.laws import Gaussian, InverseDistance, InversePower, Yukawa

N, M, D, BATCH = 4, 3, 2, 2
LAWS = {
    "inverse_distance": InverseDistance,
    "inverse_power": lambda: InversePower(2.3, learnable=True).double(),
    "gaussian": Gaussian,
    "yukawa": Yukawa,
}


def gradgradcheck(compute, inputs, **tolerances):
    """Compare with differences in random directions, many times as fast as in all of them."""
    return gradgradcheck_all(compute, inputs, fast_mode=True, **tolerances)


@pytest.fixture(params=["kernels", "tensor operations"], autouse=True)
def engine(request, monkeypatch):
    if request.param == "tensor operations":
        monkeypatch.setattr(handover, "available", lambda *values: False)


def drawn(*shape):
    return torch.randn(*shape, dtype=torch.float64, requires_grad=True)


@pytest.fixture
def geometry():
    torch.manual_seed(0)
    return drawn(N, D), drawn(M, D), drawn(N)


@pytest.fixture
def mask():
    torch.manual_seed(1)
    return torch.rand(M, N) > 0.4


@pytest.mark.parametrize("law", LAWS)
def test_weights_and_lengths(geometry, mask, law):
    law, edges = LAWS[law](), CompressedEdges.from_mask(mask)
    assert gradgradcheck(lambda *own: pairwise_weight(*own, law), geometry)
    assert gradgradcheck(lambda *own: edge_weight(*own, law, edges), geometry)
    assert gradgradcheck(pairwise_length, geometry[:2])


def test_lengths_where_neurons_meet(geometry, mask):
    """Lengths have derivatives of 0 there, of any order, and a NaN stays one."""
    source_pos, target_pos, _ = (values.detach().clone() for values in geometry)
    target_pos[0] = source_pos[0]
    mask = torch.ones_like(mask)
    listed = CompressedEngine(mask.shape[1], mask.shape[0], CompressedEdges.from_mask(mask))
    found = []
    for lengths in (pairwise_length, composed.pairwise_length, listed.lengths):
        pos = source_pos.clone().requires_grad_()
        (slope,) = torch.autograd.grad(lengths(pos, target_pos).square().sum(), pos, create_graph=True)
        found.append(torch.autograd.grad(slope.square().sum(), pos)[0])
        assert lengths(source_pos * torch.nan, target_pos).isnan().all()
    for curvature in found:
        torch.testing.assert_close(curvature, found[0])
    assert torch.isfinite(found[0]).all() and found[0].any()


@pytest.mark.parametrize(
    ("is_masked", "n_masked", "rectify"), list(itertools.product((False, True), (0, 3), (False, True)))
)
def test_all_to_all(geometry, mask, is_masked, n_masked, rectify):
    law, mask = InverseDistance(), mask if is_masked else None
    inputs = (drawn(BATCH, N), *geometry, drawn(M))

    def compute(x, source_pos, target_pos, scale, bias):
        return all_to_all(x, source_pos, target_pos, scale, law, bias, mask, n_masked, rectify)

    assert gradcheck(compute, inputs)
    assert gradgradcheck(compute, inputs)


@pytest.mark.parametrize(("has_bias", "rectify"), list(itertools.product((False, True), repeat=2)))
def test_sparse(mask, has_bias, rectify):
    torch.manual_seed(0)
    edges = CompressedEdges.from_mask(mask)
    inputs = drawn(BATCH, N), drawn(edges.count), drawn(M)

    def compute(x, weight, bias):
        return sparse(x, weight, edges, bias if has_bias else None, rectify)

    assert gradcheck(compute, inputs)
    assert gradgradcheck(compute, inputs)


def test_a_third_derivative_of_the_sparse_product(mask):
    torch.manual_seed(0)
    edges = CompressedEdges.from_mask(mask)
    x, weight = drawn(BATCH, N), drawn(edges.count)

    def slope(x, weight):
        (first,) = torch.autograd.grad(sparse(x, weight, edges).pow(4).sum(), x, create_graph=True)
        return first

    assert gradgradcheck(slope, (x, weight))


@pytest.mark.parametrize("rectify", [False, True])
def test_normalization_in_both_layouts(rectify):
    torch.manual_seed(0)
    by_sample, by_neuron, bias = drawn(6, N), drawn(N, 6), drawn(N)
    assert gradgradcheck(lambda total, bias: normalised(total, bias, rectify), (by_sample, bias))
    assert gradgradcheck(lambda total, bias: normalised(total.t(), bias, rectify), (by_neuron, bias))


@pytest.mark.parametrize(("reset", "rows"), list(itertools.product(("subtract", "zero", "none"), (1, 4))))
def test_leaky_runs(reset, rows):
    """The derivative of the surrogate gradient, where no spike comes or goes."""
    torch.manual_seed(0)
    inputs = drawn(rows, 2, 3), drawn(2, 3)

    def run(current, potential):
        found = leaky_run(
            current,
            4,
            potential,
            beta=0.9,
            threshold=1.0,
            reset_mechanism=reset,
            spike_grad=FastSigmoid(3.0),
            shares=torch.full((4,), 0.3, dtype=torch.float64),
        )
        return [found.spikes, found.potentials, found.summed, found.last]

    weights = [torch.randn_like(values) for values in run(*inputs)]

    def slope(*inputs):
        return torch.autograd.grad(run(*inputs), inputs, weights, create_graph=True)

    assert gradcheck(slope, inputs, eps=1e-7, atol=1e-4)


@pytest.mark.parametrize(("is_listed", "before"), list(itertools.product((False, True), (0, 3))))
def test_delays(mask, is_listed, before):
    torch.manual_seed(0)
    edges = CompressedEdges.from_mask(mask) if is_listed else None
    shape = (edges.count,) if is_listed else (M, N)
    line = torch.randn(before, BATCH, N, dtype=torch.float64) if before else None
    delay = (4 * torch.rand(shape, dtype=torch.float64) + 0.1).requires_grad_()
    inputs = drawn(5, BATCH, N), drawn(*shape), delay

    def compute(x, weight, delay):
        return delayed(x, weight, delay, edges, line)

    assert gradcheck(compute, inputs, fast_mode=True)
    assert gradgradcheck(compute, inputs)


def test_a_delay_of_whole_steps_has_the_slope_to_the_right_in_every_engine():
    x = torch.tensor([[1.0], [3.0], [7.0]], dtype=torch.float64)
    weight, delay = torch.ones(1, 1, dtype=torch.float64), torch.ones(1, 1, dtype=torch.float64)
    for found in (
        torch.func.jacrev(lambda delay: delayed(x, weight, delay)[:, 0])(delay),
        torch.autograd.functional.jacobian(lambda delay: delayed(x, weight, delay)[:, 0], delay),
    ):
        assert found.flatten().tolist() == [0.0, -1.0, -2.0]  # x[t - 2] - x[t - 1]


def test_an_input_that_was_computed_from_another_is_not_counted_twice():
    def compute(a, b):
        return a * b

    a = torch.tensor(3.0, requires_grad=True)
    b = a**2
    by_a, by_b = composed.gradients(compute, [a, b], [True, True], [torch.tensor(1.0)])
    assert (by_a.item(), by_b.item()) == (9.0, 3.0)


# Models --------------------------------------------------------------------------------------------------------------


def perceptron(wiring=None, masked_share=0.0, **options):
    torch.manual_seed(0)
    model = sg.SpatialMLP([3, 4, 2], dim=2, wiring=wiring, **{"activation": "tanh", "gain": 0.7} | options).double()
    model.graph.masked_share = masked_share
    return model


def as_function(model, x):
    """Return a function of the model's parameters, and these."""
    names = [name for name, parameter in model.named_parameters() if parameter.numel()]
    parameters = tuple(dict(model.named_parameters())[name] for name in names)

    def compute(*parameters):
        return torch.func.functional_call(model, dict(zip(names, parameters, strict=True)), (x,))

    return compute, parameters


@settings(max_examples=10, deadline=None)
@given(
    wiring=st.sampled_from([None, sg.wiring.KNN(k=1), sg.wiring.KNN(k=2), sg.wiring.Random(0.6)]),
    masked_share=st.sampled_from([0.0, 0.4]),
    weight_mode=st.sampled_from(["law", "free", "both"]),
    law=st.sampled_from(["inverse_distance", "inverse_power", "gaussian", "yukawa"]),
    polarity_mode=st.sampled_from(["binary", "graded"]),
    spacing=st.sampled_from(["fixed", "learned", "free"]),
    normalize=st.booleans(),
)
def test_second_derivatives_of_any_perceptron(
    wiring, masked_share, weight_mode, law, polarity_mode, spacing, normalize
):
    options = {
        "weight_mode": weight_mode,
        "law": law,
        "polarity_mode": polarity_mode,
        "spacing": spacing,
        "normalize": normalize,
    }
    model = perceptron(wiring, masked_share, **options)
    x = torch.rand(2, 3, dtype=torch.float64)
    compute, parameters = as_function(model, x)
    assert gradgradcheck(compute, parameters, atol=1e-4)


def test_a_penalty_on_gradients_reaches_the_parameters():
    for wiring in (None, sg.wiring.KNN(k=2), sg.wiring.Random(0.9)):
        model = perceptron(wiring)
        x = torch.rand(4, 3, dtype=torch.float64, requires_grad=True)

        def penalty(model=model, x=x):
            (slope,) = torch.autograd.grad(model(x).sum(), x, create_graph=True)
            return slope.square().sum()

        penalty().backward()
        coords = model.graph.positions.coords
        found, step = coords.grad[0, 0].item(), 1e-6
        with torch.no_grad():
            coords[0, 0] += step
        above = penalty().item()
        with torch.no_grad():
            coords[0, 0] -= 2 * step
        assert found == pytest.approx((above - penalty().item()) / (2 * step), rel=1e-5)
        assert abs(found) > 1e-6


def spiking(**options):
    torch.manual_seed(0)
    return sg.SpatialSNN([3, 4, 2], num_steps=4, **{"gain": 3.0} | options).double()


@pytest.mark.parametrize(
    "model",
    [spiking, lambda: spiking(wiring=sg.wiring.KNN(k=2)), lambda: spiking(velocity=0.9), lambda: perceptron()],
    ids=["spiking", "sparse", "delayed", "perceptron"],
)
def test_two_ways_to_the_hessian(model):
    """By double backward through fused kernels, and by transforms of compositions."""
    model = model()
    compute, parameters = as_function(model, torch.rand(2, 3, dtype=torch.float64))

    def loss(*parameters):
        return compute(*parameters).square().sum()

    by_double_backward = torch.autograd.functional.hessian(loss, parameters)
    by_transforms = torch.func.hessian(loss, argnums=tuple(range(len(parameters))))(*(p.detach() for p in parameters))
    assert max(float(block.abs().max()) for row in by_transforms for block in row) > 1e-3
    torch.testing.assert_close(by_double_backward, by_transforms)


@pytest.mark.parametrize("wiring", [None, sg.wiring.KNN(k=2), sg.wiring.Random(0.9)])
def test_transforms_of_torch_func(wiring):
    model = perceptron(wiring)
    x = torch.rand(5, 3, dtype=torch.float64)
    compute, parameters = as_function(model, x)
    right = model(x)
    torch.testing.assert_close(torch.func.vmap(model)(x), right)

    def loss(parameters, sample):
        return torch.func.functional_call(model, dict(zip(names, parameters, strict=True)), (sample,)).sum()

    names = [name for name, parameter in model.named_parameters() if parameter.numel()]
    each = torch.func.vmap(torch.func.grad(loss), (None, 0))(parameters, x)
    whole = torch.autograd.grad(right.sum(), parameters)
    torch.testing.assert_close(tuple(part.sum(0) for part in each), whole)
    jacobian = torch.func.jacrev(model)(x[0])
    torch.testing.assert_close(torch.func.jacfwd(model)(x[0]), jacobian)
    with forward_ad.dual_level():
        tangent = forward_ad.unpack_dual(model(forward_ad.make_dual(x[0], x[1]))).tangent
    torch.testing.assert_close(tangent, jacobian @ x[1])


def test_layer_of_positions_in_a_larger_model():
    torch.manual_seed(0)
    model = nn.Sequential(sg.SpatialLinear(3, 4), nn.Tanh(), nn.Linear(4, 2)).double()
    compute, parameters = as_function(model, torch.rand(2, 3, dtype=torch.float64))
    assert gradgradcheck(compute, parameters)


@pytest.mark.parametrize("batch", [(), (5,)], ids=["single", "batch"])
def test_channels_are_differentiated_as_precisely_under_autocast(batch):
    x, offset = torch.randn(*batch, 6, 4), torch.randn(4, 3, 2)
    displacement, weight = torch.randn(20, 2), torch.rand(20)
    operands = [values.requires_grad_() for values in (x, displacement, offset, weight)]
    edges = torch.randint(6, (2, 20))
    y = channel_convolution(*operands, InverseDistance(), edges, 6)
    _assert_same_gradients_under_autocast(y, operands)


@pytest.mark.parametrize("is_sparse", [False, True])
def test_delays_are_differentiated_as_precisely_under_autocast(is_sparse):
    edges = CompressedEdges.from_mask(torch.ones(3, 4, dtype=torch.bool)) if is_sparse else None
    operands = [torch.randn(7, 5, 4), torch.randn(3, 4), 3.0 * torch.rand(3, 4)]
    if is_sparse:
        operands[1:] = [values.flatten() for values in operands[1:]]
    operands = [values.requires_grad_() for values in operands]
    _assert_same_gradients_under_autocast(delayed(*operands, edges), operands)


def _assert_same_gradients_under_autocast(y, operands):
    gradients = functools.partial(torch.autograd.grad, y.square().sum(), operands, create_graph=True)
    plain = gradients()
    with torch.autocast("cpu", torch.bfloat16):
        lowered = gradients()
    for own, right in zip(lowered, plain, strict=True):
        torch.testing.assert_close(own, right)


@pytest.mark.parametrize("late", [1e9, 1e30])
def test_a_spike_that_comes_too_late_never_comes(late):
    x, weight = torch.randn(7, 5, 4), torch.randn(3, 4)
    delay = torch.full((3, 4), late).requires_grad_()
    y = delayed(x, weight, delay)
    assert not y.any() and not torch.autograd.grad(y.sum(), delay)[0].any()


def test_a_negative_number_of_masked_synapses_is_refused():
    geometry = torch.rand(3, 2), torch.rand(2, 2), torch.rand(3)
    for mask in (None, torch.ones(2, 3, dtype=torch.bool)):
        with pytest.raises(ValueError, match="n_masked must be at least 0, got -1"):
            all_to_all(torch.rand(4, 3), *geometry, InverseDistance(), mask=mask, n_masked=-1)
