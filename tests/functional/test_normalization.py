"""Normalised inputs: the fused kernels against PyTorch's layer normalisation."""

import pytest
import torch
import torch.nn.functional as F

from spatialgraph.functional import normalization
from spatialgraph.functional.normalization import normalised


@pytest.fixture(autouse=True)
def kernels_for_few_inputs(monkeypatch):
    monkeypatch.setattr(normalization, "_WORTH_FUSING", 1)


def reference(total, bias, rectify):
    y = F.layer_norm(total.double(), total.shape[-1:]) + bias.double()
    return y.relu() if rectify else y


def by_neuron(batch, neurons, dtype):
    """Inputs as sparse projections leave them: those of one neuron side by side."""
    return (3.0 * torch.randn(neurons, batch, dtype=dtype) + 5.0).t()


def by_sample(batch, neurons, dtype):
    """Inputs as other projections leave them: those of one sample side by side."""
    return by_neuron(batch, neurons, dtype).contiguous()


either_layout = pytest.mark.parametrize("layout", [by_neuron, by_sample])


@either_layout
@pytest.mark.parametrize("rectify", [False, True])
@pytest.mark.parametrize(("batch", "neurons"), [(2, 3), (127, 40), (300, 257), (600, 2048)])
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-5), (torch.float64, 1e-12)])
def test_values_and_gradients(rectify, batch, neurons, dtype, tolerance, layout):
    torch.manual_seed(0)
    total, bias = layout(batch, neurons, dtype).requires_grad_(), torch.randn(neurons, dtype=dtype).requires_grad_()
    assert total.is_contiguous() == (layout is by_sample)
    y, expected = normalised(total, bias, rectify), reference(total, bias, rectify)
    torch.testing.assert_close(y, expected.to(dtype), rtol=tolerance, atol=10 * tolerance)
    pull = torch.randn_like(y)
    grads = torch.autograd.grad((y * pull).sum(), [total, bias])
    references = torch.autograd.grad((expected * pull).sum(), [total, bias])
    for grad, right in zip(grads, references, strict=True):
        torch.testing.assert_close(grad, right, rtol=10 * tolerance, atol=100 * tolerance)


@pytest.mark.parametrize("total", [torch.ones(4, 3).t(), torch.ones(3, 4)], ids=["by neuron", "by sample"])
def test_a_rectified_zero_has_no_gradient(total):
    """As of ``relu``: a sample of equal inputs, such as a blank one, is normalised to 0, and biases start at 0."""
    total, bias = total.requires_grad_(), torch.zeros(4, requires_grad=True)
    for grad in torch.autograd.grad(normalised(total, bias, rectify=True).sum(), [total, bias]):
        assert not grad.any()
    torch.testing.assert_close(torch.autograd.grad(normalised(total, bias).sum(), bias)[0], torch.full((4,), 3.0))


@either_layout
def test_gradcheck(layout):
    torch.manual_seed(0)
    total, bias = layout(5, 7, torch.float64).requires_grad_(), torch.randn(7, dtype=torch.float64).requires_grad_()
    assert torch.autograd.gradcheck(normalised, (total, bias))
    assert torch.autograd.gradgradcheck(normalised, (total, bias))
    assert torch.autograd.gradcheck(lambda t, b: normalised(t, b, rectify=True), (total, bias))


@either_layout
def test_nan_stays_in_its_sample(layout):
    total = layout(4, 6, torch.float32)
    total[1, 2] = float("nan")
    y = normalised(total, torch.zeros(6), rectify=True)
    assert y[1].isnan().all()
    assert y[[0, 2, 3]].isfinite().all()


@pytest.mark.parametrize("shape", [(6,), (4, 6), (2, 3, 6), (0, 6)])
def test_other_layouts(shape):
    total, bias = torch.randn(shape), torch.randn(6)
    torch.testing.assert_close(normalised(total, bias, rectify=True), reference(total, bias, True).float())


@pytest.mark.parametrize(
    "values", [torch.full((100_000, 4), 0.1), torch.randn(100_000, 4).relu()], ids=["equal", "half"]
)
@pytest.mark.parametrize("is_by_sample", [False, True])
def test_sums_over_many_neurons_are_accurate(values, is_by_sample):
    values = values.t().contiguous() if is_by_sample else values.t()
    total, bias = values.requires_grad_(), torch.zeros(100_000)
    y, expected = normalised(total, bias), reference(total, bias, False)
    torch.testing.assert_close(y, expected.float(), rtol=1e-5, atol=1e-5)
    pull = torch.linspace(-1.0, 2.0, 100_000)
    grads = [torch.autograd.grad((out * pull).sum(), total)[0] for out in (y, expected)]
    torch.testing.assert_close(*grads, rtol=1e-4, atol=1e-4 * float(grads[1].abs().max()))
