"""What a Cache builds anew, and when."""

import weakref
from functools import partial

import torch
from references import in_threads

from spatialgraph.layers.cache import Cache, Sources


def test_threads_with_other_values_never_get_a_mixed_pair():
    cache = Cache()  # as the replicas of nn.DataParallel share it

    def ask(values):
        for _ in range(300):
            assert cache.get(lambda: Sources((values,)), lambda: values.sum()) == values.sum()

    in_threads(*(partial(ask, torch.rand(9)) for _ in range(3)))


def test_values_that_change_while_weights_are_built_are_not_kept():
    cache, values = Cache(), torch.ones(3)

    def build():
        total = values.sum()
        values.add_(1.0)  # as another thread may
        return total

    assert cache.get(lambda: Sources((values,)), build) == 3.0
    assert cache.get(lambda: Sources((values,)), lambda: values.sum()) == 6.0


def test_an_old_value_is_freed_before_a_new_one_is_built():
    cache, values, alive = Cache(), torch.ones(3), []

    def ask():
        return cache.get(lambda: Sources((values,)), lambda: alive.append(old and old()) or values.clone())

    old = None
    old = weakref.ref(ask())
    values.add_(1.0)
    assert torch.equal(ask(), values) and alive == [None, None]


def test_tensors_elsewhere_in_memory_and_without_memory():
    square = torch.rand(3, 3)
    cache, calls = Cache(), []
    build = lambda: calls.append(1) or square.sum()  # noqa: E731
    for values in (square, square.t(), square.t().contiguous(), square.double(), square[:2], square.flatten()):
        cache.get(lambda values=values: Sources((values,)), build)
    assert len(calls) == 5  # the transpose has the same values in another order of memory
    assert cache.get(lambda: Sources((square.to("meta"),)), build) is None and cache._entry is None
