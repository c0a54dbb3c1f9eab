"""The smallest weights, against a sort."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from spatialgraph.functional.smallest import without_smallest


def by_sorting(weight, count):
    """Whether each weight is at least as large as the one that ``count`` others are before in the order."""
    magnitudes = [abs(value) for value in weight.flatten().tolist()]
    border = sorted(magnitudes)[count] if count < len(magnitudes) else float("inf")
    return torch.tensor([value >= border for value in magnitudes]).reshape(weight.shape)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.float16, torch.bfloat16])
@pytest.mark.parametrize("count", [0, 1, 17, 119, 120])
def test_the_smallest_are_those_of_a_sort(dtype, count):
    weight = torch.randn(10, 12, generator=torch.Generator().manual_seed(count), dtype=torch.float64).to(dtype)
    kept = without_smallest(weight, count)
    assert kept.dtype == torch.bool
    assert torch.equal(kept, by_sorting(weight, count))


@settings(deadline=None)
@given(st.data(), st.sampled_from([torch.float32, torch.float64]))
def test_any_numbers(data, dtype):
    # Small integers tie often; the others reach from the subnormal to the infinite.
    numbers = st.integers(-3, 3).map(float) | st.floats(allow_nan=False, width=32) | st.just(-0.0)
    weight = torch.tensor(data.draw(st.lists(numbers, min_size=1, max_size=30)), dtype=dtype)
    count = data.draw(st.integers(0, weight.numel() - 1))
    kept = without_smallest(weight, count)
    assert torch.equal(kept, by_sorting(weight, count))
    assert int((~kept).sum()) <= count


def test_of_equal_weights_at_the_border_all_stay():
    assert without_smallest(torch.tensor([1.0, -1.0, 1.0, 0.5, 2.0]), 2).tolist() == [True, True, True, False, True]
    assert without_smallest(torch.zeros(3), 2).all()


def test_none_stay_where_all_are_left_out():
    assert not without_smallest(torch.tensor([1.0, float("inf"), float("nan")]), 3).any()
    assert without_smallest(torch.empty(0), 0).shape == (0,)


def test_nan_counts_as_the_largest():
    for dtype in (torch.float32, torch.bfloat16):
        weight = torch.tensor([float("nan"), 2.0, -1.0], dtype=dtype)
        assert without_smallest(weight, 1).tolist() == [True, True, False]


def test_transposed_parameters_keep_their_shape_and_their_gradients():
    weight = torch.nn.Parameter(torch.randn(6, 4))
    kept = without_smallest(weight.t(), 10)
    assert torch.equal(kept, by_sorting(weight.t(), 10))
    assert not kept.requires_grad


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        (([1.0], 0), TypeError, "weight must be a tensor, got list"),
        ((torch.arange(3), 0), TypeError, "weight must be floating point, got torch.int64"),
        ((torch.ones(3), 1.0), TypeError, r"count must be an int, got 1\.0 \(float\)"),
        ((torch.ones(3), -1), ValueError, "count must be at least 0, got -1"),
        ((torch.ones(3), 4), ValueError, r"count must be at most the number of weights \(3\), got 4"),
    ],
)
def test_wrong_calls(arguments, error, message):
    with pytest.raises(error, match=message):
        without_smallest(*arguments)
