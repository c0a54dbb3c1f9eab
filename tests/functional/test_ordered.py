"""Rows that are taken and summed by index."""

import torch
from conftest import DEVICE
from hypothesis import given
from hypothesis import strategies as st

from spatialgraph.functional.ordered import add_, summed, taken


@given(rows=st.integers(0, 9), count=st.integers(1, 5), width=st.sampled_from([(), (2,), (2, 3)]))
def test_sums_and_their_gradients(rows, count, width):
    index = torch.randint(0, count, (rows,))
    matrix = torch.nn.functional.one_hot(index, count).double()
    values = torch.randn(rows, *width, dtype=torch.float64)
    right = torch.einsum("ek,e...->k...", matrix, values)
    here = values.clone().to(DEVICE).requires_grad_()
    total = summed(here, index.to(DEVICE), count)
    torch.testing.assert_close(total.detach().cpu(), right)
    pull = torch.randn_like(right)
    total.backward(pull.to(DEVICE))
    assert torch.equal(here.grad.cpu(), pull[index])

    source = torch.randn(count, *width, dtype=torch.float64).to(DEVICE).requires_grad_()
    found = taken(source, index.to(DEVICE))
    assert torch.equal(found.detach().cpu(), source.detach().cpu()[index])
    found.backward(values.to(DEVICE))
    torch.testing.assert_close(source.grad.cpu(), right)

    start = torch.randn_like(right)
    place = start.clone().to(DEVICE)
    add_(place, index.to(DEVICE), values.to(DEVICE))
    torch.testing.assert_close(place.cpu(), start + right)


def test_second_derivatives():
    index = torch.tensor([1, 0, 1])
    values = torch.randn(3, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradgradcheck(lambda v: summed(v.square(), index, 2), values)
    assert torch.autograd.gradgradcheck(lambda v: taken(v.square(), index), values)
