"""Memory that passes use again never mixes up what they compute."""

import itertools
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch

from spatialgraph.functional import all_to_all
from spatialgraph.functional.scratch import MOST_BYTES, scratch
from spatialgraph.laws import Gaussian, InverseDistance


def passes(seed, law, x_learns=False, rectify=False, rounds=20):
    """Outputs and gradients of several passes with different sizes."""
    generator = torch.Generator().manual_seed(seed)
    found = []
    for number in range(rounds):
        n, m = 40 + 7 * (number % 5), 300 - 11 * number
        given = [torch.randn(*shape, generator=generator) for shape in ((9, n), (n, 3), (m, 3), (n,))]
        inputs = [values.requires_grad_(x_learns or k > 0) for k, values in enumerate(given)]
        y = all_to_all(*inputs, law, rectify=rectify)
        found += [y.detach(), *torch.autograd.grad(y.square().sum(), [v for v in inputs if v.requires_grad])]
    return found


@pytest.mark.parametrize(("x_learns", "rectify"), list(itertools.product((False, True), repeat=2)))
def test_threads_do_not_share_it(x_learns, rectify):
    cases = [(seed, law) for seed in range(3) for law in (InverseDistance(), Gaussian())]
    expected = [passes(*case, x_learns, rectify) for case in cases]
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda case: passes(*case, x_learns, rectify), cases))
    for own, right in zip(found, expected, strict=True):
        for left, other in zip(own, right, strict=True):
            torch.testing.assert_close(left, other)


def test_a_pass_in_inference_mode_leaves_it_usable():
    given = [torch.randn(*shape) for shape in ((9, 40), (40, 3), (30, 3), (40,))]
    with torch.inference_mode():
        first = all_to_all(*given, InverseDistance())
    inputs = [given[0], *(values.requires_grad_() for values in given[1:])]
    y = all_to_all(*inputs, InverseDistance())
    y.sum().backward()
    assert torch.equal(y, first)


def test_large_tensors_are_new():
    like = torch.zeros(1, dtype=torch.float64)
    small, large = (2, 3), (MOST_BYTES // 8 + 1,)
    assert scratch("test", small, like).data_ptr() == scratch("test", small, like).data_ptr()
    assert scratch("test", small, like).data_ptr() != scratch("other", small, like).data_ptr()
    held = scratch("test", large, like)
    assert scratch("test", large, like).data_ptr() != held.data_ptr()
